-- Sessions of agents. Outside the log: a session's only truth is its lease.
CREATE TABLE session (
    id           BLOB PRIMARY KEY,
    project      BLOB NOT NULL,
    agent        TEXT NOT NULL,
    build        TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    slots        INTEGER NOT NULL,
    principal    TEXT NOT NULL,
    resume_hash  BLOB NOT NULL,
    replica      BLOB NOT NULL,
    -- 1 open, 2 draining, 3 closed, 4 expired
    state        INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;
CREATE INDEX session_listed ON session (project, id DESC);
CREATE INDEX session_live ON session (id) WHERE state < 3;
CREATE INDEX session_ended ON session (ended_at) WHERE state > 2;

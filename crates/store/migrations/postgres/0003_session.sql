-- Sessions of agents. Outside the log: a session's only truth is its lease.
-- Renewals change nothing that is indexed.
CREATE TABLE session (
    id           UUID PRIMARY KEY,
    project      UUID NOT NULL,
    agent        TEXT NOT NULL,
    build        TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    slots        BIGINT NOT NULL,
    principal    TEXT NOT NULL,
    resume_hash  BYTEA NOT NULL,
    replica      UUID NOT NULL,
    -- 1 open, 2 draining, 3 closed, 4 expired
    state        BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    ended_at     BIGINT
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX session_listed ON session (project, id DESC);
CREATE INDEX session_live ON session (id) WHERE state < 3;
CREATE INDEX session_ended ON session (ended_at) WHERE state > 2;

-- The log. Times are microseconds since the Unix epoch.

-- Grows whenever the store is restored; part of cursors and lease tokens.
CREATE TABLE store_meta (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL
);
-- 0 until the store draws one of its own.
INSERT INTO store_meta (one, epoch) VALUES (1, 0);

-- Commit order. Drawn under an advisory lock that is held until the commit is
-- visible, so that no lower number appears after a higher one was read.
CREATE SEQUENCE log_position;

-- One small row an aggregate; `head` is the only arbiter between writers.
CREATE TABLE stream (
    id      UUID PRIMARY KEY,
    kind    BIGINT NOT NULL,
    project UUID NOT NULL,
    head    BIGINT NOT NULL
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Append only: one row per commit and stream, keyed by its last sequence.
CREATE TABLE event (
    stream    UUID NOT NULL,
    last_seq  BIGINT NOT NULL,
    count     BIGINT NOT NULL,
    commit_id UUID NOT NULL,
    position  BIGINT NOT NULL,
    at        BIGINT NOT NULL,
    project   UUID NOT NULL,
    kind      BIGINT NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (stream, last_seq)
);
CREATE INDEX event_position ON event (position);
-- What followers of one project's tasks read (kind 1 is a task).
CREATE INDEX event_follow ON event (project, position) WHERE kind = 1;

CREATE TABLE payload (
    digest BYTEA PRIMARY KEY,
    bytes  BYTEA NOT NULL
);

-- Requests that were granted; forgotten after some days.
CREATE TABLE request (
    project    UUID NOT NULL,
    method     TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    digest     BYTEA NOT NULL,
    stream     UUID NOT NULL,
    commit_id  UUID NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (project, method, request_id)
);
CREATE INDEX request_at ON request (at);

-- The log. Times are microseconds since the Unix epoch, ids 16 bytes.

CREATE TABLE store_meta (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    -- Grows whenever the store is restored; part of cursors and lease tokens.
    epoch    INTEGER NOT NULL,
    -- Position of the last commit.
    position INTEGER NOT NULL,
    -- Time of the last commit; the store's clock never falls below it.
    clock    INTEGER NOT NULL
) STRICT;
-- The epoch is 0 until the store draws one of its own.
INSERT INTO store_meta (one, epoch, position, clock) VALUES (1, 0, 0, 0);

-- One small row an aggregate; `head` is the only arbiter between writers.
CREATE TABLE stream (
    id      BLOB PRIMARY KEY,
    kind    INTEGER NOT NULL,
    project BLOB NOT NULL,
    head    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Append only: one row per commit and stream, keyed by its last sequence.
CREATE TABLE event (
    stream    BLOB NOT NULL,
    last_seq  INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    commit_id BLOB NOT NULL,
    position  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    project   BLOB NOT NULL,
    kind      INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (stream, last_seq)
) STRICT;
CREATE INDEX event_position ON event (position);
-- What followers of one project's tasks read (kind 1 is a task).
CREATE INDEX event_follow ON event (project, position) WHERE kind = 1;

CREATE TABLE payload (
    digest BLOB PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;

-- Requests that were granted; forgotten after some days.
CREATE TABLE request (
    project    BLOB NOT NULL,
    method     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    digest     BLOB NOT NULL,
    stream     BLOB NOT NULL,
    commit_id  BLOB NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (project, method, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_at ON request (at);

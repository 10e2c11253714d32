-- Projections of tasks: each row is owned by one stream and changed only in a
-- commit to that stream.

-- A task as it was opened; never changed.
CREATE TABLE task (
    id           BLOB PRIMARY KEY,
    project      BLOB NOT NULL,
    display_name TEXT NOT NULL,
    labels       TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    retry_of     BLOB,
    step_count   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    deadline     INTEGER NOT NULL
) STRICT;
CREATE INDEX task_listed ON task (project, id DESC);

-- How it ended; a task without a row here is running. A table of its own, so
-- that neither is ever updated.
CREATE TABLE task_end (
    task      BLOB PRIMARY KEY,
    state     INTEGER NOT NULL,
    stop_code TEXT NOT NULL,
    ended_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Steps that wait for an agent, as one sortable key. Insert and delete only.
CREATE TABLE ready (
    key BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Steps held by sessions: 16 bytes of the task, two of the step.
CREATE TABLE lease (
    item    BLOB PRIMARY KEY,
    session BLOB NOT NULL,
    token   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_session ON lease (session);

-- The earliest deadline of each task that has one.
CREATE TABLE timer (
    task BLOB PRIMARY KEY,
    due  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX timer_due ON timer (due);

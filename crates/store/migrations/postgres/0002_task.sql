-- Projections of tasks: each row is owned by one stream and changed only in a
-- commit to that stream.

-- A task as it was opened; never changed.
CREATE TABLE task (
    id           UUID PRIMARY KEY,
    project      UUID NOT NULL,
    display_name TEXT NOT NULL,
    labels       TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    retry_of     UUID,
    step_count   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    deadline     BIGINT NOT NULL
);
CREATE INDEX task_listed ON task (project, id DESC);

-- How it ended; a task without a row here is running. A table of its own, so
-- that neither is ever updated.
CREATE TABLE task_end (
    task      UUID PRIMARY KEY,
    state     BIGINT NOT NULL,
    stop_code TEXT NOT NULL,
    ended_at  BIGINT NOT NULL
);

-- Steps that wait for an agent, as one sortable key. Insert and delete only.
CREATE TABLE ready (
    key BYTEA PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Steps held by sessions: 16 bytes of the task, two of the step.
CREATE TABLE lease (
    item    BYTEA PRIMARY KEY,
    session UUID NOT NULL,
    token   BIGINT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lease_session ON lease (session);

-- The earliest deadline of each task that has one.
CREATE TABLE timer (
    task UUID PRIMARY KEY,
    due  BIGINT NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX timer_due ON timer (due);

-- Approvals as listed, the gates of steps, and the audit's entries.

-- An approval as it was asked; never changed.
CREATE TABLE approval (
    id         UUID PRIMARY KEY,
    project    UUID NOT NULL,
    task       UUID NOT NULL,
    agent      TEXT NOT NULL,
    -- 1 low, 2 medium, 3 high
    level      BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX approval_listed ON approval (project, id DESC);

-- Where it stands. `item` is the step as in `lease`; `gate` counts from 1 where the
-- step itself waits and is 0 where an agent does, under the lease with `token`.
CREATE TABLE approval_now (
    id      UUID PRIMARY KEY,
    project UUID NOT NULL,
    level   BIGINT NOT NULL,
    phase   BIGINT NOT NULL,
    item    BYTEA NOT NULL,
    gate    BIGINT NOT NULL,
    token   BIGINT NOT NULL,
    -- When time alone changes it next; NULL once it has ended.
    due     BIGINT
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX approval_due ON approval_now (due) WHERE due IS NOT NULL;
CREATE INDEX approval_live ON approval_now (id) WHERE phase < 3;
CREATE INDEX approval_pending ON approval_now (project, level) WHERE phase = 1;
CREATE INDEX approval_item ON approval_now (item);

-- Steps that wait at their gates: without a yes (`granted` 0), or with one for an
-- agent (1).
CREATE TABLE gate (
    item    BYTEA PRIMARY KEY,
    gate    BIGINT NOT NULL,
    granted BIGINT NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Entries of the audit, written in the commits that they tell of. Append only.
CREATE TABLE audit (
    project  UUID NOT NULL,
    position BIGINT NOT NULL,
    -- Place within its commit.
    n        BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (project, position, n)
);

-- What followers of one project's approvals read (kind 4 is an approval).
CREATE INDEX event_approvals ON event (project, position) WHERE kind = 4;

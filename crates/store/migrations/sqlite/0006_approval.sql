-- Approvals as listed, the gates of steps, and the audit's entries.

-- An approval as it was asked; never changed.
CREATE TABLE approval (
    id         BLOB PRIMARY KEY,
    project    BLOB NOT NULL,
    task       BLOB NOT NULL,
    agent      TEXT NOT NULL,
    -- 1 low, 2 medium, 3 high
    level      INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX approval_listed ON approval (project, id DESC);

-- Where it stands. `item` is the step as in `lease`; `gate` counts from 1 where the
-- step itself waits and is 0 where an agent does, under the lease with `token`.
CREATE TABLE approval_now (
    id      BLOB PRIMARY KEY,
    project BLOB NOT NULL,
    level   INTEGER NOT NULL,
    phase   INTEGER NOT NULL,
    item    BLOB NOT NULL,
    gate    INTEGER NOT NULL,
    token   INTEGER NOT NULL,
    -- When time alone changes it next; NULL once it has ended.
    due     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX approval_due ON approval_now (due) WHERE due IS NOT NULL;
CREATE INDEX approval_live ON approval_now (id) WHERE phase < 3;
CREATE INDEX approval_pending ON approval_now (project, level) WHERE phase = 1;
CREATE INDEX approval_item ON approval_now (item);

-- Steps that wait at their gates: without a yes (`granted` 0), or with one for an
-- agent (1).
CREATE TABLE gate (
    item    BLOB PRIMARY KEY,
    gate    INTEGER NOT NULL,
    granted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Entries of the audit, written in the commits that they tell of. Append only.
CREATE TABLE audit (
    project  BLOB NOT NULL,
    position INTEGER NOT NULL,
    -- Place within its commit.
    n        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (project, position, n)
) STRICT;

-- What followers of one project's approvals read (kind 4 is an approval).
CREATE INDEX event_approvals ON event (project, position) WHERE kind = 4;

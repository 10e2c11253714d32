-- Heads of the audit's Merkle trees: each seals a project's entries up to a place.
-- Append only; two replicas that seal at the same time seal the same sequence.
CREATE TABLE audit_seal (
    project    BLOB NOT NULL,
    -- Entries in the tree.
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    at         INTEGER NOT NULL,
    signature  BLOB NOT NULL,
    -- Place of the last entry.
    position   INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    -- Roots of the tree's perfect subtrees, as JSON: what it takes to go on.
    frontier   TEXT NOT NULL,
    PRIMARY KEY (project, size)
) STRICT, WITHOUT ROWID;
-- What the sealer follows.
CREATE INDEX audit_position ON audit (position);

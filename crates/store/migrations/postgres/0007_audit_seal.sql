-- Heads of the audit's Merkle trees: each seals a project's entries up to a place.
-- Append only; two replicas that seal at the same time seal the same sequence.
CREATE TABLE audit_seal (
    project    UUID NOT NULL,
    -- Entries in the tree.
    size       BIGINT NOT NULL,
    root       BYTEA NOT NULL,
    at         BIGINT NOT NULL,
    signature  BYTEA NOT NULL,
    -- Place of the last entry.
    position   BIGINT NOT NULL,
    n          BIGINT NOT NULL,
    -- Roots of the tree's perfect subtrees, as JSON: what it takes to go on.
    frontier   TEXT NOT NULL,
    PRIMARY KEY (project, size)
);
-- What the sealer follows.
CREATE INDEX audit_position ON audit (position);

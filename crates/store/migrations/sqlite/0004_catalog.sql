-- Projects and API keys, as listed.
CREATE TABLE project (
    id       BLOB PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key (
    id       BLOB PRIMARY KEY,
    -- JSON array of project names; NULL covers all.
    projects TEXT,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

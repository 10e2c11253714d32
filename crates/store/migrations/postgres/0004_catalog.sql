-- Projects and API keys, as listed.
CREATE TABLE project (
    id       UUID PRIMARY KEY,
    name     TEXT COLLATE "C" NOT NULL UNIQUE,
    revision BIGINT NOT NULL
);

CREATE TABLE api_key (
    id       UUID PRIMARY KEY,
    -- JSON array of project names; NULL covers all.
    projects TEXT,
    revision BIGINT NOT NULL
);

-- How far each webhook has been told of its project's audit. What a webhook is, is in
-- the log; this is its cursor.
CREATE TABLE webhook (
    id           BLOB PRIMARY KEY NOT NULL,
    project      BLOB NOT NULL,
    -- Last entry of the audit that it is done with, and when that was written.
    position     INTEGER NOT NULL,
    n            INTEGER NOT NULL,
    passed_at    INTEGER NOT NULL,
    -- Tries that failed, in a row.
    failures     INTEGER NOT NULL,
    -- Nobody tries before; whoever tries moves it, which is the claim.
    due          INTEGER NOT NULL,
    last_error   TEXT NOT NULL,
    delivered_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_due ON webhook (due);
CREATE INDEX webhook_project ON webhook (project, id);

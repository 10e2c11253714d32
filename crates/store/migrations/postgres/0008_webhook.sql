-- How far each webhook has been told of its project's audit. What a webhook is, is in
-- the log; this is its cursor.
CREATE TABLE webhook (
    id           UUID PRIMARY KEY NOT NULL,
    project      UUID NOT NULL,
    -- Last entry of the audit that it is done with, and when that was written.
    position     BIGINT NOT NULL,
    n            BIGINT NOT NULL,
    passed_at    BIGINT NOT NULL,
    -- Tries that failed, in a row.
    failures     BIGINT NOT NULL,
    -- Nobody tries before; whoever tries moves it, which is the claim.
    due          BIGINT NOT NULL,
    last_error   TEXT NOT NULL,
    delivered_at BIGINT
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX webhook_due ON webhook (due);
CREATE INDEX webhook_project ON webhook (project, id);

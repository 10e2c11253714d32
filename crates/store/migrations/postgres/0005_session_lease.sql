-- How long a session outlives silence: what its agent asked for. Sessions from
-- before have what was usual then.
ALTER TABLE session ADD COLUMN lease_length BIGINT NOT NULL DEFAULT 15000000;

-- What was given out for a time: when something has to be done about it. What it is
-- stands in a sealed record: see vault/lease.
CREATE TABLE leases (
	id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	due   BIGINT NOT NULL,
	token BYTEA,
	stuck INTEGER NOT NULL
);
CREATE INDEX leases_due ON leases (due);
CREATE INDEX leases_token ON leases (token) WHERE token IS NOT NULL;
CREATE INDEX leases_stuck ON leases (id) WHERE stuck <> 0;

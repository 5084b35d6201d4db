-- What was given out for a time: when something has to be done about it. What it is
-- stands in a sealed record: see vault/lease.
CREATE TABLE leases (
	id    TEXT    NOT NULL PRIMARY KEY,
	due   INTEGER NOT NULL,
	token BLOB,
	stuck INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX leases_due ON leases (due);
CREATE INDEX leases_token ON leases (token) WHERE token IS NOT NULL;
CREATE INDEX leases_stuck ON leases (id) WHERE stuck <> 0;

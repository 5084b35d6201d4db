-- Secret ids of machines, by the keyed hash of their role and text; body is
-- authenticated and repeats the columns: see auth/approle.
CREATE TABLE secret_ids (
	id       BLOB NOT NULL PRIMARY KEY,
	role     TEXT NOT NULL,
	accessor TEXT NOT NULL,
	expires  INTEGER,
	body     BLOB NOT NULL,
	UNIQUE (role, accessor)
) WITHOUT ROWID;
CREATE INDEX secret_ids_expires ON secret_ids (expires) WHERE expires IS NOT NULL;

-- Secret ids of machines, by the keyed hash of their role and text; body is
-- authenticated and repeats the columns: see auth/approle.
CREATE TABLE secret_ids (
	id       BYTEA NOT NULL PRIMARY KEY,
	role     TEXT COLLATE "C" NOT NULL,
	accessor TEXT COLLATE "C" NOT NULL,
	expires  BIGINT,
	body     BYTEA NOT NULL,
	UNIQUE (role, accessor)
);
CREATE INDEX secret_ids_expires ON secret_ids (expires) WHERE expires IS NOT NULL;

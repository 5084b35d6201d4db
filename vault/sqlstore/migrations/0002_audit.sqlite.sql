-- The audit log: one row for each entry, with the nodes of the tree that it completes (vault/audit).
CREATE TABLE audit (
	idx    INTEGER NOT NULL PRIMARY KEY,
	at     INTEGER NOT NULL,
	line   TEXT    NOT NULL,
	hashes BLOB    NOT NULL
);

-- Where it ends. There is one row.
CREATE TABLE audit_head (
	one  INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
	size INTEGER NOT NULL,
	at   INTEGER NOT NULL,
	edge BLOB    NOT NULL
);

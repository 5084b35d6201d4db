-- The audit log: one row for each entry, with the nodes of the tree that it completes (vault/audit).
CREATE TABLE audit (
	idx    BIGINT NOT NULL PRIMARY KEY,
	at     BIGINT NOT NULL,
	line   TEXT   NOT NULL,
	hashes BYTEA  NOT NULL
);

-- Where it ends. There is one row, which every append rewrites: room on its page keeps that in place.
CREATE TABLE audit_head (
	one  BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	size BIGINT NOT NULL,
	at   BIGINT NOT NULL,
	edge BYTEA  NOT NULL
) WITH (fillfactor = 10);

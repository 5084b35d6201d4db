-- What is small and has one key.
CREATE TABLE blobs (
	kind TEXT COLLATE "C" NOT NULL,
	name TEXT COLLATE "C" NOT NULL,
	raw  BYTEA NOT NULL,
	PRIMARY KEY (kind, name)
);

-- KV v2. Everything but the names and numbers is sealed, and bound to them: see vault/kv.
CREATE TABLE kv_mounts (
	mount TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	gen   BIGINT NOT NULL,
	head  BYTEA  NOT NULL
);

CREATE TABLE kv_keys (
	mount   TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	current BIGINT NOT NULL,
	gen     BIGINT NOT NULL,
	meta    BYTEA  NOT NULL,
	PRIMARY KEY (mount, path)
);

-- What is sealed cannot be made smaller: PostgreSQL need not try.
CREATE TABLE kv_versions (
	mount   TEXT COLLATE "C" NOT NULL,
	path    TEXT COLLATE "C" NOT NULL,
	version BIGINT NOT NULL,
	gen     BIGINT NOT NULL,
	key     BYTEA  NOT NULL,
	data    BYTEA  NOT NULL,
	PRIMARY KEY (mount, path, version)
);
ALTER TABLE kv_versions ALTER COLUMN data SET STORAGE EXTERNAL;

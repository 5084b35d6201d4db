-- What is small and has one key.
CREATE TABLE blobs (
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	raw  BLOB NOT NULL,
	PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- KV v2. Everything but the names and numbers is sealed, and bound to them: see vault/kv.
CREATE TABLE kv_mounts (
	mount TEXT    NOT NULL PRIMARY KEY,
	gen   INTEGER NOT NULL,
	head  BLOB    NOT NULL
) WITHOUT ROWID;

-- One search finds a path and what is known of it.
CREATE TABLE kv_keys (
	mount   TEXT    NOT NULL,
	path    TEXT    NOT NULL,
	current INTEGER NOT NULL,
	gen     INTEGER NOT NULL,
	meta    BLOB    NOT NULL,
	PRIMARY KEY (mount, path)
) WITHOUT ROWID;

-- The rows are long, and are kept out of the tree that is searched.
CREATE TABLE kv_versions (
	mount   TEXT    NOT NULL,
	path    TEXT    NOT NULL,
	version INTEGER NOT NULL,
	gen     INTEGER NOT NULL,
	key     BLOB    NOT NULL,
	data    BLOB    NOT NULL,
	PRIMARY KEY (mount, path, version)
);

-- Tokens, by the keyed hash of their text; body is authenticated and repeats the
-- columns: see auth/token.
CREATE TABLE tokens (
	id       BLOB    NOT NULL PRIMARY KEY,
	accessor TEXT    NOT NULL UNIQUE,
	parent   BLOB,
	expires  INTEGER,
	body     BLOB    NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;
CREATE INDEX tokens_expires ON tokens (expires) WHERE expires IS NOT NULL;

-- What a token keeps for itself, sealed. It goes with the token.
CREATE TABLE token_values (
	token BLOB NOT NULL REFERENCES tokens (id),
	name  TEXT NOT NULL,
	raw   BLOB NOT NULL,
	PRIMARY KEY (token, name)
) WITHOUT ROWID;

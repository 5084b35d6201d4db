-- Tokens, by the keyed hash of their text; body is authenticated and repeats the
-- columns: see auth/token.
CREATE TABLE tokens (
	id       BYTEA  NOT NULL PRIMARY KEY,
	accessor TEXT COLLATE "C" NOT NULL UNIQUE,
	parent   BYTEA,
	expires  BIGINT,
	body     BYTEA  NOT NULL
);
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;
CREATE INDEX tokens_expires ON tokens (expires) WHERE expires IS NOT NULL;

-- What a token keeps for itself, sealed. It goes with the token.
CREATE TABLE token_values (
	token BYTEA NOT NULL REFERENCES tokens (id),
	name  TEXT COLLATE "C" NOT NULL,
	raw   BYTEA NOT NULL,
	PRIMARY KEY (token, name)
);

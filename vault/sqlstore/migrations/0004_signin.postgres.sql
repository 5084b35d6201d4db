-- The way to sign in that made a token, so that all of its tokens can be revoked.
ALTER TABLE tokens ADD COLUMN mount TEXT COLLATE "C";
CREATE INDEX tokens_mount ON tokens (mount) WHERE mount IS NOT NULL;

-- What may be used once, by its hash: identity tokens of CI platforms.
CREATE TABLE used (
	id    BYTEA  NOT NULL PRIMARY KEY,
	until BIGINT NOT NULL
);
CREATE INDEX used_until ON used (until);

-- The way to sign in that made a token, so that all of its tokens can be revoked.
ALTER TABLE tokens ADD COLUMN mount TEXT;
CREATE INDEX tokens_mount ON tokens (mount) WHERE mount IS NOT NULL;

-- What may be used once, by its hash: identity tokens of CI platforms.
CREATE TABLE used (
	id    BLOB    NOT NULL PRIMARY KEY,
	until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX used_until ON used (until);

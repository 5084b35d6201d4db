package sqlstore

import (
	"bytes"
	"time"

	"envrun/auth/token"
)

var _ token.Store = (*Tx)(nil)

// nanos is a time as it is stored; nil for the zero one.
func nanos(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

// bytesOf is an id as it is stored; nil for the zero one.
func bytesOf(id token.ID) any {
	if id == (token.ID{}) {
		return nil
	}
	return id[:]
}

// text is a text as it is stored; nil for the empty one.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (t *Tx) tokenRow(where string, arg any) (token.Row, bool, error) {
	var (
		r          token.Row
		id, parent []byte
		mount      *string
		expires    *int64
	)
	found, err := t.row(where, []any{arg}, &id, &r.Accessor, &parent, &mount, &expires, &r.Body)
	if err != nil || !found {
		return token.Row{}, false, err
	}
	copy(r.ID[:], id)
	copy(r.Parent[:], parent)
	if mount != nil {
		r.Mount = *mount
	}
	if expires != nil {
		r.Expires = time.Unix(0, *expires).UTC()
	}
	return r, true, nil
}

func tokenKey(id token.ID) rowKey { return rowKey{tokenRows, string(id[:]), ""} }

// TokenRow returns the row of a token, and false if there is none.
func (t *Tx) TokenRow(id token.ID) (token.Row, bool, error) {
	return kept(t, tokenKey(id), func() (token.Row, bool, error) {
		return t.tokenRow(`SELECT id, accessor, parent, mount, expires, body FROM tokens WHERE id = ?`, id[:])
	}, func(r token.Row) (token.Row, int) {
		r.Body = bytes.Clone(r.Body)
		return r, len(r.Body) + len(r.Accessor)
	})
}

// TokenRowByAccessor does so by the accessor.
func (t *Tx) TokenRowByAccessor(accessor string) (token.Row, bool, error) {
	return t.tokenRow(`SELECT id, accessor, parent, mount, expires, body FROM tokens WHERE accessor = ?`, accessor)
}

// PutTokenRow inserts the row, or replaces the one with its ID.
func (t *Tx) PutTokenRow(r token.Row) error {
	_, err := t.execOn(tokenKey(r.ID), `INSERT INTO tokens (id, accessor, parent, mount, expires, body) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET accessor = excluded.accessor, parent = excluded.parent, mount = excluded.mount, expires = excluded.expires, body = excluded.body`,
		r.ID[:], r.Accessor, bytesOf(r.Parent), text(r.Mount), nanos(r.Expires), r.Body)
	return err
}

// DeleteTokenRow removes a token with what it kept for itself, and makes its leases due.
func (t *Tx) DeleteTokenRow(id token.ID) error {
	if err := t.endLeases(id[:]); err != nil {
		return err
	}
	if _, err := t.execBeside(`DELETE FROM token_values WHERE token = ?`, id[:]); err != nil {
		return err
	}
	_, err := t.execOn(tokenKey(id), `DELETE FROM tokens WHERE id = ?`, id[:])
	return err
}

func (t *Tx) tokenIDs(query string, args ...any) ([]token.ID, error) {
	var ids []token.ID
	err := t.each(query, args, func(scan func(...any) error) error {
		var raw []byte
		err := scan(&raw)
		var id token.ID
		copy(id[:], raw)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// TokenChildren returns the tokens whose parent is the given one.
func (t *Tx) TokenChildren(id token.ID) ([]token.ID, error) {
	return t.tokenIDs(`SELECT id FROM tokens WHERE parent = ?`, id[:])
}

// TokensExpired returns at most limit tokens that expire at or before a time.
func (t *Tx) TokensExpired(at time.Time, limit int) ([]token.ID, error) {
	return t.tokenIDs(`SELECT id FROM tokens WHERE expires <= ? ORDER BY expires LIMIT ?`, at.UnixNano(), limit)
}

// TokensOfMount returns at most limit tokens that signed in at a mount.
func (t *Tx) TokensOfMount(mount string, limit int) ([]token.ID, error) {
	return t.tokenIDs(`SELECT id FROM tokens WHERE mount = ? LIMIT ?`, mount, limit)
}

// UseOnce keeps an id until a time, and says whether it was not there before.
func (t *Tx) UseOnce(id []byte, until time.Time) (bool, error) {
	n, err := t.exec(`INSERT INTO used (id, until) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, id, until.UnixNano())
	return n == 1, err
}

// Used says whether an id was kept by UseOnce.
func (t *Tx) Used(id []byte) (bool, error) {
	var one int
	return t.row(`SELECT 1 FROM used WHERE id = ?`, []any{id}, &one)
}

// ForgetUsed removes at most limit of the ids that were kept until a time that is
// over, and says how many.
func (t *Tx) ForgetUsed(now time.Time, limit int) (int, error) {
	n, err := t.exec(`DELETE FROM used WHERE id IN (SELECT id FROM used WHERE until < ? LIMIT ?)`, now.UnixNano(), limit)
	return int(n), err
}

// texts are the rows of one text column.
func (t *Tx) texts(query string, args ...any) ([]string, error) {
	var all []string
	err := t.each(query, args, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		all = append(all, s)
		return err
	})
	return all, err
}

// TokenAccessors returns the accessors of all tokens, sorted.
func (t *Tx) TokenAccessors() ([]string, error) {
	return t.texts(`SELECT accessor FROM tokens ORDER BY accessor`)
}

// TokenValue returns what a token keeps under a name, and false if there is nothing.
func (t *Tx) TokenValue(id token.ID, name string) (raw []byte, found bool, err error) {
	found, err = t.row(`SELECT raw FROM token_values WHERE token = ? AND name = ?`, []any{id[:], name}, &raw)
	return raw, found, err
}

// PutTokenValue keeps it, in place of what was there. The token must be there.
func (t *Tx) PutTokenValue(id token.ID, name string, raw []byte) error {
	_, err := t.execBeside(`INSERT INTO token_values (token, name, raw) VALUES (?, ?, ?)
		ON CONFLICT (token, name) DO UPDATE SET raw = excluded.raw`, id[:], name, raw)
	return err
}

// DeleteTokenValue removes it; nothing happens if it is not there.
func (t *Tx) DeleteTokenValue(id token.ID, name string) error {
	_, err := t.execBeside(`DELETE FROM token_values WHERE token = ? AND name = ?`, id[:], name)
	return err
}

// TokenValues are the names of what a token keeps, sorted.
func (t *Tx) TokenValues(id token.ID) ([]string, error) {
	return t.texts(`SELECT name FROM token_values WHERE token = ? ORDER BY name`, id[:])
}

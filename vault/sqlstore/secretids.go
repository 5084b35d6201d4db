package sqlstore

import (
	"time"

	"envrun/auth/approle"
)

var _ approle.Store = (*Tx)(nil)

func (t *Tx) secretIDRow(where string, args ...any) (approle.Row, bool, error) {
	var (
		r       approle.Row
		id      []byte
		expires *int64
	)
	found, err := t.row(`SELECT id, role, accessor, expires, body FROM secret_ids WHERE `+where, args, &id, &r.Role, &r.Accessor, &expires, &r.Body)
	if err != nil || !found {
		return approle.Row{}, false, err
	}
	copy(r.ID[:], id)
	if expires != nil {
		r.Expires = time.Unix(0, *expires).UTC()
	}
	return r, true, nil
}

// SecretIDRow returns the row of a secret id, and false if there is none.
func (t *Tx) SecretIDRow(id approle.ID) (approle.Row, bool, error) {
	return t.secretIDRow(`id = ?`, id[:])
}

// SecretIDRowByAccessor does so by the role and the accessor.
func (t *Tx) SecretIDRowByAccessor(role, accessor string) (approle.Row, bool, error) {
	return t.secretIDRow(`role = ? AND accessor = ?`, role, accessor)
}

// PutSecretIDRow inserts the row, or replaces the one with its ID.
func (t *Tx) PutSecretIDRow(r approle.Row) error {
	_, err := t.execBeside(`INSERT INTO secret_ids (id, role, accessor, expires, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET role = excluded.role, accessor = excluded.accessor, expires = excluded.expires, body = excluded.body`,
		r.ID[:], r.Role, r.Accessor, nanos(r.Expires), r.Body)
	return err
}

// DeleteSecretIDRow removes a row; nothing happens if it is not there.
func (t *Tx) DeleteSecretIDRow(id approle.ID) error {
	_, err := t.execBeside(`DELETE FROM secret_ids WHERE id = ?`, id[:])
	return err
}

// DeleteSecretIDsOf removes those of a role.
func (t *Tx) DeleteSecretIDsOf(role string) error {
	_, err := t.execBeside(`DELETE FROM secret_ids WHERE role = ?`, role)
	return err
}

// SecretIDAccessors returns the accessors of a role's, sorted.
func (t *Tx) SecretIDAccessors(role string) ([]string, error) {
	return t.texts(`SELECT accessor FROM secret_ids WHERE role = ? ORDER BY accessor`, role)
}

// SecretIDsExpired says whether some expired at or before a time.
func (t *Tx) SecretIDsExpired(now time.Time) (bool, error) {
	var one int
	return t.row(`SELECT 1 FROM secret_ids WHERE expires <= ? LIMIT 1`, []any{now.UnixNano()}, &one)
}

// ForgetSecretIDs removes at most limit of those that expired at or before a time,
// and says how many.
func (t *Tx) ForgetSecretIDs(now time.Time, limit int) (int, error) {
	n, err := t.execBeside(`DELETE FROM secret_ids WHERE id IN (SELECT id FROM secret_ids WHERE expires <= ? LIMIT ?)`, now.UnixNano(), limit)
	return int(n), err
}

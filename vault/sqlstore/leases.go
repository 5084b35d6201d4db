package sqlstore

import (
	"time"

	"envrun/vault/lease"
)

var _ lease.Store = (*Tx)(nil)

// LeaseRow returns the row of a lease, and false if there is none.
func (t *Tx) LeaseRow(id string) (lease.Row, bool, error) {
	r := lease.Row{ID: id}
	var (
		due, stuck int64
		token      []byte
	)
	found, err := t.row(`SELECT due, token, stuck FROM leases WHERE id = ?`, []any{id}, &due, &token, &stuck)
	if err != nil || !found {
		return lease.Row{}, false, err
	}
	copy(r.Token[:], token)
	r.Due, r.Stuck = time.Unix(0, due).UTC(), stuck != 0
	return r, true, nil
}

// PutLeaseRow inserts the row, or replaces the one with its ID.
func (t *Tx) PutLeaseRow(r lease.Row) error {
	stuck := 0
	if r.Stuck {
		stuck = 1
	}
	_, err := t.execBeside(`INSERT INTO leases (id, due, token, stuck) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET due = excluded.due, token = excluded.token, stuck = excluded.stuck`,
		r.ID, r.Due.UnixNano(), bytesOf(r.Token), stuck)
	return err
}

// DeleteLeaseRow removes it; nothing happens if it is not there.
func (t *Tx) DeleteLeaseRow(id string) error {
	_, err := t.execBeside(`DELETE FROM leases WHERE id = ?`, id)
	return err
}

// LeasesBelow returns ids that begin with a prefix and come after one.
func (t *Tx) LeasesBelow(prefix, after string, limit int) ([]string, error) {
	// Ids are UTF-8: nothing that begins with the prefix comes behind this end.
	return t.texts(`SELECT id FROM leases WHERE id >= ? AND id < ? AND id > ? ORDER BY id LIMIT ?`, prefix, prefix+"\U0010FFFF", after, limit)
}

// LeasesDue returns those whose time has come.
func (t *Tx) LeasesDue(now time.Time, limit int) ([]string, error) {
	return t.texts(`SELECT id FROM leases WHERE due <= ? ORDER BY due LIMIT ?`, now.UnixNano(), limit)
}

// LeasesStuck returns those that cannot be ended.
func (t *Tx) LeasesStuck(after string, limit int) ([]string, error) {
	return t.texts(`SELECT id FROM leases WHERE stuck <> 0 AND id > ? ORDER BY id LIMIT ?`, after, limit)
}

// endLeases makes the leases of a token due at once.
func (t *Tx) endLeases(token []byte) error {
	_, err := t.execBeside(`UPDATE leases SET due = 0 WHERE token = ? AND due > 0`, token)
	return err
}

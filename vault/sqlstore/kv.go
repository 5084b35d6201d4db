package sqlstore

import (
	"bytes"
	"slices"
	"strings"

	"envrun/vault/keyring"
	"envrun/vault/kv"
)

var (
	_ kv.Tx      = (*Tx)(nil)
	_ keyring.Tx = (*Tx)(nil)
)

// KVHead returns the head of a mount.
func (t *Tx) KVHead(mount string) (row kv.HeadRow, found bool, err error) {
	found, err = t.row(`SELECT gen, head FROM kv_mounts WHERE mount = ?`, []any{mount}, &row.Gen, &row.Sealed)
	return row, found, err
}

// PutKVHead writes the head of a mount.
func (t *Tx) PutKVHead(mount string, row kv.HeadRow) error {
	_, err := t.execBeside(`INSERT INTO kv_mounts (mount, gen, head) VALUES (?, ?, ?)
		ON CONFLICT (mount) DO UPDATE SET gen = excluded.gen, head = excluded.head`, mount, row.Gen, row.Sealed)
	return err
}

// DropKV removes all there is of a mount.
func (t *Tx) DropKV(mount string) error {
	for _, query := range []string{
		`DELETE FROM kv_versions WHERE mount = ?`,
		`DELETE FROM kv_keys WHERE mount = ?`,
		`DELETE FROM kv_mounts WHERE mount = ?`,
	} {
		if _, err := t.exec(query, mount); err != nil {
			return err
		}
	}
	return nil
}

// KVKey returns the row of a path.
func (t *Tx) KVKey(mount, path string) (row kv.KeyRow, found bool, err error) {
	if v, ok := memory[pathRows](t, versionKey(mount, path)); ok {
		return v.clone().key, true, nil
	}
	return single(t, func() (kv.KeyRow, bool, error) {
		row := kv.KeyRow{Path: path}
		found, err := t.row(`SELECT current, gen, meta FROM kv_keys WHERE mount = ? AND path = ?`, []any{mount, path}, &row.Current, &row.Gen, &row.Sealed)
		return row, found, err
	})
}

// pathRows are the row of a path and that of its current version.
type pathRows struct {
	key     kv.KeyRow
	version kv.VersionRow
}

func versionKey(mount, path string) rowKey { return rowKey{versionRows, mount, path} }

func (p pathRows) size() int { return len(p.key.Sealed) + len(p.version.Key) + len(p.version.Data) }

func (p pathRows) clone() pathRows {
	p.key.Sealed = bytes.Clone(p.key.Sealed)
	p.version.Key, p.version.Data = bytes.Clone(p.version.Key), bytes.Clone(p.version.Data)
	return p
}

// KVHeadAndKey returns both in one statement.
func (t *Tx) KVHeadAndKey(mount, path string) (head kv.HeadRow, row kv.KeyRow, found bool, err error) {
	row.Path = path
	var current *int64
	var gen *uint32
	found, err = t.row(`SELECT h.gen, h.head, k.current, k.gen, k.meta FROM kv_mounts h
		LEFT JOIN kv_keys k ON k.mount = h.mount AND k.path = ?
		WHERE h.mount = ?`, []any{path, mount}, &head.Gen, &head.Sealed, &current, &gen, &row.Sealed)
	if current != nil && gen != nil {
		row.Current, row.Gen = *current, *gen
	}
	return head, row, found, err
}

// KVVersion returns the row of a path and that of one of its versions, 0 for
// the current one, in one statement. The version's row has the number 0 if there is none.
func (t *Tx) KVVersion(mount, path string, version int64) (row kv.KeyRow, v kv.VersionRow, found bool, err error) {
	var p pathRows
	if version == 0 {
		p, found, err = kept(t, versionKey(mount, path), func() (pathRows, bool, error) {
			return t.version(path, `SELECT k.current, k.gen, k.meta, v.version, v.gen, v.key, v.data FROM kv_keys k
			LEFT JOIN kv_versions v ON v.mount = k.mount AND v.path = k.path AND v.version = k.current
			WHERE k.mount = ? AND k.path = ?`, mount, path)
		}, func(p pathRows) (pathRows, int) {
			return p.clone(), p.size()
		})
	} else {
		p, found, err = single(t, func() (pathRows, bool, error) {
			return t.version(path, `SELECT k.current, k.gen, k.meta, v.version, v.gen, v.key, v.data FROM kv_keys k
			LEFT JOIN kv_versions v ON v.mount = k.mount AND v.path = k.path AND v.version = ?
			WHERE k.mount = ? AND k.path = ?`, version, mount, path)
		})
	}
	return p.key, p.version, found, err
}

func (t *Tx) version(path, query string, args ...any) (p pathRows, found bool, err error) {
	p.key.Path, p.version.Path = path, path
	var n *int64
	var gen *uint32
	found, err = t.row(query, args, &p.key.Current, &p.key.Gen, &p.key.Sealed, &n, &gen, &p.version.Key, &p.version.Data)
	if n != nil && gen != nil {
		p.version.Version, p.version.Gen = *n, *gen
	}
	return p, found, err
}

const current = `SELECT k.path, k.current, k.gen, k.meta, v.version, v.gen, v.key, v.data FROM kv_keys k
	LEFT JOIN kv_versions v ON v.mount = k.mount AND v.path = k.path AND v.version = k.current
	WHERE k.mount = ? AND k.path `

// KVCurrent calls each with the rows of paths and of their current versions, in one
// statement for 256 of them.
func (t *Tx) KVCurrent(mount string, paths []string, each func(kv.KeyRow, kv.VersionRow) error) error {
	if !t.quick {
		return t.currents(mount, paths, each)
	}
	var missing []string // in memory
	for _, path := range paths {
		if p, ok := memory[pathRows](t, versionKey(mount, path)); ok {
			p = p.clone()
			if err := each(p.key, p.version); err != nil {
				return err
			}
			continue
		}
		missing = append(missing, path)
	}
	for some := range slices.Chunk(missing, 256) {
		read, _, err := single(t, func() (all []pathRows, found bool, err error) {
			err = t.currents(mount, some, func(k kv.KeyRow, v kv.VersionRow) error {
				all = append(all, pathRows{k, v})
				return nil
			})
			return all, true, err
		})
		if err != nil {
			return err
		}
		for _, p := range read {
			t.db.rows.put(t.state, versionKey(mount, p.key.Path), p.clone(), p.size()+len(mount)+len(p.key.Path))
			if err := each(p.key, p.version); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *Tx) currents(mount string, paths []string, each func(kv.KeyRow, kv.VersionRow) error) error {
	for some := range slices.Chunk(paths, 256) {
		places := 8
		for places < len(some) {
			places *= 4 // 8, 32, 128, 512: few statements, as each stays prepared
		}
		args := make([]any, 1+places)
		args[0] = mount
		for i := range places {
			args[1+i] = some[min(i, len(some)-1)]
		}
		query := current + `IN (?` + strings.Repeat(`, ?`, places-1) + `)`
		if err := t.each(query, args, rowsOf(each)); err != nil {
			return err
		}
	}
	return nil
}

// KVCurrentFrom calls each with the rows of at most limit paths from the first that
// is not below from, sorted bytewise, and of those only the ones before end, with
// their current versions.
func (t *Tx) KVCurrentFrom(mount, from, end string, limit int, each func(kv.KeyRow, kv.VersionRow) error) error {
	if end == "" {
		return t.each(current+`>= ? ORDER BY k.path LIMIT ?`, []any{mount, from, limit}, rowsOf(each))
	}
	return t.each(current+`>= ? AND k.path < ? ORDER BY k.path LIMIT ?`, []any{mount, from, end, limit}, rowsOf(each))
}

// rowsOf reads a row of current.
func rowsOf(each func(kv.KeyRow, kv.VersionRow) error) func(func(...any) error) error {
	return func(scan func(...any) error) error {
		var k kv.KeyRow
		var v kv.VersionRow
		var n *int64
		var gen *uint32
		if err := scan(&k.Path, &k.Current, &k.Gen, &k.Sealed, &n, &gen, &v.Key, &v.Data); err != nil {
			return err
		}
		v.Path = k.Path
		if n != nil && gen != nil {
			v.Version, v.Gen = *n, *gen
		}
		return each(k, v)
	}
}

// PutKVKey writes the row of a path.
func (t *Tx) PutKVKey(mount string, row kv.KeyRow) error {
	_, err := t.execOn(versionKey(mount, row.Path), `INSERT INTO kv_keys (mount, path, current, gen, meta) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (mount, path) DO UPDATE SET current = excluded.current, gen = excluded.gen, meta = excluded.meta`,
		mount, row.Path, row.Current, row.Gen, row.Sealed)
	return err
}

// DeleteKVKey removes the row of a path and those of all its versions.
func (t *Tx) DeleteKVKey(mount, path string) error {
	if _, err := t.execOn(versionKey(mount, path), `DELETE FROM kv_versions WHERE mount = ? AND path = ?`, mount, path); err != nil {
		return err
	}
	_, err := t.execOn(versionKey(mount, path), `DELETE FROM kv_keys WHERE mount = ? AND path = ?`, mount, path)
	return err
}

// PutKVVersion writes the row of a version. One that is there already, which
// its path's row does not know of, is replaced.
func (t *Tx) PutKVVersion(mount string, row kv.VersionRow) error {
	_, err := t.execOn(versionKey(mount, row.Path), `INSERT INTO kv_versions (mount, path, version, gen, key, data) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (mount, path, version) DO UPDATE SET gen = excluded.gen, key = excluded.key, data = excluded.data`,
		mount, row.Path, row.Version, row.Gen, row.Key, row.Data)
	return err
}

// RewrapKVVersion replaces the wrapped key of a version, and leaves its data alone.
func (t *Tx) RewrapKVVersion(mount string, row kv.VersionRow) error {
	_, err := t.execOn(versionKey(mount, row.Path), `UPDATE kv_versions SET gen = ?, key = ? WHERE mount = ? AND path = ? AND version = ?`,
		row.Gen, row.Key, mount, row.Path, row.Version)
	return err
}

// DeleteKVVersions removes the rows of a path's versions from the first to the last.
func (t *Tx) DeleteKVVersions(mount, path string, first, last int64) error {
	_, err := t.execOn(versionKey(mount, path), `DELETE FROM kv_versions WHERE mount = ? AND path = ? AND version BETWEEN ? AND ?`, mount, path, first, last)
	return err
}

// KVPaths returns at most limit paths from the first that is not below from,
// sorted bytewise, and of those only the ones before end; an empty end is none.
func (t *Tx) KVPaths(mount, from, end string, limit int) ([]string, error) {
	var paths []string
	one := func(scan func(...any) error) error {
		var p string
		err := scan(&p)
		paths = append(paths, p)
		return err
	}
	if end == "" {
		return paths, t.each(`SELECT path FROM kv_keys WHERE mount = ? AND path >= ? ORDER BY path LIMIT ?`, []any{mount, from, limit}, one)
	}
	return paths, t.each(`SELECT path FROM kv_keys WHERE mount = ? AND path >= ? AND path < ? ORDER BY path LIMIT ?`, []any{mount, from, end, limit}, one)
}

// KVKeys returns at most limit rows of paths after one, sorted by path.
func (t *Tx) KVKeys(mount, after string, limit int) ([]kv.KeyRow, error) {
	var rows []kv.KeyRow
	err := t.each(`SELECT path, current, gen, meta FROM kv_keys WHERE mount = ? AND path > ? ORDER BY path LIMIT ?`, []any{mount, after, limit},
		func(scan func(...any) error) error {
			var r kv.KeyRow
			err := scan(&r.Path, &r.Current, &r.Gen, &r.Sealed)
			rows = append(rows, r)
			return err
		})
	return rows, err
}

// KVVersions returns at most limit rows of versions after one of a path, sorted
// by path and number.
func (t *Tx) KVVersions(mount, path string, after int64, limit int) ([]kv.VersionRow, error) {
	var rows []kv.VersionRow
	err := t.each(`SELECT path, version, gen, key, data FROM kv_versions
		WHERE mount = ? AND (path, version) > (?, ?) ORDER BY path, version LIMIT ?`, []any{mount, path, after, limit},
		func(scan func(...any) error) error {
			var r kv.VersionRow
			err := scan(&r.Path, &r.Version, &r.Gen, &r.Key, &r.Data)
			rows = append(rows, r)
			return err
		})
	return rows, err
}

// KVVersionKeys is KVVersions without what is sealed in the rows.
func (t *Tx) KVVersionKeys(mount, path string, after int64, limit int) ([]kv.VersionRow, error) {
	var rows []kv.VersionRow
	err := t.each(`SELECT path, version, gen, key FROM kv_versions
		WHERE mount = ? AND (path, version) > (?, ?) ORDER BY path, version LIMIT ?`, []any{mount, path, after, limit},
		func(scan func(...any) error) error {
			var r kv.VersionRow
			err := scan(&r.Path, &r.Version, &r.Gen, &r.Key)
			rows = append(rows, r)
			return err
		})
	return rows, err
}

// KVVersionCount returns how many versions of all paths a mount has.
func (t *Tx) KVVersionCount(mount string) (n int64, err error) {
	_, err = t.row(`SELECT count(*) FROM kv_versions WHERE mount = ?`, []any{mount}, &n)
	return n, err
}

package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"envrun/vault"
)

// errDrop makes database/sql close a connection instead of keeping it.
var errDrop = driver.ErrBadConn

// A Tx is a transaction, from DB.Read or DB.Write, for the function it was
// given to and for no longer. It is for one goroutine.
//
// The first error of the database ends it: every later method returns that
// error, and nothing is kept, whatever the function returns.
type Tx struct {
	db     *DB
	c      *conn
	ctx    context.Context
	writes bool
	done   bool
	err    error
	after  []func()

	// Of a transaction that writes.
	touched touch
	before  *touch // by those that are committed with it, and ran before it

	// A read without a transaction, of rows that are kept: see rows.go.
	quick bool
	wait  context.Context // for a connection

	state uint64 // of the tables: rows that are kept are of this one
}

// AfterCommit runs f when the transaction is durable, before Write returns, and
// not at all if it is undone; in a transaction that reads it runs f at once. It
// is for what is kept in memory of what the database holds.
func (t *Tx) AfterCommit(f func()) {
	if !t.writes {
		f()
		return
	}
	t.after = append(t.after, f)
}

var (
	errDone  = errors.New("sqlstore: a transaction was used after its end")
	errReads = errors.New("sqlstore: a write in a transaction that reads")
)

func (t *Tx) stmt(query string) (*sql.Stmt, error) {
	switch {
	case t.done:
		return nil, errDone
	case t.err != nil:
		return nil, t.err
	case t.quick:
		t.err = errAgain // what it asks for is not kept
		return nil, t.err
	}
	s, err := t.c.prepared(t.ctx, query)
	if err != nil {
		return nil, t.fail(err)
	}
	return s, nil
}

func (t *Tx) fail(err error) error {
	op := "reading"
	if t.writes {
		op = "writing"
	}
	t.err = t.db.d.Explain(op, err)
	return t.err
}

// exec runs a statement that changes rows, and says how many. Of the rows that are
// kept in memory it may change any.
func (t *Tx) exec(query string, args ...any) (int64, error) {
	t.touched.all = true
	return t.change(query, args)
}

// execOn is exec that of the rows which may be kept changes those of a key alone.
func (t *Tx) execOn(key rowKey, query string, args ...any) (int64, error) {
	t.touched.add(key)
	return t.change(query, args)
}

// execBeside is exec that changes none which may be kept.
func (t *Tx) execBeside(query string, args ...any) (int64, error) { return t.change(query, args) }

func (t *Tx) change(query string, args []any) (int64, error) {
	if !t.writes {
		return 0, errReads
	}
	s, err := t.stmt(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, t.fail(err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		return 0, t.fail(err)
	}
	return n, nil
}

// row scans the one row that query gives into dest, and says whether there is
// one. Bytes that are scanned belong to the caller.
func (t *Tx) row(query string, args []any, dest ...any) (found bool, err error) {
	s, err := t.stmt(query)
	if err != nil {
		return false, err
	}
	switch err := s.QueryRowContext(t.ctx, args...).Scan(dest...); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, t.fail(err)
	}
	return true, nil
}

// each calls row for every row that query gives, until it returns an error.
// row must not use the transaction: the connection is busy with the query.
func (t *Tx) each(query string, args []any, row func(scan func(dest ...any) error) error) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(t.ctx, args...)
	if err != nil {
		return t.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		var bad error
		err := row(func(dest ...any) error {
			bad = rows.Scan(dest...)
			return bad
		})
		if bad != nil {
			return t.fail(bad)
		}
		if err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return t.fail(err)
	}
	return nil
}

// Blob returns what PutBlob kept under a kind, such as "policy", and a name.
// KindNotFound if there is nothing.
func (t *Tx) Blob(kind, name string) ([]byte, error) {
	raw, found, err := kept(t, rowKey{blobRows, kind, name}, func() (raw []byte, found bool, err error) {
		found, err = t.row(`SELECT raw FROM blobs WHERE kind = ? AND name = ?`, []any{kind, name}, &raw)
		return raw, found, err
	}, func(raw []byte) ([]byte, int) { return bytes.Clone(raw), len(raw) })
	if err == nil && !found {
		err = &vault.Error{Kind: vault.KindNotFound, Detail: "there is no " + kind + " of that name"}
	}
	return raw, err
}

// PutBlob keeps raw, in place of what was there. The names of kinds belong to
// the package that keeps things under them. What must not be read or changed
// behind the server's back is sealed before it comes here (vault/keyring).
func (t *Tx) PutBlob(kind, name string, raw []byte) error {
	_, err := t.execOn(rowKey{blobRows, kind, name}, `INSERT INTO blobs (kind, name, raw) VALUES (?, ?, ?)
		ON CONFLICT (kind, name) DO UPDATE SET raw = excluded.raw`, kind, name, raw)
	return err
}

// DeleteBlob removes one, and says whether it was there.
func (t *Tx) DeleteBlob(kind, name string) (bool, error) {
	n, err := t.execOn(rowKey{blobRows, kind, name}, `DELETE FROM blobs WHERE kind = ? AND name = ?`, kind, name)
	return n > 0, err
}

// BlobNames returns the names of all of a kind, sorted bytewise.
func (t *Tx) BlobNames(kind string) ([]string, error) {
	var all []string
	err := t.each(`SELECT name FROM blobs WHERE kind = ? ORDER BY name`, []any{kind}, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		all = append(all, name)
		return err
	})
	return all, err
}

// A Blob is one of Blobs.
type Blob struct {
	Name string
	Raw  []byte
}

// Blobs returns all of a kind, sorted by name, bytewise. They are few.
func (t *Tx) Blobs(kind string) ([]Blob, error) {
	var all []Blob
	err := t.each(`SELECT name, raw FROM blobs WHERE kind = ? ORDER BY name`, []any{kind}, func(scan func(...any) error) error {
		var b Blob
		err := scan(&b.Name, &b.Raw)
		all = append(all, b)
		return err
	})
	return all, err
}

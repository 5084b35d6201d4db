// Package audittest is an audit log in memory, for tests of whoever reads one. It
// refuses nothing: a test may forge what it likes.
package audittest

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault/audit"
)

// Start is when the first entry is written. They are a minute apart.
var Start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// A Rows is where the entries are. It is an audit.Reader and an audit.Tx.
type Rows struct {
	Rows []audit.Row
	Head audit.Head
}

var (
	_ audit.Reader = (*Rows)(nil)
	_ audit.Tx     = (*Rows)(nil)
)

// AuditHead implements audit.Reader.
func (a *Rows) AuditHead() (audit.Head, error) { return a.Head, nil }

// AuditCheckpoint implements audit.Reader: there is none.
func (a *Rows) AuditCheckpoint() ([]byte, error) { return nil, nil }

// AppendAudit implements audit.Tx.
func (a *Rows) AppendAudit(rows []audit.Row, head audit.Head) error {
	a.Rows, a.Head = append(a.Rows, rows...), head
	return nil
}

// AuditRows implements audit.Reader.
func (a *Rows) AuditRows(from int64, limit int) ([]audit.Row, error) {
	return a.Rows[from:min(int(from)+limit, len(a.Rows))], nil
}

// AuditHashes implements audit.Reader.
func (a *Rows) AuditHashes(rows []int64) ([][]tlog.Hash, error) {
	var all [][]tlog.Hash
	for _, n := range rows {
		all = append(all, a.Rows[n].Hashes)
	}
	return all, nil
}

// Entry is the n-th of a sequence of entries: who reads prod/data/app.
func Entry(n int, who string) audit.Entry {
	return audit.Entry{Type: audit.Outcome, Status: 200, Time: Start.Add(time.Duration(n) * time.Minute), Auth: audit.Auth{DisplayName: who},
		Request: audit.Request{ID: fmt.Sprint("id-", n), Operation: "read", MountPoint: "prod/", Path: "prod/data/app"}}
}

// A Signer is who signs the checkpoints of a log.
type Signer struct {
	note.Signer
	Key string // public
}

// NewSigner makes one for the log of an origin.
func NewSigner(t testing.TB, origin string) Signer {
	t.Helper()
	skey, key, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return Signer{signer, key}
}

// A Log is a log of entries that were signed.
type Log struct {
	*audit.Log
	Rows
	Signer Signer
	Note   []byte // the checkpoint of all of it
}

// NewLog is the log of some entries.
func NewLog(t testing.TB, signer Signer, entries ...audit.Entry) *Log {
	t.Helper()
	l := &Log{Log: audit.NewLog(signer, func() time.Time { return Start }), Signer: signer}
	l.Add(t, entries...)
	return l
}

// Add appends entries, and signs.
func (l *Log) Add(t testing.TB, entries ...audit.Entry) {
	t.Helper()
	for _, e := range entries {
		if _, err := l.Append(&l.Rows, e.Line()); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if l.Note, err = l.Checkpoint(func(f func(audit.Reader) error) error { return f(&l.Rows) }); err != nil {
		t.Fatal(err)
	}
}

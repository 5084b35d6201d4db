package sqlstore

import (
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

var _ interface {
	audit.Tx
	audit.Reader
	audit.KeepTx
} = (*Tx)(nil)

// AuditHead returns where the audit log ends. In a transaction that writes it
// stays there: there is one writer at a time.
func (t *Tx) AuditHead() (audit.Head, error) {
	var head audit.Head
	var at int64
	var edge []byte
	found, err := t.row(`SELECT size, at, edge FROM audit_head WHERE one = 1`, nil, &head.Size, &at, &edge)
	if err != nil || !found {
		return audit.Head{}, err
	}
	head.At = time.Unix(0, at).UTC()
	head.Edge, err = splitHashes(edge)
	return head, err
}

// insertAudit are the statements that add so many entries.
var insertAudit = func() (all [17]string) {
	for _, n := range []int{1, 2, 16} {
		all[n] = `INSERT INTO audit (idx, at, line, hashes) VALUES (?, ?, ?, ?)` + strings.Repeat(`, (?, ?, ?, ?)`, n-1)
	}
	return all
}()

// AppendAudit stores entries and where the log ends behind them.
func (t *Tx) AppendAudit(rows []audit.Row, head audit.Head) error {
	for len(rows) > 0 {
		// Of one request there are two, an intent and its outcome; of many that wait
		// together any number: as few statements as there can be.
		n := 1
		for _, more := range []int{16, 2} {
			if len(rows) >= more {
				n = more
				break
			}
		}
		args := make([]any, 0, 4*n)
		for _, r := range rows[:n] {
			args = append(args, r.Index, r.At.UnixNano(), r.Line, joinHashes(r.Hashes))
		}
		rows = rows[n:]
		if _, err := t.execBeside(insertAudit[n], args...); err != nil {
			return err
		}
	}
	_, err := t.execBeside(`INSERT INTO audit_head (one, size, at, edge) VALUES (1, ?, ?, ?)
		ON CONFLICT (one) DO UPDATE SET size = excluded.size, at = excluded.at, edge = excluded.edge`, head.Size, head.At.UnixNano(), joinHashes(head.Edge))
	return err
}

// AuditRows returns the entries from from on.
func (t *Tx) AuditRows(from int64, limit int) ([]audit.Row, error) {
	rows := make([]audit.Row, 0, min(limit, 1024))
	err := t.each(`SELECT idx, at, line, hashes FROM audit WHERE idx >= ? ORDER BY idx LIMIT ?`, []any{from, limit}, func(scan func(...any) error) error {
		var r audit.Row
		var at int64
		var hashes []byte
		if err := scan(&r.Index, &at, &r.Line, &hashes); err != nil {
			return err
		}
		r.At = time.Unix(0, at).UTC()
		var err error
		r.Hashes, err = splitHashes(hashes)
		rows = append(rows, r)
		return err
	})
	return rows, err
}

// AuditHashes returns the nodes that are stored with these entries.
func (t *Tx) AuditHashes(rows []int64) ([][]tlog.Hash, error) {
	all := make([][]tlog.Hash, len(rows))
	for i, n := range rows {
		var hashes []byte
		found, err := t.row(`SELECT hashes FROM audit WHERE idx = ?`, []any{n}, &hashes)
		if err == nil && found {
			all[i], err = splitHashes(hashes)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// AuditCheckpoint returns the note that was kept last, nil if none was.
func (t *Tx) AuditCheckpoint() ([]byte, error) {
	note, err := t.Blob("audit", "checkpoint")
	if vault.KindOf(err) == vault.KindNotFound {
		return nil, nil
	}
	return note, err
}

// PutAuditCheckpoint keeps a note in place of the one before.
func (t *Tx) PutAuditCheckpoint(note []byte) error { return t.PutBlob("audit", "checkpoint", note) }

func joinHashes(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize) // never nil, which would be NULL
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func splitHashes(b []byte) ([]tlog.Hash, error) {
	if len(b)%tlog.HashSize != 0 {
		return nil, &vault.Error{Kind: vault.KindTampered, Op: "audit log", Detail: "the nodes of an entry are not of their form"}
	}
	hashes := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range hashes {
		copy(hashes[i][:], b[i*tlog.HashSize:])
	}
	return hashes, nil
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"envrun/vault/audit"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// auditlog FILE SIZE [from=N] [forged=N]: an export of a server's audit log of SIZE
// entries, signed with one key in the whole script, which is in $KEY; entry
// forged is another one, as a server that rewrites its history would have it.
func auditlog(ts *testscript.TestScript, neg bool, args []string) {
	skey := ts.Getenv("SKEY")
	if skey == "" {
		var key string
		var err error
		skey, key, err = note.GenerateKey(nil, "envrun.example.dev/audit")
		ts.Check(err)
		ts.Setenv("SKEY", skey)
		ts.Setenv("KEY", key)
	}
	signer, err := note.NewSigner(skey)
	ts.Check(err)
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	from, forged := 0, -1
	for _, arg := range args[2:] {
		name, text, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(text)
		ts.Check(err)
		switch name {
		case "from":
			from = n
		case "forged":
			forged = n
		default:
			ts.Fatalf("auditlog: %s", arg)
		}
	}
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	l := audit.NewLog(signer, func() time.Time { return now })
	kept := &auditRows{}
	for n := range size {
		e := audit.Entry{Type: audit.Intent, Time: now.Add(time.Duration(n) * time.Minute), Auth: audit.Auth{DisplayName: "ann"},
			Request: audit.Request{ID: fmt.Sprint("id-", n), Operation: "read", MountPoint: "prod/", Path: "prod/data/app"}}
		if n == forged {
			e.Auth.DisplayName = "eve"
		}
		_, err := l.Append(kept, e.Line())
		ts.Check(err)
	}
	signed, err := l.Checkpoint(func(f func(audit.Reader) error) error { return f(kept) })
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(l.Export(kept, f, int64(from), signed))
	ts.Check(f.Close())
}

// auditRows keeps a log in memory.
type auditRows struct {
	rows []audit.Row
	head audit.Head
}

func (a *auditRows) AuditHead() (audit.Head, error)   { return a.head, nil }
func (a *auditRows) AuditCheckpoint() ([]byte, error) { return nil, nil }

func (a *auditRows) AppendAudit(rows []audit.Row, head audit.Head) error {
	a.rows, a.head = append(a.rows, rows...), head
	return nil
}

func (a *auditRows) AuditRows(from int64, limit int) ([]audit.Row, error) {
	return a.rows[from:min(int(from)+limit, len(a.rows))], nil
}

func (a *auditRows) AuditHashes(rows []int64) ([][]tlog.Hash, error) {
	var all [][]tlog.Hash
	for _, n := range rows {
		all = append(all, a.rows[n].Hashes)
	}
	return all, nil
}

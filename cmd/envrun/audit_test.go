package main

import (
	"os"
	"strconv"
	"strings"
	"time"

	"envrun/vault/audit"
	"envrun/vault/audit/audittest"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/mod/sumdb/note"
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
	kept := &audittest.Rows{}
	l := audit.NewLog(signer, func() time.Time { return audittest.Start })
	for n := range size {
		who := "ann"
		if n == forged {
			who = "eve"
		}
		_, err := l.Append(kept, audittest.Entry(n, who).Line())
		ts.Check(err)
	}
	signed, err := l.Checkpoint(func(f func(audit.Reader) error) error { return f(kept) })
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(l.Export(kept, f, int64(from), signed))
	ts.Check(f.Close())
}

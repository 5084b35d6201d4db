package server_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"envrun/vault/server"
	"envrun/vault/sqlite"
)

// lostWrites are two writes that run in one transaction, as many do, which then is not
// made durable.
type lostWrites struct {
	n      atomic.Int32
	second chan func(server.Tx) error
	ran    chan struct{} // closed when the first has
	over   chan struct{} // closed when the transaction is
}

var errLost = errors.New("the transaction was not made durable")

func (l *lostWrites) write(ctx context.Context, d database, f func(server.Tx) error) error {
	switch l.n.Add(1) {
	case 1:
		defer close(l.over)
		return d.write(ctx, func(tx server.Tx) error {
			err := f(tx)
			close(l.ran)
			if err := errors.Join(err, (<-l.second)(tx)); err != nil {
				return err
			}
			return errLost
		})
	case 2:
		l.second <- f
		<-l.over
		return errLost
	}
	return errors.New("a third write")
}

// loses runs two requests that write, and loses the transaction of both.
func (w *world) loses(first, second func() said) {
	w.Helper()
	l := &lostWrites{second: make(chan func(server.Tx) error), ran: make(chan struct{}), over: make(chan struct{})}
	w.db.lose.Store(l)
	var wg sync.WaitGroup
	var a, b said
	wg.Go(func() { a = first() })
	<-l.ran
	wg.Go(func() { b = second() })
	wg.Wait()
	w.db.lose.Store(nil)
	if a.status < 500 || b.status < 500 || l.n.Load() != 2 {
		w.Fatalf("%d writes were lost, and answered with %d %s and %d %s", l.n.Load(), a.status, a.raw, b.status, b.raw)
	}
}

// What a server has seen of a transaction that was lost decides nothing: not even when
// the next change comes, which has to be told apart from the one that never was.
func TestLostChanges(t *testing.T) {
	test := func(t *testing.T, a, b *world) {
		a.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
		a.write("wide", `path "prod/data/*" { capabilities = ["create", "update", "read"] }`)
		tok := a.token(`path "prod/data/mine" { capabilities = ["create", "update"] }`)
		w := signIns(t, a)
		group := a.external("engineering", "", "jwt", "eng")
		who := w.login("ci", w.issuer.Sign(w.good().With(map[string]any{"groups": []string{"eng"}}))).token()
		a.write("dev", `path "prod/data/mine" { capabilities = ["create", "update"] }`)
		mine := `{"data":{"k":"v"}}`
		a.must(200, "root", "POST", "prod/data/yours", mine)
		for i := range 3 { // with a change at this server, and at the other one
			next := []*world{a, b}[i%2]
			a.loses(
				func() said {
					return a.ask("root", "PUT", "sys/policies/acl/one", `{"policy":"path \"prod/data/*\" { capabilities = [\"create\", \"update\", \"read\"] }"}`)
				},
				func() said { return a.ask(tok, "POST", "prod/data/mine", mine) })
			next.write("other", fmt.Sprintf(`path "x/%d" { capabilities = ["read"] }`, i))
			a.must(403, tok, "GET", "prod/data/yours", "")

			a.loses(
				func() said { return a.ask("root", "POST", "identity/group/id/"+group, `{"policies":"wide"}`) },
				func() said { return a.ask(who, "POST", "prod/data/mine", mine) })
			next.must(200, "root", "POST", "identity/group", fmt.Sprintf(`{"name":"others %d"}`, i))
			a.must(403, who, "GET", "prod/data/yours", "")
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		// In a file, since one in memory is read by nobody while somebody writes.
		db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "data.db"))
		if err != nil {
			t.Fatal(err)
		}
		w := worldOn(t, db)
		if _, _, err := w.Init(t.Context(), server.Setup{Sealers: sealers(t)[1:], Token: "root", Open: true}); err != nil {
			t.Fatal(err)
		}
		test(t, w, w)
	})
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts PostgreSQL: not in short mode")
		}
		a, b := pair(t)
		test(t, a, b)
	})
}

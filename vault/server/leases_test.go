package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/vault/lease"
	"envrun/vault/server"
)

// lent is an issuer of the test: what it gave out, and until when.
type lent struct {
	mu    sync.Mutex
	live  map[string]time.Time
	fails error
}

func (i *lent) Renew(_ context.Context, l lease.Lease, until time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fails == nil {
		i.live[l.ID] = until
	}
	return i.fails
}

func (i *lent) Revoke(_ context.Context, l lease.Lease) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fails == nil {
		delete(i.live, l.ID)
	}
	return i.fails
}

func (i *lent) has(id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, there := i.live[id]
	return there
}

// What is given out for a time is looked up, renewed, ended, and shown when it cannot be.
func TestLeases(t *testing.T) {
	w := newWorld(t)
	issuer := &lent{live: map[string]time.Time{}}
	w.AddIssuer("test", issuer)
	give := func(path string) string {
		t.Helper()
		var l lease.Lease
		if err := w.db.Write(t.Context(), func(tx server.Tx) (err error) {
			l, err = w.Leases().Make(tx, lease.Spec{Path: path, Issuer: "test", TTL: time.Hour, Max: 2 * time.Hour, Renewable: true})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		issuer.live[l.ID] = l.Expires
		return l.ID
	}
	id := func(id string) string { return fmt.Sprintf(`{"lease_id":%q}`, id) }
	one := give("database/creds/ro")
	got := w.must(200, "root", "POST", "sys/leases/lookup", id(one)).data()
	if got["id"] != one || fmt.Sprint(got["ttl"]) != "3600" || got["renewable"] != true || got["last_renewal"] != nil || got["state"] != nil {
		t.Errorf("looked up: %v", got)
	}
	s := w.must(200, "root", "PUT", "sys/leases/renew", id(one))
	if s.body["lease_id"] != one || s.body["lease_duration"] != json.Number("3600") || s.body["renewable"] != true {
		t.Errorf("renewed: %s", s.raw)
	}
	s = w.must(200, "root", "PUT", "sys/leases/renew/"+one, `{"increment":"10h"}`)
	if s.body["lease_duration"] != json.Number("7200") || !strings.Contains(s.raw, "capped accordingly") {
		t.Errorf("renewed for more: %s", s.raw)
	}
	if !issuer.live[one].Equal(w.now.UTC().Add(2 * time.Hour)) {
		t.Errorf("the issuer lets it live until %v", issuer.live[one])
	}
	issuer.fails = errors.New("the other side does not answer")
	if s := w.must(400, "root", "PUT", "sys/leases/renew", id(one)); !strings.Contains(s.raw, "does not answer") {
		t.Errorf("refused by the issuer: %s", s.raw)
	}
	issuer.fails = nil

	two, three := give("database/creds/ro"), give("database/creds/rw")
	for folder, want := range map[string]string{"": "[database/]", "/database": "[creds/]", "/database/creds": "[ro/ rw/]"} {
		if got := fmt.Sprint(w.must(200, "root", "LIST", "sys/leases/lookup"+folder, "").data()["keys"]); got != want {
			t.Errorf("below %q: %s", folder, got)
		}
	}
	w.must(404, "root", "LIST", "sys/leases/lookup/database/creds/no", "")

	// Whoever waits for the end has it; the others' comes soon.
	w.must(204, "root", "PUT", "sys/leases/revoke", id(one))
	if issuer.has(one) {
		t.Error("after waiting for its end it lives")
	}
	w.must(400, "root", "POST", "sys/leases/lookup", id(one))
	w.must(202, "root", "PUT", "sys/leases/revoke/"+two, `{"sync":false}`)
	if got := w.must(200, "root", "POST", "sys/leases/lookup", id(two)).data(); got["state"] != "revoking" {
		t.Errorf("while it ends: %v", got)
	}
	w.must(400, "root", "PUT", "sys/leases/renew", id(two))
	w.sweep()
	if issuer.has(two) {
		t.Error("it was not ended")
	}

	// What cannot be ended is accepted, tried again, and shown.
	issuer.fails = fmt.Errorf("must be owner of table orders: %w", lease.ErrNever)
	w.must(202, "root", "PUT", "sys/leases/revoke", id(three))
	got = w.must(200, "root", "POST", "sys/leases/lookup", id(three)).data()
	if got["state"] != "stuck" || !strings.Contains(fmt.Sprint(got["error"]), "owner of table orders") {
		t.Errorf("stuck: %v", got)
	}
	if s := w.must(200, "root", "GET", "sys/leases?type=irrevocable", ""); !strings.Contains(s.raw, three) || s.data()["lease_count"] != json.Number("1") {
		t.Errorf("the stuck ones: %s", s.raw)
	}
	if s := w.must(200, "root", "GET", "sys/leases/count?type=irrevocable", ""); fmt.Sprint(s.data()["counts"]) != "map[database/:1]" {
		t.Errorf("counted: %s", s.raw)
	}
	w.must(204, "root", "PUT", "sys/leases/revoke-force/database", "")
	w.must(400, "root", "POST", "sys/leases/lookup", id(three))
	issuer.fails = nil

	four := give("database/creds/ro")
	w.must(202, "root", "PUT", "sys/leases/revoke-prefix/database/creds", "")
	w.sweep()
	if issuer.has(four) {
		t.Error("it was not ended with the others below the prefix")
	}
	if v, err := w.Verify(t.Context()); err != nil || len(v.Findings) != 0 {
		t.Errorf("verify: %v %v", v.Findings, err)
	}
}

// sweep ends what is due, as envrund does every few seconds.
func (w *world) sweep() {
	w.Helper()
	if _, err := lease.Work(w.Context(), w.Leases(), w.db); err != nil {
		w.Fatal(err)
	}
}

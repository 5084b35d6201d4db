package server_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"filippo.io/age"

	"envrun/auth/oidc/oidctest"
	"envrun/vault/keyring"
	"envrun/vault/postgres"
	"envrun/vault/server"
	"envrun/vault/vaulttest/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(replicaAddress) != "" {
		fmt.Fprintln(os.Stderr, replica())
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

func onPostgres(t testing.TB, address string) *world {
	t.Helper()
	db, err := postgres.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return worldOn(t, db)
}

// The same requests have the same answers on PostgreSQL.
func TestRecordingsPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL: not in short mode")
	}
	replayAll(t, func(t testing.TB) *world { return onPostgres(t, pgtest.Database(t)) })
}

// pair are two servers on one new database of PostgreSQL, both open.
func pair(t *testing.T) (a, b *world) {
	t.Helper()
	address := pgtest.Database(t)
	return opened(t, onPostgres(t, address), onPostgres(t, address))
}

// opened opens two servers on one new database.
func opened(t *testing.T, a, b *world) (*world, *world) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	set := server.Setup{Sealers: []keyring.AgeSealer{{Name: "ops", Recipient: id.Recipient().String()}}, Token: "root", Open: true}
	if _, _, err := a.Init(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	b.must(503, "root", "GET", "sys/mounts", "")
	if by, err := b.Unseal(t.Context(), []age.Identity{id}); err != nil || by != "age:ops" {
		t.Fatal(by, err)
	}
	return a, b
}

// Two servers on one database: what one changes decides the next request at the
// other, whatever that has kept compiled.
func TestReplicas(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL: not in short mode")
	}
	a, b := pair(t)
	a.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
	for i := range 3 {
		a.must(200, "root", "POST", "prod/data/x", `{"data":{"k":"v"}}`)
		b.must(200, "root", "GET", "prod/data/x", "")
		tok := a.token(`path "prod/data/x" { capabilities = ["read"] }`)
		b.must(200, tok, "GET", "prod/data/x", "")
		b.must(204, "root", "PUT", "sys/policies/acl/one", `{"policy":"path \"prod/data/x\" { capabilities = [\"deny\"] }"}`)
		a.must(403, tok, "GET", "prod/data/x", "")
		b.must(204, "root", "PUT", "sys/policies/acl/one", `{"policy":"path \"prod/data/x\" { capabilities = [\"read\"] }"}`)
		a.must(200, tok, "GET", "prod/data/x", "")
		b.must(204, "root", "POST", "auth/token/revoke", `{"token":"`+tok+`"}`)
		a.must(403, tok, "GET", "prod/data/x", "")
		if i == 1 {
			b.must(204, "root", "DELETE", "sys/mounts/prod", "")
			a.must(404, "root", "GET", "prod/data/x", "")
			b.must(204, "root", "POST", "sys/mounts/prod", `{"type":"kv-v2"}`)
		}
	}
}

// Two servers on one database make one entity of one person, and what groups give at
// one of them decides the next request at the other.
func TestReplicasIdentity(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL: not in short mode")
	}
	a, b := pair(t)
	w := signIns(t, a)
	other := &signInWorld{b, w.issuer}
	a.write("eng", `path "secret/data/eng" { capabilities = ["read"] }`)
	a.write("dev", `path "secret/nothing" { capabilities = ["read"] }`)
	group := a.external("engineering", "eng", "jwt", "eng")
	for n := range 3 {
		who := w.good().With(oidctest.Claims{"sub": fmt.Sprint("new", n), "groups": []string{"eng"}})
		var wg sync.WaitGroup
		var all [8]said
		for i := range all {
			at := []*signInWorld{w, other}[i%2]
			wg.Go(func() { all[i] = at.login("ci", w.issuer.Sign(who)) })
		}
		wg.Wait()
		_, _, given, entity := all[0].auth(t)
		for _, s := range all {
			if _, _, g, e := s.auth(t); e != entity || fmt.Sprint(g) != "[eng]" || fmt.Sprint(given) != "[eng]" {
				t.Errorf("entity %s of %s, policies %v", e, entity, g)
			}
		}
		tok := all[0].token()
		a.must(404, tok, "GET", "secret/data/eng", "")
		b.must(404, tok, "GET", "secret/data/eng", "")
		b.must(200, "root", "POST", "identity/group/id/"+group, `{"policies":[]}`)
		a.must(403, tok, "GET", "secret/data/eng", "")
		a.must(200, "root", "POST", "identity/group/id/"+group, `{"policies":"eng"}`)
		b.must(404, tok, "GET", "secret/data/eng", "")
		other.login("ci", w.issuer.Sign(who.With(oidctest.Claims{"groups": []string{"sales"}})))
		a.must(403, tok, "GET", "secret/data/eng", "")
		b.must(204, "root", "POST", "identity/entity/id/"+entity, `{"disabled":true}`)
		a.must(403, tok, "GET", "auth/token/lookup-self", "")
	}
}

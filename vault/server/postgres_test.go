package server_test

import (
	"fmt"
	"os"
	"testing"

	"filippo.io/age"

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

// Two servers on one database: what one changes decides the next request at the
// other, whatever that has kept compiled.
func TestReplicas(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL: not in short mode")
	}
	address := pgtest.Database(t)
	a, b := onPostgres(t, address), onPostgres(t, address)
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

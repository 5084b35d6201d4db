package filevault_test

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/filevault"
	"envrun/vault/record"
)

func TestStatus(t *testing.T) {
	m := newTeam(t)
	v := m.aliceVault
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	old, err := agekey.Parse(classic.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.AddGrant(t.Context(), "dev", grant(t, "old-ci", old)); err != nil {
		t.Fatal(err)
	}
	rotate(t, v, "dev", m.toAlice, m.toBob, grant(t, "old-ci", old))
	set(t, v, "dev", "b", "A=1")
	set(t, v, "dev", "c", "A=1")
	if _, err := v.Apply(t.Context(), "dev", []vault.Change{{Path: "c", Was: vault.Any, Delete: true}}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 2, 11, 9, 14, 3, 0, time.UTC)
	exposed := record.Exposed{Vault: v.ID(), Env: "dev", Member: "eve", Gen: 1, Since: now, By: "alice@laptop", At: now,
		Entries: []record.ExposedEntry{{Path: "a", Version: 1}, {Path: "b", Version: 0 + 1}, {Path: "c", Version: 1}, {Path: "gone", Version: 3}}}
	write(t, file(m.alice, "envs/dev/exposed/2026-02-11-eve.list"), exposed.Marshal())
	elsewhere := exposed
	elsewhere.Env = "prod"
	write(t, file(m.alice, "envs/dev/exposed/2026-02-12-eve.list"), elsewhere.Marshal())
	elsewhere.Env, elsewhere.Vault = "dev", "v_0000000000000000"
	write(t, file(m.alice, "envs/dev/exposed/2026-02-13-eve.list"), elsewhere.Marshal())
	set(t, v, "dev", "b", "A=2")
	request := record.Request{Vault: v.ID(), Env: "dev", Member: "dave", Recipient: identity(t).Recipient(), Reason: "on call", At: now}
	write(t, file(m.alice, "requests/dev/dave.req"), request.Marshal())
	write(t, file(m.alice, "requests/dev/eve.req"), request.Marshal())

	check := func(s filevault.Status, keyed bool) {
		t.Helper()
		if s.Vault != v.ID() || s.Dir != ".envrun/vault" || len(s.Envs) != 2 {
			t.Fatalf("%+v", s)
		}
		e := s.Envs[0]
		if e.Env != "dev" || e.Gen != 2 || e.By != "alice@laptop" || e.Why != "test" || len(e.Fingerprint) != 19 || !slices.Equal(e.Retired, []uint32{1}) {
			t.Errorf("key: %+v", e)
		}
		if e.Secrets != 2 || e.Deleted != 1 || e.Damaged != 0 || len(e.OldKey) != 0 {
			t.Errorf("%d secrets, %d deleted, %d damaged, %v under old keys", e.Secrets, e.Deleted, e.Damaged, e.OldKey)
		}
		// b was written twice and c was made and deleted since the rotation sealed.
		if e.SealSeq != 4 || e.SealBy != "alice@laptop" || e.Unsealed != 2 {
			t.Errorf("seal %d by %s, %d unsealed", e.SealSeq, e.SealBy, e.Unsealed)
		}
		var members []string
		for _, m := range e.Members {
			members = append(members, m.Member)
			if m.Err != nil || m.Sealed != keyed || m.PostQuantum != (m.Member != "old-ci") {
				t.Errorf("%+v", m)
			}
		}
		if !slices.Equal(members, []string{"alice@laptop", "bob@desktop", "old-ci"}) {
			t.Errorf("members: %q", members)
		}
		if got := e.PostQuantum(); got != "no, 1 of 3 grants is classic" {
			t.Errorf("post-quantum: %s", got)
		}
		if got := s.Envs[1].PostQuantum(); got != "yes" {
			t.Errorf("post-quantum of prod: %s", got)
		}
		if len(e.Exposures) != 1 || e.Exposures[0].Member != "eve" || !slices.Equal(openPaths(e.Exposures[0]), []vault.Path{"a"}) {
			t.Errorf("exposures: %+v", e.Exposures)
		}
		if len(e.Requests) != 2 || e.Requests[0].Member != "dave" || e.Requests[0].Reason != "on call" || len(e.Requests[0].Code) != 14 || e.Requests[0].Err != nil || e.Requests[1].Err == nil {
			t.Errorf("requests: %+v", e.Requests)
		}
	}
	s, err := v.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check(s, true)
	if now, err := v.Members(t.Context(), "dev"); err != nil || !reflect.DeepEqual(now, s.Envs[0].Members) {
		t.Errorf("members: %+v, %v; by the status %+v", now, err, s.Envs[0].Members)
	}
	_, err = v.Members(t.Context(), "nowhere")
	wantKind(t, err, vault.KindNoEnv)
	if e := s.Envs[0]; e.Err != nil || e.Mine != "alice@laptop" || e.Pinned != 2 {
		t.Errorf("%+v", e)
	}
	// Without an identity it is what the files say.
	nobody := m.alice
	nobody.Identity, nobody.Member = nil, ""
	if s, err = open(t, nobody).Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(s, false)
	if e := s.Envs[0]; vault.KindOf(e.Err) != vault.KindNoIdentity || e.Mine != "" {
		t.Errorf("%+v", e)
	}

	// The request and the lists in the wrong place are findings; the rest is clean.
	if errs := findings(t, v, "dev"); len(errs) != 3 {
		t.Errorf("verify: %v", errs)
	}
	os.Remove(file(m.alice, "requests/dev/eve.req"))
	os.Remove(file(m.alice, "envs/dev/exposed/2026-02-12-eve.list"))
	os.Remove(file(m.alice, "envs/dev/exposed/2026-02-13-eve.list"))
	clean(t, v, "dev", "prod")
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	if s, err = v.Status(t.Context()); err != nil || s.Envs[0].Unsealed != 0 || s.Envs[0].SealSeq != 5 {
		t.Errorf("%+v, %v", s.Envs[0], err)
	}
	// Sealing what is sealed writes nothing.
	before := tree(t, m.alice.Dir)
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	if after := tree(t, m.alice.Dir); after["envs/dev/seal"] != before["envs/dev/seal"] {
		t.Error("sealed twice")
	}
}

// TestStatusOfJournal: what an interrupted write left, before anybody mends it.
// TestStrays: what has no place is found, wherever it is, and once.
func TestStrays(t *testing.T) {
	_, o := project(t, "dev", "prod")
	v := open(t, o)
	for _, name := range []string{"x", "envs/Dev/seal", "envs/dev/y", "envs/prod/keys/0001/z", "requests/dev/\x1b[31m.req"} {
		write(t, file(o, name), nil)
	}
	names := func(errs []error) string {
		var all []string
		for _, err := range errs {
			if !errors.Is(err, filevault.ErrStray) {
				t.Errorf("%v is no stray", err)
			}
			ve, _ := errors.AsType[*vault.Error](err)
			all = append(all, strings.TrimPrefix(ve.File, ".envrun/vault/"))
		}
		return strings.Join(all, " ")
	}
	for _, c := range []struct {
		but  []vault.Env
		want string
	}{
		{nil, "envs/Dev envs/dev/y envs/prod/keys/0001/z requests/dev/\x1b[31m.req x"},
		{[]vault.Env{"dev"}, "envs/Dev envs/prod/keys/0001/z requests/dev/\x1b[31m.req x"},
		{[]vault.Env{"dev", "prod"}, "envs/Dev requests/dev/\x1b[31m.req x"},
	} {
		strays, err := v.Strays(t.Context(), c.but...)
		if got := names(strays); err != nil || got != c.want {
			t.Errorf("but %v: %q, %v; want %q", c.but, got, err, c.want)
		}
	}
	if got := names(findings(t, v, "dev")); got != "envs/dev/y" {
		t.Errorf("verify of dev: %s", got)
	}
}

func TestStatusOfJournal(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	journal := func() filevault.Journal {
		t.Helper()
		s, err := v.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Journal
	}
	if got := journal(); got != filevault.NoJournal {
		t.Error(got)
	}
	write(t, file(o, ".txn/abc/0"), read(t, file(o, "envs/dev/secrets/a.sec")))
	if got := journal(); got != filevault.Abandoned {
		t.Error(got)
	}
	write(t, file(o, ".txn/abc/commit"), []byte("envrun-txn v1\nmove 0 envs/dev/secrets/b.sec\nend 1\n"))
	if got := journal(); got != filevault.Unfinished {
		t.Error(got)
	}
	// A record in another's place, moved there by a journal, is refused as ever.
	for range v.Verify(t.Context(), "dev") {
	}
	if got := journal(); got != filevault.NoJournal {
		t.Error(got)
	}
	_, err := v.Get(t.Context(), "dev", "b")
	wantError(t, err, vault.KindTampered, ".envrun/vault/envs/dev/secrets/b.sec")
	write(t, file(o, ".tmp-dead"), []byte("x"))
	if got := journal(); got != filevault.Abandoned {
		t.Error(got)
	}
	set(t, v, "dev", "a", "A=2")
	if got := journal(); got != filevault.NoJournal {
		t.Error(got)
	}
}

// openPaths are the paths of an exposure that are open.
func openPaths(e filevault.Exposure) []vault.Path {
	var paths []vault.Path
	for _, o := range e.Open {
		paths = append(paths, o.Path)
	}
	return paths
}

// What is asked of one environment is read of no other, and who holds its key
// without a look at a secret.
func TestStatusOfOne(t *testing.T) {
	m := newTeam(t)
	v := m.aliceVault
	set(t, v, "dev", "b", "A=1")
	all, err := v.Status(t.Context())
	if err != nil || len(all.Envs) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	one, err := v.Status(t.Context(), "dev", "nowhere")
	if err != nil || len(one.Envs) != 1 || !reflect.DeepEqual(one.Envs[0], all.Envs[0]) || one.Vault != all.Vault || one.Dir != all.Dir {
		t.Errorf("%+v, %v", one, err)
	}
	if err := os.RemoveAll(file(m.alice, "envs/dev/secrets")); err != nil {
		t.Fatal(err)
	}
	key, err := v.KeyStatus(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	want := all.Envs[0]
	if key.Secrets != 0 || want.Secrets == 0 || !reflect.DeepEqual(key.Members, want.Members) || key.Mine != want.Mine || key.Fingerprint != want.Fingerprint || key.Gen != want.Gen || key.Pinned != want.Pinned || key.Err != nil {
		t.Errorf("%+v\nwant %+v", key, want)
	}
	if _, err := v.KeyStatus(t.Context(), "nowhere"); vault.KindOf(err) != vault.KindNoEnv {
		t.Errorf("%v", err)
	}
}

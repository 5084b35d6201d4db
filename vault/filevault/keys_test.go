package filevault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
	"envrun/vault/seal"
)

// grant is who gets a key.
func grant(t testing.TB, member string, id *agekey.Identity) engine.GrantTo {
	t.Helper()
	to, err := agekey.ParseRecipient(id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	return engine.GrantTo{Member: member, Recipient: id.Recipient(), Sealer: seal.AgeSealer("age:"+member, to, nil)}
}

func rotate(t testing.TB, v *filevault.Vault, env vault.Env, to ...engine.GrantTo) {
	t.Helper()
	if err := v.Rotate(t.Context(), env, "test", to); err != nil {
		t.Fatal(err)
	}
}

// team is a vault of alice with bob let in, who has another machine.
type team struct {
	dir              string
	alice, bob       filevault.Options
	aliceID, bobID   *agekey.Identity
	toAlice, toBob   engine.GrantTo
	aliceVault       *filevault.Vault
	contacts, notice []string
}

func newTeam(t testing.TB) *team {
	t.Helper()
	m := &team{dir: t.TempDir(), aliceID: identity(t), bobID: identity(t)}
	at := filepath.Join(m.dir, ".envrun", "vault")
	m.alice, m.bob = as(t, at, "alice@laptop", m.aliceID), as(t, at, "bob@desktop", m.bobID)
	m.toAlice, m.toBob = grant(t, "alice@laptop", m.aliceID), grant(t, "bob@desktop", m.bobID)
	var err error
	if m.aliceVault, err = filevault.Init(t.Context(), filevault.InitOptions{Options: m.alice, Envs: []vault.Env{"dev", "prod"}}); err != nil {
		t.Fatal(err)
	}
	if err := m.aliceVault.AddGrant(t.Context(), "dev", m.toBob); err != nil {
		t.Fatal(err)
	}
	set(t, m.aliceVault, "dev", "a", "A=1")
	m.bob.FirstContact = func(_ context.Context, c filevault.Contact) error {
		m.contacts = append(m.contacts, c.Fingerprint)
		return nil
	}
	m.bob.Notice = func(line string) { m.notice = append(m.notice, line) }
	return m
}

func TestFirstContact(t *testing.T) {
	m := newTeam(t)
	shy := m.bob
	shy.FirstContact = nil
	_, err := open(t, shy).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, ".envrun/vault/envs/dev/keys/0001/gen", "has not seen the dev key before")
	unknown, ok := errors.AsType[*filevault.UntrustedError](err)
	if !ok {
		t.Fatalf("no *UntrustedError: %v", err)
	}
	s, err := m.aliceVault.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fp := s.Envs[0].Fingerprint; unknown.Fingerprint != fp || unknown.Gen != 1 || unknown.Env != "dev" || unknown.Vault != m.aliceVault.ID() || !strings.Contains(unknown.Error(), fp) {
		t.Errorf("%+v, want the fingerprint %s", unknown.Contact, fp)
	}
	if _, err := os.Stat(shy.StateDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused key left a pin: %v", err)
	}

	no := m.bob
	no.FirstContact = func(context.Context, filevault.Contact) error { return errors.New("it is another one on the phone") }
	_, err = open(t, no).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, "", "another one on the phone")

	for range 3 {
		v := open(t, m.bob)
		for range 2 {
			if got := get(t, v, "dev", "a"); got != "A=1" {
				t.Error(got)
			}
		}
	}
	if len(m.contacts) != 1 || m.contacts[0] != unknown.Fingerprint {
		t.Errorf("bob was asked about %q", m.contacts)
	}
	// Once known, there is nobody to ask.
	if got := get(t, open(t, shy), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	// Alice made the key, so she is not asked at all.
	if got := get(t, open(t, m.alice), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	// Bob has no grant for prod.
	_, err = open(t, m.bob).Get(t.Context(), "prod", "a")
	wantError(t, err, vault.KindDenied, "", "bob@desktop has no grant", "alice@laptop")
}

// TestIdentity: asked for once, when a key is needed; found by its recipient
// under any member's name.
func TestIdentity(t *testing.T) {
	m := newTeam(t)
	calls := 0
	o := m.bob
	o.Identity = func(context.Context) (*agekey.Identity, error) {
		calls++
		return m.bobID, nil
	}
	v := open(t, o)
	for info, err := range v.List(t.Context(), "dev", "") {
		if err != nil || info.Path != "a" {
			t.Error(info, err)
		}
	}
	if calls != 0 {
		t.Error("listing asked for the identity")
	}
	get(t, v, "dev", "a")
	get(t, v, "dev", "a")
	set(t, v, "dev", "b", "A=1")
	if calls != 1 {
		t.Errorf("the identity was asked for %d times", calls)
	}

	for _, member := range []string{"", "bob@phone"} {
		o := m.bob
		o.Member = member
		if got := get(t, open(t, o), "dev", "a"); got != "A=1" {
			t.Error(got)
		}
	}
	o = m.bob
	o.Member = "alice@laptop"
	if got := get(t, open(t, o), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	o = m.alice
	o.Member = "bob@desktop"
	stranger := identity(t)
	o.Identity = func(context.Context) (*agekey.Identity, error) { return stranger, nil }
	_, err := open(t, o).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, "", "for another identity")

	o.Identity = nil
	_, err = open(t, o).Get(t.Context(), "dev", "a")
	wantKind(t, err, vault.KindNoIdentity)
	cause := errors.New("no such keychain")
	o.Identity = func(context.Context) (*agekey.Identity, error) { return nil, cause }
	_, err = open(t, o).Get(t.Context(), "dev", "a")
	wantKind(t, err, vault.KindNoIdentity)
	if !errors.Is(err, cause) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// TestRotation: a pinned machine follows the chain without being asked, over
// several generations too, and one who is left out is out.
func TestRotation(t *testing.T) {
	m := newTeam(t)
	get(t, open(t, m.bob), "dev", "a")
	long := open(t, m.bob) // open all the time, as a TUI is
	get(t, long, "dev", "a")
	for range 3 {
		rotate(t, m.aliceVault, "dev", m.toAlice, m.toBob)
		set(t, m.aliceVault, "dev", "a", "A=1")
	}
	set(t, m.aliceVault, "dev", "a", "A=4")
	for _, v := range []*filevault.Vault{open(t, m.bob), long, open(t, m.alice)} {
		if got := get(t, v, "dev", "a"); got != "A=4" {
			t.Error(got)
		}
		clean(t, v, "dev")
	}
	if len(m.contacts) != 1 {
		t.Errorf("bob was asked %d times", len(m.contacts))
	}
	if s, err := m.aliceVault.Status(t.Context()); err != nil || s.Envs[0].Gen != 4 || s.Envs[0].Pinned != 4 || len(s.Envs[0].Retired) != 3 {
		t.Errorf("%+v, %v", s.Envs[0], err)
	}

	rotate(t, m.aliceVault, "dev", m.toAlice)
	for _, v := range []*filevault.Vault{open(t, m.bob), long} {
		_, err := v.Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindDenied, "", "bob@desktop has no grant for key 5")
	}

	// Back after what he missed was pruned: nothing leads to the new key, so it
	// is a first contact again, and says what is known.
	rotate(t, m.aliceVault, "dev", m.toAlice, m.toBob)
	for _, gen := range []string{"0001", "0002", "0003", "0004", "0005"} {
		if err := os.RemoveAll(file(m.alice, "envs/dev/keys/"+gen)); err != nil {
			t.Fatal(err)
		}
	}
	shy := m.bob
	shy.FirstContact = nil
	_, err := open(t, shy).Get(t.Context(), "dev", "a")
	unknown, ok := errors.AsType[*filevault.UntrustedError](err)
	if !ok || unknown.Known != 4 || unknown.Gen != 6 {
		t.Errorf("%v", err)
	}
	if got := get(t, open(t, m.bob), "dev", "a"); got != "A=4" || len(m.contacts) != 2 {
		t.Errorf("%s after %d contacts", got, len(m.contacts))
	}
	clean(t, open(t, m.bob), "dev")
	clean(t, m.aliceVault, "dev")
}

// TestReplacedKey: somebody who can write to the repository and holds no key
// replaces the whole environment by one of their own, wrapped for everybody.
// The next write would give them the value (filevault §3.9).
func TestReplacedKey(t *testing.T) {
	for _, generations := range []int{1, 2, 4} { // the forged vault pretends to be at that generation
		m := newTeam(t)
		get(t, open(t, m.bob), "dev", "a")
		rotate(t, m.aliceVault, "dev", m.toAlice, m.toBob)
		get(t, open(t, m.bob), "dev", "a")
		// Mallory makes a vault of the same id, which is public, with a grant for
		// bob's recipient, which is public too.
		mallory := as(t, filepath.Join(t.TempDir(), "vault"), "alice@laptop", identity(t))
		if _, err := filevault.Init(t.Context(), filevault.InitOptions{Options: mallory}); err != nil {
			t.Fatal(err)
		}
		write(t, file(mallory, "vault.toml"), read(t, file(m.alice, "vault.toml")))
		forged := open(t, trusting(mallory))
		malloryID, _ := mallory.Identity(t.Context())
		if err := forged.CreateEnv(t.Context(), "dev", []engine.GrantTo{grant(t, "alice@laptop", malloryID), m.toBob}); err != nil {
			t.Fatal(err)
		}
		for range generations - 1 {
			rotate(t, forged, "dev", grant(t, "alice@laptop", malloryID), m.toBob)
		}
		set(t, forged, "dev", "a", "A=forged")
		if err := os.RemoveAll(file(m.alice, "envs/dev")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file(mallory, "envs/dev"), file(m.alice, "envs/dev")); err != nil {
			t.Fatal(err)
		}
		v := open(t, m.bob)
		_, err := v.Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindTampered, "", "the dev key was replaced by someone who did not hold the old one")
		_, err = v.Apply(t.Context(), "dev", []vault.Change{change("a", "A=mine")})
		wantKind(t, err, vault.KindTampered)
		if len(m.contacts) != 1 {
			t.Errorf("bob was asked whether to trust it: %q", m.contacts)
		}
		// Who knows why may decide to trust it.
		if err := v.ForgetPin(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		if got := get(t, v, "dev", "a"); got != "A=forged" || len(m.contacts) != 2 {
			t.Errorf("%s after %d contacts", got, len(m.contacts))
		}
	}
}

// TestPlaces: another vault in the place of one that this machine knows, with an
// id of its own, is not a vault that is merely new to it.
func TestPlaces(t *testing.T) {
	id := identity(t)
	first := as(t, filepath.Join(t.TempDir(), ".envrun", "vault"), "alice@laptop", id)
	first.Place = filepath.Dir(filepath.Dir(first.Dir))
	a, err := filevault.Init(t.Context(), filevault.InitOptions{Options: first, Envs: []vault.Env{"dev"}})
	if err != nil {
		t.Fatal(err)
	}
	set(t, a, "dev", "a", "A=1")
	// Another vault: unknown to alice's machine, though her recipient is in it.
	theirs := as(t, filepath.Join(t.TempDir(), ".envrun", "vault"), "mallory", identity(t))
	theirs.Place = filepath.Dir(filepath.Dir(theirs.Dir))
	b, err := filevault.Init(t.Context(), filevault.InitOptions{Options: theirs, Envs: []vault.Env{"dev", "prod"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range []vault.Env{"dev", "prod"} {
		if err := b.AddGrant(t.Context(), env, grant(t, "alice@laptop", id)); err != nil {
			t.Fatal(err)
		}
	}
	set(t, b, "dev", "a", "A=2")

	asked := 0
	second := first
	second.Dir = theirs.Dir
	second.FirstContact = func(context.Context, filevault.Contact) error { asked++; return nil }
	refused := func(what string) {
		t.Helper()
		_, err := open(t, second).Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindTampered, "", "another vault is in the place of vault "+a.ID(), b.ID())
		if r, ok := errors.AsType[*filevault.ReplacedError](err); !ok || r.Known != a.ID() || r.Vault != b.ID() || r.Env != "dev" {
			t.Errorf("%s: %+v", what, r)
		}
		_, err = open(t, second).Apply(t.Context(), "dev", []vault.Change{change("a", "A=mine")})
		wantKind(t, err, vault.KindTampered)
	}
	refused("a vault that is new")
	if asked != 0 {
		t.Error("a person was asked about it")
	}
	// The file is named so that it is not taken for the one of this project.
	if _, err := open(t, second).Get(t.Context(), "dev", "a"); !strings.Contains(err.Error(), filepath.ToSlash(theirs.Dir)) {
		t.Errorf("%v does not name %s", err, theirs.Dir)
	}
	// An environment that the machine has not seen here is a first contact.
	set(t, open(t, second), "prod", "a", "A=1")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}

	// Known from a place of its own, it is no better here.
	own := second
	own.Place = theirs.Place
	if got := get(t, open(t, own), "dev", "a"); got != "A=2" {
		t.Error(got)
	}
	refused("a vault that is known elsewhere")

	// A second clone of the first is nobody's business, and the machine learns it.
	clone := first
	clone.Place = t.TempDir()
	if got := get(t, open(t, clone), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	second.Place = clone.Place
	refused("in the second clone")

	// Who has compared the fingerprint may say so; then both are right there.
	s, err := b.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second.Place = first.Place
	if err := open(t, second).Trust(t.Context(), "dev", s.Envs[0].Fingerprint); err != nil {
		t.Fatal(err)
	}
	for o, want := range map[*filevault.Options]string{&second: "A=2", &first: "A=1"} {
		if got := get(t, open(t, *o), "dev", "a"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}

	// Places are bounded, and odd names are kept as they are.
	for i := range 110 {
		clone.Place = fmt.Sprintf("/tmp/\"a\", ]\n\xff%d", i)
		get(t, open(t, clone), "dev", "a")
	}
	second.Place = clone.Place
	refused("in the last of many clones")
}

// TestForgedGrants: files that somebody without the key can make.
func TestForgedGrants(t *testing.T) {
	mallory := identity(t)
	for name, forge := range map[string]func(t *testing.T, m *team){
		"grant of another environment": func(t *testing.T, m *team) {
			raw := read(t, file(m.alice, "envs/prod/keys/0001/alice@laptop.grant"))
			write(t, file(m.alice, "envs/dev/keys/0001/alice@laptop.grant"), raw)
		},
		"grant of another member": func(t *testing.T, m *team) {
			raw := read(t, file(m.alice, "envs/dev/keys/0001/alice@laptop.grant"))
			write(t, file(m.alice, "envs/dev/keys/0001/bob@desktop.grant"), raw)
		},
		"member line changed": func(t *testing.T, m *team) {
			name := file(m.alice, "envs/dev/keys/0001/alice@laptop.grant")
			raw := read(t, name)
			write(t, file(m.alice, "envs/dev/keys/0001/eve.grant"), bytes.Replace(raw, []byte("member alice@laptop"), []byte("member eve"), 1))
			os.Remove(name)
		},
		"recipient line changed": func(t *testing.T, m *team) {
			name := file(m.alice, "envs/dev/keys/0001/alice@laptop.grant")
			write(t, name, bytes.Replace(read(t, name), []byte(m.aliceID.Recipient()), []byte(mallory.Recipient()), 1))
		},
		"gen changed": func(t *testing.T, m *team) {
			name := file(m.alice, "envs/dev/keys/0001/gen")
			write(t, name, bytes.Replace(read(t, name), []byte("by alice@laptop"), []byte("by mallory"), 1))
		},
		"gen of another environment": func(t *testing.T, m *team) {
			write(t, file(m.alice, "envs/dev/keys/0001/gen"), read(t, file(m.alice, "envs/prod/keys/0001/gen")))
		},
		"gen missing": func(t *testing.T, m *team) { os.Remove(file(m.alice, "envs/dev/keys/0001/gen")) },
		"no keys":     func(t *testing.T, m *team) { os.RemoveAll(file(m.alice, "envs/dev/keys")) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newTeam(t)
			forge(t, m)
			o := m.alice
			if name == "grant of another member" {
				o = m.bob
			}
			_, err := open(t, o).Get(t.Context(), "dev", "a")
			if k := vault.KindOf(err); k != vault.KindTampered && k != vault.KindDenied {
				t.Errorf("got %v", err)
			}
			if len(findings(t, open(t, m.alice), "dev")) == 0 {
				t.Error("verify finds nothing")
			}
		})
	}
	t.Run("not approved", func(t *testing.T) {
		// Mallory puts a grant in place and waits for it to be taken over.
		m := newTeam(t)
		raw := read(t, file(m.alice, "envs/dev/keys/0001/bob@desktop.grant"))
		raw = bytes.Replace(raw, []byte("member bob@desktop"), []byte("member mallory"), 1)
		raw = bytes.Replace(raw, []byte(m.bobID.Recipient()), []byte(mallory.Recipient()), 1)
		write(t, file(m.alice, "envs/dev/keys/0001/mallory.grant"), raw)
		v := open(t, m.alice)
		if got := get(t, v, "dev", "a"); got != "A=1" {
			t.Error(got)
		}
		s, err := v.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range s.Envs[0].Members {
			if approved := member.Err == nil; approved != (member.Member != "mallory") {
				t.Errorf("%s: %v", member.Member, member.Err)
			}
		}
		if errs := findings(t, v, "dev"); len(errs) != 1 || !strings.Contains(errs[0].Error(), "not approved") {
			t.Errorf("verify: %v", errs)
		}
	})
}

// TestOlder: a state older than one that this machine has seen is told of, or
// refused; one that it has never seen is not trusted because it is old.
func TestOlder(t *testing.T) {
	m := newTeam(t)
	get(t, open(t, m.bob), "dev", "a")
	old := filepath.Join(t.TempDir(), "old")
	copyTree(t, old, m.alice.Dir)
	restore := func() {
		t.Helper()
		if err := os.RemoveAll(m.alice.Dir); err != nil {
			t.Fatal(err)
		}
		copyTree(t, m.alice.Dir, old)
	}
	fresh := m.bob
	fresh.Fresh = true

	set(t, m.aliceVault, "dev", "b", "A=1")
	if err := m.aliceVault.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	get(t, open(t, m.bob), "dev", "b")
	if len(m.notice) != 0 {
		t.Errorf("notices: %q", m.notice)
	}
	restore()
	v := open(t, m.bob)
	for range 3 {
		if got := get(t, v, "dev", "a"); got != "A=1" {
			t.Error(got)
		}
	}
	if len(m.notice) != 1 || !strings.Contains(m.notice[0], "dev is at seal 2, and this machine has seen seal 3") {
		t.Errorf("notices: %q", m.notice)
	}
	for range 2 {
		_, err := open(t, fresh).Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindTampered, ".envrun/vault/envs/dev/seal", "seal 2", "seen seal 3")
	}

	// The same for keys.
	rotate(t, open(t, m.alice), "dev", m.toAlice, m.toBob)
	get(t, open(t, m.bob), "dev", "a")
	restore()
	m.notice = nil
	if got := get(t, open(t, m.bob), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	if len(m.notice) != 1 || !strings.Contains(m.notice[0], "at key 1, and this machine has seen key 2") {
		t.Errorf("notices: %q", m.notice)
	}
	_, err := open(t, fresh).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindTampered, "", "key 1", "seen key 2")

	// Nothing is written there: whoever was left out of key 2 could read it.
	before := tree(t, m.alice.Dir)
	for range 2 {
		v := open(t, m.bob)
		for what, write := range map[string]func() error{
			"set":    func() error { _, err := v.Apply(t.Context(), "dev", []vault.Change{change("a", "A=new")}); return err },
			"seal":   func() error { return v.Seal(t.Context(), "dev") },
			"grant":  func() error { return v.AddGrant(t.Context(), "dev", m.toAlice) },
			"rotate": func() error { return v.Rotate(t.Context(), "dev", "", []engine.GrantTo{m.toBob}) },
		} {
			err := write()
			wantError(t, err, vault.KindConflict, ".envrun/vault/envs/dev/keys/0001/gen", "key 1 here", "seen key 2")
			if older, ok := errors.AsType[*filevault.OlderError](err); !ok || older.Gen != 1 || older.Known != 2 {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	after := tree(t, m.alice.Dir)
	delete(before, ".lock")
	delete(after, ".lock")
	if !maps.Equal(before, after) {
		t.Error("something was written")
	}
	if len(m.contacts) != 1 {
		t.Errorf("bob was asked: %q", m.contacts)
	}

	// A newcomer saw key 2 first; that of an old checkout may be anybody's.
	rotate(t, open(t, m.alice), "dev", m.toAlice, m.toBob)
	newcomer := m.bob
	newcomer.StateDir = filepath.Join(t.TempDir(), "state")
	get(t, open(t, newcomer), "dev", "a")
	restore()
	newcomer.FirstContact = nil
	_, err = open(t, newcomer).Get(t.Context(), "dev", "a")
	if _, ok := errors.AsType[*filevault.UntrustedError](err); !ok {
		t.Errorf("got %v", err)
	}
}

func copyTree(t testing.TB, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestCI: a CI key opens one environment of one vault with one key, asks
// nobody, and leaves nothing on the machine.
func TestCI(t *testing.T) {
	m := newTeam(t)
	ciID := identity(t)
	if err := m.aliceVault.AddGrant(t.Context(), "dev", grant(t, "ci-github", ciID)); err != nil {
		t.Fatal(err)
	}
	s, err := m.aliceVault.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := agekey.ParseKey(agekey.CIKey{Vault: m.aliceVault.ID(), Env: "dev", Fingerprint: s.Envs[0].Fingerprint, Identity: ciID}.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	ci := filevault.Options{Dir: m.alice.Dir, StateDir: state, CI: key}
	v := open(t, ci)
	if got := get(t, v, "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	clean(t, v, "dev")
	_, err = v.Get(t.Context(), "prod", "a")
	wantError(t, err, vault.KindDenied, "", "the CI key is for the environment dev")
	for name, wrong := range map[string]agekey.CIKey{
		"vault":       {Vault: "v_0000000000000000", Env: "dev", Fingerprint: key.Fingerprint, Identity: ciID},
		"trusts":      {Vault: key.Vault, Env: "dev", Fingerprint: "0000-0000-0000-0000", Identity: ciID},
		"no grant":    {Vault: key.Vault, Env: "dev", Fingerprint: key.Fingerprint, Identity: identity(t)},
		"environment": {Vault: key.Vault, Env: "prod", Fingerprint: key.Fingerprint, Identity: ciID},
	} {
		o := ci
		o.CI = &wrong
		_, err := open(t, o).Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindDenied, "", name)
	}
	// A rotation that keeps it does not stop it, but is said, and refused with Fresh.
	var notices []string
	ci.Notice = func(s string) { notices = append(notices, s) }
	for range 2 {
		rotate(t, m.aliceVault, "dev", m.toAlice, m.toBob, grant(t, "ci-github", ciID))
	}
	if got := get(t, open(t, ci), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "names the dev key "+key.Fingerprint) || !strings.Contains(notices[0], "make a new CI key") {
		t.Errorf("notices: %q", notices)
	}
	fresh := ci
	fresh.Fresh = true
	_, err = open(t, fresh).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, "", "trusts the dev key "+key.Fingerprint)
	// Without what leads from the named key to the present one it is a stranger's.
	between := file(m.alice, "envs/dev/keys/0002/ci-github.grant")
	kept := read(t, between)
	if err := os.Remove(between); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, ci).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, "", "trusts the dev key "+key.Fingerprint)
	write(t, between, kept)
	gen := file(m.alice, "envs/dev/keys/0002/gen")
	write(t, gen, bytes.Replace(read(t, gen), []byte("\nchain "), []byte("\nchain A"), 1))
	if _, err := open(t, ci).Get(t.Context(), "dev", "a"); err == nil {
		t.Error("a changed chain was followed")
	}
	// One that leaves it out stops it.
	rotate(t, m.aliceVault, "dev", m.toAlice)
	_, err = open(t, ci).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, "", "no grant for key 4")
	if _, err := os.Lstat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a CI key left state: %v", err)
	}
	if _, err := filevault.Init(t.Context(), filevault.InitOptions{Options: ci}); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("init with a CI key: %v", err)
	}
}

// TestPins: the file is written when something changed, and at no other time.
func TestPins(t *testing.T) {
	m := newTeam(t)
	v := open(t, m.bob)
	get(t, v, "dev", "a")
	pins, err := filepath.Glob(filepath.Join(m.bob.StateDir, "pins", "*.toml"))
	if err != nil || len(pins) != 1 || filepath.Base(pins[0]) != v.ID()+".toml" {
		t.Fatal(pins, err)
	}
	if fi, err := os.Stat(pins[0]); runtime.GOOS != "windows" && (err != nil || fi.Mode().Perm() != 0o600) {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(pins[0], past, past); err != nil {
		t.Fatal(err)
	}
	unchanged := func(want bool, what string) {
		t.Helper()
		fi, err := os.Stat(pins[0])
		if err != nil {
			t.Fatal(err)
		}
		if same := fi.ModTime().Unix() == past.Unix(); same != want {
			t.Errorf("%s: unchanged is %v", what, same)
		}
	}
	for range 3 {
		v := open(t, m.bob)
		get(t, v, "dev", "a")
		set(t, v, "dev", "b", "A=1")
		clean(t, v, "dev")
	}
	unchanged(true, "reading and writing")
	if err := v.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	get(t, v, "dev", "a")
	unchanged(false, "a new seal")
	if text := string(read(t, pins[0])); !strings.Contains(text, "seal = 3") {
		t.Error(text)
	}

	for name, text := range map[string]string{
		"key that is not known": "format = 1\n[env.\"dev\"]\ngen = 1\nevil = true\n",
		"not complete":          "format = 1\n[env.\"dev\"]\ngen = 1\n[env.\"prod\"]\n",
		"cut off":               "format = 1\n[env.\"dev\"]\ngen = 1\n",
		"is cut off":            "",
		"twice":                 "format = 1\n[env.\"dev\"]\ngen = 1\ngen = 2\n",
	} {
		write(t, pins[0], []byte(text))
		_, err := open(t, m.bob).Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindMalformed, pins[0], name)
	}
	write(t, pins[0], []byte("format = 2\n"))
	_, err = open(t, m.bob).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindVersion, pins[0])

	none := m.bob
	none.StateDir = ""
	_, err = open(t, none).Get(t.Context(), "dev", "a")
	wantKind(t, err, vault.KindInvalid)
}

// TestStateFolder: pins are ours alone, or are not believed.
func TestStateFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	m := newTeam(t)
	get(t, open(t, m.bob), "dev", "a")
	dir := filepath.Join(m.bob.StateDir, "pins")
	pins, _ := filepath.Glob(filepath.Join(dir, "*.toml"))
	for _, c := range []struct {
		name       string
		mode, want os.FileMode
	}{{pins[0], 0o640, 0o600}, {pins[0], 0o604, 0o600}, {dir, 0o750, 0o700}, {dir, 0o777, 0o700}} {
		if err := os.Chmod(c.name, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, m.bob).Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindInsecure, c.name, "open to other users", c.want.String()[6:7])
		if err := os.Chmod(c.name, c.want); err != nil {
			t.Fatal(err)
		}
	}
	get(t, open(t, m.bob), "dev", "a")
	elsewhere := filepath.Join(t.TempDir(), "pins")
	if err := os.Rename(pins[0], elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, pins[0]); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, m.bob).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindInsecure, pins[0], "symbolic link")
	os.Remove(pins[0])
	if err := os.Rename(elsewhere, pins[0]); err != nil {
		t.Fatal(err)
	}

	// A seal that cannot be noted is no reason not to run.
	set(t, m.aliceVault, "dev", "b", "A=1")
	if err := m.aliceVault.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		m.notice = nil
		if got := get(t, open(t, m.bob), "dev", "a"); got != "A=1" {
			t.Error(got)
		}
		if len(m.notice) != 1 || !strings.Contains(m.notice[0], "could not be moved to seal 3") {
			t.Errorf("notices: %q", m.notice)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

package filevault_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/tag"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/filevault"
	"envrun/vault/record"
)

// newcomer is somebody with an identity and a machine of their own.
func newcomer(t testing.TB, of filevault.Options, member string) (filevault.Options, *agekey.Identity) {
	t.Helper()
	id := identity(t)
	return trusting(as(t, of.Dir, member, id)), id
}

func status(t testing.TB, o filevault.Options, env vault.Env) filevault.EnvStatus {
	t.Helper()
	s, err := open(t, o).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Envs {
		if e.Env == env {
			return e
		}
	}
	t.Fatalf("no environment %s", env)
	return filevault.EnvStatus{}
}

func memberNames(s filevault.EnvStatus) (names []string) {
	for _, m := range s.Members {
		if m.Err == nil {
			names = append(names, m.Member)
		}
	}
	return names
}

// TestJoin: bob asks, alice compares the code and lets him in; he gets in, into
// this environment and no other.
func TestJoin(t *testing.T) {
	_, alice := project(t, "dev", "prod")
	a := open(t, alice)
	set(t, a, "dev", "a", "A=1")
	set(t, a, "prod", "a", "A=2")
	bob, id := newcomer(t, alice, "bob@desktop")
	b := open(t, bob)
	ask := filevault.Ask{Member: "bob@desktop", Recipient: id.Recipient(), Reason: "I am new"}
	asked, err := b.Request(t.Context(), "dev", ask)
	if err != nil {
		t.Fatal(err)
	}
	if len(asked.Code) != 14 || asked.Member != "bob@desktop" || asked.Reason != "I am new" || !strings.HasSuffix(asked.File, "requests/dev/bob@desktop.req") {
		t.Errorf("%+v", asked)
	}
	if again, err := b.Request(t.Context(), "dev", ask); err != nil || again != asked {
		t.Errorf("the same request again: %+v, %v", again, err)
	}
	list, err := a.Requests(t.Context(), "dev")
	if err != nil || len(list) != 1 || list[0] != asked {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := b.Get(t.Context(), "dev", "a"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("before the approval: %v", err)
	}

	err = a.Approve(t.Context(), "dev", filevault.Approval{Member: "bob@desktop", Code: "0000-0000-0000"})
	var code *filevault.CodeError
	if vault.KindOf(err) != vault.KindDenied || !errors.As(err, &code) || code.Member != "bob@desktop" {
		t.Errorf("a wrong code: %v", err)
	}
	if err := a.Approve(t.Context(), "dev", filevault.Approval{Member: "bob@desktop"}); !errors.As(err, &code) {
		t.Errorf("no code: %v", err)
	}
	if err := a.Approve(t.Context(), "dev", filevault.Approval{Member: "carol", Code: asked.Code}); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("nobody asked: %v", err)
	}
	// People write codes as they hear them.
	if err := a.Approve(t.Context(), "dev", filevault.Approval{Member: "bob@desktop", Code: strings.ToLower(strings.ReplaceAll(asked.Code, "-", " "))}); err != nil {
		t.Fatal(err)
	}
	if list, err := a.Requests(t.Context(), "dev"); err != nil || len(list) != 0 {
		t.Errorf("the request is still there: %+v, %v", list, err)
	}
	if got := get(t, open(t, bob), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	if _, err := open(t, bob).Get(t.Context(), "prod", "a"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("prod: %v", err)
	}
	if _, err := open(t, bob).Request(t.Context(), "dev", ask); vault.KindOf(err) != vault.KindExists {
		t.Errorf("asking with access: %v", err)
	}
	clean(t, a, "dev", "prod")
	for _, m := range status(t, alice, "dev").Members {
		if !m.Sealed {
			t.Errorf("%s is not sealed", m.Member)
		}
	}
}

// TestAlteredRequest: what is granted is what the code was of, whatever stands
// there by the time that it is written.
func TestAlteredRequest(t *testing.T) {
	_, alice := project(t, "dev")
	bob, id := newcomer(t, alice, "bob@desktop")
	asked, err := open(t, bob).Request(t.Context(), "dev", filevault.Ask{Member: "bob@desktop", Recipient: id.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	thief, thiefID := newcomer(t, alice, "bob@desktop")
	if _, err := open(t, thief).Request(t.Context(), "dev", filevault.Ask{Member: "bob@desktop", Recipient: thiefID.Recipient()}); err != nil {
		t.Fatal(err)
	}
	var code *filevault.CodeError
	if err := open(t, alice).Approve(t.Context(), "dev", filevault.Approval{Member: "bob@desktop", Code: asked.Code}); !errors.As(err, &code) {
		t.Errorf("got %v", err)
	}
	if got := memberNames(status(t, alice, "dev")); !slices.Equal(got, []string{"alice@laptop"}) {
		t.Error(got)
	}

	// Altered after Approve has looked, and before it writes.
	if _, err := open(t, bob).Request(t.Context(), "dev", filevault.Ask{Member: "bob@desktop", Recipient: id.Recipient()}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(alice.Dir, "requests", "dev", "bob@desktop.req")
	list, err := open(t, alice).Requests(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	swapped := false
	alice.Now = func() time.Time { // asked for when the grant is made, before the lock is taken
		swapped = true
		q, err := record.ParseRequest(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		q.Recipient = thiefID.Recipient()
		write(t, name, q.Marshal())
		return time.Now()
	}
	err = open(t, alice).Approve(t.Context(), "dev", filevault.Approval{Member: "bob@desktop", Code: list[0].Code})
	if !swapped || !errors.As(err, &code) {
		t.Errorf("swapped while it was approved: %v, %v", swapped, err)
	}
	if got := memberNames(status(t, alice, "dev")); !slices.Equal(got, []string{"alice@laptop"}) {
		t.Error(got)
	}
}

func TestAddMember(t *testing.T) {
	_, alice := project(t, "dev")
	now := time.Now()
	alice.Now = func() time.Time { return now }
	a := open(t, alice)
	set(t, a, "dev", "a", "A=1")
	bob, id := newcomer(t, alice, "bob@desktop")
	bob.Now = alice.Now
	add := func(m filevault.NewMember) error { return a.AddMember(t.Context(), "dev", m) }

	for name, bad := range map[string]filevault.NewMember{
		"no recipient": {Member: "bob@desktop"},
		"not a key":    {Member: "bob@desktop", Recipient: "age1nonsense"},
		"a name":       {Member: "../bob", Recipient: id.Recipient()},
		"in the past":  {Member: "bob@desktop", Recipient: id.Recipient(), Until: now.Add(-time.Hour)},
		"an identity":  {Member: "bob@desktop", Recipient: id.Reveal()},
	} {
		if err := add(bad); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("%s: the error shows a secret", name)
		}
	}
	if err := add(filevault.NewMember{Member: "bob@desktop", Recipient: id.Recipient()}); err != nil {
		t.Fatal(err)
	}
	var has *filevault.HasGrantError
	if err := add(filevault.NewMember{Member: "bob@desktop", Recipient: id.Recipient()}); vault.KindOf(err) != vault.KindExists || !errors.As(err, &has) || !has.Same {
		t.Errorf("again: %v", err)
	}
	if err := add(filevault.NewMember{Member: "bobby", Recipient: id.Recipient()}); !errors.As(err, &has) || has.Member != "bob@desktop" {
		t.Errorf("one key, two names: %v", err)
	}
	other := identity(t)
	if err := add(filevault.NewMember{Member: "bob@desktop", Recipient: other.Recipient()}); !errors.As(err, &has) || has.Same {
		t.Errorf("another key: %v", err)
	}
	if got := get(t, open(t, bob), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	if err := add(filevault.NewMember{Member: "bob@desktop", Recipient: other.Recipient(), Replace: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, bob).Get(t.Context(), "dev", "a"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("with the replaced key: %v", err)
	}

	// A time limit: kept by the client, made true by Sweep.
	if err := add(filevault.NewMember{Member: "bob@desktop", Recipient: other.Recipient(), Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	bob.Identity = func(context.Context) (*agekey.Identity, error) { return other, nil }
	if got := get(t, open(t, bob), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	if err := add(filevault.NewMember{Member: "alice@laptop", Recipient: a0(t, alice), Until: now.Add(time.Hour)}); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("everybody's access would end: %v", err)
	}
	if _, swept, err := a.Sweep(t.Context(), "dev", filevault.RotateOptions{}); err != nil || swept {
		t.Errorf("swept before the time: %v, %v", swept, err)
	}
	now = now.Add(2 * time.Hour)
	var ended *filevault.EndedError
	if _, err := open(t, bob).Get(t.Context(), "dev", "a"); vault.KindOf(err) != vault.KindDenied || !errors.As(err, &ended) || ended.Member != "bob@desktop" {
		t.Errorf("after the time: %v", err)
	}
	r, swept, err := a.Sweep(t.Context(), "dev", filevault.RotateOptions{})
	if err != nil || !swept || r.Gen != 2 || !slices.Equal(r.Removed, []string{"bob@desktop"}) || !slices.Equal(r.Members, []string{"alice@laptop"}) {
		t.Errorf("%+v, %v, %v", r, swept, err)
	}
	if _, swept, err := a.Sweep(t.Context(), "dev", filevault.RotateOptions{}); err != nil || swept {
		t.Errorf("swept twice: %v, %v", swept, err)
	}

	// Hardware keys and SSH keys are wrapped for with no plugin; they mix with others.
	for member, recipient := range map[string]string{
		"x25519": x25519(t),
		"tag":    tagRecipient(t),
		"ssh":    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
	} {
		if err := add(filevault.NewMember{Member: member, Recipient: recipient}); err != nil {
			t.Errorf("%s: %v", member, err)
		}
	}
	if s := status(t, alice, "dev"); len(s.Members) != 4 || !strings.HasPrefix(s.PostQuantum(), "no, 3 of 4") {
		t.Errorf("%s: %+v", s.PostQuantum(), s.Members)
	}
	if r, err := a.RotateKey(t.Context(), "dev", filevault.RotateOptions{}); err != nil || !slices.Equal(r.Members, []string{"alice@laptop", "ssh", "tag", "x25519"}) {
		t.Errorf("%+v, %v", r, err)
	}
	clean(t, open(t, alice), "dev")
}

func x25519(t testing.TB) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String()
}

// tagRecipient is one of a hardware key, which is nowhere.
func tagRecipient(t testing.TB) string {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point := key.PublicKey().Bytes() // 4, x, y; in short the sign of y and x
	r, err := tag.NewClassicRecipient(append([]byte{2 + point[64]&1}, point[1:33]...))
	if err != nil {
		t.Fatal(err)
	}
	return r.String()
}

func mustIdentity(t testing.TB, o filevault.Options) *agekey.Identity {
	t.Helper()
	id, err := o.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// a0 is the recipient of whoever opens o.
func a0(t testing.TB, o filevault.Options) string {
	t.Helper()
	return mustIdentity(t, o).Recipient()
}

// TestLeave: who was removed has no key of what is written from then on, is on
// a list of what they could read until each of it is replaced, and those who
// stay notice nothing.
func TestLeave(t *testing.T) {
	dir, alice := repository(t, "dev", "prod")
	now := time.Date(2026, 2, 1, 9, 0, 0, 0, time.UTC)
	alice.Now = func() time.Time { return now }
	a := open(t, alice)
	later := func(d time.Duration) { now = now.Add(d) }

	set(t, a, "dev", "before", "A=1") // replaced before bob came
	set(t, a, "dev", "stays", "A=1", "B=2")
	set(t, a, "dev", "gone", "A=1")
	commit(t, dir, "one")
	later(time.Hour)
	set(t, a, "dev", "before", "A=2")
	commit(t, dir, "two")
	later(time.Hour)
	bob, id := newcomer(t, alice, "bob@desktop")
	carol, carolID := newcomer(t, alice, "carol")
	bob.Now, carol.Now = alice.Now, alice.Now
	for _, m := range []filevault.NewMember{{Member: "bob@desktop", Recipient: id.Recipient()}, {Member: "carol", Recipient: carolID.Recipient()}} {
		if err := a.AddMember(t.Context(), "dev", m); err != nil {
			t.Fatal(err)
		}
	}
	get(t, open(t, bob), "dev", "before")
	get(t, open(t, carol), "dev", "before")
	commit(t, dir, "members")
	// A rotation in between does not make bob a newcomer.
	later(time.Hour)
	if _, err := a.RotateKey(t.Context(), "dev", filevault.RotateOptions{Why: "every year"}); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "rotated")
	later(time.Hour)
	set(t, a, "dev", "before", "A=3")
	commit(t, dir, "three")
	if _, err := a.Apply(t.Context(), "dev", []vault.Change{{Path: "gone", Was: 1, Delete: true}}); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "four")
	// Somebody who can push writes a version that nobody wrote, and takes it back.
	stays := file(alice, "envs/dev/secrets/stays.sec")
	genuine := read(t, stays)
	write(t, stays, bytes.Replace(genuine, []byte("\nversion 1\n"), []byte("\nversion 999\nprev 1 00000000000000000000000000000000\n"), 1))
	commit(t, dir, "forged")
	write(t, stays, genuine)
	commit(t, dir, "undone")
	set(t, a, "dev", "new", "A=1") // not committed
	later(time.Hour)

	var done []int
	total := 0
	r, err := a.RemoveMembers(t.Context(), "dev", []string{"bob@desktop"}, filevault.RotateOptions{Why: "bob left", Progress: func(d, n int) { done, total = append(done, d), n }})
	if err != nil {
		t.Fatal(err)
	}
	if r.From != 2 || r.Gen != 3 || r.Secrets != 3 || !slices.Equal(r.Members, []string{"alice@laptop", "carol"}) || !slices.Equal(r.Removed, []string{"bob@desktop"}) {
		t.Errorf("%+v", r)
	}
	if total != 4 || !slices.Equal(done, []int{1, 2, 3, 4}) {
		t.Errorf("progress: %v of %d", done, total)
	}
	if s := status(t, alice, "dev"); s.Fingerprint != r.Fingerprint || s.Gen != 3 || s.Why != "bob left" {
		t.Errorf("%+v", s)
	}

	x, err := record.ParseExposed(read(t, file(alice, "envs/dev/exposed/2026-02-01-bob@desktop.list")))
	if err != nil {
		t.Fatal(err)
	}
	want := []record.ExposedEntry{{Path: "before", Version: 2}, {Path: "before", Version: 3}, {Path: "gone", Version: 1}, {Path: "new", Version: 1}, {Path: "stays", Version: 1}}
	if !slices.Equal(x.Entries, want) || x.Gen != 2 || !x.Since.Equal(time.Date(2026, 2, 1, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", x)
	}

	if _, err := open(t, bob).Get(t.Context(), "dev", "stays"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("bob: %v", err)
	}
	if got := get(t, open(t, carol), "dev", "stays"); got != "A=1 B=2" {
		t.Error(got)
	}
	clean(t, open(t, alice), "dev", "prod")
	clean(t, open(t, carol), "dev")

	open1 := func() []filevault.Exposed {
		s := status(t, alice, "dev")
		if len(s.Exposures) != 1 {
			t.Fatalf("%+v", s.Exposures)
		}
		return s.Exposures[0].Open
	}
	has := func(want ...string) {
		t.Helper()
		var got []string
		for _, o := range open1() {
			for _, f := range o.Fields {
				got = append(got, string(o.Path)+"/"+string(f))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("still exposed: %v, want %v", got, want)
		}
	}
	has("before/A", "new/A", "stays/A", "stays/B")
	set(t, open(t, alice), "dev", "before", "A=4")
	set(t, open(t, alice), "dev", "new", "A=4")
	set(t, open(t, alice), "dev", "stays", "B=4", "A=1")
	has("stays/A") // which nobody replaced, though the secret has a newer version
	set(t, open(t, alice), "dev", "stays", "A=9", "B=4")
	has()

	// There is nobody left to remove twice, nor can all be.
	var none *filevault.NoMemberError
	if _, err := a.RemoveMembers(t.Context(), "dev", []string{"bob@desktop"}, filevault.RotateOptions{}); vault.KindOf(err) != vault.KindNotFound || !errors.As(err, &none) || !slices.Equal(none.Members, []string{"alice@laptop", "carol"}) {
		t.Errorf("twice: %v", err)
	}
	if _, err := a.RemoveMembers(t.Context(), "dev", []string{"alice@laptop", "carol"}, filevault.RotateOptions{}); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("all of them: %v", err)
	}
	// Whoever leaves may do it themselves.
	if r, err := open(t, carol).RemoveMembers(t.Context(), "dev", []string{"carol"}, filevault.RotateOptions{}); err != nil || r.Gen != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := open(t, carol).Get(t.Context(), "dev", "stays"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("carol: %v", err)
	}
	clean(t, open(t, alice), "dev")
}

// TestRotateKeepsLimits: a rotation neither ends nor prolongs anybody's access.
func TestRotateKeepsLimits(t *testing.T) {
	_, alice := project(t, "dev")
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	bob, id := newcomer(t, alice, "bob@desktop")
	a := open(t, alice)
	set(t, a, "dev", "a", "A=1")
	if err := a.AddMember(t.Context(), "dev", filevault.NewMember{Member: "bob@desktop", Recipient: id.Recipient(), Until: until}); err != nil {
		t.Fatal(err)
	}
	before := status(t, alice, "dev").Members
	for range 2 {
		if _, err := a.RotateKey(t.Context(), "dev", filevault.RotateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	after := status(t, alice, "dev").Members
	for i, m := range after {
		if !m.Since.Equal(before[i].Since) || !m.Until.Equal(before[i].Until) {
			t.Errorf("%+v, before %+v", m, before[i])
		}
	}
	if !after[1].Until.Equal(until) {
		t.Errorf("%+v", after[1])
	}
	get(t, open(t, bob), "dev", "a")
}

// TestRotateRefusesLockingOut: a grant that somebody without the key took away
// or altered is not left out of the next key, and one that they added is.
func TestRotateRefusesLockingOut(t *testing.T) {
	_, alice := project(t, "dev")
	a := open(t, alice)
	set(t, a, "dev", "a", "A=1")
	_, id := newcomer(t, alice, "bob@desktop")
	if err := a.AddMember(t.Context(), "dev", filevault.NewMember{Member: "bob@desktop", Recipient: id.Recipient()}); err != nil {
		t.Fatal(err)
	}
	name := file(alice, "envs/dev/keys/0001/bob@desktop.grant")
	raw := read(t, name)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, alice).RotateKey(t.Context(), "dev", filevault.RotateOptions{})
	wantError(t, err, vault.KindTampered, ".envrun/vault/envs/dev/keys/0001/bob@desktop.grant", "missing")
	write(t, name, raw)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	// But taking away whose grant is gone already is what somebody would do then.
	elsewhere := as(t, filepath.Join(t.TempDir(), ".envrun", "vault"), "alice@laptop", mustIdentity(t, alice))
	copyTree(t, elsewhere.Dir, alice.Dir)
	if r, err := open(t, trusting(elsewhere)).RemoveMembers(t.Context(), "dev", []string{"bob@desktop"}, filevault.RotateOptions{}); err != nil || len(r.Exposed) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	write(t, name, raw)
	forged := strings.ReplaceAll(string(raw), "bob@desktop", "thief")
	write(t, file(alice, "envs/dev/keys/0001/thief.grant"), []byte(forged))
	r, err := open(t, alice).RotateKey(t.Context(), "dev", filevault.RotateOptions{})
	if err != nil || !slices.Equal(r.Members, []string{"alice@laptop", "bob@desktop"}) {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestPartOfARotation: somebody committed half of what a removal wrote. It is
// recognised, finished by whoever holds both keys, and the list comes back.
func TestPartOfARotation(t *testing.T) {
	dir, alice := repository(t, "dev")
	a := open(t, alice)
	_, id := newcomer(t, alice, "bob@desktop")
	if err := a.AddMember(t.Context(), "dev", filevault.NewMember{Member: "bob@desktop", Recipient: id.Recipient()}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []vault.Path{"a", "b", "c"} {
		set(t, a, "dev", p, "A=1")
	}
	if err := a.Seal(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "before")
	if _, err := a.RemoveMembers(t.Context(), "dev", []string{"bob@desktop"}, filevault.RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", ".envrun/vault/envs/dev/keys", ".envrun/vault/envs/dev/secrets/b.sec")
	git(t, dir, "commit", "-q", "-m", "half of it")
	git(t, dir, "stash", "-q", "-u")

	s := status(t, alice, "dev")
	if s.Gen != 2 || !slices.Equal(s.OldKey, []vault.Path{"a", "c"}) || s.SealGen != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := open(t, alice).Get(t.Context(), "dev", "a"); err == nil {
		t.Error("half a rotation was read")
	}
	r, err := open(t, alice).ResumeRotation(t.Context(), "dev", filevault.RotateOptions{})
	if err != nil || !slices.Equal(r.Wrapped, []vault.Path{"a", "c"}) || len(r.Left) != 0 || !r.Sealed {
		t.Errorf("%+v, %v", r, err)
	}
	clean(t, open(t, alice), "dev")
	if e := status(t, alice, "dev").Exposures; len(e) != 1 || e[0].Member != "bob@desktop" || !slices.Equal(openPaths(e[0]), []vault.Path{"a", "b", "c"}) {
		t.Errorf("%+v", e)
	}
	if r, err := open(t, alice).ResumeRotation(t.Context(), "dev", filevault.RotateOptions{}); err != nil || len(r.Wrapped) > 0 || r.Sealed {
		t.Errorf("again: %+v, %v", r, err)
	}
	if e := status(t, alice, "dev").Exposures; len(e) != 1 {
		t.Errorf("again: %+v", e)
	}
}

func TestDeny(t *testing.T) {
	_, alice := project(t, "dev")
	bob, id := newcomer(t, alice, "bob@desktop")
	if _, err := open(t, bob).Request(t.Context(), "dev", filevault.Ask{Member: "bob@desktop", Recipient: id.Recipient()}); err != nil {
		t.Fatal(err)
	}
	a := open(t, alice)
	if err := a.Deny(t.Context(), "dev", "bob@desktop"); err != nil {
		t.Fatal(err)
	}
	if err := a.Deny(t.Context(), "dev", "bob@desktop"); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("twice: %v", err)
	}
	if _, err := open(t, bob).Request(t.Context(), "nowhere", filevault.Ask{Member: "bob@desktop", Recipient: id.Recipient()}); vault.KindOf(err) != vault.KindNoEnv {
		t.Errorf("no such environment: %v", err)
	}
}

// TestCIKeyOfAVault: the string opens its environment, with nothing else, and a
// removal ends it.
func TestCIKeyOfAVault(t *testing.T) {
	_, alice := project(t, "dev", "prod")
	a := open(t, alice)
	set(t, a, "dev", "a", "A=1")
	key, err := a.NewCIKey(t.Context(), "dev", "ci-github", false)
	if err != nil {
		t.Fatal(err)
	}
	_, parsed, err := agekey.ParseKey(key.Reveal())
	if err != nil || strings.Contains(key.Reveal(), "\n") {
		t.Fatalf("%v", err)
	}
	for _, m := range status(t, alice, "dev").Members {
		if m.Pipeline != (m.Member == "ci-github") {
			t.Errorf("%+v", m)
		}
	}
	ci := filevault.Options{Dir: alice.Dir, CI: parsed}
	if got := get(t, open(t, ci), "dev", "a"); got != "A=1" {
		t.Error(got)
	}
	if _, err := open(t, ci).Get(t.Context(), "prod", "a"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("prod: %v", err)
	}
	var has *filevault.HasGrantError
	if _, err := a.NewCIKey(t.Context(), "dev", "ci-github", false); !errors.As(err, &has) {
		t.Errorf("a second of that name: %v", err)
	}
	next, err := a.NewCIKey(t.Context(), "dev", "ci-github", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, ci).Get(t.Context(), "dev", "a"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("the replaced one: %v", err)
	}
	ci.CI = &next
	get(t, open(t, ci), "dev", "a")
	for range 2 {
		if r, err := a.RotateKey(t.Context(), "dev", filevault.RotateOptions{}); err != nil || !slices.Equal(r.Pipelines, []string{"ci-github"}) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	get(t, open(t, ci), "dev", "a")
	if _, err := a.RemoveMembers(t.Context(), "dev", []string{"ci-github"}, filevault.RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, ci).Get(t.Context(), "dev", "a"); vault.KindOf(err) != vault.KindDenied {
		t.Errorf("after its removal: %v", err)
	}
}

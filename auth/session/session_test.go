package session_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/keychain/keychaintest"
	"envrun/auth/session"
)

// chains are the keychains of a machine.
type chains = keychaintest.Folders

// newStore is a store on a machine of its own.
func newStore(t testing.TB) (*session.Store, *chains) {
	t.Helper()
	c := &chains{Dir: t.TempDir(), Names: []string{"secret-service", "kernel", "pass"}}
	return storeAt(filepath.Join(t.TempDir(), "sessions"), c), c
}

// storeAt is what a process sees of a machine.
func storeAt(dir string, c *chains) *session.Store {
	s := &session.Store{Dir: dir, Keychains: c, Getenv: func(string) string { return "" }}
	s.SetWorkFactor(2)
	return s
}

func again(s *session.Store) *session.Store { return storeAt(s.Dir, s.Keychains.(*chains)) }

const canary = "canary-3f9c"

var someone = session.Account{
	Server: "https://vault.example.com", Mount: "oidc", Role: "dev", Method: "oidc",
	Issuer: "https://id.example.com", ClientID: "envrun", Subject: "248289761001", Label: "alice@example.com",
}

func aRecord() session.Record {
	now := time.Date(2026, 11, 23, 10, 0, 0, 5e6, time.UTC)
	return session.Record{
		RefreshToken: auth.NewSecret("rt-" + canary), RefreshObtained: now, Token: auth.NewSecret("hvs." + canary), Accessor: "acc",
		Ends: now.Add(time.Hour), MaxEnds: now.Add(24 * time.Hour), TTL: time.Hour, Renewable: true, Policies: []string{"dev"},
		Scopes: []string{"openid", "offline_access"}, AuthTime: now.Add(-time.Minute), ACR: "mfa", AMR: []string{"pwd", "otp"}, Skew: -1500 * time.Millisecond,
	}
}

func put(t testing.TB, s *session.Store, a session.Account, r session.Record) session.Account {
	t.Helper()
	a, err := s.Put(t.Context(), a, r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t testing.TB, s *session.Store, id string) session.Record {
	t.Helper()
	_, r, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func accounts(t testing.TB, s *session.Store) []session.Account {
	t.Helper()
	all, err := s.Accounts()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// files are all that is below a folder, without what stays for good.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(p, "lock") {
			p, _ = filepath.Rel(dir, p)
			names = append(names, filepath.ToSlash(p))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return names
}

func TestPutAndOpen(t *testing.T) {
	s, c := newStore(t)
	if all := accounts(t, s); len(all) != 0 {
		t.Errorf("there are %v", all)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking makes a folder: %v", err)
	}
	p, err := s.Prepare(t.Context())
	if err != nil || p.Name != "secret-service" || !p.New || p.Forgets || len(p.Rejected) != 1 {
		t.Fatalf("got %+v, %v", p, err)
	}
	if held := c.Holds(t); len(held) > 0 || len(files(t, s.Dir)) > 0 {
		t.Errorf("preparing leaves %v, %v", held, files(t, s.Dir))
	}
	a := put(t, s, someone, aRecord())
	if len(a.ID) != 64 || a.Keychain != "secret-service" || a.Created.IsZero() || !a.Used.Equal(a.Created) {
		t.Errorf("got %+v", a)
	}
	want := aRecord()
	for _, s := range []*session.Store{s, again(s)} {
		got, r, err := s.Open(t.Context(), a.ID)
		if err != nil || got != a {
			t.Errorf("got %+v, %v", got, err)
		}
		if r.Gen != 1 || r.Updated.IsZero() {
			t.Errorf("generation %d, updated %v", r.Gen, r.Updated)
		}
		want.Gen, want.Updated = r.Gen, r.Updated
		if !session.Same(r, want) || r.Token != want.Token || r.RefreshToken != want.RefreshToken || r.TTL != want.TTL || r.Skew != want.Skew || !r.AuthTime.Equal(want.AuthTime) {
			t.Errorf("another record came back")
		}
	}
	before := c.Calls.Load()
	if all := accounts(t, again(s)); len(all) != 1 || all[0] != a {
		t.Errorf("got %+v", all)
	}
	if c.Calls.Load() != before {
		t.Error("the index asks a keychain")
	}
	if p, err := again(s).Prepare(t.Context()); err != nil || p.New || p.Name != "secret-service" {
		t.Errorf("prepare again: %+v, %v", p, err)
	}
	if held := c.Holds(t); len(held) != 1 {
		t.Errorf("the keychain holds %v", held)
	}

	if err := s.Delete(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if held := c.Holds(t); len(held) > 0 || len(files(t, s.Dir)) > 0 {
		t.Errorf("it leaves %v, %v", held, files(t, s.Dir))
	}
	for _, s := range []*session.Store{s, again(s)} {
		if _, _, err := s.Open(t.Context(), a.ID); !errors.Is(err, session.ErrNoAccount) {
			t.Errorf("got %v", err)
		}
		if err := s.Delete(t.Context(), a.ID); !errors.Is(err, session.ErrNoAccount) {
			t.Errorf("got %v", err)
		}
	}
}

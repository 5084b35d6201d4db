package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/tui/screen"
)

// Of two accounts none is used until somebody chooses; who chooses another one sees
// that one, and its token is what the server is shown.
func TestInterfaceAccounts(t *testing.T) {
	state := t.TempDir()
	vars := map[string]string{"ENVRUN_STATE_DIR": state, "ENVRUN_STORE_PASSPHRASE_FILE": filepath.Join(state, "words"), "HOME": state}
	tl := &tool{Streams: cli.Streams{Getenv: func(name string) string { return vars[name] }}, now: time.Now, goos: "linux", notice: func(string) {}}
	tl.hidden = func(context.Context, string) ([]byte, error) { return nil, errors.New("nobody is asked") }
	delete(vars, "ENVRUN_STORE_PASSPHRASE_FILE")
	store, err := tl.sessions(true)
	if err != nil {
		t.Fatal(err)
	}
	store.Keep = session.ByPassphrase
	asked := 0
	tl.hidden = func(context.Context, string) ([]byte, error) {
		asked++
		return []byte("correct horse"), nil
	}
	const server = "https://vault.example.test"
	ids := map[string]string{}
	for _, name := range []string{"ann", "bob"} {
		a, err := store.Put(t.Context(), session.Account{Server: server, Mount: "human", Role: "dev", Method: methodOIDC, Issuer: "https://id.example.test", Subject: name, Label: name},
			session.Record{Token: auth.NewSecret("token-of-" + name), Ends: time.Now().Add(time.Hour), TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = a.ID
	}
	env := project.Env{Name: "dev", Vault: server}
	s := &signer{tl, &openers{t: tl, project: &project.Project{Envs: []project.Env{env}}}}
	is, err := s.Signed(t.Context(), "dev", false)
	if err != nil || is.State != screen.SignedOut || len(is.Accounts) != 2 {
		t.Errorf("%+v, %v", is, err)
	}
	for _, name := range []string{"bob", "ann"} {
		if err := s.Use(t.Context(), "dev", ids[name]); err != nil {
			t.Fatal(err)
		}
		is, err := s.Signed(t.Context(), "dev", false)
		if err != nil || is.State != screen.SignedIn || is.Label != name {
			t.Errorf("%+v, %v", is, err)
		}
		if token, err := tl.token(t.Context(), env, nil); err != nil || token != "token-of-"+name {
			t.Errorf("the server is shown %q, %v", token, err)
		}
	}
	if asked != 2 { // for a new one, and for the same again
		t.Errorf("somebody was asked %d times for a passphrase", asked)
	}
}

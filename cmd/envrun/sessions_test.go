//go:build unix

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"envrun/auth"
	"envrun/auth/keychain"
	"envrun/auth/session"
)

// The doctor says where sessions are kept, whether the key is there, and what to do.
func TestSessionsInDoctor(t *testing.T) {
	alice := newPerson(t)
	alice.write("envrun.toml", "vault = \"https://127.0.0.1:1\"\nproject = \"app\"\n\n[env.dev]\n")
	token := newCanary()
	chains := keychain.Options{MayForget: true}
	store := &session.Store{Dir: filepath.Join(alice.home, ".local/state/envrun/sessions"), Keychains: chains, Keep: keychain.Kernel}
	if _, err := store.Prepare(t.Context()); err != nil {
		t.Skipf("suite sessions in doctor skipped: %v", err)
	}
	says := func(state, text, hint string) {
		t.Helper()
		out, errs, _ := alice.pipe("", "doctor", "--json")
		var symptoms []struct{ State, What, Says, Hint string }
		if err := json.Unmarshal([]byte(out), &symptoms); err != nil {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		if form, ok := holds([]byte(out+errs), token); ok {
			t.Errorf("it shows the token as %s", form)
		}
		for _, s := range symptoms {
			if s.What == "sessions" {
				if s.State != state || !strings.Contains(s.Says, text) || !strings.Contains(s.Hint, hint) {
					t.Errorf("it says %+v, want %s %q %q", s, state, text, hint)
				}
				return
			}
		}
		t.Errorf("it says nothing of sessions: %s", out)
	}
	says("ok", "none is kept here", "")
	a, err := store.Put(t.Context(), session.Account{Server: "https://127.0.0.1:1", Method: "oidc", Subject: "1"}, session.Record{Token: auth.NewSecret(token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Delete(t.Context(), a.ID) })
	says("ok", "1 session in "+store.Dir+"; the key is in the keychain kernel, which forgets it at reboot", "")

	someone := os.Geteuid() + 1
	bob := alice
	alice = alice.as("SUDO_UID="+strconv.Itoa(someone), "SUDO_USER=bob")
	says("bad", "root through sudo for bob", "run it without sudo")
	alice = bob

	file := filepath.Join(store.Dir, "sessions", a.ID+".sealed")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, append(good, 0))
	says("bad", "was changed, or is another account's", "sign in again: envrun login")
	write(file, good)

	index := filepath.Join(store.Dir, "accounts.json")
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	write(index, []byte("{}"))
	says("bad", "accounts.json: is of version 0, and this envrun knows 1", "mv ")
	write(index, text)

	// The machine was restarted.
	_, after, _ := strings.Cut(string(text), `"key": "`)
	name, _, _ := strings.Cut(after, `"`)
	k, err := chains.Open(keychain.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	says("bad", "is not in the kernel's keyring any more, which forgets when the machine restarts", "sign in again: envrun login")
}

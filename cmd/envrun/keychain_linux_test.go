package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/auth/keychain/keychaintest"
)

// A keychain that hangs, refuses, loses what it is given or is not there is said in
// words, before anybody is sent to a browser; nothing is kept in its stead, and nothing
// in clear.
func TestLoginKeychains(t *testing.T) {
	o := newOffice(t, nil)
	on := func(f *keychaintest.Fake) func(*testing.T) []string {
		return func(t *testing.T) []string { return f.Start(t) }
	}
	for _, c := range []struct {
		name  string
		start func(*testing.T) []string
		slow  bool // somebody at a terminal may be asked something by it, and is waited for
		words string
	}{
		{"prompt to unlock, dismissed", on(&keychaintest.Fake{Unlock: "dismiss"}), false, "the Secret Service stayed locked"},
		{"prompt to store, dismissed", on(&keychaintest.Fake{Create: "dismiss"}), false, "said that it stored the secret, and does not have it"},
		{"it loses what it is given", on(&keychaintest.Fake{Create: "lose"}), false, "said that it stored the secret, and does not have it"},
		{"something else", on(&keychaintest.Fake{Partial: true}), false, "is not a complete one"},
		{"silent", on(&keychaintest.Fake{Silent: "OpenSession"}), true, "no answer within"},
		{"prompt to store, never answered", on(&keychaintest.Fake{Create: "hang"}), true, "no answer within"},
		{"no service", func(t *testing.T) []string { _, env := keychaintest.Bus(t); return env }, false, "secret-service"},
		{"no bus", func(*testing.T) []string { return []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"} }, false, "secret-service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o.in(t)
			for _, v := range c.start(t) {
				if strings.HasPrefix(v, "DBUS_SESSION_BUS_ADDRESS=") || strings.HasPrefix(v, "XDG_RUNTIME_DIR=") {
					o.person = o.as(v)
				}
			}
			o.person = o.as("ENVRUN_STORE_PASSPHRASE_FILE=")
			before := o.issuer.Count("/authorize")
			term := o.run("login", "--store", "secret-service")
			if c.slow {
				term.expect("waiting for the keychain secret-service")
				term.typed("\x03")
				term.wants(130, "!open this")
			} else {
				term.wants(1, c.words, "hint: ", "!open this", "!panic")
			}
			out, errs, code := o.pipe(o.root, "login", "--store", "secret-service", "--method", "token")
			if code != 1 || !strings.Contains(errs, c.words) || !strings.Contains(errs, "hint: ") || out != "" {
				t.Errorf("status %d: %s%s", code, out, errs)
			}
			if n := o.issuer.Count("/authorize") - before; n != 0 {
				t.Errorf("%d were sent to the issuer", n)
			}
			o.nowhere(o.root)
			o.nobodyIn()
		})
	}

	// One that was there and is not any more: the session stays sealed, nothing is put
	// elsewhere, and with it back all goes on.
	t.Run("it goes away and comes back", func(t *testing.T) {
		o := o.in(t)
		f := &keychaintest.Fake{}
		for _, v := range f.Start(t) {
			if strings.HasPrefix(v, "DBUS_SESSION_BUS_ADDRESS=") || strings.HasPrefix(v, "XDG_RUNTIME_DIR=") {
				o.person = o.as(v)
			}
		}
		o.person = o.as("ENVRUN_STORE_PASSPHRASE_FILE=")
		o.run("login", "--store", "secret-service").wants(0, "kept      secret-service")
		if got := o.must("", "get", "A"); got != "canary-value" {
			t.Errorf("it is %q", got)
		}
		gone := o.as("DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent")
		for _, args := range [][]string{{"get", "A"}, {"--", "true"}} {
			_, errs, code := gone.pipe("", args...)
			if code == 0 || !strings.Contains(errs, "secret-service") || !strings.Contains(errs, "hint: ") {
				t.Errorf("%q: status %d: %s", args, code, errs)
			}
		}
		gone.run("login").wants(1, "secret-service", "hint: ", "!open this")
		out, errs, code := gone.pipe("", "whoami")
		if code != 0 || !strings.Contains(out, "cannot be read") || !strings.Contains(out, "secret-service") {
			t.Errorf("status %d: %s%s", code, out, errs)
		}
		if got := o.must("", "get", "A"); got != "canary-value" {
			t.Errorf("it is %q", got)
		}
		files, err := filepath.Glob(filepath.Join(o.home, ".local/state/envrun/sessions/sessions/*"))
		if err != nil || len(files) != 1 {
			t.Errorf("%q, %v", files, err)
		}
		for _, form := range o.issuer.Forms("/token") {
			o.nowhere(form.Get("code_verifier"))
		}
		// Without its key nothing can be revoked; what is here goes all the same, and that
		// is said.
		out, errs, code = gone.pipe("", "logout")
		if _, err := os.Stat(files[0]); err == nil || !strings.Contains(errs, "stays good") {
			t.Errorf("status %d: %s%s, %v", code, out, errs, err)
		}
	})
}

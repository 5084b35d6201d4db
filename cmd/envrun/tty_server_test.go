//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/vault/vaulttest/hashivault"
)

// A project file names a server that this machine has sent nothing to: cloning it
// must not be enough to have a token sent there.
func TestTerminalTokenGoesWhereSaid(t *testing.T) {
	s := hashivault.Start(t)
	p := newPerson(t).as("VAULT_TOKEN=" + s.Token)
	project := func(address string) {
		p.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", address))
	}
	project(s.Addr)
	question := "Send it the token in VAULT_TOKEN, now and from now on?"

	// Nobody at a terminal, or somebody who says no: it stays here.
	if _, errs, code := p.pipe("", "env", "add", "dev"); code != 1 || !strings.Contains(errs, "export VAULT_ADDR="+s.Addr) {
		t.Errorf("status %d: %s", code, errs)
	}
	c := p.run("env", "add", "dev")
	c.expect("names the server " + s.Addr + ". This machine has sent no token there yet.")
	c.expect(question)
	c.typed("n\n")
	c.wants(1, "no token was sent to "+s.Addr)
	if _, err := os.Stat(filepath.Join(p.home, ".local/state/envrun/servers")); err == nil {
		t.Error("a no is kept as a yes")
	}

	// A yes is asked for once.
	c = p.run("env", "add", "dev")
	c.expect(question)
	c.typed("y\n")
	c.wants(0, "added dev on "+s.Addr)
	p.must("value", "set", "A")
	if got := p.must("", "get", "A"); got != "value" {
		t.Errorf("it is %q", got)
	}

	// It was about that server, and about no other.
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server was asked for %s, with the token %q", r.URL, r.Header.Get("X-Vault-Token"))
	}))
	defer other.Close()
	project(other.URL)
	if _, errs, code := p.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "is not known to be for "+other.URL) {
		t.Errorf("status %d: %s", code, errs)
	}
	// Nor does the interface ask by itself: it is asked before there is a screen.
	c = p.run("tui")
	c.expect("names the server " + other.URL)
	c.expect(question)
	c.typed("\x03")
	c.wants(130)
}

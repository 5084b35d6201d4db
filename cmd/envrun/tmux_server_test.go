//go:build unix

package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"envrun/vault/vaulttest/hashivault"
)

// The interface over a real Vault: browse, reveal, edit, history, rollback, copy.
// Who can open what is the server's to say, and is not asked about here.
func TestTmuxServer(t *testing.T) {
	s := hashivault.Start(t)
	alice := newPerson(t).as("VAULT_ADDR="+s.Addr, "VAULT_TOKEN="+s.Token)
	text := fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[env.staging]\n", s.Addr)
	if err := os.WriteFile(filepath.Join(alice.dir, "envrun.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	hook, edited := newCanary(), newCanary()
	for _, env := range []string{"dev", "staging"} {
		alice.must("", "env", "add", env)
	}
	alice.must(hook, "set", "HOOK_SECRET")
	alice.must("dev-only", "set", "LOG_LEVEL")

	a := alice.tmux(true, alice.program+" tui; echo ended $?")
	a.shows("app/HOOK_SECRET")
	a.then("1 of 2", "/", "h", "k", "s")
	a.then("version 2 (current)", "Enter", "Enter")
	a.then(hook, "v")
	a.keys("v")
	a.gone(hook)

	a.then("Edit app", "e")
	a.then("typing, not shown", "Enter")
	a.then("replaced", "-l", edited)
	a.keys("Enter")
	a.gone("typing, not shown")
	a.then("Changes to dev", "C-s")
	a.then("press Y to send", "C-s")
	a.then("Sent: app is version 3.", "Y")
	if got := alice.must("", "get", "HOOK_SECRET"); got != edited {
		t.Errorf("it is %q, want what was typed", got)
	}

	a.then("version 3 (current)", "Escape")
	a.then("3 versions", "H")
	a.keys("j")
	a.then("Roll app back to version 2?", "u")
	a.shows("press Y to roll back")
	a.then("Version 4 of app is version 2 again.", "Y")
	if got := alice.must("", "get", "HOOK_SECRET"); got != hook {
		t.Errorf("it is %q, want what it was before", got)
	}

	a.then("version 4 (current)", "-")
	a.then("1 of 2", "-")
	a.then("2 names", "Escape")
	a.then("Names only. D compares the values too, which is written down", "C")
	a.then("Copy from dev", "/", "l", "o", "g", "Enter", "c")
	a.then("press Y to copy", "Enter")
	a.then("Copied LOG_LEVEL to staging, which has version 1 now.", "Y")

	a.keys("C-c")
	a.shows("ended 0")
	for _, value := range []string{hook, edited, s.Token} {
		if all := a.everything(); strings.Contains(all, value) {
			t.Errorf("a value is still there:\n%s", all)
		}
		nowhere(t, value, alice.dir, alice.home, alice.tmp)
	}
}

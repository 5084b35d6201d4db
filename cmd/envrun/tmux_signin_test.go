//go:build unix

package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A developer works in the interface on a team server; the session ends, they are
// told, sign in again with their browser from where they are, and send what they had
// typed.
func TestTmuxSignIn(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	// Without refresh tokens a session ends with the server's token.
	o.issuer.SetDocument(func(d map[string]any) { d["scopes_supported"] = []string{"openid", "profile", "email"} })
	o.ask(o.root, "PUT", "sys/policies/acl/dev", map[string]any{"policy": `path "dev/*" { capabilities = ["create", "read", "update", "list", "delete"] }
path "staging/metadata/*" { capabilities = ["list"] }`})
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[env.staging]\n[env.prod]\nprotected = true\n", o.addr))
	op := o.as("VAULT_ADDR="+o.addr, "VAULT_TOKEN="+o.root)
	hook, edited := newCanary(), newCanary()
	for _, env := range []string{"dev", "staging", "prod"} {
		if env != "dev" {
			op.must("", "env", "add", env)
		}
		op.must(hook, "set", "-e", env, "--yes=prod", "HOOK_SECRET")
	}
	secrets := o.given()
	c := o.run("login", "--store", "passphrase")
	c.wants(0, "sign in again")

	a := o.tmux(true, o.program+" tui; echo ended $?")
	a.shows("HOOK_SECRET")
	a.then("no access", "E")
	a.shows("names only")
	a.keys("Escape")
	a.gone("no access")
	a.then("in a browser", "S")
	a.shows("read and write")
	a.shows("not reachable")
	a.then("HOOK_SECRET", "Escape")

	a.then("Edit app", "e")
	a.keys("Down")
	a.then("typing, not shown", "Enter")
	a.then("replaced", "-l", edited)
	o.endTokens()
	a.keys("Enter")
	a.gone("typing, not shown")
	a.then("Changes to dev", "C-s")
	a.then("Not sent", "C-s", "Y")
	a.then("Signed in to", "C-r")
	a.shows("unsent 1")
	a.shows("press Y to send")
	a.until("the change is sent", func(shown string) bool {
		if strings.Contains(shown, "press Y to send") {
			time.Sleep(time.Second) // the box is deaf to who was typing
			a.keys("Y")
		}
		return strings.Contains(shown, "Sent: app is version 3") || strings.Contains(shown, "based on version 3")
	})
	if got := o.must("", "get", "HOOK_SECRET"); got != edited {
		t.Errorf("it is %q, want what was typed", got)
	}

	// Signing out says what it ended, and the interface goes on.
	a.then("in a browser", "S")
	a.then("out of", "Q")
	a.keys("C-c")
	a.shows("ended 0")
	for _, value := range append(secrets(), hook, edited, o.root) {
		if all := a.everything(); strings.Contains(all, value) {
			t.Errorf("a value is still there:\n%s", all)
		}
		nowhere(t, value, o.dir, o.home, o.tmp)
	}
}

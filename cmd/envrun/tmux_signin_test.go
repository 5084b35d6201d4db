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

// A crew is our server with the environments dev, staging and prod of a project: its
// policy "team" lets people write dev, see the names of staging, and come into prod
// not at all.
type crew struct {
	*hashivault.Server
	t    *testing.T
	hook string // the value of HOOK_SECRET
}

func newTeam(t *testing.T, alice *person) *crew {
	t.Helper()
	s := &crew{Server: hashivault.StartOwn(t), t: t, hook: newCanary()}
	text := fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[env.staging]\n[env.prod]\nprotected = true\n", s.Addr)
	if err := os.WriteFile(filepath.Join(alice.dir, "envrun.toml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	root := s.operator(alice)
	for _, env := range []string{"dev", "staging", "prod"} {
		root.must("", "env", "add", env)
		root.must(s.hook, "set", "-e", env, "--yes=prod", "HOOK_SECRET")
	}
	s.ask("PUT", "sys/policies/acl/team", map[string]any{"policy": `path "dev/*" { capabilities = ["create", "read", "update", "list", "delete", "patch"] }
path "staging/metadata/*" { capabilities = ["read", "list"] }`})
	return s
}

// operator is a person with the token that may do everything.
func (s *crew) operator(p *person) *person { return p.as("VAULT_ADDR="+s.Addr, "VAULT_TOKEN="+s.Token) }

// ask is what its operator asks of the server.
func (s *crew) ask(method, path string, body any) map[string]any {
	s.t.Helper()
	status, answer := s.Do(s.t, method, path, body)
	if status/100 != 2 {
		s.t.Fatalf("%s %s: %d %v", method, path, status, answer)
	}
	return answer
}

// endSessions has the server take no token any more but the operator's.
func (s *crew) endSessions() {
	s.t.Helper()
	own := s.ask("GET", "auth/token/lookup-self", nil)["data"].(map[string]any)["accessor"]
	for _, accessor := range s.ask("LIST", "auth/token/accessors", nil)["data"].(map[string]any)["keys"].([]any) {
		if accessor != own {
			s.ask("POST", "auth/token/revoke-accessor", map[string]any{"accessor": accessor})
		}
	}
}

// Who comes with a token sees whose it is, for how long, and how far it reaches; and
// is told when it has ended.
func TestTmuxToken(t *testing.T) {
	alice := newPerson(t)
	s := newTeam(t, alice)
	made := s.ask("POST", "auth/token/create", map[string]any{"policies": []string{"team"}, "ttl": "1h", "display_name": "alice"})
	token := made["auth"].(map[string]any)["client_token"].(string)

	a := alice.as("VAULT_ADDR="+s.Addr, "VAULT_TOKEN="+token).tmux(true, alice.program+" tui; echo ended $?")
	a.shows("app/HOOK_SECRET")
	a.shows("token-alice")
	a.then("no access", "E")
	a.shows("names only")
	a.shows("read, write")
	a.keys("Escape")
	a.gone("no access")
	a.then("the token in VAULT_TOKEN", "S")
	for _, text := range []string{"Signed in to " + s.Addr, "team", "read and write", "names, and no value", "L not reachable", "session    until"} {
		a.shows(text)
	}
	s.endSessions()
	a.then("has ended", "r")
	a.shows("NOT SIGNED IN")
	a.shows("Get a new token with")
	a.keys("C-c")
	a.shows("ended 0")
	if all := a.everything(); strings.Contains(all, token) || strings.Contains(all, s.hook) {
		t.Errorf("a value is still there:\n%s", all)
	}
}

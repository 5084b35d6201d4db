//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"envrun/vault/vaulttest/hashivault"
)

// Applying asks a person, who may say no; and what somebody else changes while they
// think is not written over.
func TestTerminalPolicyApply(t *testing.T) {
	s := hashivault.Start(t)
	p := newPerson(t).as("VAULT_TOKEN="+s.Token, "VAULT_ADDR="+s.Addr)
	const text = "path \"prod/data/%s\" {\n  capabilities = [\"read\"]\n}\n"
	if err := os.Mkdir(filepath.Join(p.dir, "policies"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.write("policies/tty-a.hcl", fmt.Sprintf(text, "a"))
	p.write("policies/tty-b.hcl", fmt.Sprintf(text, "b"))
	read := func(name string) any {
		_, answer := s.Do(t, "GET", "sys/policies/acl/"+name, nil)
		data, _ := answer["data"].(map[string]any)
		return data["policy"]
	}
	question := "Change 2 policies on " + s.Addr + "? [y/N]"

	c := p.run("policy", "apply")
	c.expect("prod/data/a: gains read")
	c.expect(question)
	c.typed("n\n")
	c.wants(1, "not confirmed: nothing was changed")
	if got := read("tty-a"); got != nil {
		t.Errorf("there is %v", got)
	}

	c = p.run("policy", "apply")
	c.expect(question)
	if status, answer := s.Do(t, "PUT", "sys/policies/acl/tty-b", map[string]any{"policy": "# somebody's"}); status != http.StatusNoContent {
		t.Fatal(status, answer)
	}
	c.typed("y\n")
	c.wants(1, "policy tty-b: somebody else changed it in between", "envrun policy diff")
	if a, b := read("tty-a"), read("tty-b"); a != nil || b != "# somebody's" {
		t.Errorf("there are %v and %v", a, b)
	}

	c = p.run("policy", "apply")
	c.expect("-# somebody's")
	c.expect(question)
	c.typed("y\n")
	c.wants(0, "2 policies changed on "+s.Addr)
	if a, b := read("tty-a"), read("tty-b"); a != fmt.Sprintf(text, "a") || b != fmt.Sprintf(text, "b") {
		t.Errorf("there are %v and %v", a, b)
	}
}

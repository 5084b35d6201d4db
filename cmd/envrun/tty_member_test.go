//go:build unix

package main_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// joining is alice with a vault and bob on a machine of his own, who asks for
// access; code is what his machine shows him.
func joining(t *testing.T, env string) (alice, bob *person, code string) {
	t.Helper()
	alice = newPerson(t)
	alice.setup("dev,prod")
	other := newPerson(t)
	b := *other
	b.dir = alice.dir
	b.must("", "key", "new", "--member", "bob@desktop", "--store", "file")
	var asked struct {
		Code string `json:"check_code"`
	}
	if err := json.Unmarshal([]byte(b.must("", "request", env, "--json", "--reason", "on call")), &asked); err != nil {
		t.Fatal(err)
	}
	return alice, &b, asked.Code
}

// At a terminal the approver types what they hear: the code is not on the
// screen to be copied from, and Enter is no answer.
func TestTerminalApprove(t *testing.T) {
	const question = "The code as they read it: "
	t.Run("right", func(t *testing.T) {
		alice, bob, code := joining(t, "dev")
		alice.must("", "set", "A=1")
		s := alice.run("access", "approve", "bob@desktop")
		s.expect(question)
		s.typed(strings.ToLower(strings.ReplaceAll(code, "-", "")) + "\n")
		s.wants(0, "why           on call", "bob@desktop can open dev now", "!"+code)
		if got := bob.must("", "get", "A"); got != "1" {
			t.Errorf("bob gets %q", got)
		}
	})
	for name, typed := range map[string]string{"nothing": "\n", "another": "0000-0000-0000\n", "yes": "y\n"} {
		t.Run(name, func(t *testing.T) {
			alice, _, _ := joining(t, "dev")
			before := tree(t, filepath.Join(alice.dir, ".envrun", "vault", "envs"))
			s := alice.run("access", "approve", "bob@desktop")
			s.expect(question)
			s.typed(typed)
			s.wants(1, "E_TAMPERED", "envrun access deny bob@desktop -e dev")
			if !same(before, tree(t, filepath.Join(alice.dir, ".envrun", "vault", "envs"))) {
				t.Error("something was granted")
			}
		})
	}
	t.Run("protected", func(t *testing.T) {
		alice, _, code := joining(t, "prod")
		s := alice.run("access", "approve", "bob@desktop", "-e", "prod")
		s.expect(question)
		s.typed(code + "\n")
		s.expect("prod is protected. Type its name to go on: ")
		s.typed("prod\n")
		s.wants(0, "bob@desktop can open prod now")
	})
}

// A removal says what it does before it does it.
func TestTerminalMemberRm(t *testing.T) {
	alice, bob, code := joining(t, "dev")
	alice.must("", "access", "approve", "bob@desktop", "--code", code)
	for _, answer := range []string{"\n", "n\n"} {
		s := alice.run("member", "rm", "bob@desktop")
		s.expect("Remove bob@desktop from dev? It gets a new key.")
		s.typed(answer)
		s.wants(1, "nothing was changed")
	}
	bob.must("", "list")
	s := alice.run("member", "rm", "bob@desktop")
	s.expect("It gets a new key.")
	s.typed("y\n")
	s.wants(0, "bob@desktop cannot read what is written from now on")
}

// On a terminal long work is one line, which is gone at its end.
func TestTerminalProgress(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	args := []string{"set"}
	for i := range 900 {
		args = append(args, "p"+strings.Repeat("x", i/30)+string(rune('a'+i%30%26))+strings.Repeat("z", i%30/26)+"/K=v")
	}
	p.must("", args...)
	s := p.run("env", "rotate-key", "dev")
	shown := s.wants(0, "900 secrets wrapped anew")
	if strings.Contains(shown, "\nchanging the key") {
		t.Errorf("it takes more than one line:\n%q", shown)
	}
	// Whether it was shown at all depends on how quick the disk is.
	if i := strings.LastIndex(shown, " of 900"); i >= 0 && !strings.Contains(shown[i:], "\r\x1b[K") {
		t.Errorf("it is left standing:\n%q", shown)
	}
}

//go:build unix

package main_test

import (
	"strings"
	"testing"
	"time"
)

// wakes waits until a box that has opened by itself takes keys: until nobody has
// typed for a while it is deaf.
func (s *pane) wakes(key, shows string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(600 * time.Millisecond)
		s.keys(key)
		for range 40 {
			time.Sleep(50 * time.Millisecond)
			if strings.Contains(s.screen(), shows) {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the box takes no keys:\n%s", s.screen())
		}
	}
}

// What a plugin asks is asked in a box of the interface; its PIN is not shown,
// and nothing of it breaks the screen.
func TestTmuxPlugin(t *testing.T) {
	p := toyPerson(t).as("TOY_DOES=ask")
	const pin = "314159"
	s := p.tmux(true, p.program+" tui; echo ended $?")
	s.shows("age-plugin-toy asks")
	s.shows("PIN of the token")
	s.wakes("x", "••••")
	s.keys("BSpace")
	s.keys("-l", pin)
	s.keys("Enter")
	s.shows("its owner")
	s.wakes("b", "│ b ")
	s.keys("-l", "ob")
	s.shows("bob")
	s.keys("Enter")
	s.shows("use slot 1")
	s.wakes("Down", "> this one")
	s.keys("Enter")
	s.shows("touch it")
	s.wakes("Down", "> done")
	s.keys("Enter")
	s.until("no box", func(shown string) bool { return !strings.Contains(shown, "asks") && strings.Contains(shown, "app/A") })
	if strings.Contains(s.everything(), pin) {
		t.Errorf("the PIN was shown:\n%s", s.everything())
	}
	// The environment is open now.
	s.keys("v")
	s.shows("REVEALED")
	s.keys("v")
	s.keys("!")
	s.shows("insert ^[[2J envrun: the token")
	s.keys("Enter")
	s.keys("q")
	s.shows("ended 0")
}

// So is a passphrase; one that is wrong is asked for again with the next try.
func TestTmuxPassphrase(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("value-of-a", "set", "A")
	const passphrase = "a long passphrase"
	k := p.run("key", "protect")
	k.expectHidden("New passphrase for your identity (not shown): ")
	k.typed(passphrase + "\n")
	k.expectHidden("The same again: ")
	k.typed(passphrase + "\n")
	k.wants(0)
	p.must("", "key", "lock")
	s := p.tmux(true, p.program+" tui; echo ended $?")
	s.shows("your identity asks")
	s.wakes("x", "••••")
	s.keys("Enter")
	s.shows("The passphrase was wrong.")
	s.wakes("x", "••••")
	s.keys("BSpace")
	s.keys("-l", passphrase)
	s.keys("Enter")
	s.until("no box", func(shown string) bool { return !strings.Contains(shown, "asks") && strings.Contains(shown, "app/A") })
	s.keys("v")
	s.shows("value-of-a")
	s.keys("C-c")
	s.shows("ended 0")
}

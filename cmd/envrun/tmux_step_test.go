//go:build unix

package main_test

import (
	"strings"
	"testing"
	"time"
)

// In the interface somebody has signed in to a role that wants them to do so each time:
// they see that they are, and may do so again. Of none of it anything is good when they
// leave.
func TestTmuxStepUp(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h", "acr_values": []string{"strong"}, "listed": true})
	left := func(n int) {
		t.Helper()
		if all := tokensOf(o, "auth/human/login"); len(all) != n {
			t.Errorf("%d tokens are good, want %d", len(all), n)
		}
	}
	a := o.tmux(true, o.program+" tui; echo ended $?")
	a.shows("app/A")
	a.shows("alice@example.test")
	a.then("nothing of it is kept", "S")
	a.shows("read and write")
	left(1)
	a.then("app/A", "Escape")
	a.then("Signed in to", "C-r")
	a.then("nothing of it is kept", "S")
	left(1) // not the one that was replaced
	a.then("Sign out of", "Q")
	a.until("somebody is signed out", func(shown string) bool {
		if strings.Contains(shown, "press Y to sign out") {
			time.Sleep(time.Second) // the box is deaf to who was typing
			a.keys("Y")
		}
		return strings.Contains(shown, "NOT SIGNED IN")
	})
	left(0)
	a.keys("C-c")
	a.shows("ended 0")

	a = o.tmux(true, o.program+" tui; echo ended $?")
	a.shows("app/A")
	a.keys("C-c")
	a.shows("ended 0")
	left(0)
}

package tui_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Nothing of what is in memory is left on the disk when it dies, no other process
// of this person looks into it, and the terminal is never asked for what is on
// its clipboard: it may be other people's (R10, R19).
func TestLeavesNoCoreAndAsksForNoClipboard(t *testing.T) {
	c := newConsole(t)
	c.await(t, "2 names")
	pid := c.cmd.Process.Pid
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
		t.Errorf("it may leave a core: %s", limits)
	}
	// What may not be looked into belongs to root, whoever runs it.
	if os.Getuid() != 0 {
		if f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid)); err == nil {
			f.Close()
			t.Error("another process of ours can read its memory")
		}
	}
	for _, key := range []string{"/", "\x16", "\r", "e", "\r", "\x16", "\x19"} { // ctrl+v, ctrl+y where something is typed
		if _, err := c.pty.Write([]byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	c.await(t, "REVEALED") // what was typed, by ctrl+v
	if out := c.written(); strings.Contains(out, "\x1b]52;") {
		t.Errorf("the terminal's clipboard is asked for, or set: %q", out[strings.Index(out, "\x1b]52;"):])
	}
}

//go:build unix

package main_test

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// A secret is changed in the interface, in part in an editor: what is typed is
// not seen, the editor finds an empty terminal and leaves one, and of all of it
// nothing stays in the scrollback or in a file.
func TestTmuxEdit(t *testing.T) {
	if _, err := exec.LookPath("vim"); err != nil {
		t.Skip("suite edit in vim skipped: no vim here")
	}
	p := newPerson(t)
	p.setup("dev")
	old, typed := newCanary(), newCanary()
	p.must(old, "set", "SECRET")
	p.must("other", "set", "OTHER")
	p = p.as("EDITOR=vim")
	s := p.tmux(true, p.program+" tui; echo ended $?")
	s.shows("app/SECRET")
	s.keys("G", "e")
	s.shows("based on version 2")
	s.keys("Enter")
	s.shows("typing, not shown")
	s.keys("-l", typed)
	s.shows("replaced")
	if all := s.everything(); strings.Contains(all, typed) {
		t.Errorf("what is typed is seen:\n%s", all)
	}
	s.keys("C-v")
	s.shows(typed)
	s.keys("C-e")
	if runtime.GOOS != "linux" { // there the text lies on a disk, which is asked about
		s.shows("Your editor")
		s.keys("j", "Enter")
	}
	in := s.until("vim", func(shown string) bool {
		return strings.Contains(shown, "SECRET="+typed) && strings.Contains(shown, "OTHER=other")
	})
	if strings.Contains(in, "REVEALED") || strings.Contains(in, "unsent") {
		t.Errorf("the editor did not find an empty terminal:\n%s", in)
	}
	s.keys(":%s/OTHER=other/ADDED=FAKE-added/", "Enter", ":wq", "Enter")
	back := s.shows("Taken over from the editor")
	if strings.Contains(back, typed) || !strings.Contains(back, "ADDED") || !strings.Contains(back, "removed") {
		t.Errorf("what came back is\n%s", back)
	}
	s.keys("C-s")
	s.shows("Changes to dev")
	s.keys("C-s")
	s.shows("press Y to send")
	s.keys("Y")
	s.shows("Sent: app is version 3.")
	s.keys("C-c")
	s.shows("ended 0")
	if all := s.everything(); strings.Contains(all, typed) || strings.Contains(all, old) {
		t.Errorf("a value is still there:\n%s", all)
	}
	for _, value := range []string{old, typed} {
		nowhere(t, value, p.dir, p.home, p.tmp)
	}
	if got := p.must("", "get", "SECRET"); got != typed {
		t.Errorf("it is %q, want what was typed", got)
	}
	if got := p.must("", "list"); !strings.Contains(got, "ADDED") || strings.Contains(got, "OTHER") {
		t.Errorf("there are %q", got)
	}
}

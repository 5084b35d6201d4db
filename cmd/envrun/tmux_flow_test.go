//go:build unix

package main_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// team is two people with a home and a clone each: alice made the vault of dev,
// staging and a protected prod; bob@desktop is a member of dev.
func team(t *testing.T) (alice, bob *person) {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("suite tmux skipped: no tmux here")
	}
	alice, bob = newPerson(t), newPerson(t)
	origin := filepath.Join(t.TempDir(), "app.git")
	alice.git("init", "-q", "--bare", "-b", "main", origin)
	alice.git("clone", "-q", origin, ".")
	alice.setup("dev,staging,prod")
	bob.must("", "key", "new", "--member", "bob@desktop", "--store", "file")
	alice.must("", "member", "add", "bob@desktop", bob.publicKey(), "-e", "dev", "--yes")
	alice.git("add", "-A")
	alice.git("commit", "-q", "-m", "the vault")
	alice.git("push", "-q", "origin", "HEAD:main")
	bob.git("clone", "-q", origin, ".")
	return alice, bob
}

// publicKey is what others let somebody in with.
func (p *person) publicKey() string {
	p.t.Helper()
	var facts struct{ Recipient string }
	if err := json.Unmarshal([]byte(p.must("", "key", "show", "--json")), &facts); err != nil {
		p.t.Fatal(err)
	}
	return facts.Recipient
}

// push commits all that there is and shares it.
func (p *person) push(message string) {
	p.t.Helper()
	p.git("add", "-A")
	p.git("commit", "-q", "-m", message)
	p.git("pull", "-q", "--rebase", "origin", "main")
	p.git("push", "-q", "origin", "HEAD:main")
}

func (p *person) pull() {
	p.t.Helper()
	p.git("pull", "-q", "--no-rebase", "origin", "main")
}

// buffer is what tmux has on its clipboard of ours; empty if there is none.
func (s *pane) buffer() string {
	text := s.tmux("show-buffer", "-b", "envrun")
	if strings.HasPrefix(text, "no buffer") {
		return ""
	}
	return text
}

// Two people do with a vault of three environments what there is to do, in
// terminals of their own.
func TestTmuxFlow(t *testing.T) {
	for _, size := range []cells{large, medium} {
		t.Run(size.String(), func(t *testing.T) {
			t.Parallel()
			flow(t, size)
		})
	}
}

func flow(t *testing.T, size cells) {
	alice, bob := team(t)
	hook, edited, secret := newCanary(), newCanary(), newCanary()
	alice.must(hook, "set", "HOOK_SECRET")
	alice.git("add", "-A")
	alice.git("commit", "-q", "-m", "a hook") // which keeps the version
	alice.must("dev-only", "set", "LOG_LEVEL")
	alice.must(secret, "set", "-e", "prod", "--yes=prod", "HOOK_SECRET")
	alice.push("what the app needs")
	bob.pull()

	a := alice.tmuxOf(size, true, alice.program+" tui; echo ended $?")
	a.shows("app/HOOK_SECRET")

	// Browse, filter, open.
	a.then("1 of 2", "/", "h", "k", "s")
	a.then("version 2 (current)", "Enter", "Enter")

	// Reveal: it hides by itself.
	a.then(hook, "v")
	a.gone(hook)

	// Copy: what there is for a clipboard here is tmux's. It is cleared while the
	// rest goes on.
	a.then("clip 30s", "y")
	if got := a.buffer(); got != hook {
		t.Errorf("copied %q, want %q", got, hook)
	}
	cleared := time.Now().Add(30*time.Second + patience)

	// Edit, review, save.
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
	alice.git("commit", "-q", "-a", "-m", "another hook")

	// History, diff, rollback.
	a.then("version 3 (current)", "Escape")
	a.then("3 versions", "H")
	a.then("app, v3 against v2", "D")
	if shown := a.shows("changed"); strings.Contains(shown, edited) || strings.Contains(shown, hook) {
		t.Errorf("a diff shows a value:\n%s", shown)
	}
	a.then("3 versions", "Escape")
	a.keys("j")
	a.then("Roll app back to version 2?", "u")
	a.shows("press Y to roll back")
	a.then("Version 4 of app is version 2 again.", "Y")
	if got := alice.must("", "get", "HOOK_SECRET"); got != hook {
		t.Errorf("it is %q, want what it was before", got)
	}

	// Compare, and copy to another environment what is missing there.
	a.then("version 4 (current)", "-")
	a.then("1 of 2", "-")
	a.then("2 names", "Escape")
	a.then("Nothing was revealed", "C")
	a.then("Copy from dev", "/", "l", "o", "g", "Enter", "c")
	a.then("press Y to copy", "Enter")
	a.then("Copied LOG_LEVEL to staging, which has version 1 now.", "Y")
	if got := alice.must("", "get", "-e", "staging", "LOG_LEVEL"); got != "dev-only" {
		t.Errorf("in staging it is %q", got)
	}
	a.then("/ filters", "Escape")
	a.then("VER   CHG", "-")
	alice.push("rolled back, copied")

	// An environment that bob cannot open says so, and how to ask.
	b := bob.tmuxOf(size, true, bob.program+" tui; echo ended $?")
	b.shows("dev is new to this machine")
	b.then("press Y", "a")
	b.then("dev is open to you", "Y")
	b.then("app/HOOK_SECRET", "Enter")
	b.then("PROD is locked for you", "3")
	b.then("Ask for access to PROD", "R")
	b.keys("-l", "on call")
	b.then("press Y", "C-s")
	asked := b.then("Your request for ", "Y")
	code := regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}`).FindString(asked)
	bob.push("bob asks for prod")

	// Alice is shown the request, but not the code: bob reads it to her.
	alice.pull()
	in := a.then("on call", "I")
	if code == "" || strings.Contains(in, code) {
		t.Errorf("the check code %q is on the screen of who is to compare it:\n%s", code, in)
	}
	a.then("Check code", "a")
	a.keys("-l", code)
	a.then("Let bob@desktop into PROD?", "C-s")
	a.then("press Tab, then Y to approve", "p", "r", "o", "d")
	a.then("press Y to approve", "Tab")
	a.then("bob@desktop can open PROD now", "Y")
	alice.push("bob@desktop may open prod")

	// Bob's interface, which has been open all the time, opens it.
	bob.pull()
	b.then("PROD is new to this machine", "-")
	b.then("Take this key for PROD?", "a")
	b.then("press Tab, then Y to accept", "p", "r", "o", "d")
	b.then("press Y to accept", "Tab")
	b.then("PROD is open to you", "Y")
	b.then("app/HOOK_SECRET", "Enter")
	b.then("version 1 (current)", "Enter")
	b.then(secret, "v")
	b.keys("C-c")
	b.shows("ended 0")

	for ; a.buffer() != ""; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(cleared) {
			t.Fatalf("tmux still has what was copied: %q", a.buffer())
		}
	}
	a.keys("C-c")
	a.shows("ended 0")
	for _, s := range []*pane{a, b} {
		for _, value := range []string{hook, edited, secret} {
			if all := s.everything(); strings.Contains(all, value) {
				t.Errorf("a value is still there:\n%s", all)
			}
			nowhere(t, value, s.p.dir, s.p.home, s.p.tmp)
		}
	}
}

// What is copied is cleared when the interface has long been left, but not what
// somebody has put there since.
func TestTmuxCopyAndLeave(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	value := newCanary()
	p.must(value, "set", "SECRET")
	for name, meanwhile := range map[string]string{"cleared": "", "another's": "something else"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := p.in(t)
			s := p.tmux(true, p.program+" tui; echo ended $?")
			s.shows("app/SECRET")
			s.then("(current)", "Enter")
			s.then("clip 30s", "y")
			s.keys("C-c")
			s.shows("a copied value leaves the clipboard in")
			s.shows("ended 0")
			if got := s.buffer(); got != value {
				t.Fatalf("copied %q, want %q", got, value)
			}
			if meanwhile != "" {
				s.tmux("set-buffer", "-b", "envrun", meanwhile)
			}
			for deadline := time.Now().Add(30*time.Second + patience); len(s.helpers()) > 0; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the helper never ends")
				}
			}
			if got := s.buffer(); got != meanwhile {
				t.Errorf("the clipboard has %q, want %q", got, meanwhile)
			}
		})
	}
}

// Forty lines pasted into the list do nothing; pasted into a value they are one.
func TestTmuxPaste(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("before", "set", "SECRET")
	canary := newCanary()
	forty := strings.Repeat("dYq"+canary+"\n", 40)
	s := p.tmux(true, p.program+" tui; echo ended $?")
	s.tmux("set-buffer", "-b", "forty", forty)
	paste := func(then string) string {
		t.Helper()
		s.tmux("paste-buffer", "-p", "-b", "forty")
		return s.shows(then)
	}
	s.shows("app/SECRET")
	before := tree(t, filepath.Join(p.dir, ".envrun"))
	paste("Pasted text is ignored here.")
	if shown := s.shows("> app/SECRET"); strings.Contains(shown, canary) || !same(before, tree(t, filepath.Join(p.dir, ".envrun"))) {
		t.Errorf("a paste into the list did something:\n%s", shown)
	}
	s.then("(current)", "Enter")
	s.then("Edit app", "e")
	s.then("typing, not shown", "Enter")
	paste("The text has 40 lines and ends with a newline.")
	s.then("replaced", "Enter")
	s.then("Changes to dev", "C-s")
	s.then("press Y to send", "C-s")
	s.then("Sent: app is version 2.", "Y")
	if got := p.must("", "get", "SECRET"); got != forty {
		t.Errorf("of forty lines it has %q", got)
	}
	s.keys("C-c")
	s.shows("ended 0")
	s.hasNot(canary)
}

// Somebody else changes the same value while a draft is made: nothing is sent over
// it, and whoever keeps theirs knows that they do.
func TestTmuxConflict(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("", "set", "SECRET=before", "OTHER=before")
	mine := newCanary()
	for _, size := range []cells{large, medium} {
		p.must("", "set", "SECRET=before")
		s := p.tmuxOf(size, true, p.program+" tui; echo ended $?")
		s.shows("app/SECRET")
		s.keys("G")
		s.shows("> app/SECRET")
		s.then("(current)", "Enter")
		s.then("Edit app", "e")
		s.then("typing, not shown", "Enter")
		s.then("replaced", "-l", mine)
		s.keys("Enter")
		s.gone("typing, not shown")
		p.must("", "set", "SECRET=theirs", "OTHER=theirs")
		s.then("Changes to dev", "C-s")
		s.shows("changed by alice@laptop")
		s.then("was changed by somebody else; D on it compares", "C-s")
		s.then("Somebody else has changed app", "D")
		if shown := s.shows("> Leave my draft as it is for now"); !strings.Contains(shown, "they changed it") {
			t.Errorf("it does not say what they did:\n%s", shown)
		}
		s.then("> Put mine on version", "j", "j")
		s.keys("Enter")
		s.gone("Somebody else has changed app")
		s.then("press Y to send", "C-s")
		s.then("Sent: app is version", "Y")
		if got := p.must("", "get", "SECRET"); got != mine {
			t.Errorf("SECRET is %q, want %q", got, mine)
		}
		if got := p.must("", "get", "OTHER"); got != "theirs" {
			t.Errorf("OTHER is %q: what they did elsewhere was lost", got)
		}
		s.keys("C-c")
		s.shows("ended 0")
		s.hasNot(mine)
	}
}

// A terminal that becomes too small hides what is shown and loses nothing else.
func TestTmuxResize(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	value := newCanary()
	p.must(value, "set", "SECRET")
	s := p.tmux(true, p.program+" tui; echo ended $?")
	s.shows("app/SECRET")
	s.then("(current)", "Enter")
	s.then(value, "v")
	s.tmux("resize-window", "-x", "39", "-y", "9")
	s.shows("envrun needs 40x10, this is 39x9")
	s.tmux("resize-window", "-x", "100", "-y", "30")
	if shown := s.shows("(current)"); strings.Contains(shown, value) {
		t.Errorf("it is shown again without being asked for:\n%s", shown)
	}
	s.hasNot(value)
}

// Without colours and with ASCII alone, in a small terminal, it can still be told
// where one is.
func TestTmuxNoColour(t *testing.T) {
	p := newPerson(t)
	p.setup("dev,prod")
	p.must("", "set", "-e", "prod", "--yes=prod", "SECRET=x")
	p = p.as("NO_COLOR=1")
	s := p.tmuxOf(medium, true, p.program+" tui -e prod --ascii; echo ended $?")
	s.shows("app/SECRET")
	for _, keys := range [][]string{nil, {"?"}, {"Escape"}, {":"}, {"Escape"}, {"Enter"}, {"e"}} {
		if keys != nil {
			before := s.screen()
			s.keys(keys...)
			s.until("something else", func(shown string) bool { return shown != before })
		}
		s.shows("PROD *protected*")
		styled := s.tmux("capture-pane", "-e", "-p")
		for _, r := range styled {
			if r > '~' {
				t.Errorf("%q is no ASCII:\n%s", r, styled)
				break
			}
		}
		if regexp.MustCompile(`\x1b\[[0-9;]*[34][0-8]`).MatchString(styled) {
			t.Errorf("there is a colour in\n%q", styled)
		}
	}
}

// A request that arrives while another one's check code is typed is counted, and
// moves nothing.
func TestTmuxRequestArrives(t *testing.T) {
	alice := newPerson(t)
	alice.git("init", "-q")
	alice.setup("dev")
	alice.must("", "set", "SECRET=x")
	code := ""
	ask := func(member string) {
		p := newPerson(t)
		p.dir = alice.dir // one checkout
		p.must("", "key", "new", "--member", member, "--store", "file")
		_, said, status := p.pipe("", "request", "dev", "--reason", "on call")
		if code = regexp.MustCompile(`[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}`).FindString(said); status != 0 || code == "" {
			t.Fatalf("%s does not get to ask: %s", member, said)
		}
	}
	ask("bob@desktop")
	s := alice.tmux(true, alice.program+" tui; echo ended $?")
	s.shows("app/SECRET")
	s.then("[waiting 1]", "I")
	s.then("Approve bob@desktop for dev", "a")
	first, rest := code[:6], code[6:]
	s.then(first, "-l", first)
	ask("carol@laptop")
	s.shows("inbox 2")
	s.then(first+rest, "-l", rest)
	s.then("Let bob@desktop into dev?", "C-s")
	s.then("bob@desktop can open dev now", "Y")
	if got := alice.must("", "member", "list"); !strings.Contains(got, "bob@desktop") || strings.Contains(got, "carol") {
		t.Errorf("the members are\n%s", got)
	}
}

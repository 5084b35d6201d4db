//go:build unix

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"
)

// talks is the interface in lines, with somebody at the keyboard.
type talks struct {
	*terminal
	prompt string
}

func (p *person) talks(env string, args ...string) *talks {
	p.t.Helper()
	s := &talks{p.run(args...), env + "> "}
	s.expect("envrun, in lines.")
	return s
}

// does waits for the prompt, types, and waits for what is said to it.
func (s *talks) does(typed string, said ...string) {
	s.t.Helper()
	s.expect("\n" + s.prompt)
	s.typed(typed + "\n")
	s.says(said...)
}

func (s *talks) says(said ...string) {
	s.t.Helper()
	for _, text := range said {
		s.expect(text)
	}
}

// answers waits for a question, and answers it.
func (s *talks) answers(question, answer string, said ...string) {
	s.t.Helper()
	s.expect(question)
	s.typed(answer + "\n")
	s.says(said...)
}

// secret is answers, to a question whose answer is not shown.
func (s *talks) secret(question, answer string, said ...string) {
	s.t.Helper()
	s.expectHidden(question)
	s.typed(answer + "\n")
	s.says(said...)
}

// over is the end: the status, and all of it, which must have been text.
func (s *talks) over(code int) string {
	s.t.Helper()
	shown := s.wants(code)
	for _, r := range shown {
		if r != '\n' && !unicode.IsPrint(r) {
			s.t.Fatalf("%U was printed:\n%q", r, shown)
		}
	}
	return shown
}

// Two people, three environments and nothing but lines: one browses, filters,
// has a value printed, copies, edits, saves, looks back, rolls back and compares;
// the other asks for access, and is let in.
func TestPlain(t *testing.T) {
	alice := newPerson(t)
	alice.git("init", "-q", "-b", "main")
	alice.setup("dev,staging,prod")
	one, two, three := newCanary(), newCanary(), newCanary()
	alice.must("", "set", "billing/stripe/STRIPE_KEY="+one, "TOKEN=short")
	alice.must("", "set", "-e", "staging", "TOKEN="+two)
	alice.git("add", "-A")
	alice.git("commit", "-q", "-m", "begin")
	marker := filepath.Join(alice.dir, "marker")

	s := alice.talks("dev", "--plain")
	s.does("/stri", "1 of 2")
	s.does("1 v", "is printed here, and stays")
	s.answers("Type yes to print it [no]: ", "yes", "\n"+one)
	s.does("copy", "no clipboard can be reached from here")
	s.does("edit", "edit billing/stripe, in dev:", "Here: ")
	s.does("type")
	s.secret("New value of STRIPE_KEY, not shown", three, "replaced", "Now: 1 change has not been sent.")
	s.does("ctrl+s", "changes to dev")
	s.does("send", "Send 1 change to dev?")
	s.answers("Type yes to send [no]: ", "", "Cancelled.")
	s.does("send")
	s.answers("Type yes to send [no]: ", "yes", "Sent: billing/stripe is version 2.")
	s.does("esc", "names of dev")
	s.does("q")
	s.over(0)
	if got := alice.must("", "get", "billing/stripe/STRIPE_KEY"); got != three {
		t.Errorf("stored is %q", got)
	}
	alice.git("add", "-A")
	alice.git("commit", "-q", "-m", "replaced")

	s = alice.as("ENVRUN_PLAIN=1").talks("dev")
	s.does("/stripe", "1 of 2")
	s.does("1 history", "history of billing/stripe, in dev:", ">1", "2  ")
	s.does("1 diff", "v2 against v1", "changed")
	s.does("esc", "history of")
	s.does("2 roll back", "Roll billing/stripe back to version 1?")
	s.answers("Type yes to roll back [no]: ", "yes", "Version 3 of billing/stripe is version 1 again.")
	s.does("esc")
	s.does("C", "compare dev, staging, prod", "TOKEN", "missing in PROD", "STRIPE_KEY", "only in dev")
	s.does("2 c", "Copy from dev")
	s.answers("Number, text to find, or enter to go back: ", "prod", "1  STRIPE_KEY to PROD")
	s.answers("Number, text to find, or enter to go back: ", "1")
	s.answers("Type the environment's name (prod) to go on: ", "dev", "Cancelled")
	s.does("$", "Run with dev")
	s.answers("$: ", "echo \"$TOKEN in $ENVRUN_ENV\" > marker; exit 4", "The command has ended: exit status 4.")
	s.does("K", "the vault of dev")
	s.does("check", "2 records right, nothing found")
	s.does("S", "session, in dev", "alice@laptop")
	s.does("q")
	s.does("q")
	s.does("q")
	s.does("quit now")
	shown := s.over(0)
	for _, value := range []string{one, two, three} {
		if strings.Contains(shown, value) {
			t.Errorf("%s was printed, and nobody asked for it:\n%s", value, shown)
		}
	}
	if text, err := os.ReadFile(marker); err != nil || string(text) != "short in dev\n" {
		t.Errorf("the command wrote %q, %v", text, err)
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if got := alice.must("", "get", "billing/stripe/STRIPE_KEY"); got != one {
		t.Errorf("rolled back it is %q", got)
	}

	// Bob has the same files, and no key.
	bob := alice.as("HOME="+t.TempDir(), "TERM=dumb")
	bob.must("", "key", "new", "--member", "bob@desktop", "--store", "file")
	s = bob.talks("dev [locked]", "tui")
	s.says("access to dev, in dev [locked]:", "dev is locked for you")
	s.does("R", "ask for access to dev")
	s.answers("Why: ", "on call", "because: on call")
	s.does("ctrl+s", "Ask for access to dev?")
	s.answers("Type yes to ask [no]: ", "yes", "check code", "git switch -c access-dev-bob-desktop")
	s.does("q")
	s.does("q")
	s.does("q")
	code := ""
	for _, line := range strings.Split(s.over(0), "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "check code"); ok {
			code = strings.TrimSpace(rest)
		}
	}
	if len(code) < 12 {
		t.Fatalf("no check code was said, but %q", code)
	}

	s = alice.talks("dev", "tui", "--plain")
	s.says("Now: requests in the inbox: 1.")
	s.does("inbox", "requests, in dev:", "bob@desktop", "on call")
	s.does("1 approve")
	s.answers("Check code: ", "0000 0000 0000")
	s.answers("Until (8h 7d 2026-12-31): ", "")
	s.answers("Type yes to approve [no]: ", "yes", "Not approved")
	s.does("a")
	s.answers("Check code: ", code)
	s.answers("Until (8h 7d 2026-12-31): ", "", "Let bob@desktop into dev?")
	s.answers("Type yes to approve [no]: ", "yes", "bob@desktop can open dev now", "git add .envrun/vault")
	s.does("esc")
	s.does("who", "who can open dev", "alice@laptop (you)", "bob@desktop")
	s.typed("\x04")
	shown = s.over(0)
	if strings.Contains(shown, code) && strings.Count(shown, code) > 1 { // typed once
		t.Errorf("the check code was said:\n%s", shown)
	}
	s = bob.talks("dev [locked]", "tui")
	s.says("dev is new to this machine")
	s.does("accept key")
	s.answers("Type yes to accept it [no]: ", "yes", "dev is open to you")
	s.prompt = "dev> "
	s.does("open", "STRIPE_KEY")
	s.does("q")
	s.over(0)
}

// Whatever ends it leaves the terminal as it was, and what was not sent unsent.
func TestPlainEnds(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	value, typed := newCanary(), newCanary()
	p.must("", "set", "KEY="+value)
	before := tree(t, filepath.Join(p.dir, ".envrun"))
	for name, test := range map[string]struct {
		keys   string
		signal syscall.Signal
		code   int
	}{
		"Ctrl-C": {"\x03", 0, 0}, "Ctrl-D": {"\x04", 0, 0}, "killed politely": {"", syscall.SIGTERM, 143}, "hung up": {"", syscall.SIGHUP, 129},
	} {
		for _, at := range []string{"the prompt", "a question", "a value"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				s := p.in(t).talks("dev", "--plain")
				s.does("e", "edit app")
				s.does("type")
				s.secret("New value of KEY, not shown", typed, "Now: 1 change has not been sent.")
				switch at {
				case "a question":
					s.does("ctrl+s")
					s.does("send")
					s.expect("Type yes to send [no]: ")
				case "a value":
					s.does("type")
					s.expectHidden("New value of KEY, not shown; enter alone leaves it as it is: ")
				default:
					s.expect("\ndev> ")
				}
				if test.signal != 0 {
					if err := s.cmd.Process.Signal(test.signal); err != nil {
						t.Fatal(err)
					}
				}
				s.typed(test.keys)
				s.wants(test.code, "Left. What was changed and not sent is gone: 1.", "!"+value, "!"+typed, "!goroutine", "!\x1b")
				if !same(before, tree(t, filepath.Join(p.dir, ".envrun"))) {
					t.Error("something was changed")
				}
			})
		}
	}
}

// A value of several lines is typed, or pasted, up to a dot; several lines where
// one is asked for are not taken.
func TestPlainSeveralLines(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	p.must("", "set", "KEY=x")
	s := p.talks("dev", "--plain")
	s.does("e")
	s.does("type")
	s.secret("New value of KEY, not shown", "FAKE-one\rFAKE-two\r", "Several lines came at once, and none of them was taken")
	s.does("lines")
	s.secret("in lines; a dot alone ends it: ", "FAKE-one\r.\b.x\b\x15FAKE-too\x08\x7fwo\r.", "The text has 2 lines and ends with a newline.")
	s.answers("Number [1]: ", "1")
	s.does("ctrl+s")
	s.does("send")
	s.answers("Type yes to send [no]: ", "yes", "Sent: app is version 2.")
	s.does("lines")
	s.expectHidden("in lines; a dot alone ends it: ")
	s.typed("FAKE-three\n\x04")
	s.answers("Number [1]: ", "1")
	s.typed("\x04")
	shown := s.over(0)
	if strings.Contains(shown, "FAKE") {
		t.Errorf("a value is shown:\n%s", shown)
	}
	if got := p.must("", "get", "KEY"); got != "FAKE-one\nFAKE-two\n" {
		t.Errorf("stored is %q", got)
	}
}

// Where nobody is there to answer it is refused, with what to type instead.
func TestPlainNeedsSomebody(t *testing.T) {
	p := newPerson(t)
	p.setup("dev")
	for _, args := range [][]string{{"--plain"}, {"tui", "--plain"}} {
		_, errs, code := p.pipe("q\n", args...)
		if code != 2 || !strings.Contains(errs, "needs a terminal and somebody at it") || !strings.Contains(errs, "envrun list") {
			t.Errorf("%q: status %d: %s", args, code, errs)
		}
	}
	_, errs, code := p.pipe("", "--plain", "--", "true")
	if code != 125 || !strings.Contains(errs, "--plain is for the interface") {
		t.Errorf("with a command: status %d: %s", code, errs)
	}
	p.as("CI=1").run("--plain").wants(2, "needs a terminal and somebody at it")
}

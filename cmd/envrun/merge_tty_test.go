//go:build unix

package main_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// conflict is a person in a merge: two wrote ONE and TWO of the default
// environment and ONE of prod.
func conflict(t *testing.T) (p *person, ours, theirs string) {
	t.Helper()
	p = newPerson(t)
	ours, theirs = newCanary(), newCanary()
	p.git("init", "-q", "-b", "main")
	p.setup("dev,prod")
	p.must("", "set", "ONE=base", "TWO=base")
	p.must("", "set", "-e", "prod", "--yes=prod", "ONE=base")
	commit := func() {
		p.git("add", "-A")
		p.git("commit", "-q", "-m", "x")
	}
	commit()
	p.git("checkout", "-q", "-b", "theirs")
	bob := p.as("ENVRUN_KEY="+strings.TrimSpace(p.must("", "key", "export")), "ENVRUN_MEMBER=bob@desktop")
	bob.must("", "set", "ONE="+theirs, "TWO="+theirs+"\nof two lines")
	bob.must("", "set", "-e", "prod", "--yes=prod", "ONE="+theirs)
	commit()
	p.git("checkout", "-q", "main")
	p.must("", "set", "ONE="+ours, "TWO="+ours)
	p.must("", "set", "-e", "prod", "--yes=prod", "ONE="+ours)
	commit()
	if out, err := p.command("git", "merge", "theirs").CombinedOutput(); err == nil {
		t.Fatalf("git found no conflict: %s", out)
	}
	return p, ours, theirs
}

const (
	sides    = "ours, theirs, show (the values) or abort? "
	showOne  = "Show both values of dev app ONE on this screen? [y/N] "
	typeProd = "prod is protected. Type its name to go on: "
)

// A conflict is asked about with who and when and without values; they are
// shown after a question of their own; no other key than a word chooses.
func TestTerminalMerge(t *testing.T) {
	p, ours, theirs := conflict(t)
	s := p.run("vault", "merge")
	s.expect("Ours is the branch that you are on, and theirs the one that is merged into it.")
	s.expect("dev app ONE: both sides changed it")
	s.expect("ours    version 2 by alice@laptop, 2")
	s.expect("theirs  version 2 by bob@desktop, 2")
	s.expect(sides)
	for _, nothing := range []string{"\n", "y\n", "yes\n", "what?\n"} {
		s.typed(nothing)
		s.expect(sides)
	}
	s.typed("show\n")
	s.expect(showOne)
	s.typed("\n")
	s.expect(sides)
	s.typed("theirs\n")
	s.expect("dev app TWO: both sides changed it")
	s.expect(sides)
	s.typed("o\n")
	s.expect(typeProd)
	s.typed("prod\n")
	s.expect("prod app ONE: both sides changed it")
	s.expect(sides)
	s.typed("ours\n")
	s.wants(0, "dev app   merged  version 3 from alice@laptop and bob@desktop", "next: git commit", "!"+ours, "!"+theirs)
	for _, want := range []struct {
		value string
		args  []string
	}{{theirs, []string{"ONE"}}, {ours, []string{"TWO"}}, {ours, []string{"-e", "prod", "--yes=prod", "ONE"}}} {
		if got := p.must("", append([]string{"get"}, want.args...)...); got != want.value {
			t.Errorf("%q is %q", want.args, got)
		}
	}
	p.git("commit", "-q", "--no-edit")
	p.must("", "vault", "verify")
	p.run("vault", "merge").wants(0, "nothing of the vault is in conflict", "!"+sides)
}

// The values are shown to whoever says yes, a value of several lines whole.
func TestTerminalMergeShow(t *testing.T) {
	p, ours, theirs := conflict(t)
	s := p.run("vault", "merge")
	s.expect(sides)
	s.typed("s\n")
	s.expect(showOne)
	s.typed("y\n")
	s.expect("ours:")
	s.expect(ours)
	s.expect("theirs:")
	s.expect(theirs)
	s.expect(sides)
	s.typed("o\n")
	s.expect(sides)
	s.typed("show\n")
	s.expect("app TWO on this screen? [y/N] ")
	s.typed("yes\n")
	s.expect("of two lines")
	s.expect(sides)
	s.typed("abort\n")
	s.wants(1, "aborted: nothing of dev was changed", "hint: to go on: envrun vault merge")
}

// What ends it without an answer changes nothing.
func TestTerminalMergeEnds(t *testing.T) {
	p, ours, theirs := conflict(t)
	before := tree(t, filepath.Join(p.dir, ".envrun"))
	unmerged := func() string {
		out, err := p.command("git", "diff", "--name-only", "--diff-filter=U").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	left := unmerged()
	for name, test := range map[string]struct {
		keys   string
		signal syscall.Signal
		code   int
	}{
		"abort": {"abort\n", 0, 1}, "a": {"A\n", 0, 1}, "Ctrl-C": {"\x03", 0, 130}, "Ctrl-D": {"\x04", 0, 130}, "kill": {"", syscall.SIGTERM, 143},
	} {
		t.Run(name, func(t *testing.T) {
			s := p.in(t).run("vault", "merge")
			s.expect(sides)
			if test.signal != 0 {
				if err := s.cmd.Process.Signal(test.signal); err != nil {
					t.Fatal(err)
				}
			}
			s.typed(test.keys)
			s.wants(test.code, "!"+ours, "!"+theirs, "!prod app")
			if !same(before, tree(t, filepath.Join(p.dir, ".envrun"))) || unmerged() != left {
				t.Error("something was changed")
			}
		})
	}
	// The other environment is merged all the same where one is not allowed.
	s := p.run("vault", "merge", "--theirs")
	s.expect(typeProd)
	s.typed("no\n")
	s.wants(1, "dev app  merged", "prod is protected, and its name was not typed: nothing was changed", "!next: ")
	if got := p.must("", "get", "ONE"); got != theirs {
		t.Errorf("dev is %q", got)
	}
	// Where nobody may be asked, a terminal makes no difference.
	p.as("CI=1").run("vault", "merge").wants(1, "both sides changed prod app ONE", "envrun vault merge --ours --yes=prod", "!"+sides)
}

// Taking over what stands under a retired key is asked about, and no is no.
func TestTerminalAdopt(t *testing.T) {
	p := newPerson(t)
	p.git("init", "-q", "-b", "main")
	p.setup("dev")
	p.git("add", "-A")
	p.git("commit", "-q", "-m", "x")
	p.git("checkout", "-q", "-b", "late")
	value := newCanary()
	p.must("", "set", "late/K="+value)
	p.git("add", "-A")
	p.git("commit", "-q", "-m", "late")
	p.git("checkout", "-q", "main")
	p.must("", "env", "rotate-key", "dev", "--yes")
	p.git("add", "-A")
	p.git("commit", "-q", "-m", "rotated")
	p.git("merge", "-q", "--no-edit", "late")
	const question = "Do you know that they come from somebody who was still welcome then? [y/N] "
	for _, no := range []string{"\n", "n\n"} {
		s := p.run("vault", "adopt", "late")
		s.expect("dev late: version 1 by alice@laptop, 2")
		s.expect("a former member too")
		s.expect(question)
		s.typed(no)
		s.wants(1, "nothing was changed", "!"+value)
		if _, errs, code := p.pipe("", "get", "late/K"); code == 0 || !strings.Contains(errs, "retired key 1") {
			t.Errorf("after no: %d, %s", code, errs)
		}
	}
	s := p.run("vault", "adopt", "late")
	s.expect(question)
	s.typed("yes\n")
	s.wants(0, "version 1 is taken over as version 2", "!"+value)
	if got := p.must("", "get", "late/K"); got != value {
		t.Errorf("it is %q", got)
	}
}

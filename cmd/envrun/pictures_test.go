//go:build unix

package main_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"envrun/cmd/internal/picture"
)

// maxPicture keeps a page of the documentation light, in bytes.
const maxPicture = 40_000

// A studio takes pictures of the interface for the documentation: of the real one,
// in a real terminal, over a vault whose values are made up, at a time that does
// not pass.
type studio struct {
	t      *testing.T
	dir    string
	update bool
	taken  []string
}

// secretly are codes and fingerprints, which come out of keys that are new each
// time: in a picture they are always the same.
var secretly = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2,3}`)

func settled(screen string) string {
	return secretly.ReplaceAllStringFunc(screen, func(code string) string { return "4F2K-9XQM-7T1D-0C5R"[:len(code)] })
}

// shoot takes the picture of a screen, or checks that the one that there is is of
// it. It waits for that: what is drawn may still be on its way.
func (st *studio) shoot(s *pane, name, title string) {
	st.t.Helper()
	file := filepath.Join(st.dir, name+".svg")
	st.taken = append(st.taken, name+".svg")
	want, err := os.ReadFile(file)
	if err != nil && !st.update {
		st.t.Error(err)
		return
	}
	last, since := "", time.Now()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		screen := settled(s.tmux("capture-pane", "-e", "-p", "-N"))
		svg, err := picture.SVG(screen, title, large.w)
		if err != nil {
			st.t.Fatalf("%s: %v; the screen is\n%q", name, err, screen)
		}
		if bytes.Equal(svg, want) {
			return
		}
		if screen != last {
			last, since = screen, time.Now()
		}
		switch {
		case st.update && time.Since(since) > time.Second:
			if len(svg) > maxPicture {
				st.t.Errorf("%s has %d bytes, more than %d", file, len(svg), maxPicture)
			}
			if err := os.WriteFile(file, svg, 0o644); err != nil {
				st.t.Fatal(err)
			}
			return
		case time.Now().After(deadline):
			st.t.Errorf("%s is not of what the interface shows now (make pictures):\n%s", file, s.screen())
			return
		}
	}
}

// at is a person at a time, who uses the envrun of this test.
func (p *person) at(t *testing.T, when string) *person {
	t.Helper()
	then, err := exec.LookPath("envrun-then")
	if err != nil {
		t.Fatal(err)
	}
	q := p.as("ENVRUN_TEST_TIME="+when, "GIT_AUTHOR_DATE="+when, "GIT_COMMITTER_DATE="+when)
	q.program = then
	return q
}

// tui opens the interface in colour.
func (p *person) tui(args string) *pane {
	p.t.Helper()
	// In tmux, colours are said to be few unless it is known what it runs in.
	return p.tmuxOf(large, true, "env -u TMUX TERM=xterm-256color COLORTERM=truecolor "+p.program+" tui --theme dark "+args)
}

// The pictures in the documentation are of the interface as it is.
func TestPictures(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("suite pictures skipped: no tmux here")
	}
	st := &studio{t: t, dir: filepath.Join("..", "..", "docs", "screens"), update: flag.Lookup("update").Value.String() == "true"}
	alice, bob := newPerson(t).named("alice"), newPerson(t).named("bob")
	bob.dir = alice.dir // one checkout that both sit in front of

	// What happened in the months before.
	spring, summer, autumn, lately, now := "2026-04-09T10:00:00Z", "2026-07-14T15:20:00Z", "2026-10-02T08:45:00Z", "2026-11-17T16:05:00Z", "2026-11-20T09:30:00Z"
	a, b := alice.at(t, spring), bob.at(t, spring)
	a.git("init", "-q", "-b", "main")
	a.must("", "init", "--project", "billing-api", "--env", "dev,staging,prod", "--store", "file", "--no-recovery", "--member", "alice@laptop")
	b.must("", "key", "new", "--member", "bob@desktop", "--store", "file")
	a.must("", "member", "add", "bob@desktop", b.publicKey(), "-e", "dev", "--yes")
	for _, env := range []string{"dev", "staging", "prod"} {
		a.must("", "set", "-e", env, "--yes=prod", "DATABASE_URL=postgres://billing:FAKE-"+env+"@db."+env+".example.dev/billing", "LOG_LEVEL=info")
		a.must("", "set", "-e", env, "--yes=prod", "shared/mail/API_TOKEN=FAKE-mail-token-of-"+env, "--rotate", "90d")
	}
	a.must("{\n  \"type\": \"service_account\",\n  \"private_key\": \"FAKE\"\n}\n", "set", "-e", "dev", "shared/gcp/service_account_json")
	a.commit("what the service needs")
	a = alice.at(t, summer)
	a.must("", "set", "STRIPE_KEY=FAKE-sk-first", "STRIPE_WEBHOOK_SECRET=FAKE-whsec-0f3b7a52c9d14e68")
	a.must("", "set", "-e", "staging", "STRIPE_KEY=FAKE-sk-of-staging-5d81", "STRIPE_WEBHOOK_SECRET=FAKE-whsec-of-staging-77", "LOG_LEVEL=debug")
	a.must("", "set", "-e", "prod", "--yes=prod", "STRIPE_KEY=FAKE-sk-of-prod-91c4e7")
	a.must("", "set", "web/SESSION_KEY=FAKE-9c41e0aa7f5b4d2c", "web/CSRF_KEY=FAKE-22b6c1")
	a.commit("payments")
	b = bob.at(t, autumn)
	b.must("", "set", "LOG_LEVEL=debug", "SENTRY_DSN=https://FAKE-public-key@sentry.example.dev/42")
	b.commit("see what goes wrong")
	b = bob.at(t, lately)
	b.must("", "set", "STRIPE_KEY=FAKE-sk-7f3a9c51e2-this-is-no-key")
	b.commit("another key for Stripe")

	a, b = alice.at(t, now), bob.at(t, now)
	s := a.tui("")
	s.shows("web/SESSION_KEY")
	s.then("2 of ", "/", "s", "t", "r", "i")
	s.shows("version 4 by bob@desktop")
	st.shoot(s, "browse", "envrun: the names of an environment, filtered")
	s.keys("Enter")
	s.then("version 4 (current)", "Enter")
	s.then("FAKE-sk-7f3a9c51e2", "v")
	st.shoot(s, "secret", "envrun: one value, for fifteen seconds")
	s.then("4 versions", "H")
	st.shoot(s, "history", "envrun: the versions of a secret, and what changed")
	s.then("version 4 (current)", "-")
	s.keys("-")
	s.then("web/SESSION_KEY", "Escape")

	s.then("Nothing was revealed", "C")
	st.shoot(s, "compare", "envrun: what environments have differently, without values")
	s.then("VER   CHG", "-")

	s.then("an action, an environment", ":")
	s.keys("c", "o", "p", "y")
	st.shoot(s, "commands", "envrun: everything that can be done, by name")
	s.keys("Escape")
	s.gone("commands ─")
	s.then("Look  ", "?")
	st.shoot(s, "keys", "envrun: the keys that work here")
	s.keys("Escape")
	s.gone("Look  ")

	s.then("Edit billing-api", "e")
	s.then("typing, not shown", "Enter")
	s.keys("-l", "FAKE-sk-c01f5a77d2-neither-is-this")
	s.shows("replaced")
	s.keys("Enter")
	s.gone("typing, not shown")
	s.keys("k")
	s.then("removed", "d")
	s.then("Changes to dev", "C-s")
	st.shoot(s, "review", "envrun: what was changed, before any of it is sent")

	other := b.tui("-e prod")
	other.shows("PROD is locked for you")
	other.then("Ask for access to PROD", "R")
	other.keys("-l", "on call until Friday")
	other.then("press Y to ask", "C-s")
	other.then("Your request for PROD", "Y")
	st.shoot(other, "request", "envrun: asking for access")
	code := secretly.FindString(other.screen())
	b.commit("bob@desktop asks for prod")

	s.then("bob@desktop", "I")
	s.then("Check code", "a")
	s.keys("-l", code)
	st.shoot(s, "approve", "envrun: letting somebody in, by the check code")

	files, err := filepath.Glob(filepath.Join(st.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(st.taken, filepath.Base(file)) {
			t.Errorf("%s is a picture of nothing", file)
		}
	}
}

// named is the same person with a name for git.
func (p *person) named(name string) *person {
	email := name + "@example.dev"
	return p.as("USER="+name, "GIT_AUTHOR_NAME="+name, "GIT_AUTHOR_EMAIL="+email, "GIT_COMMITTER_NAME="+name, "GIT_COMMITTER_EMAIL="+email)
}

func (p *person) commit(message string) {
	p.t.Helper()
	p.git("add", "-A")
	p.git("commit", "-q", "-m", message)
}

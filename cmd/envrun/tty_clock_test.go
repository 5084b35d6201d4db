//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
)

// then is somebody whose clock stands still, so far from now.
func (p *person) then(off time.Duration) *person {
	p.t.Helper()
	program, err := exec.LookPath("envrun-then")
	if err != nil {
		p.t.Fatal(err)
	}
	q := p.as("ENVRUN_TEST_TIME=" + time.Now().Add(off).Format(time.RFC3339))
	q.program = program
	return q
}

// clock sets that of the issuer, in what it signs and in what it answers.
func (o *office) clock(off time.Duration) {
	o.issuer.SetNow(func() time.Time { return time.Now().Add(off) })
	for _, path := range []string{oidctest.Token, oidctest.DeviceNew} {
		usual := o.issuer.Usual(path)
		o.issuer.SetHook(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			usual(w, r)
		})
	}
}

// Whoever's clock is wrong by an hour, they are told that it is the clock, and whose:
// a server itself says no more than that permission is denied.
func TestTerminalClocks(t *testing.T) {
	t.Parallel()
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	const here = "the clock of this machine is "
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		ahead, behind := "ahead of that of ", "behind that of "
		if off < 0 {
			ahead, behind = behind, ahead
		}
		// This machine's.
		o.clock(0)
		c := o.then(off).run("login", "--store", "passphrase")
		c.expect(ahead + o.addr)
		c.wants(1, here, ahead+"the issuer "+o.issuer.URL, "hint: one of the two clocks is wrong; look at this machine's: date", "!permission denied")

		a := o.then(off).unattended("login", "--device")
		if !o.issuer.Approve(a.until("The code is")) {
			t.Error("there is no such code")
		}
		if _, errs := a.ends(1); !strings.Contains(errs, ahead+"the issuer "+o.issuer.URL) {
			t.Errorf("it says %s", errs)
		}

		// The issuer's, which says it, and then one behind somebody who says another time.
		o.clock(off)
		c = o.run("login", "--store", "passphrase")
		c.wants(1, here, behind+"the issuer "+o.issuer.URL, "hint: one of the two clocks is wrong", "!"+ahead, "!permission denied")
		o.issuer.SetHook(oidctest.Token, nil)
		c = o.run("login", "--store", "passphrase")
		c.wants(1, "is not taken: time: ", "hint: nobody was signed in; look at the clock of this machine: date; if it is right, the issuer's is not")

		// The server's: those of this machine and of the issuer agree.
		o.clock(off)
		c = o.then(off).run("login", "--store", "passphrase")
		c.expect(ahead + o.addr)
		c.wants(1, "refuses the sign-in at auth/human: permission denied: the identity token ", " UTC, and by the clock of the server it is 20",
			"hint: one of the clocks is wrong: the clock of this machine is ", ahead+"the server; look at this machine's: date", "!role")
	}

	// One that is off by less than matters is said to whoever looks.
	o.clock(-45 * time.Second)
	o.run("login", "--store", "passphrase").wants(0, "until ")
	if out := o.must("", "whoami"); !strings.Contains(out, "clock     this machine's is 4") || !strings.Contains(out, "s ahead of that of the issuer") {
		t.Errorf("it says %s", out)
	}
	o.must("", "logout")

	// A session is renewed with a clock that became wrong.
	o.clock(0)
	o.run("login", "--store", "passphrase").wants(0, "until ", "!clock ")
	o.endTokens()
	for off, words := range map[time.Duration]string{2 * time.Hour: "ahead of that of the issuer", -2 * time.Hour: "behind that of the issuer"} {
		if _, errs, code := o.then(off).pipe("", "--", "true"); code != 125 || !strings.Contains(errs, here) || !strings.Contains(errs, words) {
			t.Errorf("status %d: %s", code, errs)
		}
	}
	if got := o.must("", "get", "A"); got != "canary-value" { // its refresh token is as good as it was
		t.Errorf("it is %q", got)
	}
	o.must("", "logout")

	// A job has no need of a clock, and its platform and the server have.
	o.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[ci]\nmount = \"human\"\nrole = \"dev\"\naudience = %q\n", o.addr, oidctest.ClientID))
	job := func(off time.Duration) *person {
		return o.as("CI=true", "GITLAB_CI=true", "ENVRUN_ID_TOKEN="+o.issuer.Sign(o.issuer.Good(oidctest.ClientID, time.Now().Add(off))))
	}
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		if _, errs, code := job(0).then(off).pipe("", "--", "true"); code != 0 {
			t.Errorf("status %d: %s", code, errs)
		}
	}
	for _, test := range []struct {
		token, here time.Duration
		hint        string
	}{
		{time.Hour, 0, "hint: the clock of who gave the token is ahead of that of this machine and of the server"},
		{-time.Hour, 0, "hint: it is an old one: get a new one"},
		{time.Hour, time.Hour, "ahead of that of the server"},
		{-time.Hour, -time.Hour, "behind that of the server"},
	} {
		_, errs, code := job(test.token).then(test.here).pipe("", "--", "true")
		for _, says := range []string{"signing in with the identity that GitLab CI gives, as the role dev", ": the identity token ", "by the clock of the server it is ", test.hint} {
			if code != 125 || !strings.Contains(errs, says) || strings.Contains(errs, "eyJ") {
				t.Errorf("status %d, want %q: %s", code, says, errs)
			}
		}
	}
}

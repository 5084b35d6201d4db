//go:build unix

package main_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
)

// Signing out of everything goes on where one server cannot be reached, and says what
// stays good, where and until when. Nothing is left here, and that is what counts.
func TestTerminalLogoutAll(t *testing.T) {
	t.Parallel()
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	other := newOffice(t, map[string]any{"token_ttl": "2h"})
	sessions := filepath.Join(o.home, ".local/state/envrun/sessions")
	to, err := url.Parse(other.addr)
	if err != nil {
		t.Fatal(err)
	}
	// signIn is as two people at the one server, and as one and with a token at the other.
	signIn := func() (away *httptest.Server) {
		t.Helper()
		away = httptest.NewServer(httputil.NewSingleHostReverseProxy(to))
		for _, user := range []string{"alice", "bob"} {
			o.issuer.SetUser(user)
			o.run("login", "--store", "passphrase").wants(0, user+"@example.test")
		}
		o.run("login", away.URL).wants(0, "alice@example.test", away.URL)
		o.must(other.root+"\n", "login", "--method", "token", away.URL)
		return away
	}
	empty := func() {
		t.Helper()
		if left, err := filepath.Glob(filepath.Join(sessions, "sessions", "*.sealed")); err != nil || len(left) != 0 {
			t.Errorf("%v %q", err, left)
		}
		if _, errs, code := o.pipe("", "whoami"); code != 1 || !strings.Contains(errs, "not signed in to any server") {
			t.Errorf("status %d: %s", code, errs)
		}
		if left := tokensOf(o, "auth/human/login"); len(left) != 0 {
			t.Errorf("%d tokens are left", len(left))
		}
	}

	away := signIn()
	if _, errs, code := o.pipe("", "logout"); code != 1 || !strings.Contains(errs, "sessions fit") || !strings.Contains(errs, "hint: --account ") {
		t.Errorf("status %d: %s", code, errs) // which of them is not guessed
	}
	away.Close()
	out, errs, code := o.pipe("", "logout", "--all", "--json")
	var all []struct {
		Server, Account string
		Steps           []struct {
			What, Why string
			Ended     bool
			Until     time.Time
		}
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 4 || errs != "" {
		t.Fatalf("%v: status %d: %s%s", err, code, out, errs)
	}
	servers := map[string]int{}
	for _, s := range all {
		servers[s.Server]++
		if len(s.Steps) != 3 || s.Steps[2].What != "what was kept here" || !s.Steps[2].Ended || !s.Steps[1].Ended {
			t.Errorf("%+v", s)
			continue
		}
		switch token := s.Steps[0]; {
		case s.Server == o.addr && (!token.Ended || token.Why != ""), s.Server == away.URL && (token.Ended || !strings.Contains(token.Why, away.URL+" cannot be reached")):
			t.Errorf("%+v", s)
		case s.Server == away.URL && s.Account == "alice@example.test" && (time.Until(token.Until) < time.Hour || time.Until(token.Until) > 2*time.Hour):
			t.Errorf("it is good until %v", token.Until)
		case s.Account == "root" && !token.Until.IsZero():
			t.Errorf("it is good until %v", token.Until)
		}
	}
	if servers[o.addr] != 2 || servers[away.URL] != 2 {
		t.Errorf("%v", servers)
	}
	if n := o.issuer.Count(oidctest.Revoke) + 10*other.issuer.Count(oidctest.Revoke); n != 12 {
		t.Errorf("the issuers were told %d times", n)
	}
	empty()
	if out := o.must("", "logout", "--all", "--json"); out != "[]\n" {
		t.Errorf("%q", out)
	}

	// In words. This time the issuer is away as well.
	away = signIn()
	away.Close()
	other.issuer.Server.Close()
	out, errs, code = o.pipe("", "logout", "--all")
	if code != 0 || strings.Count(out, "signed out of ") != 4 {
		t.Errorf("status %d: %s", code, out)
	}
	for _, says := range []string{
		away.URL + " as alice@example.test: the token of the server stays good until 20",
		away.URL + " as alice@example.test: the session at the issuer stays good until it ends by itself: the issuer " + other.issuer.URL + " cannot be reached",
		away.URL + " as root: the token of the server stays good until it ends by itself: " + away.URL + " cannot be reached",
	} {
		if !strings.Contains(errs, says) {
			t.Errorf("it does not say %q: %s", says, errs)
		}
	}
	if strings.Contains(errs, o.addr) || strings.Contains(errs, "root: the session at the issuer") {
		t.Errorf("it says %s", errs)
	}
	empty()

	// A session that cannot be read is deleted all the same, and what it had is said to
	// be as good as it was.
	o.issuer.SetUser("alice")
	o.run("login", "--store", "passphrase").wants(0, "alice@example.test")
	kept, err := filepath.Glob(filepath.Join(sessions, "sessions", "*.sealed"))
	if err != nil || len(kept) != 1 {
		t.Fatal(err, kept)
	}
	if err := os.WriteFile(kept[0], []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code = o.pipe("", "logout", "--all")
	if code != 0 || !strings.Contains(out, "signed out of "+o.addr) || !strings.Contains(errs, "the session at the server and the issuer stays good until it ends by itself: it cannot be read: ") {
		t.Errorf("status %d: %s%s", code, out, errs)
	}
	o.endTokens()
	empty()
}

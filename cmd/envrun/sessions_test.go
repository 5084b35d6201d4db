//go:build unix

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/keychain"
	"envrun/auth/oidc/oidctest"
	"envrun/auth/session"
)

// The doctor says where sessions are kept, whether the key is there, and what to do.
func TestSessionsInDoctor(t *testing.T) {
	alice := newPerson(t)
	alice.write("envrun.toml", "vault = \"https://127.0.0.1:1\"\nproject = \"app\"\n\n[env.dev]\n")
	token := newCanary()
	chains := keychain.Options{MayForget: true}
	store := &session.Store{Dir: filepath.Join(alice.home, ".local/state/envrun/sessions"), Keychains: chains, Keep: keychain.Kernel}
	if _, err := store.Prepare(t.Context()); err != nil {
		t.Skipf("suite sessions in doctor skipped: %v", err)
	}
	says := func(state, text, hint string) {
		t.Helper()
		out, errs, _ := alice.pipe("", "doctor", "--json")
		var symptoms []struct{ State, What, Says, Hint string }
		if err := json.Unmarshal([]byte(out), &symptoms); err != nil {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		if form, ok := holds([]byte(out+errs), token); ok {
			t.Errorf("it shows the token as %s", form)
		}
		for _, s := range symptoms {
			if s.What == "sessions" {
				if s.State != state || !strings.Contains(s.Says, text) || !strings.Contains(s.Hint, hint) {
					t.Errorf("it says %+v, want %s %q %q", s, state, text, hint)
				}
				return
			}
		}
		t.Errorf("it says nothing of sessions: %s", out)
	}
	says("ok", "none is kept here", "")
	a, err := store.Put(t.Context(), session.Account{Server: "https://127.0.0.1:1", Method: "oidc", Subject: "1"}, session.Record{Token: auth.NewSecret(token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Delete(t.Context(), a.ID) })
	says("ok", "1 session in "+store.Dir+"; the key is in the keychain kernel, which forgets it at reboot", "")

	someone := os.Geteuid() + 1
	bob := alice
	alice = alice.as("SUDO_UID="+strconv.Itoa(someone), "SUDO_USER=bob")
	says("bad", "root through sudo for bob", "run it without sudo")
	alice = bob

	file := filepath.Join(store.Dir, "sessions", a.ID+".sealed")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(file string, b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, append(good, 0))
	says("bad", "was changed, or is another account's", "sign in again: envrun login")
	write(file, good)

	index := filepath.Join(store.Dir, "accounts.json")
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	write(index, []byte("{}"))
	says("bad", "accounts.json: is of version 0, and this envrun knows 1", "mv ")
	write(index, text)

	// The machine was restarted.
	_, after, _ := strings.Cut(string(text), `"key": "`)
	name, _, _ := strings.Cut(after, `"`)
	k, err := chains.Open(keychain.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	says("bad", "is not in the kernel's keyring any more, which forgets when the machine restarts", "sign in again: envrun login")
}

// Of sessions at several servers, -e says which; one server that is away hides nothing
// of the others; and who signs in again leaves no token that nobody has.
func TestSessionsAtSeveralServers(t *testing.T) {
	p := newPerson(t)
	var mu sync.Mutex
	given, revoked := 0, []string{}
	serve := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch r.URL.Path {
		case "/v1/auth/jwt/login":
			given++
			fmt.Fprintf(w, `{"auth":{"client_token":"given-%d","lease_duration":3600}}`, given)
		case "/v1/auth/token/lookup-self":
			fmt.Fprint(w, `{"data":{"display_name":"Ann@Example.test","ttl":0}}`)
		case "/v1/auth/token/revoke-self":
			revoked = append(revoked, r.Header.Get("X-Vault-Token"))
			w.WriteHeader(http.StatusNoContent)
		case "/v1/sys/capabilities-self":
			fmt.Fprint(w, `{"data":{"dev/data/app":["read"],"prod/data/app":["read"],"capabilities":["read"]}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
	a, b := httptest.NewServer(http.HandlerFunc(serve)), httptest.NewServer(http.HandlerFunc(serve))
	defer a.Close()
	defer b.Close()
	p.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[env.prod]\nvault = %q\n", a.URL, b.URL))
	for name, text := range map[string]string{"words": "correct horse\n", "jwt": "e30.e30.c2ln"} {
		p.write(name, text)
		if err := os.Chmod(filepath.Join(p.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = p.as("ENVRUN_STORE_PASSPHRASE_FILE=" + filepath.Join(p.dir, "words"))
	p.must("", "login", "--store", "passphrase", "--method", "jwt", "--token-file", "jwt", a.URL)
	p.must("", "login", "--method", "jwt", "--token-file", "jwt", a.URL)
	if fmt.Sprint(revoked) != "[given-1]" {
		t.Errorf("ended were %v", revoked)
	}
	p.must("a-token", "login", "--method", "token", "-e", "prod")

	for _, args := range [][]string{{"whoami", "-e", "prod"}, {"whoami", "-e", "prod", "--account", "ann@example.TEST"}} {
		if out := p.must("", args...); !strings.Contains(out, b.URL) || strings.Contains(out, a.URL) {
			t.Errorf("%q: %s", args, out)
		}
	}
	b.Close()
	out, errs, code := p.pipe("", "whoami", "--verify")
	if code == 0 || !strings.Contains(out, "the server takes the token") || !strings.Contains(out, "verified  not known: ") || !strings.Contains(errs, b.URL) {
		t.Errorf("status %d: %s%s", code, out, errs)
	}
	if out := p.must("", "logout", "-e", "dev"); out != "signed out of "+a.URL+" as Ann@Example.test\n" {
		t.Errorf("%s", out)
	}
	if _, errs, code := p.pipe("", "whoami", "-e", "dev"); code != 1 || !strings.Contains(errs, "not signed in to the server of dev") || !strings.Contains(errs, "hint: envrun login -e dev") {
		t.Errorf("status %d: %s", code, errs)
	}
	if _, errs, code := p.pipe("", "logout", "-e", "nowhere"); code == 0 || !strings.Contains(errs, "nowhere") {
		t.Errorf("status %d: %s", code, errs)
	}
	if out := p.must("", "whoami"); !strings.Contains(out, b.URL) {
		t.Errorf("%s", out)
	}
}

// Where no project says which server it is, the one who signs in does.
func TestLoginWithoutProject(t *testing.T) {
	p := newPerson(t)
	if _, errs, code := p.pipe("", "login"); code != 1 || !strings.Contains(errs, "hint: name it: envrun login https://") || strings.Contains(errs, "envrun init") {
		t.Errorf("status %d: %s", code, errs)
	}
	// What is suggested for a server can be typed here.
	if _, errs, code := p.pipe("", "login", "https://vault.example.test"); code != 1 || !strings.Contains(errs, "envrun login --device https://vault.example.test") {
		t.Errorf("status %d: %s", code, errs)
	}
}

// On a train, with a token that has ended and an issuer as far away as the server, a
// run uses what was read; whom the issuer has put out has nothing of it any more.
func TestSessionOnATrain(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	to, err := url.Parse(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	pass := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	defer front.Close()
	file := filepath.Join(o.dir, "envrun.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.write("envrun.toml", strings.ReplaceAll(string(text), o.addr, front.URL))
	if _, _, code := o.pipe("", "key", "show"); code != 0 {
		o.must("", "key", "new", "--store", "file")
	}
	c := o.run("login", "--store", "passphrase")
	c.wants(0, "until ")
	run := func() (string, string, int) { return o.pipe("", "--", "sh", "-c", `echo "it is $A"`) }
	if out, errs, code := run(); code != 0 || !strings.Contains(out, "it is canary-value") {
		t.Fatalf("status %d: %s", code, errs)
	}

	// An hour later.
	store := &session.Store{Dir: filepath.Join(o.home, ".local/state/envrun/sessions"), Passphrase: func(context.Context, string, bool) ([]byte, error) { return []byte("correct horse"), nil }}
	all, err := store.Accounts()
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	past := time.Now().Add(-time.Minute)
	_, err = store.Fresh(t.Context(), all[0].ID, func(_ context.Context, was session.Record, _ func(session.Record) error) (session.Record, error) {
		was.Ends = past
		return was, nil
	}, func(r session.Record) bool { return r.Ends.After(past) })
	if err != nil {
		t.Fatal(err)
	}
	o.endTokens()
	o.issuer.SetHook("/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	gone.Store(true)
	if out, errs, code := run(); code != 0 || !strings.Contains(out, "it is canary-value") || !strings.Contains(errs, "using what was read of dev") {
		t.Errorf("status %d: %s%s", code, out, errs)
	}
	// The server is back, the issuer is not: nothing is used, and nobody need sign in.
	gone.Store(false)
	if out, errs, code := run(); code == 0 || strings.Contains(out, "canary") || !strings.Contains(errs, "answers 503") || strings.Contains(errs, "envrun login") {
		t.Errorf("status %d: %s%s", code, out, errs)
	}
	gone.Store(true)
	if out, errs, code := run(); code != 0 || !strings.Contains(out, "it is canary-value") {
		t.Errorf("status %d: %s%s", code, out, errs)
	}
	gone.Store(false)
	o.issuer.SetHook("/token", func(w http.ResponseWriter, _ *http.Request) {
		oidctest.Refuse(w, http.StatusBadRequest, "invalid_grant")
	})
	for _, away := range []bool{false, true} {
		gone.Store(away)
		if out, errs, code := run(); code == 0 || strings.Contains(out, "canary") || !away && !strings.Contains(errs, "envrun login") {
			t.Errorf("status %d: %s%s", code, out, errs)
		}
	}
}

// What the issuer gave to somebody whom the server does not take is ended there: nobody
// has it. Not so while they have a session of before, which may be of one grant with it.
func TestSessionNobodyHas(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	role := map[string]any{"role_type": "jwt", "bound_audiences": []string{oidctest.ClientID}, "user_claim": "sub", "bound_subject": "somebody-else"}
	o.ask(o.root, "POST", "auth/human/role/other", role)
	c := o.run("login", "--store", "passphrase", "--role", "other")
	c.wants(1, "refuses the sign-in")
	if n := o.issuer.Count("/revoke"); n != 1 {
		t.Errorf("the issuer was told %d times", n)
	}
	c = o.run("login", "--store", "passphrase")
	c.wants(0, "until ")
	c = o.run("login", "--store", "passphrase", "--role", "other")
	c.wants(1, "refuses the sign-in")
	if n := o.issuer.Count("/revoke"); n != 1 {
		t.Errorf("the issuer was told %d times", n)
	}
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}
}

// Where nobody is to be asked, nobody is, though there is a terminal.
func TestLoginNonInteractive(t *testing.T) {
	p := newPerson(t).as("ENVRUN_NON_INTERACTIVE=1")
	for how, says := range map[string]string{
		"": "takes somebody at a terminal", "--flow=browser": "takes somebody at a terminal", "--device": "takes somebody at a terminal",
		"--method=token": "hint: envrun login --method token < FILE",
	} {
		args := []string{"login", "https://127.0.0.1:1"}
		if how != "" {
			args = append(args, how)
		}
		p.run(args...).wants(1, says)
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/oidc/login"
	"envrun/auth/oidc/oidctest"
	"envrun/auth/session"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
)

// A desk is a machine with one session of a server, whose clock can be set.
type desk struct {
	*tool
	t      *testing.T
	env    project.Env
	store  *session.Store
	issuer *oidctest.Provider
	server *httptest.Server
	a      session.Account

	mu      sync.Mutex
	clock   time.Time
	given   int      // tokens that were given for identity tokens
	revoked []string // of the server
	lease   int      // seconds that a renewal gives
	signIn  func()   // while somebody signs in
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, issuer: oidctest.NewProvider(t), clock: time.Now().Truncate(time.Second)}
	d.server = httptest.NewServer(http.HandlerFunc(d.serve))
	t.Cleanup(d.server.Close)
	vars := map[string]string{"ENVRUN_STATE_DIR": t.TempDir()}
	d.tool = &tool{Streams: cli.Streams{Getenv: func(name string) string { return vars[name] }}, now: d.now, goos: "linux", notice: func(text string) { t.Log(text) }}
	d.hidden = func(context.Context, string) ([]byte, error) { return []byte("correct horse"), nil }
	var err error
	if d.store, err = d.sessions(true); err != nil {
		t.Fatal(err)
	}
	d.store.Keep, d.store.Keychains = session.ByPassphrase, nil
	d.opened.store = d.store
	d.env = project.Env{Name: "dev", Vault: d.server.URL}
	d.issuer.SetHook("/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": "access", "token_type": "Bearer", "refresh_token": r.FormValue("refresh_token") + "+",
			"id_token": d.issuer.Sign(d.issuer.Good(oidctest.ClientID, d.now()).With(oidctest.Claims{"sub": "alice"})),
		})
	})
	d.issuer.SetHook("/revoke", func(http.ResponseWriter, *http.Request) {})
	return d
}

func (d *desk) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock
}

func (d *desk) later(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = d.clock.Add(by)
}

// serve is a server that lets everybody in.
func (d *desk) serve(w http.ResponseWriter, r *http.Request) {
	_, what, _ := strings.Cut(r.URL.Path, "/v1/auth/")
	if what == "human/login" && d.signIn != nil {
		d.signIn()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	given := map[string]any{"client_token": r.Header.Get("X-Vault-Token"), "lease_duration": d.lease, "renewable": true}
	switch what {
	case "human/login":
		d.given++
		given["client_token"], given["lease_duration"], given["renewable"] = fmt.Sprintf("new-%d", d.given), 3600, false
	case "token/renew-self":
	case "token/revoke-self":
		d.revoked = append(d.revoked, r.Header.Get("X-Vault-Token"))
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		d.t.Errorf("the server is asked for %s", r.URL.Path)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"auth": given})
}

// has keeps a session with a token that has so much time left of so much.
func (d *desk) has(r session.Record, left, of time.Duration) {
	d.t.Helper()
	r.Token, r.TTL, r.Ends = auth.NewSecret("old"), of, d.now().Add(left)
	var err error
	d.a, err = d.store.Put(d.t.Context(), session.Account{
		Server: d.server.URL, Mount: "human", Role: "dev", Method: methodOIDC, Issuer: d.issuer.URL, ClientID: oidctest.ClientID, Subject: "alice", Label: "alice",
	}, r)
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) shows(want string) {
	d.t.Helper()
	if token, err := d.token(d.t.Context(), d.env, nil); err != nil || token != want {
		d.t.Errorf("the server is shown %q, %v; want %q", token, err, want)
	}
}

func (d *desk) showsNone(is func(error) bool) {
	d.t.Helper()
	if token, err := d.token(d.t.Context(), d.env, nil); !is(err) || token != "" {
		d.t.Errorf("the server is shown %q, %v", token, err)
	}
}

// again is the next command: nothing is known from before.
func (d *desk) again() { d.shown.by = nil }

func ended(err error) bool { e := (*session.EndedError)(nil); return errors.As(err, &e) }

func away(err error) bool { e := (*login.UnavailableError)(nil); return errors.As(err, &e) }

// A token that cannot be renewed is good to its end, whatever it is that does not
// renew it.
func TestSessionToItsEnd(t *testing.T) {
	d := newDesk(t)
	for name, r := range map[string]session.Record{
		"nothing renews it":  {},
		"at its longest":     {Renewable: true},
		"the issuer refuses": {RefreshToken: auth.NewSecret("refresh")},
	} {
		d.lease = 3600
		d.issuer.SetHook("/token", func(w http.ResponseWriter, _ *http.Request) {
			oidctest.Refuse(w, http.StatusBadRequest, "invalid_grant")
		})
		d.has(r, time.Hour, 24*time.Hour)
		for range 2 {
			d.again()
			d.shows("old")
		}
		d.later(time.Hour)
		d.shows("old") // for the server to say so
		if _, err := d.renewed(t.Context(), d.env, "old"); !ended(err) {
			t.Errorf("instead of it: %v", err)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
	if n := d.issuer.Count("/token"); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// A program that runs all day has its session renewed as often as it is due; a token
// that is refused before is renewed once.
func TestSessionAllDay(t *testing.T) {
	d := newDesk(t)
	d.has(session.Record{RefreshToken: auth.NewSecret("refresh")}, time.Hour, time.Hour)
	d.shows("old")
	for i := range 5 {
		d.later(55 * time.Minute)
		d.shows(fmt.Sprintf("new-%d", i+1))
		d.shows(fmt.Sprintf("new-%d", i+1))
	}
	for _, want := range []string{"new-6", "new-6", ""} {
		refused := map[string]string{"": "new-6", "new-6": "new-5"}[want]
		if got, err := d.renewed(t.Context(), d.env, refused); err != nil || got != want {
			t.Errorf("instead of %s: %q, %v; want %q", refused, got, err, want)
		}
	}
	d.later(55 * time.Minute)
	d.shows("new-7")
	if got, err := d.renewed(t.Context(), d.env, "new-7"); err != nil || got != "new-8" {
		t.Errorf("%q, %v", got, err)
	}
}

// An issuer that is away for a while is asked again, and not by each request. The
// server is shown the token that has ended: while that is away too, it is all the same.
func TestSessionIssuerComesBack(t *testing.T) {
	d := newDesk(t)
	d.has(session.Record{RefreshToken: auth.NewSecret("refresh")}, 0, time.Hour)
	answers := map[bool]http.HandlerFunc{
		false: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		true: func(w http.ResponseWriter, _ *http.Request) {
			oidctest.Refuse(w, http.StatusBadRequest, "invalid_grant")
		},
	}
	for _, back := range []bool{false, true} {
		is := map[bool]func(error) bool{false: away, true: ended}[back]
		before := d.issuer.Count("/token")
		d.issuer.SetHook("/token", answers[back])
		d.later(time.Minute)
		for range 3 {
			d.shows("old")
			if token, err := d.renewed(t.Context(), d.env, "old"); !is(err) || token != "" {
				t.Errorf("back %v: %q, %v", back, token, err)
			}
		}
		if n := d.issuer.Count("/token") - before; n != 1 {
			t.Errorf("back %v: the issuer was asked %d times", back, n)
		}
	}
}

// Whoever signs out while a session is renewed is signed out: what the renewal got is
// ended as well. Of who signs in again only the server's token is.
func TestSessionRetired(t *testing.T) {
	d := newDesk(t)
	for _, again := range []bool{false, true} {
		d.again()
		d.has(session.Record{RefreshToken: auth.NewSecret("refresh")}, 0, time.Hour)
		before, given := d.issuer.Count("/revoke"), d.given
		d.signIn = func() {
			a, r, err := d.store.Open(t.Context(), d.a.ID)
			if err == nil && !again {
				err = d.store.Delete(t.Context(), a.ID)
			} else if err == nil {
				r.Token, r.Ends, r.TTL = auth.NewSecret("other"), d.now().Add(time.Hour), time.Hour
				_, err = d.store.Put(t.Context(), a, r)
			}
			if err != nil {
				t.Error(err)
			}
		}
		d.revoked = nil
		if again {
			d.shows("other")
		} else {
			d.showsNone(func(err error) bool { return errors.Is(err, session.ErrRetired) })
		}
		want := fmt.Sprintf("[new-%d]", given+1)
		if got := fmt.Sprint(d.revoked); got != want {
			t.Errorf("the server's tokens %s were ended, want %s", got, want)
		}
		ends := d.issuer.Count("/revoke") - before
		if (ends == 1) != !again || ends > 1 {
			t.Errorf("the issuer was told %d times", ends)
		}
		if forms := d.issuer.Forms("/revoke"); !again && forms[len(forms)-1].Get("token") != "refresh+" {
			t.Errorf("what was ended at the issuer: %v", forms)
		}
	}
}

// Whoever keeps the key under a passphrase is asked for it once, however often the
// interface looks at the session.
func TestSessionPassphraseOnce(t *testing.T) {
	d := newDesk(t)
	d.has(session.Record{RefreshToken: auth.NewSecret("refresh")}, time.Hour, time.Hour)
	asked := 0
	d.hidden = func(context.Context, string) ([]byte, error) { asked++; return []byte("correct horse"), nil }
	d.opened = openedSessions{} // another process
	store, err := d.openSessions()
	if err != nil {
		t.Fatal(err)
	}
	store.Keychains = nil // on a machine where none remembers it
	s := &signer{d.tool, &openers{t: d.tool, project: &project.Project{Envs: []project.Env{d.env}}}}
	for range 3 {
		if is, err := s.Signed(t.Context(), "dev", false); err != nil || is.Label != "alice" {
			t.Errorf("%+v, %v", is, err)
		}
		d.again()
		d.shows("old")
	}
	d.later(55 * time.Minute)
	d.shows("new-1")
	signing, err := d.sessions(true) // as somebody who signs in has it
	if err != nil {
		t.Fatal(err)
	}
	signing.Keychains = nil
	if p, err := signing.Prepare(t.Context()); err != nil || p.Name != session.ByPassphrase {
		t.Errorf("%+v, %v", p, err)
	}
	if asked != 1 {
		t.Errorf("it was asked for %d times", asked)
	}
}

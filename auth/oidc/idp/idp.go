// Package idp runs real OpenID Connect providers on this machine, for tests of
// signing in: one written in Go, in the process of the test, and one from npm. A
// suite is written once and run on Each.
//
// It refuses to be a provider of its own making: what a hostile one might do is
// package oidctest's. Everything listens on loopback and ends with the test.
package idp

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// The clients that every provider knows.
const (
	ClientID    = "envrun" // public: code with PKCE, refresh, device; it redirects to http://127.0.0.1:PORT/callback
	VaultID     = "vault"  // has a secret; it redirects to /oidc/callback on 127.0.0.1 or localhost
	VaultSecret = "of-the-vault-4e1c"
)

// Scopes are what a client asks for to get all there is: a name, an e-mail
// address, groups, and a refresh token.
var Scopes = []string{"openid", "profile", "email", "groups", "offline_access"}

// A User is somebody who can sign in. The subject is the name one signs in with.
type User struct {
	Name   string   `json:"name"`
	Email  string   `json:"email"`
	Groups []string `json:"groups"`
}

// Users are those that every provider knows at first: alice develops, bob also
// has the keys to production, carol is in no group.
func Users() map[string]User {
	return map[string]User{
		"alice": {"Alice Archer", "alice@example.test", []string{"developers"}},
		"bob":   {"Bob Baker", "bob@example.test", []string{"developers", "operators"}},
		"carol": {"Carol Carter", "carol@example.test", []string{}},
	}
}

// Password is that of everybody.
const Password = "correct-horse-battery-9d2"

// IDTokenTTL is how long identity tokens are good for.
const IDTokenTTL = time.Minute

// What a request asks a provider for, as Count and hooks name it. Those of the
// token endpoint are the grant types of OAuth.
const (
	Code      = "authorization_code"
	Refresh   = "refresh_token"
	Device    = "urn:ietf:params:oauth:grant-type:device_code"
	Authorize = "authorize"
	StartDev  = "device authorization"
	Revoke    = "revoke"
	Keys      = "keys"
	Discover  = "discovery"
)

// A Provider is one that runs.
type Provider struct {
	Name   string // "zitadel" or "oidc-provider"
	Issuer string // exactly as its tokens say it

	kinds  map[string]string // path: what a request there asks for
	inner  http.Handler
	rotate func()
	users  func(map[string]User)

	mu      sync.Mutex
	known   map[string]User
	counts  map[string]int
	hook    Hook
	secrets []string
	given   map[string][]string // tokens by their name in an answer
}

// A Hook stands before a provider: it answers a request of some kind itself, or
// hands it on.
type Hook func(kind string, w http.ResponseWriter, r *http.Request, next http.Handler)

// Each runs a test on every provider that can be had here. One that cannot is
// skipped with its reason.
func Each(t *testing.T, f func(t *testing.T, p *Provider)) {
	t.Run("zitadel", func(t *testing.T) { f(t, Zitadel(t)) })
	t.Run("oidc-provider", func(t *testing.T) { f(t, NPM(t)) })
}

// serve makes the address of a provider, before which everything goes through
// ServeHTTP: the providers differ behind it.
func serve(t testing.TB, name string, kinds map[string]string) *Provider {
	p := &Provider{Name: name, kinds: kinds, known: Users(), counts: map[string]int{}, given: map[string][]string{}}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.Issuer = server.URL
	return p
}

// RotateKeys makes a provider sign with a new key and withdraw the old one. What
// it issued stays good.
func (p *Provider) RotateKeys() { p.rotate() }

// SetGroups changes the groups that somebody is in, from the next token on.
func (p *Provider) SetGroups(user string, groups ...string) {
	p.mu.Lock()
	u := p.known[user]
	u.Groups = append([]string{}, groups...)
	p.known[user] = u
	all := make(map[string]User, len(p.known))
	for name, u := range p.known {
		all[name] = u
	}
	p.mu.Unlock()
	p.users(all)
}

// SetHook puts a hook before the provider; nil takes it away.
func (p *Provider) SetHook(h Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = h
}

// Count is how many requests of a kind there were.
func (p *Provider) Count(kind string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[kind]
}

// Secrets are all the codes, verifiers, device codes and tokens that went
// through: what must not be found anywhere else.
func (p *Provider) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.secrets...)
}

// Tokens are those of one kind that were given out, in their order: refresh_token,
// id_token or access_token.
func (p *Provider) Tokens(kind string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.given[kind]...)
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := p.kinds[r.URL.Path]
	var form url.Values
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			http.Error(w, "", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ = url.ParseQuery(string(body))
		if kind == token {
			kind = form.Get("grant_type")
		}
	}
	p.mu.Lock()
	p.counts[kind]++
	hook := p.hook
	for _, name := range []string{"code", "code_verifier", "device_code", "refresh_token", "token"} {
		p.keep(form.Get(name))
	}
	p.mu.Unlock()
	if hook == nil {
		p.answer(w, r)
		return
	}
	hook(kind, w, r, http.HandlerFunc(p.answer))
}

// token is the token endpoint among kinds.
const token = "token"

func (p *Provider) answer(w http.ResponseWriter, r *http.Request) {
	if p.kinds[r.URL.Path] != token {
		p.inner.ServeHTTP(w, r)
		return
	}
	// What is given out is kept before it is sent: a client that is gone by then
	// has not had it, and whoever searches for it still knows it.
	rec := httptest.NewRecorder()
	p.inner.ServeHTTP(rec, r)
	var answer map[string]any
	_ = json.Unmarshal(rec.Body.Bytes(), &answer)
	p.mu.Lock()
	for _, kind := range []string{"refresh_token", "id_token", "access_token"} {
		if s, _ := answer[kind].(string); s != "" {
			p.given[kind] = append(p.given[kind], s)
			p.keep(s)
		}
	}
	p.mu.Unlock()
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// keep is called under mu.
func (p *Provider) keep(secret string) {
	for _, s := range p.secrets {
		if s == secret {
			return
		}
	}
	if secret != "" {
		p.secrets = append(p.secrets, secret)
	}
}

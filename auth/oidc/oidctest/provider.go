package oidctest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The endpoints of a Provider, to hook and to count.
const (
	Authorize = "/authorize"
	Token     = "/token"
	DeviceNew = "/device/code"
	DevicePut = "/device" // where a person enters a code: GET with user_code approves it
	Revoke    = "/revoke"
)

// ClientID is the client that a Provider knows unless it is told another.
const ClientID = "envrun-cli"

// A Provider is an Issuer that people sign in at, who say yes at once: /authorize
// sends the browser back with a code. It is a public client's: PKCE with S256 is
// asked for, refresh tokens are given for offline_access, change with each use, and
// one that is used twice ends its session. Its hooks may be set before and between
// requests.
type Provider struct {
	*Issuer
	Client string // the client that it knows: ClientID, unless a test sets it first

	mu       sync.Mutex
	user     string
	claims   func(Claims) Claims
	sign     func(Claims) string
	document func(map[string]any)
	answer   func(map[string]any)
	hooks    map[string]http.HandlerFunc
	counts   map[string]*atomic.Int64
	forms    map[string][]url.Values
	codes    map[string]*grant
	refresh  map[string]*session // by each token there ever was
	devices  map[string]*grant   // by device code
	now      func() time.Time
	deny     string
}

// A grant is what a person agreed to, or has to.
type grant struct {
	redirect, challenge, nonce, scope, userCode string
	maxAge, acr                                 string
	agreed                                      bool
	s                                           *session
}

// A session is what a grant began.
type session struct {
	user, scope, current string
	since                time.Time
	acr                  string
	over                 bool
}

// NewProvider starts one. It ends with the test.
func NewProvider(t testing.TB) *Provider {
	i := New(t)
	p := &Provider{
		Issuer: i, Client: ClientID, user: "alice", now: time.Now, hooks: map[string]http.HandlerFunc{}, counts: map[string]*atomic.Int64{}, forms: map[string][]url.Values{},
		codes: map[string]*grant{}, refresh: map[string]*session{}, devices: map[string]*grant{},
	}
	i.SetDiscovery(p.Discovery)
	for path, usual := range map[string]http.HandlerFunc{
		Authorize: p.authorize, Token: p.token, DeviceNew: p.deviceNew, DevicePut: p.devicePut, Revoke: p.revoke,
	} {
		p.counts[path] = new(atomic.Int64)
		i.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			p.counts[path].Add(1)
			_ = r.ParseForm()
			p.mu.Lock()
			h := p.hooks[path]
			p.forms[path] = append(p.forms[path], r.Form)
			p.mu.Unlock()
			if h == nil {
				h = usual
			}
			h(w, r)
		})
	}
	return p
}

// Count is how often an endpoint was asked.
func (p *Provider) Count(path string) int64 { return p.counts[path].Load() }

// Forms are the parameters that an endpoint was asked with.
func (p *Provider) Forms(path string) []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.forms[path])
}

func (p *Provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// SetUser is who signs in from now on: the sub of the tokens.
func (p *Provider) SetUser(name string) { p.set(func() { p.user = name }) }

// SetClaims changes the claims of each ID token from now on; nil leaves them.
func (p *Provider) SetClaims(f func(Claims) Claims) { p.set(func() { p.claims = f }) }

// SetSign signs ID tokens from now on; nil is the usual way.
func (p *Provider) SetSign(f func(Claims) string) { p.set(func() { p.sign = f }) }

// SetDocument changes the discovery document from now on; nil leaves it.
func (p *Provider) SetDocument(f func(map[string]any)) { p.set(func() { p.document = f }) }

// SetAnswer changes what the token endpoint gives with tokens; nil leaves it.
func (p *Provider) SetAnswer(f func(map[string]any)) { p.set(func() { p.answer = f }) }

// SetHook answers for an endpoint from now on; nil is the usual way.
func (p *Provider) SetHook(path string, h http.HandlerFunc) { p.set(func() { p.hooks[path] = h }) }

// SetNow is the clock of the tokens; that of Date is another (SetHook).
func (p *Provider) SetNow(now func() time.Time) { p.set(func() { p.now = now }) }

// Deny makes the person, or a rule, say no with an error from now on; "" is yes.
func (p *Provider) Deny(code string) { p.set(func() { p.deny = code }) }

// Usual answers for an endpoint as it does without a hook.
func (p *Provider) Usual(path string) http.HandlerFunc {
	return map[string]http.HandlerFunc{Authorize: p.authorize, Token: p.token, DeviceNew: p.deviceNew, DevicePut: p.devicePut, Revoke: p.revoke}[path]
}

// Discovery answers with the discovery document.
func (p *Provider) Discovery(w http.ResponseWriter, _ *http.Request) {
	d := p.Issuer.document()
	d["device_authorization_endpoint"], d["revocation_endpoint"] = p.URL+DeviceNew, p.URL+Revoke
	d["scopes_supported"] = []string{"openid", "profile", "email", "offline_access"}
	d["response_modes_supported"] = []string{"query", "form_post"}
	d["code_challenge_methods_supported"] = []string{"S256"}
	d["authorization_response_iss_parameter_supported"] = true
	p.mu.Lock()
	change := p.document
	p.mu.Unlock()
	if change != nil {
		change(d)
	}
	answer(w, d)
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.Form
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || redirect.Scheme != "http" || q.Get("client_id") != p.Client || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "this is not a request of a public client", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	back := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	if p.deny != "" {
		back.Set("error", p.deny)
		back.Set("error_description", "<script>alert(1)</script>\x1b[31m")
	} else {
		g := &grant{redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), nonce: q.Get("nonce"), scope: q.Get("scope"), maxAge: q.Get("max_age"), acr: q.Get("acr_values"), agreed: true}
		g.s = &session{user: p.user, scope: g.scope, since: p.now(), acr: strongest(g.acr)}
		code := rand.Text()
		p.codes[code] = g
		back.Set("code", code)
	}
	p.mu.Unlock()
	if q.Get("response_mode") == "form_post" {
		w.Header().Set("Content-Type", "text/html")
		var b strings.Builder
		b.WriteString(`<form method="post" action="` + html.EscapeString(redirect.String()) + `">`)
		for name := range back {
			b.WriteString(`<input type="hidden" name="` + name + `" value="` + html.EscapeString(back.Get(name)) + `">`)
		}
		_, _ = w.Write([]byte(b.String() + `<button>Continue</button></form>`))
		return
	}
	redirect.RawQuery = back.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

func strongest(list string) string { s, _, _ := strings.Cut(list, " "); return s }

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	q := r.PostForm
	if _, _, basic := r.BasicAuth(); basic || q.Get("client_id") != p.Client {
		Refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var s *session
	nonce := ""
	switch q.Get("grant_type") {
	case "authorization_code":
		g := p.codes[q.Get("code")]
		delete(p.codes, q.Get("code"))
		if g == nil || g.redirect != q.Get("redirect_uri") || !g.proved(q.Get("code_verifier")) {
			Refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		s, nonce = g.s, g.nonce
	case "urn:ietf:params:oauth:grant-type:device_code":
		g := p.devices[q.Get("device_code")]
		switch {
		case g == nil:
			Refuse(w, http.StatusBadRequest, "expired_token")
			return
		case p.deny != "":
			Refuse(w, http.StatusBadRequest, p.deny)
			return
		case !g.agreed:
			Refuse(w, http.StatusBadRequest, "authorization_pending")
			return
		case !g.proved(q.Get("code_verifier")):
			Refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		delete(p.devices, q.Get("device_code"))
		s = g.s
	case "refresh_token":
		s = p.refresh[q.Get("refresh_token")]
		if s != nil && s.current != q.Get("refresh_token") {
			s.over = true // it was used before: a thief has one of the two
		}
		if s == nil || s.over {
			Refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
	default:
		Refuse(w, http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	access := rand.Text()
	c := p.Good(p.Client, p.now()).With(Claims{
		"sub": s.user, "email": s.user + "@example.test", "email_verified": true, "name": strings.ToUpper(s.user[:1]) + s.user[1:],
		"auth_time": s.since.Unix(), "amr": []string{"pwd"}, "at_hash": halfHash(access),
	})
	if nonce != "" {
		c["nonce"] = nonce
	}
	if s.acr != "" {
		c["acr"] = s.acr
	}
	if p.claims != nil {
		c = p.claims(c)
	}
	sign := p.sign
	if sign == nil {
		sign = p.Sign
	}
	a := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 300, "scope": s.scope, "id_token": sign(c)}
	if strings.Contains(" "+s.scope+" ", " offline_access ") {
		s.current = rand.Text()
		p.refresh[s.current] = s
		a["refresh_token"] = s.current
	}
	if p.answer != nil {
		p.answer(a)
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, a)
}

func (g *grant) proved(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return g.challenge == base64.RawURLEncoding.EncodeToString(sum[:])
}

// halfHash is at_hash for ES256 (OpenID Connect Core §3.1.3.6).
func halfHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (p *Provider) deviceNew(w http.ResponseWriter, r *http.Request) {
	q := r.PostForm
	if q.Get("client_id") != p.Client {
		Refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	device, user := rand.Text(), rand.Text()[:4]+"-"+rand.Text()[:4]
	p.set(func() {
		p.devices[device] = &grant{challenge: q.Get("code_challenge"), scope: q.Get("scope"), userCode: user, acr: q.Get("acr_values")}
	})
	answer(w, map[string]any{
		"device_code": device, "user_code": user, "verification_uri": p.URL + DevicePut, "verification_uri_complete": p.URL + DevicePut + "?user_code=" + user,
		"expires_in": 600, "interval": 5,
	})
}

func (p *Provider) devicePut(w http.ResponseWriter, r *http.Request) {
	if !p.Approve(r.Form.Get("user_code")) {
		http.Error(w, "there is no such code", http.StatusNotFound)
		return
	}
	_, _ = w.Write([]byte("You may close this page."))
}

// Approve is a person who enters a code and says yes; false if there is none like it.
func (p *Provider) Approve(userCode string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.devices {
		if g.userCode == userCode && userCode != "" {
			g.agreed, g.s = true, &session{user: p.user, scope: g.scope, since: p.now(), acr: strongest(g.acr)}
			return true
		}
	}
	return false
}

func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.PostForm.Get("client_id") != p.Client {
		Refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	if s := p.refresh[r.PostForm.Get("token")]; s != nil {
		s.over = true
	}
}

// Alive says whether a refresh token is good still, without using it.
func (p *Provider) Alive(refresh string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.refresh[refresh]
	return s != nil && !s.over && s.current == refresh
}

// Refuse answers with an error of RFC 6749.
func Refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"error":"` + code + `"}`))
}

// Visit is a browser that goes to an address and follows to where it is sent. It
// returns the last page, and an error where a browser would show one of its own.
func Visit(address string) (status int, page string, err error) {
	resp, err := http.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

package idp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Zitadel starts a provider of github.com/zitadel/oidc in this process. Its issuer
// ends in a slash, it signs with ES256, it does not say who it is at the redirect
// (RFC 9207), and everybody is asked for a password every time.
func Zitadel(t testing.TB) *Provider {
	t.Helper()
	p := serve(t, "zitadel", map[string]string{
		"/oauth/token": token, "/authorize": Authorize, "/device_authorization": StartDev, "/revoke": Revoke, "/keys": Keys,
		"/.well-known/openid-configuration": Discover,
	})
	p.Issuer += "/"
	s := &storage{
		users: Users(), requests: map[string]*request{}, codes: map[string]*request{},
		grants: map[string]*grant{}, devices: map[string]*op.DeviceAuthorizationState{}, userCodes: map[string]string{},
	}
	s.rotate()
	var key [32]byte
	_, _ = rand.Read(key[:])
	provider, err := op.NewProvider(&op.Config{
		CryptoKey: key, CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true, SupportedScopes: Scopes,
		DeviceAuthorization: op.DeviceAuthorizationConfig{Lifetime: 5 * time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20},
	}, s, op.StaticIssuer(p.Issuer), op.WithAllowInsecure())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("/login", s.login)
	mux.HandleFunc("/login/abort", s.abort)
	mux.HandleFunc("/device", s.device)
	p.inner = mux
	p.rotate = s.rotate
	p.users = func(users map[string]User) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.users = users
	}
	return p
}

// storage is what the provider knows: users, and what it issued to whom.
type storage struct {
	mu        sync.Mutex
	users     map[string]User
	key       signingKey
	requests  map[string]*request
	codes     map[string]*request // by code
	grants    map[string]*grant   // by each refresh token that there ever was
	devices   map[string]*op.DeviceAuthorizationState
	userCodes map[string]string // the device code of a user code
}

// A request is an authorization request, with who signed in for it.
type request struct {
	*oidc.AuthRequest
	id, user string
	at       time.Time
}

func (r *request) GetID() string                      { return r.id }
func (r *request) GetAMR() []string                   { return []string{"pwd"} }
func (r *request) GetAudience() []string              { return []string{r.ClientID} }
func (r *request) GetAuthTime() time.Time             { return r.at }
func (r *request) GetClientID() string                { return r.ClientID }
func (r *request) GetNonce() string                   { return r.Nonce }
func (r *request) GetScopes() []string                { return r.Scopes }
func (r *request) GetSubject() string                 { return r.user }
func (r *request) Done() bool                         { return r.user != "" }
func (r *request) GetRedirectURI() string             { return r.RedirectURI }
func (r *request) GetState() string                   { return r.State }
func (r *request) GetResponseType() oidc.ResponseType { return r.ResponseType }
func (r *request) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	if r.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// GetACR takes the word of who asked: everybody is as well known as that.
func (r *request) GetACR() string {
	if len(r.ACRValues) > 0 {
		return r.ACRValues[0]
	}
	return ""
}

// A grant is what somebody agreed to: one refresh token at a time.
type grant struct {
	user, client string
	scopes       []string
	at           time.Time
	current      string
	ended        bool
}

// A renewal is a request to go on with a grant.
type renewal struct {
	*grant
	scopes []string
}

func (r *renewal) GetAMR() []string            { return []string{"pwd"} }
func (r *renewal) GetAudience() []string       { return []string{r.client} }
func (r *renewal) GetAuthTime() time.Time      { return r.at }
func (r *renewal) GetClientID() string         { return r.client }
func (r *renewal) GetScopes() []string         { return r.scopes }
func (r *renewal) GetSubject() string          { return r.user }
func (r *renewal) SetCurrentScopes(s []string) { r.scopes = s }

type signingKey struct {
	id  string
	key *ecdsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                    { return k.key }

type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.key.PublicKey }

func (s *storage) rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = signingKey{rand.Text(), key}
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []op.Key{publicKey{s.key}}, nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if slices.Contains(r.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired() // nobody is signed in here
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	made := &request{AuthRequest: r, id: rand.Text()}
	s.requests[made.id] = made
	return made, nil
}

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[id]; r != nil {
		return r, nil
	}
	return nil, errors.New("no such request")
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = s.requests[id]
	return nil
}

func (s *storage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.codes[code]
	delete(s.codes, code) // it is good once, whatever comes of it
	if r == nil {
		return nil, errors.New("no such code")
	}
	return r, nil
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

// Nobody is shown an access token here: that there is one is enough.
func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(time.Minute), nil
}

func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, r op.TokenRequest, was string) (string, string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grants[was]
	if was == "" {
		by, ok := r.(op.IDTokenRequest) // a request, or the state of a device
		if !ok {
			return "", "", time.Time{}, fmt.Errorf("a refresh token for %T", r)
		}
		g = &grant{user: by.GetSubject(), client: by.GetClientID(), scopes: by.GetScopes(), at: by.GetAuthTime()}
	} else if g == nil || g.ended || g.current != was {
		return "", "", time.Time{}, oidc.ErrInvalidGrant() // two at once: the other was first
	}
	g.current = rand.Text()
	s.grants[g.current] = g
	return rand.Text(), g.current, time.Now().Add(time.Minute), nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, refresh string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grants[refresh]
	if g == nil || g.ended {
		return nil, op.ErrInvalidRefreshToken
	}
	if g.current != refresh {
		g.ended = true // somebody has a copy
		return nil, op.ErrInvalidRefreshToken
	}
	return &renewal{g, g.scopes}, nil
}

func (s *storage) GetRefreshTokenInfo(_ context.Context, client, refresh string) (user, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grants[refresh]
	if g == nil || g.client != client {
		return "", "", op.ErrInvalidRefreshToken
	}
	return g.user, refresh, nil
}

func (s *storage) RevokeToken(_ context.Context, refresh, _, client string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.grants[refresh]; g != nil && g.client == client {
		g.ended = true
	}
	return nil
}

func (s *storage) TerminateSession(_ context.Context, user, client string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		g.ended = g.ended || g.user == user && g.client == client
	}
	return nil
}

func (s *storage) StoreDeviceAuthorization(_ context.Context, client, device, user string, expires time.Time, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices[device] = &op.DeviceAuthorizationState{ClientID: client, Scopes: scopes, Expires: expires}
	s.userCodes[user] = device
	return nil
}

func (s *storage) GetDeviceAuthorizatonState(_ context.Context, client, device string) (*op.DeviceAuthorizationState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[device]
	if d == nil || d.ClientID != client {
		return nil, errors.New("no such device")
	}
	if d.Done || d.Denied {
		delete(s.devices, device)
	}
	now := *d
	return &now, nil
}

// client is one of the two. Both may come back on any port of this machine.
type client struct{ id string }

func (c client) GetID() string { return c.id }
func (c client) RedirectURIs() []string {
	if c.id == VaultID {
		return []string{"http://127.0.0.1/oidc/callback", "http://localhost/oidc/callback"}
	}
	return []string{"http://127.0.0.1/callback"}
}
func (c client) AuthMethod() oidc.AuthMethod {
	if c.id == VaultID {
		return oidc.AuthMethodBasic
	}
	return oidc.AuthMethodNone
}
func (c client) GrantTypes() []oidc.GrantType {
	if c.id == VaultID {
		return []oidc.GrantType{oidc.GrantTypeCode}
	}
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeDeviceCode}
}
func (client) PostLogoutRedirectURIs() []string    { return nil }
func (client) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (client) ResponseTypes() []oidc.ResponseType  { return []oidc.ResponseType{oidc.ResponseTypeCode} }
func (client) LoginURL(id string) string           { return "/login?id=" + id }
func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeBearer }
func (client) IDTokenLifetime() time.Duration      { return IDTokenTTL }
func (client) DevMode() bool                       { return false }
func (client) IsScopeAllowed(scope string) bool    { return scope == "groups" }
func (client) ClockSkew() time.Duration            { return 0 }

// Claims of scopes are in the identity token, beside an access token too.
func (client) IDTokenUserinfoClaimsAssertion() bool { return true }

func (client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

func (client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != ClientID && id != VaultID {
		return nil, oidc.ErrInvalidClient()
	}
	return client{id}, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != VaultID || secret != VaultSecret {
		return errors.New("not the secret")
	}
	return nil
}

// SetUserinfoFromRequest is who signed in, for the identity token.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[r.GetSubject()]
	if !ok {
		return errors.New("no such user")
	}
	info.Subject = r.GetSubject()
	if slices.Contains(scopes, oidc.ScopeProfile) {
		info.Name = u.Name
	}
	if slices.Contains(scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = u.Email, true
	}
	if slices.Contains(scopes, "groups") {
		info.AppendClaims("groups", u.Groups)
	}
	return nil
}

// SetUserinfoFromScopes leaves everything to SetUserinfoFromRequest.
func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

var errNotOffered = errors.New("not offered here")

func (s *storage) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errNotOffered
}

func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotOffered
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotOffered
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotOffered
}

func (s *storage) Health(context.Context) error { return nil }

// The pages have the names of fields that those of oidc-provider have, so that
// one person, or one browser, fills in both.
func page(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><title>Provider</title><h1>Provider</h1>%s", body)
}

const credentials = `<input name="login" placeholder="name" required><input type="password" name="password" required>`

// signedIn is who a form says it is, if the password is right.
func (s *storage) signedIn(r *http.Request) (string, bool) {
	user := r.PostFormValue("login")
	_, known := s.users[user]
	return user, known && r.PostFormValue("password") == Password
}

func (s *storage) login(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := s.requests[r.FormValue("id")]
	if req == nil {
		http.Error(w, "no such request", http.StatusNotFound)
		return
	}
	if user, ok := s.signedIn(r); ok {
		req.user, req.at = user, time.Now()
		http.Redirect(w, r, "/authorize/callback?id="+req.id, http.StatusSeeOther)
		return
	}
	page(w, `<form method="post" action="/login"><input type="hidden" name="id" value="`+req.id+`">`+credentials+
		`<button type="submit">Sign in</button></form><a href="/login/abort?id=`+req.id+`">Cancel</a>`)
}

// abort sends the browser back with an error before the login is done.
func (s *storage) abort(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	req := s.requests[r.FormValue("id")]
	delete(s.requests, r.FormValue("id"))
	s.mu.Unlock()
	if req == nil {
		http.Error(w, "no such request", http.StatusNotFound)
		return
	}
	to, err := op.AuthResponseURL(req.RedirectURI, req.ResponseType, req.ResponseMode, &oidc.Error{ErrorType: oidc.AccessDenied, Description: "the person declined", State: req.State}, oidc.NewEncoder())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (s *storage) device(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := r.FormValue("user_code")
	d := s.devices[s.userCodes[code]]
	if d == nil {
		page(w, `<form method="get" action="/device"><input name="user_code" required><button type="submit">Continue</button></form>`)
		return
	}
	user, ok := s.signedIn(r)
	switch {
	case r.PostFormValue("abort") != "":
		d.Denied = true
		page(w, "<p>The device is not let in.</p>")
	case ok:
		d.Done, d.Subject, d.AuthTime, d.AMR = true, user, time.Now(), []string{"pwd"}
		page(w, "<p>The device is signed in.</p>")
	default:
		page(w, `<p>A device asks to be signed in: <code>`+html.EscapeString(code)+`</code></p><form method="post" action="/device"><input type="hidden" name="user_code" value="`+html.EscapeString(code)+`">`+
			`<input type="hidden" name="confirm" value="yes">`+credentials+`<button type="submit">Sign in</button></form>`)
	}
}

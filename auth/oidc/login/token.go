package login

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"envrun/auth"
	"envrun/auth/oidc"
)

// freshToken is how old an ID token may be that nothing but its time ties to this
// sign-in: a device flow has no nonce.
const freshToken = 10 * time.Minute

// Tokens are what a sign-in brought, checked. The access token was dropped.
type Tokens struct {
	ID      auth.Secret // for the server's login, and then to be forgotten
	Refresh auth.Secret // empty: the issuer gave none, so the session ends with the server's token

	Subject, Issuer string
	Email, Name     string // for people; who somebody is, is issuer and subject
	AuthTime        time.Time
	ACR             string
	AMR, Scopes     []string
	Skew            time.Duration // how much later the issuer's clock is than this machine's
}

// An Ask is what is asked of a sign-in.
type Ask struct {
	MaxAge    time.Duration // since the person last proved who they are, if HasMaxAge
	HasMaxAge bool
	ACR       []string // one of which the sign-in has to be of
	Hint      string   // who it will be, for the issuer's page
	Prompt    string   // as OpenID Connect has it: "login", "select_account" …; "": what suits the issuer
	Once      bool     // no refresh token is asked for
}

// A nonce that is to be in the token, or how new it has to be without one.
type proof struct {
	nonce string
	fresh bool
}

// signed is the strict half of checking an ID token, as the set of keys that go-oidc
// verifies with: what go-oidc's own lets pass (F7, F8) does not come that far.
type signed struct {
	v      *oidc.Verifier
	claims *oidc.Claims
	err    error
}

// VerifySignature implements gooidc.KeySet.
func (s *signed) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	if s.claims, s.err = s.v.Verify(ctx, raw); s.err != nil {
		return nil, s.err
	}
	return base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1]) // of three parts: it was verified
}

// accepted checks what a token endpoint gave, and drops what is not needed.
func (p *Provider) accepted(ctx context.Context, t *oauth2.Token, ask Ask, want proof) (*Tokens, error) {
	out := &Tokens{Refresh: auth.NewSecret(t.RefreshToken)}
	raw, _ := t.Extra("id_token").(string)
	if raw == "" {
		return out, &TokenError{p.o.Issuer, "there is none: is the scope openid allowed for this client?"}
	}
	set := &signed{v: &oidc.Verifier{Issuer: p.o.Issuer, Keys: finder{p}, Algorithms: p.algorithms, Now: p.o.now}}
	id, err := gooidc.NewVerifier(p.o.Issuer, set, &gooidc.Config{
		ClientID: p.o.ClientID, SupportedSigningAlgs: p.algorithms,
		Now: func() time.Time { return p.o.now().Add(-oidc.DefaultLeeway) },
	}).Verify(ctx, raw)
	if err != nil {
		return out, p.tokenTrouble(ctx, set)
	}
	c := set.claims
	bad := func(why string) (*Tokens, error) { return out, &TokenError{p.o.Issuer, why} }
	party := c.Party
	if party == "" && len(c.Audience) == 1 {
		party = p.o.ClientID
	}
	switch {
	case party != p.o.ClientID:
		return bad("azp: it was made for another client")
	case want.nonce != "" && subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(want.nonce)) != 1:
		return bad("nonce: it is of another sign-in")
	case id.AccessTokenHash != "" && id.VerifyAccessToken(t.AccessToken) != nil:
		return bad("at_hash: it belongs to another access token")
	case want.fresh && c.Issued.Before(p.o.now().Add(-freshToken)):
		if err := p.clock(); err != nil {
			return out, err
		}
		return bad("iat: it is an old one")
	}
	text := func(name string) string {
		v, _ := c.At(name)
		if s, ok := v.(string); ok && auth.Plain(s, 320) {
			return s
		}
		return ""
	}
	out.Subject, out.Issuer, out.ACR, out.Skew = c.Subject, c.Issuer, text("acr"), p.Skew()
	if verified, there := c.At("email_verified"); !there || verified == true || verified == "true" {
		out.Email = text("email")
	}
	if out.Name = text("name"); out.Name == "" {
		out.Name = text("preferred_username")
	}
	if v, ok := c.At("auth_time"); ok {
		n, isNumber := v.(json.Number)
		at, err := n.Int64()
		if !isNumber || err != nil || at < 0 {
			return bad("auth_time: it is no time")
		}
		if at > p.o.now().Add(oidc.DefaultLeeway).Unix() {
			if err := p.clock(); err != nil {
				return out, err
			}
			return bad("auth_time: it has not come")
		}
		out.AuthTime = time.Unix(at, 0)
	}
	if v, ok := c.At("amr"); ok {
		list, _ := v.([]any)
		for _, v := range list {
			if s, ok := v.(string); ok && auth.Plain(s, 64) && len(out.AMR) < 16 {
				out.AMR = append(out.AMR, s)
			}
		}
	}
	if out.Scopes = p.asked(ask); t.Extra("scope") != nil {
		granted, _ := t.Extra("scope").(string)
		out.Scopes = strings.Fields(granted)
	}
	switch {
	case ask.HasMaxAge && (out.AuthTime.IsZero() || out.AuthTime.Before(p.o.now().Add(-ask.MaxAge-oidc.DefaultLeeway))):
		return out, &FreshError{p.o.Issuer, "auth_time"}
	case len(ask.ACR) > 0 && !slices.Contains(ask.ACR, out.ACR):
		return out, &FreshError{p.o.Issuer, "acr"}
	}
	out.ID = auth.NewSecret(raw)
	return out, nil
}

// tokenTrouble says why an ID token was not taken.
func (p *Provider) tokenTrouble(ctx context.Context, set *signed) error {
	refusal := (*oidc.Refusal)(nil)
	switch {
	case set.err == nil && set.claims == nil:
		return &TokenError{p.o.Issuer, "it is not signed with an algorithm that the issuer says it uses"}
	case set.err == nil && !slices.Contains(set.claims.Audience, p.o.ClientID):
		return &TokenError{p.o.Issuer, "aud: it was made for another client"}
	case set.err == nil:
		return &TokenError{p.o.Issuer, "a claim is not of its form"}
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(set.err, &refusal):
		return set.err // of asking for the keys
	}
	if refusal.Reason == oidc.ReasonTime {
		if err := p.clock(); err != nil {
			return err
		}
	}
	return &TokenError{p.o.Issuer, string(refusal.Reason) + ": " + refusal.Detail}
}

// clock is a ClockError if the clocks do not agree, nil otherwise.
func (p *Provider) clock() error {
	if skew := p.Skew(); skew.Abs() >= oidc.DefaultLeeway/2 {
		return &ClockError{p.o.Issuer, skew}
	}
	return nil
}

// A finder finds the keys of the issuer: fetched when they are needed, and once more
// for a key that is not among them, since issuers change theirs.
type finder struct{ p *Provider }

// Find implements oidc.Keys.
func (f finder) Find(ctx context.Context, id string) ([]oidc.Key, error) {
	p := f.p
	p.mu.Lock()
	keys := p.keys
	p.mu.Unlock()
	if found := match(keys, id); len(found) > 0 {
		return found, nil
	}
	keys, err := p.fetchKeys(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.keys = keys
	p.mu.Unlock()
	found := match(keys, id)
	if len(found) == 0 {
		return nil, &oidc.Refusal{Reason: oidc.ReasonKey, Detail: "the issuer has none of that name"}
	}
	return found, nil
}

func match(keys []oidc.Key, id string) []oidc.Key {
	if id == "" {
		if len(keys) == 1 {
			return keys
		}
		return nil
	}
	var found []oidc.Key
	for _, k := range keys {
		if k.ID == id {
			found = append(found, k)
		}
	}
	return found
}

func (p *Provider) fetchKeys(ctx context.Context) ([]oidc.Key, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.jwksURL, nil)
	if err != nil {
		return nil, p.trouble(ctx, stepKeys, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, p.trouble(ctx, stepKeys, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body) // bounded by guard
	if err != nil {
		return nil, p.trouble(ctx, stepKeys, err)
	}
	keys, err := oidc.ParseJWKS(text)
	if err != nil {
		return nil, &ProviderError{Issuer: p.o.Issuer, Step: stepKeys, Why: err.Error()}
	}
	return keys, nil
}

package idp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/idp"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const redirect = "http://127.0.0.1:1/callback" // nobody goes there: the test reads the address

// A client is any client of a provider, as the libraries make one.
type client struct {
	oauth2.Config
	*oidc.Provider
	p *idp.Provider
}

func newClient(t *testing.T, p *idp.Provider) client {
	provider, err := oidc.NewProvider(t.Context(), p.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	c := client{oauth2.Config{ClientID: idp.ClientID, Endpoint: provider.Endpoint(), RedirectURL: redirect, Scopes: idp.Scopes}, provider, p}
	c.Config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	return c
}

// signIn gets tokens for somebody with a code.
func (c client) signIn(t *testing.T, user string) (*oauth2.Token, claims) {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	to, err := c.p.Person(user).SignIn(t.Context(), c.AuthCodeURL("the-state", oauth2.S256ChallengeOption(verifier), oidc.Nonce("the-nonce"), oauth2.ApprovalForce))
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := back.Query()
	if !strings.HasPrefix(to, redirect+"?") || q.Get("state") != "the-state" || q.Get("code") == "" {
		t.Fatalf("the provider sends the browser to %s", to)
	}
	if iss := q.Get("iss"); iss != "" && iss != c.p.Issuer {
		t.Errorf("the redirect is from %s", iss)
	}
	tokens, err := c.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	got := c.claims(t, tokens)
	if got.Nonce != "the-nonce" {
		t.Errorf("nonce %q", got.Nonce)
	}
	return tokens, got
}

type claims struct {
	Subject string   `json:"sub"`
	Nonce   string   `json:"nonce"`
	Name    string   `json:"name"`
	Email   string   `json:"email"`
	Groups  []string `json:"groups"`
}

func (c client) claims(t *testing.T, tokens *oauth2.Token) (got claims) {
	t.Helper()
	raw, _ := tokens.Extra("id_token").(string)
	id, err := c.VerifierContext(t.Context(), &oidc.Config{ClientID: idp.ClientID}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Claims(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

func (c client) refresh(ctx context.Context, token string) (*oauth2.Token, error) {
	return c.TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token()
}

// refused is an OAuth error, of whatever status.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	var e *oauth2.RetrieveError
	if !errors.As(err, &e) || e.ErrorCode != code {
		t.Errorf("%v, not %s", err, code)
	}
}

func TestSignIn(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		c := newClient(t, p)
		_, who := c.signIn(t, "bob")
		if who.Subject != "bob" || who.Name != "Bob Baker" || who.Email != "bob@example.test" || !slices.Equal(who.Groups, []string{"developers", "operators"}) {
			t.Errorf("signed in as %+v", who)
		}
		if n := p.Count(idp.Code); n != 1 {
			t.Errorf("%d requests with a code", n)
		}
		p.SetGroups("bob", "nobody")
		if _, who = c.signIn(t, "bob"); !slices.Equal(who.Groups, []string{"nobody"}) {
			t.Errorf("groups %v", who.Groups)
		}

		// A code is of no use without its verifier.
		to, err := p.Person("alice").SignIn(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.ApprovalForce))
		if err != nil {
			t.Fatal(err)
		}
		back, _ := url.Parse(to)
		_, err = c.Exchange(t.Context(), back.Query().Get("code"), oauth2.VerifierOption(oauth2.GenerateVerifier()))
		refused(t, err, "invalid_grant")

		to, err = p.Person("alice").Cancel(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
		if err != nil {
			t.Fatal(err)
		}
		if back, _ = url.Parse(to); back.Query().Get("error") != "access_denied" || back.Query().Get("state") != "s" || back.Query().Has("code") {
			t.Errorf("declining leads to %s", to)
		}
	})
}

func TestRefreshTokensRotate(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		c := newClient(t, p)
		first, _ := c.signIn(t, "alice")
		last := first
		for range 3 {
			next, err := c.refresh(t.Context(), last.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			if next.RefreshToken == last.RefreshToken {
				t.Fatal("the refresh token stays")
			}
			if who := c.claims(t, next); who.Subject != "alice" || !slices.Equal(who.Groups, []string{"developers"}) {
				t.Errorf("%+v", who)
			}
			last = next
		}
		if n := p.Count(idp.Refresh); n != 3 {
			t.Errorf("%d refreshes", n)
		}
		if kept := p.Tokens("refresh_token"); len(kept) != 4 || kept[3] != last.RefreshToken {
			t.Errorf("%d refresh tokens are known", len(kept))
		}

		p.RotateKeys()
		was := p.Count(idp.Keys)
		next, err := c.refresh(t.Context(), last.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		c.claims(t, next)
		if p.Count(idp.Keys) != was+1 {
			t.Error("nobody needed a new key")
		}

		// A token that is used again ends the grant with its newest token.
		_, err = c.refresh(t.Context(), first.RefreshToken)
		refused(t, err, "invalid_grant")
		_, err = c.refresh(t.Context(), next.RefreshToken)
		refused(t, err, "invalid_grant")
	})
}

func TestRevoke(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		c := newClient(t, p)
		tokens, _ := c.signIn(t, "alice")
		var more struct {
			Revocation string `json:"revocation_endpoint"`
		}
		if err := c.Claims(&more); err != nil {
			t.Fatal(err)
		}
		res, err := http.PostForm(more.Revocation, url.Values{"token": {tokens.RefreshToken}, "client_id": {idp.ClientID}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK || p.Count(idp.Revoke) != 1 {
			t.Errorf("%s", res.Status)
		}
		_, err = c.refresh(t.Context(), tokens.RefreshToken)
		refused(t, err, "invalid_grant")
	})
}

func TestDevice(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		t.Parallel()
		c := newClient(t, p)
		for _, approve := range []bool{true, false} {
			code, err := c.DeviceAuth(t.Context(), oauth2.SetAuthURLParam("prompt", "consent"))
			if err != nil {
				t.Fatal(err)
			}
			if code.UserCode == "" || !strings.HasPrefix(code.VerificationURI, p.Issuer) || code.Expiry.Before(time.Now().Add(time.Minute)) {
				t.Fatalf("%+v", code)
			}
			if approve {
				err = p.Person("bob").Approve(t.Context(), code.VerificationURI, code.UserCode)
			} else {
				err = p.Person("bob").Deny(t.Context(), code.VerificationURI, code.UserCode)
			}
			if err != nil {
				t.Fatal(err)
			}
			code.Interval = 1 // it has been decided
			tokens, err := c.DeviceAccessToken(t.Context(), code)
			if !approve {
				refused(t, err, "access_denied")
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if who := c.claims(t, tokens); who.Subject != "bob" || len(who.Groups) != 2 || tokens.RefreshToken == "" {
				t.Errorf("%+v, refresh token %t", who, tokens.RefreshToken != "")
			}
		}
	})
}

// The client that has a secret is Vault's: another redirect, and no tokens
// without the secret.
func TestVaultClient(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		c := newClient(t, p)
		c.ClientID, c.RedirectURL, c.Config.Endpoint.AuthStyle = idp.VaultID, "http://localhost:8250/oidc/callback", oauth2.AuthStyleInHeader
		for secret, code := range map[string]string{idp.VaultSecret: "", "another": "invalid_client"} {
			to, err := p.Person("alice").SignIn(t.Context(), c.AuthCodeURL("s"))
			if err != nil {
				t.Fatal(err)
			}
			back, _ := url.Parse(to)
			c.ClientSecret = secret
			_, err = c.Exchange(t.Context(), back.Query().Get("code"))
			var e *oauth2.RetrieveError
			if errors.As(err, &e); (err == nil) != (code == "") || e != nil && e.Response.StatusCode/100 != 4 {
				t.Errorf("with the secret %q: %v", secret, err)
			}
		}
	})
}

func TestHook(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		c := newClient(t, p)
		tokens, _ := c.signIn(t, "alice")
		p.SetHook(func(kind string, w http.ResponseWriter, r *http.Request, next http.Handler) {
			if kind == idp.Refresh {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
		var e *oauth2.RetrieveError
		if _, err := c.refresh(t.Context(), tokens.RefreshToken); !errors.As(err, &e) || e.Response.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%v", err)
		}
		p.SetHook(nil)
		if _, err := c.refresh(t.Context(), tokens.RefreshToken); err != nil {
			t.Errorf("a request that never got there used the token up: %v", err)
		}
		seen := p.Secrets()
		for _, kind := range []string{"refresh_token", "id_token", "access_token"} {
			for _, token := range p.Tokens(kind) {
				if !slices.Contains(seen, token) {
					t.Errorf("a %s is not among the secrets", kind)
				}
			}
		}
		// Beside them, the code and its verifier. An identity token of the same second may be the same.
		if n := len(seen); n < 2+2*3-1 || n > 2+2*3 {
			t.Errorf("%d secrets", n)
		}
	})
}

// What a provider says of itself is what a client goes by.
func TestDiscovery(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		res, err := http.Get(strings.TrimSuffix(p.Issuer, "/") + "/.well-known/openid-configuration")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var said map[string]any
		if err := json.Unmarshal(text, &said); err != nil {
			t.Fatal(err)
		}
		if said["issuer"] != p.Issuer {
			t.Errorf("issuer %v", said["issuer"])
		}
		for _, name := range []string{"authorization_endpoint", "token_endpoint", "revocation_endpoint", "device_authorization_endpoint", "jwks_uri"} {
			if s, _ := said[name].(string); !strings.HasPrefix(s, strings.TrimSuffix(p.Issuer, "/")+"/") {
				t.Errorf("%s is %q", name, s)
			}
		}
	})
}

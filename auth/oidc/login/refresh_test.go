package login_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/oidc/login"
	"envrun/auth/oidc/oidctest"
)

func TestRefresh(t *testing.T) {
	p := oidctest.NewProvider(t)
	lp := discover(t, p)
	first, _, err := sign(t, lp, login.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	was := login.Was{Subject: "alice", Issuer: p.URL, AuthTime: first.AuthTime}
	fetched := p.Fetches.Load()
	lp = discover(t, p) // as another process does
	var saved []string
	was.Save = func(refresh auth.Secret) error {
		if p.Fetches.Load() != fetched {
			t.Error("something was asked before the new refresh token was saved")
		}
		saved = append(saved, refresh.Reveal())
		return nil
	}
	second, err := lp.Refresh(t.Context(), first.Refresh, was)
	if err != nil {
		t.Fatal(err)
	}
	if second.Refresh.Reveal() == first.Refresh.Reveal() || !p.Alive(second.Refresh.Reveal()) || second.Subject != "alice" || second.ID.Empty() || !second.AuthTime.Equal(first.AuthTime) {
		t.Errorf("got %+v", second)
	}
	if len(saved) != 1 || saved[0] != second.Refresh.Reveal() {
		t.Error("it was not saved once")
	}
	t.Run("the old one again ends the session", func(t *testing.T) {
		_, err := lp.Refresh(t.Context(), first.Refresh, was)
		var e *login.RefusedError
		if !errors.As(err, &e) || !e.Again() || e.Code != "invalid_grant" || p.Alive(second.Refresh.Reveal()) {
			t.Errorf("got %v", err)
		}
		quiet(t, err, p, []string{first.Refresh.Reveal(), second.Refresh.Reveal()})
	})
	t.Run("an empty new one keeps the old", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		lp := discover(t, p)
		first, _, err := sign(t, lp, login.Ask{})
		if err != nil {
			t.Fatal(err)
		}
		p.SetAnswer(func(a map[string]any) { delete(a, "refresh_token") })
		second, err := lp.Refresh(t.Context(), first.Refresh, login.Was{Subject: "alice", Issuer: p.URL})
		if err != nil || second.Refresh != first.Refresh {
			t.Errorf("got %+v, %v", second, err)
		}
	})
	t.Run("what cannot be saved is not used", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		lp := discover(t, p)
		first, _, err := sign(t, lp, login.Ask{})
		if err != nil {
			t.Fatal(err)
		}
		full := errors.New("the disk is full")
		got, err := lp.Refresh(t.Context(), first.Refresh, login.Was{Subject: "alice", Issuer: p.URL, Save: func(auth.Secret) error { return full }})
		if err != full || !got.ID.Empty() || !p.Alive(got.Refresh.Reveal()) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestRefreshesThatFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		lie   func(*oidctest.Provider)
		wants func(error) bool
		again bool // a new sign-in is what helps
		kept  bool // the answer had a new refresh token, which is returned
	}{
		{"A41 another subject", func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims {
				return c.With(oidctest.Claims{"sub": "mallory", "email": "alice@example.test"})
			})
		}, is[*login.AccountError]("another account"), false, true},
		{"A46 the ID token of another user", func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{"sub": "Alice"}) })
		}, is[*login.AccountError](""), false, true},
		{"A41 another issuer", func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{"iss": "https://evil.test"}) })
		}, is[*login.TokenError]("issuer"), false, true},
		{"A41 another client", func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{"aud": "another"}) })
		}, is[*login.TokenError]("aud"), false, true},
		{"A42 an auth_time that goes back", func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims {
				return c.With(oidctest.Claims{"auth_time": time.Now().Add(-time.Hour).Unix()})
			})
		}, is[*login.TokenError]("auth_time: it went back"), false, true},
		{"A46 an old ID token again", func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims {
				return c.With(oidctest.Claims{"iat": time.Now().Add(-time.Hour).Unix(), "nbf": nil})
			})
		}, is[*login.TokenError]("iat"), false, true},
		{"A46 no ID token", func(p *oidctest.Provider) { p.SetAnswer(func(a map[string]any) { delete(a, "id_token") }) }, is[*login.TokenError]("there is none"), false, true},
		{"A46 the keys are away", func(p *oidctest.Provider) { p.SetJWKS(says(503, "text/html", canary)) }, is[*login.UnavailableError]("503"), false, true},
		{"A46 invalid_grant", func(p *oidctest.Provider) {
			p.SetHook(oidctest.Token, says(400, "application/json", `{"error":"invalid_grant","error_description":"`+canary+`"}`))
		}, is[*login.RefusedError]("invalid_grant"), true, false},
		{"A46 interaction_required", func(p *oidctest.Provider) {
			p.SetHook(oidctest.Token, says(400, "application/json", `{"error":"interaction_required","error_description":"AADSTS50076: `+canary+`"}`))
		}, is[*login.RefusedError]("AADSTS50076"), true, false},
		{"A46 invalid_client", func(p *oidctest.Provider) {
			p.SetHook(oidctest.Token, says(401, "application/json", `{"error":"invalid_client"}`))
		}, is[*login.RefusedError]("invalid_client"), false, false},
		{"A46 a 503", func(p *oidctest.Provider) { p.SetHook(oidctest.Token, says(503, "text/html", canary)) }, is[*login.UnavailableError]("503"), false, false},
		{"A46 a 500 that says invalid_grant", func(p *oidctest.Provider) {
			p.SetHook(oidctest.Token, says(500, "application/json", `{"error":"invalid_grant"}`))
		}, is[*login.UnavailableError]("500"), false, false},
		{"A46 a sign-in page of a network", func(p *oidctest.Provider) { p.SetHook(oidctest.Token, says(200, "text/html", canary)) }, is[*login.ProviderError]("else than JSON"), false, false},
		{"A46 a connection that ends", func(p *oidctest.Provider) {
			p.SetHook(oidctest.Token, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, is[*login.UnavailableError]("broke"), false, false},
		{"A46 it is slow", func(p *oidctest.Provider) { p.SetHook(oidctest.Token, slow) }, is[*login.UnavailableError]("in time"), false, false},
		{"A46 it is sent on", func(p *oidctest.Provider) { p.SetHook(oidctest.Token, sends("/elsewhere", 307)) }, is[*login.ProviderError]("sends on"), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			secrets := watch(p)
			lp := discover(t, p)
			first, _, err := sign(t, lp, login.Ask{})
			if err != nil {
				t.Fatal(err)
			}
			lp = discover(t, p, func(o *login.Options) { o.Time = patience(c.name) })
			c.lie(p)
			before := p.Count(oidctest.Token)
			got, err := lp.Refresh(t.Context(), first.Refresh, login.Was{Subject: "alice", Issuer: p.URL, AuthTime: first.AuthTime})
			if !c.wants(err) {
				t.Errorf("got %T %v", err, err)
			}
			var refused *login.RefusedError
			if again := errors.As(err, &refused) && refused.Again(); again != c.again {
				t.Errorf("a new sign-in helps: %v", again)
			}
			if c.kept && (got == nil || !got.ID.Empty() || got.Subject != "" || !p.Alive(got.Refresh.Reveal())) || !c.kept && got != nil {
				t.Errorf("got %+v", got)
			}
			if n := p.Count(oidctest.Token) - before; n != 1 {
				t.Errorf("the refresh token was sent %d times (F5)", n)
			}
			if _, _, basic := basicOf(p); basic {
				t.Error("it was sent in a header")
			}
			quiet(t, err, p, *secrets)
		})
	}
}

func basicOf(p *oidctest.Provider) (string, string, bool) {
	for _, f := range p.Forms(oidctest.Token) {
		if f.Get("client_id") == "" {
			return "", "", true
		}
	}
	return "", "", false
}

func TestARefreshThatIsOnItsWayIsNotLost(t *testing.T) {
	p := oidctest.NewProvider(t)
	lp := discover(t, p)
	first, _, err := sign(t, lp, login.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.SetHook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
		cancel() // Ctrl-C while the issuer works
		time.Sleep(20 * time.Millisecond)
		p.Usual(oidctest.Token)(w, r)
	})
	saved := false
	second, err := lp.Refresh(ctx, first.Refresh, login.Was{Subject: "alice", Issuer: p.URL, Save: func(auth.Secret) error { saved = true; return nil }})
	if !saved || second == nil || !p.Alive(second.Refresh.Reveal()) {
		t.Errorf("got %+v, %v", second, err)
	}
	before := p.Count(oidctest.Token)
	if _, err := lp.Refresh(ctx, second.Refresh, login.Was{}); !errors.Is(err, context.Canceled) || p.Count(oidctest.Token) != before {
		t.Errorf("one that has not begun goes on: %v", err)
	}
}

func TestRevoke(t *testing.T) {
	p := oidctest.NewProvider(t)
	lp := discover(t, p)
	got, _, err := sign(t, lp, login.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	if err := lp.Revoke(t.Context(), got.Refresh); err != nil || p.Alive(got.Refresh.Reveal()) {
		t.Errorf("got %v", err)
	}
	form := p.Forms(oidctest.Revoke)[0]
	if form.Get("token") != got.Refresh.Reveal() || form.Get("token_type_hint") != "refresh_token" || form.Get("client_id") != p.Client {
		t.Error("it is not as RFC 7009 has it")
	}
	if err := lp.Revoke(t.Context(), auth.NewSecret("never-there")); err != nil {
		t.Errorf("one that is not known: %v", err)
	}
	for _, c := range []struct {
		name  string
		h     http.HandlerFunc
		wants func(error) bool
	}{
		{"a 200 that is no JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>done") }, nil},
		{"A46 a 503", says(503, "text/html", canary), is[*login.UnavailableError]("503")},
		{"A46 unsupported_token_type", says(400, "application/json", `{"error":"unsupported_token_type","error_description":"`+canary+`"}`), is[*login.RefusedError]("unsupported_token_type")},
		{"A46 a 404", says(404, "text/html", canary), is[*login.ProviderError]("404")},
		{"A46 it is sent on, with the token", sends("/elsewhere", 307), is[*login.ProviderError]("sends on")},
		{"A46 100 MiB", large(100 << 20), is[*login.ProviderError]("mebibyte")},
		{"A46 it is slow", slow, is[*login.UnavailableError]("in time")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			p.SetHook(oidctest.Revoke, c.h)
			err := discover(t, p, func(o *login.Options) { o.Time = patience(c.name) }).Revoke(t.Context(), auth.NewSecret("refresh-"+canary))
			if c.wants == nil && err != nil || c.wants != nil && !c.wants(err) {
				t.Errorf("got %T %v", err, err)
			}
			quiet(t, err, p, []string{canary})
		})
	}
	t.Run("an issuer that cannot", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		p.SetDocument(func(d map[string]any) { delete(d, "revocation_endpoint") })
		if err := discover(t, p).Revoke(t.Context(), auth.NewSecret("x")); err != login.ErrNoRevocation {
			t.Errorf("got %v", err)
		}
	})
}

func TestWordsOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&login.ClockError{Issuer: "https://id.test", Skew: time.Hour}, "the clock of this machine is 1h0m0s behind that of the issuer https://id.test"},
		{&login.ClockError{Issuer: "https://id.test", Skew: -time.Hour}, "the clock of this machine is 1h0m0s ahead of that of the issuer https://id.test"},
		{&login.MismatchError{Issuer: "https://id.test", Says: "https://id.test/"}, `the issuer at "https://id.test" calls itself "https://id.test/"`},
	} {
		if got := c.err.Error(); got != c.want || strings.Contains(got, "failed") {
			t.Errorf("got %q", got)
		}
	}
}

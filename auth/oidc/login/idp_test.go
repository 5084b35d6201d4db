package login_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/login"
)

// What people do, at providers that others wrote.
func TestRealProviders(t *testing.T) {
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		silent := func(t *testing.T, err error) {
			t.Helper()
			for _, secret := range p.Secrets() {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error has a secret: %v", err)
				}
			}
		}
		begin := func(t *testing.T) *login.Provider {
			t.Helper()
			lp, err := login.Discover(t.Context(), login.Options{Issuer: p.Issuer, ClientID: idp.ClientID, Scopes: idp.Scopes, Sleep: func(ctx context.Context, _ time.Duration) error {
				return sleepBriefly(ctx)
			}})
			if err != nil {
				t.Fatal(err)
			}
			return lp
		}
		in := func(t *testing.T, lp *login.Provider, ask login.Ask) (*login.Tokens, page) {
			t.Helper()
			shown := make(chan page, 1)
			var got *login.Tokens
			err := lp.Browser(t.Context(), ask, login.BrowserOptions{Open: true, Opener: func(_ context.Context, address string) error {
				go func() {
					back, err := p.Person("alice").SignIn(context.Background(), address)
					if err != nil {
						shown <- page{err: err}
						return
					}
					resp, err := http.Get(back)
					if err != nil {
						shown <- page{err: err}
						return
					}
					_ = resp.Body.Close()
					shown <- page{status: resp.StatusCode}
				}()
				return nil
			}, Time: time.Minute}, &person{}, keep(&got))
			if err != nil {
				t.Fatal(err)
			}
			last := <-shown
			if last.err != nil || last.status != 200 {
				t.Errorf("the page is %+v", last)
			}
			return got, last
		}
		was := func(tokens *login.Tokens) login.Was {
			return login.Was{Subject: tokens.Subject, Issuer: p.Issuer, AuthTime: tokens.AuthTime}
		}

		t.Run("a browser, three refreshes, one that was used before", func(t *testing.T) {
			lp := begin(t)
			got, _ := in(t, lp, login.Ask{})
			if got.Issuer != p.Issuer || got.Subject == "" || got.ID.Empty() || got.Refresh.Empty() {
				t.Fatalf("got %+v", got)
			}
			used := got.Refresh
			for n := range 3 {
				next, err := begin(t).Refresh(t.Context(), got.Refresh, was(got))
				if err != nil {
					t.Fatalf("refresh %d: %v", n+1, err)
				}
				if next.Subject != got.Subject || next.ID.Empty() || next.Refresh.Empty() {
					t.Fatalf("refresh %d: %+v", n+1, next)
				}
				got = next
			}
			before := p.Count(idp.Refresh)
			_, err := lp.Refresh(t.Context(), used, was(got))
			var refused *login.RefusedError
			if !errors.As(err, &refused) || !refused.Again() || p.Count(idp.Refresh) != before+1 {
				t.Errorf("one that was used: %v", err)
			}
			silent(t, err)
		})
		t.Run("keys that change in between", func(t *testing.T) {
			lp := begin(t)
			in(t, lp, login.Ask{})
			p.RotateKeys()
			in(t, lp, login.Ask{})
		})
		t.Run("a fresh sign-in", func(t *testing.T) {
			got, _ := in(t, begin(t), login.Ask{HasMaxAge: true, MaxAge: time.Minute, Once: true})
			if got.AuthTime.IsZero() || !got.Refresh.Empty() {
				t.Errorf("got %+v", got)
			}
		})
		t.Run("a person who cancels", func(t *testing.T) {
			var got *login.Tokens
			err := begin(t).Browser(t.Context(), login.Ask{}, login.BrowserOptions{Open: true, Opener: func(_ context.Context, address string) error {
				go func() {
					if back, err := p.Person("alice").Cancel(context.Background(), address); err == nil {
						if resp, err := http.Get(back); err == nil {
							_ = resp.Body.Close()
						}
					}
				}()
				return nil
			}, Time: time.Minute}, &person{}, keep(&got))
			var refused *login.RefusedError
			if !errors.As(err, &refused) || !refused.Denied() {
				t.Errorf("got %v", err)
			}
		})
		t.Run("a device code, and signing out", func(t *testing.T) {
			lp := begin(t)
			var got *login.Tokens
			who := &person{code: func(c login.Code) {
				go func() {
					if err := p.Person("alice").Approve(context.Background(), c.URI, c.UserCode); err != nil {
						t.Error(err)
					}
				}()
			}}
			if err := lp.Device(t.Context(), login.Ask{}, who, keep(&got)); err != nil {
				t.Fatal(err)
			}
			if got.Subject == "" || got.Refresh.Empty() {
				t.Fatalf("got %+v", got)
			}
			if err := lp.Revoke(t.Context(), got.Refresh); err != nil {
				t.Fatal(err)
			}
			_, err := lp.Refresh(t.Context(), got.Refresh, was(got))
			var refused *login.RefusedError
			if !errors.As(err, &refused) || !refused.Again() {
				t.Errorf("after it was revoked: %v", err)
			}
			silent(t, err)
		})
		t.Run("a device that is not theirs", func(t *testing.T) {
			var got *login.Tokens
			who := &person{code: func(c login.Code) {
				go func() {
					if err := p.Person("alice").Deny(context.Background(), c.URI, c.UserCode); err != nil {
						t.Error(err)
					}
				}()
			}}
			err := begin(t).Device(t.Context(), login.Ask{}, who, keep(&got))
			var refused *login.RefusedError
			if !errors.As(err, &refused) || !refused.Denied() {
				t.Errorf("got %v", err)
			}
		})
	})
}

func sleepBriefly(ctx context.Context) error {
	select {
	case <-time.After(100 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

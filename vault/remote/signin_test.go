package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/wire"
)

// answering is a client of a server that answers with h alone.
func answering(t *testing.T, h http.HandlerFunc, change ...func(*remote.Options)) *remote.Vault {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o := remote.Options{Address: s.URL, Token: token("old"), Pause: time.Millisecond}
	for _, f := range change {
		f(&o)
	}
	v, err := remote.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// A server that wants a fresher or stronger sign-in says so in the words of RFC 9470;
// whatever else it says with a 401 is a refusal.
func TestChallenge(t *testing.T) {
	for header, want := range map[string]*remote.ChallengeError{
		`Bearer error="insufficient_user_authentication", max_age="900", acr_values="mfa phr"`: {MaxAge: 15 * time.Minute, HasAge: true, ACR: []string{"mfa", "phr"}},
		`bearer error=insufficient_user_authentication,max_age=0`:                              {HasAge: true},
		`Bearer error="insufficient_user_authentication", acr_values="mfa"`:                    {ACR: []string{"mfa"}},
		`Bearer error="insufficient_user_authentication"`:                                      nil,
		`Bearer error="invalid_token", max_age="900"`:                                          nil,
		`Bearer error="insufficient_user_authentication", max_age="-1"`:                        nil,
		`Bearer error="insufficient_user_authentication", max_age="9`:                          nil,
		`Basic error="insufficient_user_authentication", max_age="9"`:                          nil,
		``: nil,
	} {
		v := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Vault-Token") != "" {
				t.Error("a token is sent with a sign-in")
			}
			w.Header().Set("WWW-Authenticate", header)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":["permission denied"]}`)
		})
		_, err := v.SignIn(t.Context(), "human", map[string]string{"role": "r", "jwt": "canary-jwt"})
		got, ok := errors.AsType[*remote.ChallengeError](err)
		if vault.KindOf(err) != vault.KindNoIdentity || ok != (want != nil) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", header, err)
		}
		if ok && (got.MaxAge != want.MaxAge || got.HasAge != want.HasAge || !slices.Equal(got.ACR, want.ACR) || got.Mount != "human") {
			t.Errorf("%s: %+v, want %+v", header, got, want)
		}
	}
}

// Only envrund says how people sign in: of any other server nothing is known.
func TestSignIns(t *testing.T) {
	own := false
	v := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if own {
			w.Header().Set(wire.OwnHeader, "1")
			fmt.Fprint(w, `{"data":{"methods":[{"mount":"human","type":"jwt","issuer":"https://id","client_id":"c","max_age":0}]}}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[]}`)
	}, func(o *remote.Options) {
		o.Token = func(context.Context) (string, error) {
			t.Error("a token is asked for")
			return "", nil
		}
	})
	if in, is, err := v.SignIns(t.Context()); err != nil || is || len(in.Methods) != 0 {
		t.Errorf("%+v %v %v", in, is, err)
	}
	own = true
	if in, is, err := v.SignIns(t.Context()); err != nil || !is || len(in.Methods) != 1 || in.Methods[0].Mount != "human" {
		t.Errorf("%+v %v %v", in, is, err)
	}
}

// A token that the server does not take is renewed once, and no more.
func TestRenewedOnce(t *testing.T) {
	for next, good := range map[string]bool{"new": true, "old": false, "": false, "bad": false} {
		asked := 0
		v := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Vault-Token") == "new" {
				fmt.Fprint(w, `{"data":{"display_name":"ann"}}`)
				return
			}
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":["permission denied","invalid token"]}`)
		}, func(o *remote.Options) {
			o.Renewed = func(_ context.Context, refused string) (string, error) {
				if asked++; refused != "old" {
					t.Errorf("it is told of another token")
				}
				return next, nil
			}
		})
		_, err := v.Self(t.Context())
		var e *remote.ServerError
		if (err == nil) != good || !good && (!errors.As(err, &e) || e.Trouble != remote.BadToken) || asked != 1 {
			t.Errorf("%q: %v, asked %d times", next, err, asked)
		}
	}
}

package login_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc/login"
)

// A server that drives, and sends people where a test says.
type driver struct {
	start  func(redirect string) (string, error)
	trust  func(endpoint, client string) error
	finish func(state, code auth.Secret) error
}

func (d driver) Start(_ context.Context, redirect string) (string, error) { return d.start(redirect) }

func (d driver) Trust(endpoint, client string) error {
	if d.trust == nil {
		return nil
	}
	return d.trust(endpoint, client)
}

func (d driver) Finish(_ context.Context, state, code auth.Secret) (login.Welcome, error) {
	return login.Welcome{Server: "https://vault.example.test", Account: "alice"}, d.finish(state, code)
}

const drivenState = "st_Kkg5dSla18MHDyy9cqLK"

// address is what Vault sends people to, with some of it changed.
func address(redirect string, change url.Values) string {
	q := url.Values{"client_id": {"envrun"}, "code_challenge": {"PlvDjcU"}, "code_challenge_method": {"S256"}, "nonce": {"n_F4h6lTlpbA7d5JQJQDj0"},
		"redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid profile"}, "state": {drivenState}}
	for name, values := range change {
		if q[name] = values; values == nil {
			delete(q, name)
		}
	}
	return "https://issuer.example.test/auth?" + q.Encode()
}

// free is a port that nobody listens on, and that is not asked for by chance.
func free(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// An address that does not lead back here, or not to this sign-in alone, is shown to
// nobody.
func TestDrivenElsewhere(t *testing.T) {
	for name, made := range map[string]func(redirect string) string{
		"another redirect": func(string) string { return address("https://evil.example.test/cb", nil) },
		"two redirects": func(r string) string {
			return address(r, url.Values{"redirect_uri": {r, "https://evil.example.test/cb"}})
		},
		"a token in place": func(r string) string { return address(r, url.Values{"response_type": {"id_token"}}) },
		"no state":         func(r string) string { return address(r, url.Values{"state": nil}) },
		"two states":       func(r string) string { return address(r, url.Values{"state": {drivenState, drivenState}}) },
		"a short state":    func(r string) string { return address(r, url.Values{"state": {"1"}}) },
		"no nonce":         func(r string) string { return address(r, url.Values{"nonce": nil}) },
		"no client":        func(r string) string { return address(r, url.Values{"client_id": nil}) },
		"http":             func(r string) string { return strings.Replace(address(r, nil), "https:", "http:", 1) },
		"a file": func(r string) string {
			return strings.Replace(address(r, nil), "https://issuer.example.test", "file:///etc/passwd", 1)
		},
		"a script": func(r string) string { return "javascript:" + address(r, nil) },
		"a name and a host": func(r string) string {
			return strings.Replace(address(r, nil), "https://", "https://issuer.example.test@evil", 1)
		},
		"an option":          func(r string) string { return "--gpu-launcher=x " + address(r, nil) },
		"a line of terminal": func(r string) string { return address(r, nil) + "\x1b[2J" },
		"not an address":     func(string) string { return "%" },
	} {
		t.Run(name, func(t *testing.T) {
			d := driver{start: func(redirect string) (string, error) { return made(redirect), nil }, finish: func(auth.Secret, auth.Secret) error { t.Error("finished"); return nil }}
			o := login.BrowserOptions{Port: free(t), Open: true, Opener: func(context.Context, string) error { t.Error("a browser was sent there"); return nil }}
			err := login.Driven(t.Context(), o, &person{visit: func(login.Visit) { t.Error("it was shown") }}, d)
			var bad *login.AddressError
			if !errors.As(err, &bad) || strings.Contains(err.Error(), "evil") || strings.Contains(err.Error(), drivenState) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDriven(t *testing.T) {
	for _, allowed := range []string{"localhost", "127.0.0.1"} {
		var states, codes []string
		var trusted string
		d := driver{
			start: func(redirect string) (string, error) {
				if u, _ := url.Parse(redirect); u.Hostname() != allowed || u.Path != "/oidc/callback" {
					return "", nil
				}
				return address(redirect, nil), nil
			},
			trust: func(endpoint, client string) error { trusted = endpoint + " " + client; return nil },
			finish: func(state, code auth.Secret) error {
				states, codes = append(states, state.Reveal()), append(codes, code.Reveal())
				return nil
			},
		}
		o := login.BrowserOptions{Port: free(t), Open: true, Opener: func(_ context.Context, at string) error {
			u, _ := url.Parse(at)
			back := u.Query().Get("redirect_uri")
			go func() {
				// Somebody else's answers first: they end nothing.
				for _, other := range []string{"?code=x", "?code=x&state=another-state-of-some-length", "?error=access_denied&state=x"} {
					if res, err := http.Get(back + other); err != nil || res.StatusCode != http.StatusNotFound {
						t.Errorf("%s: %v %v", other, res, err)
					}
				}
				res, err := http.Get(back + "?code=the-code&state=" + drivenState)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("%v %v", res, err)
				}
			}()
			return nil
		}}
		if err := login.Driven(t.Context(), o, &person{}, d); err != nil {
			t.Fatal(err)
		}
		if strings.Join(states, " ") != drivenState || strings.Join(codes, " ") != "the-code" || trusted != "https://issuer.example.test/auth envrun" {
			t.Errorf("the server was brought %q %q; %q was asked about", states, codes, trusted)
		}
	}
}

func TestDrivenEnds(t *testing.T) {
	no, distrusted := errors.New("the server says no"), errors.New("another client than the last time")
	nothing := func(string) (string, error) { return "", nil }
	good := func(redirect string) (string, error) { return address(redirect, nil), nil }
	answers := func(query string) func(context.Context, string) error {
		return func(_ context.Context, at string) error {
			u, _ := url.Parse(at)
			go http.Get(u.Query().Get("redirect_uri") + "?state=" + drivenState + query)
			return nil
		}
	}
	for name, c := range map[string]struct {
		d      driver
		opener func(context.Context, string) error
		want   func(error) bool
	}{
		"no redirect is allowed": {driver{start: nothing}, nil, func(err error) bool {
			e, ok := errors.AsType[*login.RedirectError](err)
			return ok && len(e.Redirects) == 2 && strings.HasPrefix(e.Redirects[0], "http://localhost:") && strings.HasPrefix(e.Redirects[1], "http://127.0.0.1:")
		}},
		"the server has no such method": {driver{start: func(string) (string, error) { return "", no }}, nil, func(err error) bool { return err == no }},
		"a client that is not trusted":  {driver{start: good, trust: func(string, string) error { return distrusted }}, nil, func(err error) bool { return err == distrusted }},
		"the person cancels": {driver{start: good}, answers("&error=access_denied&error_description=canary-77"), func(err error) bool {
			e, ok := errors.AsType[*login.RefusedError](err)
			return ok && e.Denied() && !strings.Contains(err.Error(), "canary")
		}},
		"the server refuses": {driver{start: good, finish: func(auth.Secret, auth.Secret) error { return no }}, answers("&code=c"), func(err error) bool { return err == no }},
	} {
		t.Run(name, func(t *testing.T) {
			o := login.BrowserOptions{Port: free(t), Open: c.opener != nil, Opener: c.opener}
			if err := login.Driven(t.Context(), o, &person{}, c.d); !c.want(err) {
				t.Errorf("%v", err)
			}
		})
	}

	t.Run("Ctrl-C", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		port := free(t)
		err := login.Driven(ctx, login.BrowserOptions{Port: port}, &person{visit: func(login.Visit) { stop() }}, driver{start: good})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Errorf("it still listens: %v", err)
		} else {
			l.Close()
		}
	})

	t.Run("the port is taken", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		err = login.Driven(t.Context(), login.BrowserOptions{Port: port}, &person{}, driver{start: good})
		if e, ok := errors.AsType[*browser.PortError](err); !ok || e.Port != port {
			t.Errorf("%v", err)
		}
	})
}

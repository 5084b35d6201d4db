package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/oidc/oidctest"
)

// A clock that only sleeping moves, and what was slept. The tests of device flows
// do not wait.
type clock struct {
	at    time.Time
	slept []time.Duration
	each  func(n int) // after the nth sleep
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time { return c.at }

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.at = c.at.Add(d)
	c.slept = append(c.slept, d)
	if c.each != nil {
		c.each(len(c.slept))
	}
	return ctx.Err()
}

func (c *clock) set(o *login.Options) { o.Now, o.Sleep = c.now, c.sleep }

func keep(got **login.Tokens) func(context.Context, *login.Tokens) (login.Welcome, error) {
	return func(_ context.Context, tokens *login.Tokens) (login.Welcome, error) {
		*got = tokens
		return login.Welcome{}, nil
	}
}

func TestSignInWithADeviceCode(t *testing.T) {
	p := oidctest.NewProvider(t)
	c := newClock()
	p.SetNow(c.now)
	var shown login.Code
	c.each = func(n int) {
		if n == 3 && !p.Approve(shown.UserCode) {
			t.Error("the code is not one")
		}
	}
	who := &person{code: func(code login.Code) {
		if p.Count(oidctest.Token) != 0 {
			t.Error("it was asked before the code was shown")
		}
		shown = code
	}}
	var got *login.Tokens
	if err := discover(t, p, c.set).Device(t.Context(), login.Ask{}, who, keep(&got)); err != nil {
		t.Fatal(err)
	}
	if got.Subject != "alice" || got.Refresh.Empty() || got.ID.Empty() {
		t.Errorf("got %+v", got)
	}
	if shown.URI != p.URL+"/device" || shown.CompleteURI == "" || shown.Until.Sub(c.at).Abs() > 10*time.Minute {
		t.Errorf("shown was %+v", shown)
	}
	if fmt.Sprint(c.slept) != "[6s 6s 6s]" || p.Count(oidctest.Authorize) != 0 || p.Count(oidctest.DevicePut) != 0 {
		t.Errorf("slept %v", c.slept)
	}
	if form := p.Forms(oidctest.DeviceNew)[0]; form.Get("code_challenge_method") != "S256" || form.Get("client_id") != p.Client {
		t.Errorf("asked with %v", form)
	}
}

func TestAskingWhetherTheCodeWasEntered(t *testing.T) {
	type reply struct {
		status int
		kind   string
		body   string
	}
	oauth := func(code string) reply { return reply{400, "application/json", `{"error":"` + code + `"}`} }
	var (
		pending = oauth("authorization_pending")
		down    = oauth("slow_down")
		away    = reply{502, "text/html", "<html>" + canary}
		hung    = reply{} // the connection ends
	)
	for _, c := range []struct {
		name    string
		replies []reply // the last one again and again; then, unless it is said otherwise, the code was entered
		forever bool
		slept   string
		wants   func(error) bool // nil: it works
	}{
		{"pending", []reply{pending, pending}, false, "6s 6s 6s", nil},
		{"slow_down", []reply{down, pending, down, pending}, false, "6s 14s 14s 21s 21s", nil},
		{"a bad gateway, and again", []reply{away, away, pending}, false, "6s 10s 20s 6s", nil},
		{"a connection that ends, five times", []reply{hung, hung, hung, hung, hung}, false, "6s 10s 20s 30s 30s 30s", nil},
		{"too many requests", []reply{{429, "text/plain", canary}}, false, "6s 10s", nil},
		{"temporarily_unavailable", []reply{oauth("temporarily_unavailable")}, false, "6s 10s", nil},
		{"somebody said no", []reply{pending, oauth("access_denied")}, true, "6s 6s", func(err error) bool {
			var e *login.RefusedError
			return errors.As(err, &e) && e.Denied()
		}},
		{"the code is over for the issuer", []reply{oauth("expired_token")}, true, "6s", func(err error) bool { return err == login.ErrLate }},
		{"another error", []reply{{400, "application/json", `{"error":"invalid_grant","error_description":"` + canary + `"}`}}, true, "6s", is[*login.RefusedError]("invalid_grant")},
		{"HTML", []reply{{200, "text/html", canary}}, true, "6s", is[*login.ProviderError]("else than JSON")},
		{"nothing", []reply{{200, "application/json", "{}"}}, true, "6s", is[*login.TokenError]("scope openid")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			cl := newClock()
			p.SetNow(cl.now)
			who := &person{code: func(code login.Code) { p.Approve(code.UserCode) }}
			var asked atomic.Int64
			p.SetHook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
				n := int(asked.Add(1))
				if n > len(c.replies) && !c.forever {
					p.Usual(oidctest.Token)(w, r)
					return
				}
				a := c.replies[min(n, len(c.replies))-1]
				if a == hung {
					panic(http.ErrAbortHandler)
				}
				says(a.status, a.kind, a.body)(w, r)
			})
			var got *login.Tokens
			err := discover(t, p, cl.set).Device(t.Context(), login.Ask{}, who, keep(&got))
			if c.wants == nil && (err != nil || got == nil) || c.wants != nil && (got != nil || !c.wants(err)) {
				t.Errorf("got %T %v", err, err)
			}
			if slept := strings.Trim(fmt.Sprint(cl.slept), "[]"); slept != c.slept {
				t.Errorf("slept %s", slept)
			}
			quiet(t, err, p, []string{canary})
		})
	}
	t.Run("nobody enters it", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		cl := newClock()
		began := cl.at
		var got *login.Tokens
		err := discover(t, p, cl.set).Device(t.Context(), login.Ask{}, &person{}, keep(&got))
		if err != login.ErrLate || cl.at.Sub(began) > 10*time.Minute || len(cl.slept) < 90 {
			t.Errorf("got %v after %s and %d questions", err, cl.at.Sub(began), len(cl.slept))
		}
	})
	t.Run("an issuer that is away until the end", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		cl := newClock()
		p.SetHook(oidctest.Token, says(503, "text/html", canary))
		var got *login.Tokens
		who := &person{}
		if err := discover(t, p, cl.set).Device(t.Context(), login.Ask{}, who, keep(&got)); err != login.ErrLate || !who.noted("trying again") || len(who.notes) != 1 {
			t.Errorf("got %v, and told %q", err, who.notes)
		}
	})
	t.Run("a machine that slept through it", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		cl := newClock()
		cl.each = func(int) { cl.at = cl.at.Add(time.Hour) }
		var got *login.Tokens
		if err := discover(t, p, cl.set).Device(t.Context(), login.Ask{}, &person{}, keep(&got)); err != login.ErrLate || p.Count(oidctest.Token) != 0 {
			t.Errorf("got %v after %d questions", err, p.Count(oidctest.Token))
		}
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		lp := discover(t, p) // with real sleep, 6 s of it
		ctx, cancel := context.WithCancel(t.Context())
		who := &person{code: func(login.Code) { time.AfterFunc(20*time.Millisecond, cancel) }}
		var got *login.Tokens
		began := time.Now()
		if err := lp.Device(ctx, login.Ask{}, who, keep(&got)); !errors.Is(err, context.Canceled) || time.Since(began) > 4*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestDeviceAnswersThatLie(t *testing.T) {
	good := map[string]any{"device_code": "d0c-" + canary, "user_code": "ABCD-EFGH", "verification_uri": "https://id.example.test/device", "expires_in": 60, "interval": 5}
	for _, c := range []struct {
		name   string
		change map[string]any
		slept  string                    // of the first question; "" if none is asked
		shown  func(login.Code) bool     // nil: any
		wants  func(error) bool          // nil: nobody enters the code
		raw    func(a *http.HandlerFunc) // instead
	}{
		{"A46 a huge interval", map[string]any{"interval": 1e18, "expires_in": 3600}, "1m12s", nil, nil, nil},
		{"A46 an interval beyond all numbers", map[string]any{"interval": json.Number("1e400"), "expires_in": 3600}, "1m12s", nil, nil, nil},
		{"A46 a negative interval", map[string]any{"interval": -5}, "1.2s", nil, nil, nil},
		{"A46 the most negative interval", map[string]any{"interval": json.Number("-9223372036854775808")}, "1.2s", nil, nil, nil},
		{"A46 an interval of nothing", map[string]any{"interval": 0}, "6s", nil, nil, nil},
		{"A46 no interval", map[string]any{"interval": nil}, "6s", nil, nil, nil},
		{"A46 an interval that is text", map[string]any{"interval": canary}, "", nil, is[*login.ProviderError]("interval"), nil},
		{"A46 a code that is over", map[string]any{"expires_in": -1}, "", nil, is[*login.ProviderError]("before it began"), nil},
		{"A46 a code for ever", map[string]any{"expires_in": json.Number("9e18")}, "6s", func(c login.Code) bool { return time.Until(c.Until) < 31*time.Minute }, nil, nil},
		{"A46 javascript to enter the code at", map[string]any{"verification_uri": "javascript:alert(1)//" + canary}, "", nil, is[*login.ProviderError]("https"), nil},
		{"A46 a file to enter the code at", map[string]any{"verification_uri": "file:///etc/passwd"}, "", nil, is[*login.ProviderError]("https"), nil},
		{"A46 http to enter the code at", map[string]any{"verification_uri": "http://id.example.test/device"}, "", nil, is[*login.ProviderError]("https"), nil},
		{"A46 an address with an escape sequence", map[string]any{"verification_uri": "https://id.example.test/\x1b]8;;"}, "", nil, is[*login.ProviderError]("https"), nil},
		{"A46 no address", map[string]any{"verification_uri": nil}, "", nil, is[*login.ProviderError]("https"), nil},
		{"A46 the address as Google calls it", map[string]any{"verification_uri": nil, "verification_url": "https://www.google.com/device"}, "6s", func(c login.Code) bool { return c.URI == "https://www.google.com/device" }, nil, nil},
		{"A46 a complete address of javascript is left out", map[string]any{"verification_uri_complete": "javascript:alert(1)"}, "6s", func(c login.Code) bool { return c.CompleteURI == "" }, nil, nil},
		{"A46 a complete address elsewhere is left out", map[string]any{"verification_uri_complete": "https://evil.test/device?user_code=x"}, "6s", func(c login.Code) bool { return c.CompleteURI == "" }, nil, nil},
		{"A46 a code of 33 characters", map[string]any{"user_code": strings.Repeat("A", 33)}, "", nil, is[*login.ProviderError]("short text"), nil},
		{"A46 a code with an escape sequence", map[string]any{"user_code": "AB\x1b[2J"}, "", nil, is[*login.ProviderError]("short text"), nil},
		{"A46 a code of two lines", map[string]any{"user_code": "AB\nrm -rf"}, "", nil, is[*login.ProviderError]("short text"), nil},
		{"A46 a code that turns the line around", map[string]any{"user_code": "AB\u202ecd"}, "", nil, is[*login.ProviderError]("short text"), nil},
		{"A46 no code", map[string]any{"user_code": nil}, "", nil, is[*login.ProviderError]("short text"), nil},
		{"A46 no device code", map[string]any{"device_code": nil}, "", nil, is[*login.ProviderError]("no device code"), nil},
		{"A46 HTML", nil, "", nil, is[*login.ProviderError]("else than JSON"), func(h *http.HandlerFunc) { *h = says(200, "text/html", canary) }},
		{"A46 no JSON", nil, "", nil, is[*login.ProviderError]("not JSON"), func(h *http.HandlerFunc) { *h = says(200, "application/json", canary) }},
		{"A46 null", nil, "", nil, is[*login.ProviderError]("not JSON"), func(h *http.HandlerFunc) { *h = says(200, "application/json", "null") }},
		{"A46 100 MiB", nil, "", nil, is[*login.ProviderError]("mebibyte"), func(h *http.HandlerFunc) { *h = large(100 << 20) }},
		{"A46 it is sent on", nil, "", nil, is[*login.ProviderError]("sends on"), func(h *http.HandlerFunc) { *h = sends("/elsewhere", 307) }},
		{"A46 slow", nil, "", nil, is[*login.UnavailableError]("in time"), func(h *http.HandlerFunc) { *h = slow }},
		{"A46 away", nil, "", nil, is[*login.UnavailableError]("503"), func(h *http.HandlerFunc) { *h = says(503, "text/html", canary) }},
		{"A46 refused", nil, "", nil, is[*login.RefusedError]("unauthorized_client"), func(h *http.HandlerFunc) {
			*h = says(400, "application/json", `{"error":"unauthorized_client","error_description":"`+canary+`"}`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			answer := oidctest.Claims(good).With(c.change)
			h := http.HandlerFunc(says(200, "application/json", string(answer.JSON())))
			if c.raw != nil {
				c.raw(&h)
			}
			p.SetHook(oidctest.DeviceNew, h)
			p.SetHook(oidctest.Token, says(400, "application/json", `{"error":"expired_token"}`))
			cl := newClock()
			var shown login.Code
			who := &person{code: func(code login.Code) { shown = code }}
			var got *login.Tokens
			err := discover(t, p, cl.set, func(o *login.Options) { o.Time = patience(c.name) }).Device(t.Context(), login.Ask{}, who, keep(&got))
			if c.wants == nil && err != login.ErrLate || c.wants != nil && !c.wants(err) {
				t.Errorf("got %T %v", err, err)
			}
			if slept := strings.Trim(fmt.Sprint(cl.slept), "[]"); slept != c.slept {
				t.Errorf("slept %s", slept)
			}
			if c.shown != nil && !c.shown(shown) {
				t.Errorf("shown was %+v", shown)
			}
			if c.wants != nil && shown != (login.Code{}) {
				t.Errorf("it was shown: %+v", shown)
			}
			quiet(t, err, p, []string{canary})
		})
	}
}

func TestDeviceTokensHaveToBeNew(t *testing.T) {
	p := oidctest.NewProvider(t)
	p.SetClaims(func(c oidctest.Claims) oidctest.Claims {
		return c.With(oidctest.Claims{"iat": time.Now().Add(-11 * time.Minute).Unix(), "nbf": nil})
	})
	cl := newClock()
	var got *login.Tokens
	who := &person{code: func(code login.Code) { p.Approve(code.UserCode) }}
	if err := discover(t, p, cl.set).Device(t.Context(), login.Ask{}, who, keep(&got)); !is[*login.TokenError]("iat")(err) {
		t.Errorf("got %v", err)
	}
}

func TestAnIssuerWithoutDeviceCodes(t *testing.T) {
	p := oidctest.NewProvider(t)
	p.SetDocument(func(d map[string]any) { delete(d, "device_authorization_endpoint") })
	lp := discover(t, p)
	var got *login.Tokens
	if err := lp.Device(t.Context(), login.Ask{}, &person{}, keep(&got)); err != browser.ErrNoDevice || lp.Devices() {
		t.Errorf("got %v", err)
	}
}

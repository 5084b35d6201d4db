package login_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/oidc"
	"envrun/auth/oidc/login"
	"envrun/auth/oidc/oidctest"
)

// canary is in every body that an issuer should not have sent.
const canary = "canary-8d1f"

// watch notes what a provider gives, so that errors can be searched for it.
func watch(p *oidctest.Provider) *[]string {
	secrets := &[]string{canary}
	p.SetAnswer(func(a map[string]any) { note(secrets, a) })
	return secrets
}

func note(secrets *[]string, a map[string]any) {
	for _, name := range []string{"access_token", "id_token", "refresh_token"} {
		if s, _ := a[name].(string); s != "" {
			*secrets = append(*secrets, s)
		}
	}
}

// quiet fails if an error, however it is printed, holds what nobody may see.
func quiet(t *testing.T, err error, p *oidctest.Provider, secrets []string) {
	t.Helper()
	for _, form := range p.Forms(oidctest.Token) {
		for _, name := range []string{"code", "code_verifier", "refresh_token", "device_code"} {
			if v := form.Get(name); v != "" {
				secrets = append(secrets, v)
			}
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := fmt.Sprintf("%v %+v %#v %q", e, e, e, e)
		for _, s := range secrets {
			if strings.Contains(text, s) || len(s) > 40 && strings.Contains(text, s[:40]) {
				t.Errorf("%q is in the error %s", s, text)
			}
		}
		if strings.ContainsAny(e.Error(), "\x1b\n<") {
			t.Errorf("the error is not fit for a terminal: %q", e.Error())
		}
	}
}

// is says whether an error is of a type, and maybe what its words hold.
func is[E error](words string) func(error) bool {
	return func(err error) bool {
		var e E
		return errors.As(err, &e) && strings.Contains(err.Error(), words)
	}
}

func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func sends(to string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) }
}

// large answers with a JSON object of some bytes.
func large(size int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"x":"`+canary)
		for chunk := strings.Repeat("a", 1<<16); size > 0; size -= len(chunk) {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, `"}`)
	}
}

// bomb answers with much that was packed into little.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	defer z.Close()
	_, _ = io.WriteString(z, `{"x":"`+canary)
	for chunk := strings.Repeat("a", 1<<20); ; {
		if _, err := io.WriteString(z, chunk); err != nil {
			return
		}
	}
}

// slow answers when whoever asked is gone.
func slow(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func hangsUp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"`+canary)
	panic(http.ErrAbortHandler)
}

// garbage answers with something that is not HTTP.
func garbage(w http.ResponseWriter, _ *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(c, canary+" \x1b[31m is no answer\r\n\r\n")
		_ = c.Close()
	}
}

// patience is how long an answer is waited for: a busy machine is not a slow issuer.
func patience(name string) time.Duration {
	if strings.Contains(name, "slow") && !strings.Contains(name, "slow_down") {
		return time.Second
	}
	return 30 * time.Second
}

// elsewhere is a host that nobody has a reason to ask.
func elsewhere(t *testing.T) (address string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestDiscoveryThatLies(t *testing.T) {
	other, asked := elsewhere(t)
	set := func(name string, v any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetDocument(func(d map[string]any) { d[name] = v }) }
	}
	says := func(status int, contentType, body string) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetDiscovery(says(status, contentType, body)) }
	}
	hook := func(h http.HandlerFunc) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetDiscovery(h) }
	}
	for _, c := range []struct {
		name  string
		lie   func(*oidctest.Provider)
		wants func(error) bool
	}{
		{"A46 another issuer", set("issuer", "https://evil.test/"+canary+"\x1b[31m"), func(err error) bool {
			var e *login.MismatchError
			return errors.As(err, &e) && strings.HasPrefix(e.Says, "https://evil.test/") && !strings.Contains(e.Says, "\x1b")
		}},
		{"A46 the issuer with a slash", func(p *oidctest.Provider) {
			p.SetDocument(func(d map[string]any) { d["issuer"] = p.URL + "/" })
		}, is[*login.MismatchError]("calls itself")},
		{"A46 no issuer", set("issuer", nil), is[*login.MismatchError]("")},
		{"A46 the token endpoint elsewhere", set("token_endpoint", other+"/token"), is[*login.HostError]("token_endpoint")},
		{"A46 the authorization endpoint elsewhere", set("authorization_endpoint", "https://evil.test/authorize"), is[*login.HostError]("evil.test")},
		{"A46 the keys elsewhere", set("jwks_uri", "https://evil.test/keys"), is[*login.HostError]("jwks_uri")},
		{"A46 the device endpoint elsewhere", set("device_authorization_endpoint", "https://evil.test/d"), is[*login.HostError]("device")},
		{"A46 the revocation endpoint elsewhere", set("revocation_endpoint", "https://evil.test/r"), is[*login.HostError]("revocation")},
		{"A46 a host that ends alike", func(p *oidctest.Provider) {
			p.SetDocument(func(d map[string]any) {
				d["token_endpoint"] = strings.Replace(p.URL, "//127", "//evil127", 1) + "/token"
			})
		}, is[*login.ProviderError]("token_endpoint")},
		{"A46 an http token endpoint", set("token_endpoint", "http://id.example.test/token"), is[*login.ProviderError]("token_endpoint is not https")},
		{"A46 a javascript authorization endpoint", set("authorization_endpoint", "javascript:alert(1)"), is[*login.ProviderError]("authorization_endpoint")},
		{"A46 a file for keys", set("jwks_uri", "file:///etc/passwd"), is[*login.ProviderError]("jwks_uri")},
		{"A46 an endpoint with a password", set("token_endpoint", "https://u:p@id.example.test/token"), is[*login.ProviderError]("token_endpoint")},
		{"A46 no token endpoint", set("token_endpoint", nil), is[*login.ProviderError]("token_endpoint")},
		{"A46 an endpoint that is a number", set("token_endpoint", 7), is[*login.ProviderError]("not of its form")},
		{"A46 algorithms that anybody can sign with", set("id_token_signing_alg_values_supported", []string{"HS256", "none"}), is[*login.ProviderError]("without a secret")},
		{"A46 HTML", says(200, "text/html", "<html>"+canary), is[*login.ProviderError]("else than JSON")},
		{"A46 HTML that is a 404", says(404, "text/html", "<html>"+canary), is[*login.ProviderError]("404")},
		{"A46 HTML that is a 503", says(503, "text/html", "<html>"+canary), is[*login.UnavailableError]("503")},
		{"A46 too many requests", says(429, "text/plain", canary), is[*login.UnavailableError]("429")},
		{"A46 no JSON", says(200, "application/json", canary), is[*login.ProviderError]("not JSON")},
		{"A46 a list", says(200, "application/json", `["`+canary+`"]`), is[*login.ProviderError]("not JSON")},
		{"A46 a name twice", says(200, "application/json", `{"issuer":"a","issuer":"b","x":"`+canary+`"}`), is[*login.ProviderError]("a name comes twice")},
		{"A46 2 MiB", hook(large(2 << 20)), is[*login.ProviderError]("mebibyte")},
		{"A46 100 MiB", hook(large(100 << 20)), is[*login.ProviderError]("mebibyte")},
		{"A46 slow", hook(slow), is[*login.UnavailableError]("in time")},
		{"A46 a connection that ends early", hook(hangsUp), is[*login.UnavailableError]("broke")},
		{"A46 no HTTP", hook(garbage), is[*login.UnavailableError]("broke")},
		{"A46 a redirect to another host", hook(sends(other+"/.well-known/openid-configuration", 302)), is[*login.ProviderError]("sends on")},
		{"A46 a redirect to where clouds keep credentials", hook(sends("http://169.254.169.254/", 302)), is[*login.ProviderError]("sends on")},
		{"A46 a redirect to another scheme", func(p *oidctest.Provider) {
			p.SetDiscovery(sends(strings.Replace(p.URL, "http", "https", 1), 302))
		}, is[*login.ProviderError]("sends on")},
		{"A46 redirects without end", func(p *oidctest.Provider) { p.SetDiscovery(sends("/.well-known/openid-configuration", 302)) }, is[*login.ProviderError]("sends on")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			c.lie(p)
			_, err := login.Discover(t.Context(), login.Options{Issuer: p.URL, ClientID: p.Client, Time: patience(c.name)})
			if err == nil || !c.wants(err) {
				t.Errorf("got %T %v", err, err)
			}
			if mismatch := (*login.MismatchError)(nil); !errors.As(err, &mismatch) {
				quiet(t, err, p, []string{canary})
			}
			if p.Count(oidctest.Token) != 0 || asked.Load() != 0 {
				t.Error("more was asked")
			}
		})
	}
}

func TestIssuersThatAreNotAskedAtAll(t *testing.T) {
	for _, issuer := range []string{
		"", "id.example.test", "http://id.example.test", "http://127.0.0.2", "http://localhost.evil.test", "ftp://id.example.test", "https://u:p@id.example.test", "https://id.example.test/#x", "https://id.example.test/?x=1", "https://", "javascript:alert(1)", "https://id.example.test/\x1b[31m",
	} {
		if _, err := login.Discover(t.Context(), login.Options{Issuer: issuer, ClientID: "x"}); !is[*login.ProviderError]("")(err) {
			t.Errorf("%q: %v", issuer, err)
		}
	}
	if _, err := login.Discover(t.Context(), login.Options{Issuer: "https://id.example.test"}); !is[*login.ProviderError]("client ID")(err) {
		t.Errorf("no client: %v", err)
	}
	if _, err := login.Discover(t.Context(), login.Options{Issuer: "https://id.example.test", ClientID: "x", CA: []byte("no PEM")}); !is[*login.ProviderError]("PEM")(err) {
		t.Errorf("no certificate: %v", err)
	}
}

func TestAnIssuerThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_, err = login.Discover(t.Context(), login.Options{Issuer: "http://" + l.Addr().String(), ClientID: "x"})
	if !is[*login.UnavailableError]("no connection")(err) {
		t.Errorf("got %v", err)
	}
}

// front serves a provider over TLS under a name of its own.
func front(t *testing.T, p *oidctest.Provider) (issuer string, ca []byte) {
	t.Helper()
	s := httptest.NewUnstartedServer(p.Server.Config.Handler)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // somebody does not know its certificate
	s.StartTLS()
	t.Cleanup(s.Close)
	p.SetDocument(func(d map[string]any) {
		for name, v := range d {
			if s2, ok := v.(string); ok {
				d[name] = strings.Replace(s2, p.URL, s.URL, 1)
			}
		}
	})
	p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{"iss": s.URL}) })
	p.SetHook(oidctest.Authorize, func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		p.Usual(oidctest.Authorize)(rec, r)
		http.Redirect(w, r, strings.Replace(rec.Header().Get("Location"), url.QueryEscape(p.URL), url.QueryEscape(s.URL), 1), http.StatusFound)
	})
	return s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestAnIssuerWithItsOwnCertificate(t *testing.T) {
	p := oidctest.NewProvider(t)
	issuer, ca := front(t, p)
	_, err := login.Discover(t.Context(), login.Options{Issuer: issuer, ClientID: p.Client})
	if !is[*login.UnavailableError]("nobody known here")(err) {
		t.Errorf("without its certificate: %v", err)
	}
	lp, err := login.Discover(t.Context(), login.Options{Issuer: issuer, ClientID: p.Client, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	// The browser of the test comes over http: it does not know the certificate either.
	shown := make(chan page, 1)
	var got *login.Tokens
	err = lp.Browser(t.Context(), login.Ask{}, login.BrowserOptions{Open: true, Opener: func(ctx context.Context, address string) error {
		return opener(shown)(ctx, strings.Replace(address, issuer, p.URL, 1))
	}}, &person{}, func(_ context.Context, tokens *login.Tokens) (login.Welcome, error) {
		got = tokens
		return login.Welcome{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-shown
	if _, err := lp.Refresh(t.Context(), got.Refresh, login.Was{Subject: "alice", Issuer: issuer}); err != nil {
		t.Errorf("refresh: %v", err)
	}
	if err := lp.Revoke(t.Context(), got.Refresh); err != nil {
		t.Errorf("revoke: %v", err)
	}
	t.Run("A46 an http token endpoint of an https issuer, on this machine too", func(t *testing.T) {
		p.SetDocument(func(d map[string]any) {
			for name, v := range d {
				if s, ok := v.(string); ok && name != "token_endpoint" {
					d[name] = strings.Replace(s, p.URL, issuer, 1)
				}
			}
		})
		_, err := login.Discover(t.Context(), login.Options{Issuer: issuer, ClientID: p.Client, CA: ca})
		if !is[*login.ProviderError]("token_endpoint is not https")(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTLSOfOldAndProxies(t *testing.T) {
	t.Run("A46 TLS 1.1", func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.StartTLS()
		defer s.Close()
		_, err := login.Discover(t.Context(), login.Options{Issuer: s.URL, ClientID: "x", CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})})
		if !is[*login.UnavailableError]("TLS 1.2")(err) {
			t.Errorf("got %v", err)
		}
	})
	var through []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		through = append(through, r.Method+" "+r.Host)
		http.Error(w, canary, http.StatusBadGateway)
	}))
	defer proxy.Close()
	by := func(*http.Request) (*url.URL, error) {
		return url.Parse(strings.Replace(proxy.URL, "//", "//user:"+canary+"@", 1))
	}
	_, err := login.Discover(t.Context(), login.Options{Issuer: "https://id.example.test", ClientID: "x", Proxy: by})
	if !is[*login.UnavailableError]("")(err) || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) || len(through) != 1 || through[0] != "CONNECT id.example.test:443" {
		t.Errorf("got %v through %q", err, through)
	}
	p := oidctest.NewProvider(t)
	if _, _, err := sign(t, discover(t, p, func(o *login.Options) { o.Proxy = by }), login.Ask{}); err != nil || len(through) != 1 {
		t.Errorf("what is on this machine went through %q: %v", through, err)
	}
}

func TestEndpointsOnHostsThatWereNamed(t *testing.T) {
	p := oidctest.NewProvider(t)
	named := strings.Replace(p.URL, "127.0.0.1", "localhost", 1)
	p.SetDocument(func(d map[string]any) { d["token_endpoint"] = named + "/token" })
	_, err := login.Discover(t.Context(), login.Options{Issuer: p.URL, ClientID: p.Client})
	var e *login.HostError
	if !errors.As(err, &e) || e.Endpoint != "token_endpoint" {
		t.Fatalf("got %v", err)
	}
	lp := discover(t, p, func(o *login.Options) { o.Hosts = []string{e.Host} })
	if _, _, err := sign(t, lp, login.Ask{}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestAnswersThatAreNotTaken(t *testing.T) {
	other, asked := elsewhere(t)
	token := func(h http.HandlerFunc) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetHook(oidctest.Token, h) }
	}
	keys := func(h http.HandlerFunc) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetJWKS(h) }
	}
	answer := func(secrets *[]string, name string, v any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) {
			p.SetAnswer(func(a map[string]any) {
				note(secrets, a)
				if a[name] = v; v == nil {
					delete(a, name)
				}
			})
		}
	}
	var secrets []string
	claim := func(name string, v any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{name: v}) })
		}
	}
	back := func(change func(url.Values)) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) {
			p.SetHook(oidctest.Authorize, func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				p.Usual(oidctest.Authorize)(rec, r)
				to, err := url.Parse(rec.Header().Get("Location"))
				if err != nil {
					panic(err)
				}
				q := to.Query()
				change(q)
				to.RawQuery = q.Encode()
				http.Redirect(w, r, to.String(), http.StatusFound)
			})
		}
	}
	jwks := func(n int) string {
		one, err := oidctest.KeySet(oidctest.P256).Keys[0].MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return `{"keys":[` + strings.Repeat(string(one)+",", n-1) + string(one) + `]}`
	}
	many := strings.Repeat(`{"kty":"x"},`, 9_999) + `{"kty":"x"}`
	none := login.Ask{}
	for _, c := range []struct {
		name  string
		lie   func(*oidctest.Provider)
		ask   login.Ask
		wants func(error) bool
	}{
		{"A46 a token response of 100 MiB", token(large(100 << 20)), none, is[*login.ProviderError]("mebibyte")},
		{"A46 a token response that is a gzip bomb", token(bomb), none, is[*login.ProviderError]("mebibyte")},
		{"A46 a token response nested 10,000 deep", token(says(200, "application/json", `{"a":`+strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)+`}`)), none, is[*login.ProviderError]("nested too deeply")},
		{"A46 a token response in HTML", token(says(200, "text/html", "<html>"+canary)), none, is[*login.ProviderError]("else than JSON")},
		{"A46 a token response as a form", token(says(200, "application/x-www-form-urlencoded", "access_token="+canary+"&id_token=x")), none, is[*login.ProviderError]("else than JSON")},
		{"A46 a token response without a type", token(says(200, "", `{"access_token":"`+canary+`"}`)), none, is[*login.ProviderError]("else than JSON")},
		{"A46 a token response with two ID tokens", token(says(200, "application/json", `{"access_token":"a","id_token":"`+canary+`","id_token":"b"}`)), none, is[*login.ProviderError]("twice")},
		{"A46 a token response that is no JSON", token(says(200, "application/json", canary)), none, is[*login.ProviderError]("not JSON")},
		{"A46 a token response without an access token", token(says(200, "application/json", `{"id_token":"`+canary+`"}`)), none, is[*login.ProviderError]("not of its form")},
		{"A46 a token response without an ID token", answer(&secrets, "id_token", nil), none, is[*login.TokenError]("scope openid")},
		{"A46 an ID token that is a number", answer(&secrets, "id_token", 7), none, is[*login.TokenError]("scope openid")},
		{"A46 an expiry that is an object", answer(&secrets, "expires_in", map[string]any{"a": canary}), none, is[*login.ProviderError]("not of its form")},
		{"A46 the token endpoint sends on, with the code", token(sends(other, 307)), none, is[*login.ProviderError]("sends on")},
		{"A46 the token endpoint sends on within its host", token(sends("/token2", 308)), none, is[*login.ProviderError]("sends on")},
		{"A46 a 500 in HTML", token(says(500, "text/html", "<html>"+canary)), none, is[*login.UnavailableError]("500")},
		{"A46 a 403 in HTML", token(says(403, "text/html", "<html>"+canary)), none, is[*login.ProviderError]("403")},
		{"A46 slow tokens", token(slow), none, is[*login.UnavailableError]("in time")},
		{"A46 a token response that ends early", token(hangsUp), none, is[*login.UnavailableError]("broke")},
		{"A46 a token response that is no HTTP", token(garbage), none, is[*login.UnavailableError]("broke")},
		{"A46 an error with a description", token(says(400, "application/json", `{"error":"invalid_client","error_description":"AADSTS7000218: `+canary+`\u001b[31m<b>","error_uri":"https://`+canary+`"}`)), none, is[*login.RefusedError]("invalid_client (AADSTS7000218)")},
		{"A46 an error that is a sentence", token(says(400, "application/json", `{"error":"`+canary+`\u001b[31m<b>"}`)), none, is[*login.RefusedError]("an error without a name")},
		{"A46 an error that is a 200", token(says(200, "application/json", `{"error":"invalid_grant","error_description":"`+canary+`"}`)), none, is[*login.RefusedError]("invalid_grant")},
		{"A46 no keys in HTML", keys(says(200, "text/html", canary)), none, is[*login.ProviderError]("else than JSON")},
		{"A46 no keys", keys(says(200, "application/json", `{"keys":[],"x":"`+canary+`"}`)), none, is[*login.ProviderError]("no key")},
		{"A46 10,000 keys", keys(says(200, "application/json", jwks(10_000))), none, is[*login.ProviderError]("")},
		{"A46 10,000 keys of no kind", keys(says(200, "application/json", `{"keys":[`+many+`]}`)), none, is[*login.ProviderError]("too many values")},
		{"A46 101 keys", keys(says(200, "application/json", jwks(101))), none, is[*login.ProviderError]("more than 100")},
		{"A46 keys of 100 MiB", keys(large(100 << 20)), none, is[*login.ProviderError]("mebibyte")},
		{"A46 keys that are a 300", keys(says(300, "application/json", jwks(1))), none, is[*login.ProviderError]("300")},
		{"A46 keys that are a gzip bomb", keys(bomb), none, is[*login.ProviderError]("mebibyte")},
		{"A46 keys are elsewhere", keys(sends(other, 302)), none, is[*login.ProviderError]("sends on")},
		{"A46 keys are away", keys(says(502, "text/html", canary)), none, is[*login.UnavailableError]("502")},
		{"A46 keys are slow", keys(slow), none, is[*login.UnavailableError]("in time")},
		{"A46 the callback of another issuer", back(func(q url.Values) { q.Set("iss", "https://evil.test") }), none, is[*login.ProviderError]("another issuer")},
		{"A46 the callback of no issuer, of one that always says it", back(func(q url.Values) { q.Del("iss") }), none, is[*login.ProviderError]("its own")},
		{"A46 the nonce of another sign-in", claim("nonce", strings.Repeat("n", 43)), none, is[*login.TokenError]("nonce")},
		{"A46 no nonce", claim("nonce", nil), none, is[*login.TokenError]("nonce")},
		{"A46 a nonce that is a list", claim("nonce", []string{"x"}), none, is[*login.TokenError]("")},
		{"A46 the hash of another access token", claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), none, is[*login.TokenError]("at_hash")},
		{"A46 auth_time in the future", claim("auth_time", time.Now().Add(time.Hour).Unix()), none, is[*login.TokenError]("auth_time")},
		{"A46 auth_time as text", claim("auth_time", "1700000000"), none, is[*login.TokenError]("auth_time")},
		{"A42 max_age was taken out of the address", claim("auth_time", time.Now().Add(-time.Hour).Unix()), login.Ask{HasMaxAge: true, MaxAge: 15 * time.Minute}, is[*login.FreshError]("auth_time")},
		{"A42 max_age was asked for, and nothing is said", claim("auth_time", nil), login.Ask{HasMaxAge: true, MaxAge: time.Hour}, is[*login.FreshError]("auth_time")},
		{"A42 acr_values was taken out of the address", claim("acr", "0"), login.Ask{ACR: []string{"mfa", "phr"}}, is[*login.FreshError]("acr")},
		{"A42 acr as a list", claim("acr", []string{"mfa"}), login.Ask{ACR: []string{"mfa"}}, is[*login.FreshError]("acr")},
	} {
		t.Run(c.name, func(t *testing.T) {
			secrets = []string{canary}
			p := oidctest.NewProvider(t)
			p.SetAnswer(func(a map[string]any) { note(&secrets, a) })
			lp := discover(t, p, func(o *login.Options) { o.Time = patience(c.name) })
			c.lie(p)
			got, shown, err := sign(t, lp, c.ask)
			if err == nil || !c.wants(err) || got != nil {
				t.Errorf("got %T %v", err, err)
			}
			quiet(t, err, p, secrets)
			if shown.status != 403 || strings.Contains(shown.text, canary) {
				t.Errorf("the page says %d %s", shown.status, shown.text)
			}
			if n := p.Count(oidctest.Token); n > 1 || asked.Load() != 0 {
				t.Errorf("the code was sent %d times, and elsewhere %d times", n, asked.Load())
			}
		})
	}
}

func TestTheAttacksOnTokens(t *testing.T) {
	p := oidctest.NewProvider(t)
	p.Client = oidctest.Audience
	secrets := watch(p)
	p.SetDocument(func(d map[string]any) {
		d["id_token_signing_alg_values_supported"] = append(slices.Clone(oidc.Algorithms), "HS256", "none")
	})
	p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{"at_hash": nil}) }) // it depends on the algorithm
	lp := discover(t, p, func(o *login.Options) { o.ClientID = p.Client })
	for _, a := range oidctest.Attacks() {
		switch a.Reason {
		case oidc.ReasonGroups, oidc.ReasonClaims:
			continue // the server's to decide: what a role takes
		}
		if strings.Contains(a.Name, "for a role that takes one") {
			continue // made for this sign-in by its nonce, and good
		}
		t.Run(strings.TrimSpace(a.ID+" "+a.Name), func(t *testing.T) {
			p.SetSign(func(c oidctest.Claims) string { return a.Token(p.Issuer, c, time.Now()) })
			tokens, _, err := sign(t, lp, login.Ask{})
			if a.Reason == "" {
				if err != nil || tokens.ID.Empty() {
					t.Errorf("got %v", err)
				}
				return
			}
			if !is[*login.TokenError]("")(err) && !is[*login.ProviderError]("mebibyte")(err) || tokens != nil {
				t.Errorf("got %v, not %s", err, a.Reason)
			}
			quiet(t, err, p, *secrets)
		})
	}
	if n := p.Others.Load(); n != 0 {
		t.Errorf("%d requests went to where a token said", n)
	}
	t.Run("A31 an ID token of another client", func(t *testing.T) {
		p.SetSign(func(c oidctest.Claims) string { return p.Sign(c.With(oidctest.Claims{"aud": "another"})) })
		if _, _, err := sign(t, lp, login.Ask{}); !is[*login.TokenError]("another client")(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestKeysThatChange(t *testing.T) {
	p := oidctest.NewProvider(t)
	lp := discover(t, p)
	if _, _, err := sign(t, lp, login.Ask{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sign(t, lp, login.Ask{}); err != nil || p.Fetches.Load() != 1 {
		t.Errorf("the keys were fetched %d times, %v", p.Fetches.Load(), err)
	}
	// The issuer signs with a key that came after the keys were fetched.
	p.SetJWKS(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		set := oidctest.KeySet(oidctest.P256)
		set.Keys[0].KeyID = "new"
		_ = json.NewEncoder(w).Encode(set)
	})
	p.SetSign(func(c oidctest.Claims) string {
		return oidctest.SignKey("ES256", oidctest.PrivateKey(oidctest.P256), "new", c.JSON(), nil)
	})
	if _, _, err := sign(t, lp, login.Ask{}); err != nil || p.Fetches.Load() != 2 {
		t.Errorf("the keys were fetched %d times, %v", p.Fetches.Load(), err)
	}
	p.SetSign(func(c oidctest.Claims) string { return p.Sign(c) })
	if _, _, err := sign(t, lp, login.Ask{}); !is[*login.TokenError]("key")(err) {
		t.Errorf("a key that was withdrawn: %v", err)
	}
}

func TestClocksThatDoNotAgree(t *testing.T) {
	for _, c := range []struct {
		name  string
		here  time.Duration // how wrong this machine's clock is
		words string
	}{
		{"A48 this machine is an hour ahead", time.Hour, "ahead of"},
		{"A48 this machine is an hour behind", -time.Hour, "behind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			lp := discover(t, p, func(o *login.Options) { o.Now = func() time.Time { return time.Now().Add(c.here) } })
			_, _, err := sign(t, lp, login.Ask{})
			var e *login.ClockError
			if !errors.As(err, &e) || (e.Skew+c.here).Abs() > 5*time.Second || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %T %v", err, err)
			}
		})
	}
	t.Run("A48 20 seconds are within what is borne, and said", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		lp := discover(t, p, func(o *login.Options) { o.Now = func() time.Time { return time.Now().Add(20 * time.Second) } })
		tokens, _, err := sign(t, lp, login.Ask{})
		if err != nil || (tokens.Skew+20*time.Second).Abs() > 5*time.Second {
			t.Errorf("got %+v, %v", tokens, err)
		}
	})
	t.Run("A48 documents that somebody kept do not say what time it is", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		p.SetJWKS(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			w.Header().Set("Age", "3600")
			p.JWKS(w, r)
		})
		tokens, _, err := sign(t, discover(t, p), login.Ask{})
		if err != nil || tokens.Skew.Abs() > 5*time.Second {
			t.Errorf("got %+v, %v", tokens, err)
		}
	})
	t.Run("A48 clocks that agree are no excuse", func(t *testing.T) {
		p := oidctest.NewProvider(t)
		p.SetNow(func() time.Time { return time.Now().Add(-time.Hour) })
		if _, _, err := sign(t, discover(t, p), login.Ask{}); !is[*login.TokenError]("time")(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhoSaysNo(t *testing.T) {
	p := oidctest.NewProvider(t)
	p.Deny("access_denied")
	_, shown, err := sign(t, discover(t, p), login.Ask{})
	var e *login.RefusedError
	if !errors.As(err, &e) || !e.Denied() || shown.status != 403 || strings.Contains(shown.text, "script") {
		t.Errorf("got %v, and the page %s", err, shown.text)
	}
	quiet(t, err, p, nil)
}

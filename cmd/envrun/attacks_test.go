//go:build unix

package main_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
)

// The attacks that are made on whoever signs in, each under its id, on envrun as people
// have it. The other ones are in the table of the same name of the server.
func TestAttacksOnWhoSignsIn(t *testing.T) {
	t.Parallel()
	here := map[string]struct {
		name string
		test func(*testing.T)
	}{
		"A41": {"nobody takes a session over with somebody's address, or with the answer to a refresh", sameAddress},
		"A45": {"callbacks that are none of the issuer's change nothing", hostileCallbacks},
		"A46": {"an issuer that lies is refused in words", hostileIssuer},
		"A47": {"a server that names another issuer is not believed, and none steers the terminal", func(t *testing.T) { anotherIssuer(t); hostileServer(t); hostileSignIns(t) }},
	}
	for _, id := range oidctest.OnClient {
		if one, ok := here[id]; ok {
			t.Run(id+" "+one.name, func(t *testing.T) {
				t.Parallel()
				one.test(t)
			})
		} else {
			t.Errorf("%s is tried nowhere", id)
		}
	}
	if len(here) != len(oidctest.OnClient) {
		t.Errorf("%d attacks, want %d", len(here), len(oidctest.OnClient))
	}
}

// signIn starts envrun login for somebody whose browser is elsewhere, and returns the
// address that they are to open, and the one that they are to come back to.
func (o *office) signIn(args ...string) (c *terminal, address, back *url.URL) {
	o.t.Helper()
	c = o.run(append([]string{"login", "--store", "passphrase", "--flow", "paste"}, args...)...)
	c.expect("paste all of it here.")
	address, err := url.Parse(shownAddress(o.t, c))
	if err != nil {
		o.t.Fatal(err)
	}
	if back, err = url.Parse(address.Query().Get("redirect_uri")); err != nil || back.Hostname() != "127.0.0.1" {
		o.t.Fatalf("back to %v, %v", back, err)
	}
	return c, address, back
}

// nobodyIn checks that nothing of a sign-in was kept.
func (o *office) nobodyIn() {
	o.t.Helper()
	for _, pattern := range []string{"accounts.json", "login.json", "sessions/*", "*.new*", "*.tmp*"} {
		if left, err := filepath.Glob(filepath.Join(o.home, ".local/state/envrun/sessions", pattern)); err != nil || len(left) > 0 {
			o.t.Errorf("left: %q, %v", left, err)
		}
	}
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "envrun login") {
		o.t.Errorf("status %d: %s", code, errs)
	}
}

// in is the same office in another test.
func (o *office) in(t *testing.T) *office {
	q := *o
	q.t, q.person = t, o.person.in(t)
	return &q
}

func sameAddress(t *testing.T) {
	o := newOffice(t, map[string]any{"token_ttl": "1h"})
	address := func(user string) func(oidctest.Claims) oidctest.Claims {
		return func(c oidctest.Claims) oidctest.Claims {
			return c.With(oidctest.Claims{"sub": user, "email": "alice@example.test"})
		}
	}
	o.run("login", "--store", "passphrase").wants(0, "account   alice@example.test")

	// The answer to a refresh is about somebody else, with the same address.
	o.endTokens()
	o.issuer.SetClaims(address("mallory"))
	if _, errs, code := o.pipe("", "get", "A"); code != 1 || !strings.Contains(errs, "another account") || !strings.Contains(errs, "hint: ") {
		t.Errorf("status %d: %s", code, errs)
	}
	if out := o.must("", "whoami", "--json"); !strings.Contains(out, `"subject":"alice"`) && !strings.Contains(out, `"subject": "alice"`) || strings.Contains(out, "mallory") {
		t.Errorf("it is %s", out)
	}
	o.issuer.SetClaims(nil)
	if got := o.must("", "get", "A"); got != "canary-value" {
		t.Errorf("it is %q", got)
	}

	// Somebody else signs in with the same address: that is another account, and none
	// of the two is used by the address alone.
	o.issuer.SetClaims(address("mallory"))
	o.run("login").wants(0)
	out := o.must("", "whoami", "--json")
	for _, want := range []string{"alice", "mallory"} {
		if !regexp.MustCompile(`"subject": ?"` + want + `"`).MatchString(out) {
			t.Errorf("%s is not there: %s", want, out)
		}
	}
	for _, args := range [][]string{{"get", "A"}, {"get", "A", "--account", "alice@example.test"}} {
		if _, errs, code := o.pipe("", args...); code != 1 || !strings.Contains(errs, "--account") {
			t.Errorf("%q: status %d: %s", args, code, errs)
		}
	}
	o.must("", "logout", "--all")

	// An address that nobody verified is not what one is called.
	o.issuer.SetClaims(func(c oidctest.Claims) oidctest.Claims {
		return c.With(oidctest.Claims{"sub": "mallory", "email": "alice@example.test", "email_verified": false, "name": "Mallory"})
	})
	o.run("login", "--store", "passphrase").wants(0, "!alice@", "account   Mallory")
}

func hostileCallbacks(t *testing.T) {
	o := newOffice(t, nil)
	get := func(t *testing.T, method, address string, change func(*http.Request)) (int, http.Header) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return 0, nil
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != 404 && resp.StatusCode != 405 && len(text) > 0 {
			t.Errorf("%s %s: %d %s", method, address, resp.StatusCode, text)
		}
		return resp.StatusCode, resp.Header
	}
	raw := func(t *testing.T, back *url.URL, text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp4", back.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_, _ = io.WriteString(c, text)
		return c
	}
	for _, c := range []struct {
		name   string
		attack func(t *testing.T, back *url.URL, state string)
	}{
		{"100 wrong states", func(t *testing.T, back *url.URL, state string) {
			for n := range 100 {
				if status, _ := get(t, "GET", fmt.Sprintf("%s?state=guess-%d&code=stolen", back, n), nil); status != 404 {
					t.Fatalf("a guess is answered %d", status)
				}
			}
		}},
		{"other names of this machine, as by DNS rebinding", func(t *testing.T, back *url.URL, state string) {
			for _, host := range []string{"evil.test", "evil.test:" + back.Port(), "localhost:" + back.Port(), "127.0.0.1", "127.0.0.2:" + back.Port(), "[::1]:" + back.Port()} {
				if status, _ := get(t, "GET", back.String()+"?state="+state+"&code=stolen", func(r *http.Request) { r.Host = host }); status != 404 {
					t.Errorf("%s is answered %d", host, status)
				}
			}
		}},
		{"pages that ask whether they may", func(t *testing.T, back *url.URL, state string) {
			status, header := get(t, "OPTIONS", back.String()+"?state="+state+"&code=stolen", func(r *http.Request) {
				for name, text := range map[string]string{"Origin": "https://evil.test", "Access-Control-Request-Method": "GET", "Access-Control-Request-Private-Network": "true", "Access-Control-Request-Local-Network": "true"} {
					r.Header.Set(name, text)
				}
			})
			for name := range header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s: %s", name, header.Get(name))
				}
			}
			if status != 404 {
				t.Errorf("status %d", status)
			}
		}},
		{"forms that are none", func(t *testing.T, back *url.URL, state string) {
			for _, kind := range []string{"application/json", "text/plain", "multipart/form-data; boundary=x", ""} {
				status, _ := get(t, "POST", back.String(), func(r *http.Request) {
					text := "state=" + state + "&code=stolen"
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
					r.Header.Set("Content-Type", kind)
				})
				if status != 404 {
					t.Errorf("%q is answered %d", kind, status)
				}
			}
		}},
		{"a port scan", func(t *testing.T, back *url.URL, state string) {
			for _, text := range []string{"", "\x00\x01\x02\xff", "SSH-2.0-scan\r\n", "\x16\x03\x01\x02\x00\x01\x00", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
				raw(t, back, text).Close()
			}
			_ = raw(t, back, "GET http://evil.test/callback?state="+state+"&code=stolen HTTP/1.1\r\nHost: evil.test\r\n\r\n")
		}},
		{"200 connections that are open and say little", func(t *testing.T, back *url.URL, state string) {
			for n := range 200 {
				raw(t, back, []string{"", "G", "POST " + back.Path + " HTTP/1.1\r\nHost: " + back.Host + "\r\nContent-Length: 9\r\n\r\nst"}[n%3])
			}
		}},
		{"a mebibyte of headers", func(t *testing.T, back *url.URL, state string) {
			c := raw(t, back, "GET "+back.Path+"?state="+state+"&code=stolen HTTP/1.1\r\nHost: "+back.Host+"\r\n")
			go func() {
				for range 1 << 10 {
					if _, err := io.WriteString(c, "X-A: "+strings.Repeat("a", 1<<10)+"\r\n"); err != nil {
						return
					}
				}
			}()
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && !strings.Contains(line, " 431 ") {
				t.Errorf("answered %q", line)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := o.in(t)
			before := o.issuer.Count(oidctest.Token)
			term, address, back := o.signIn()
			c.attack(t, back, address.Query().Get("state"))
			if status, page, err := oidctest.Visit(address.String()); err != nil || status != 200 || !strings.Contains(page, o.addr) {
				t.Errorf("the right one: %d %v %s", status, err, page)
			}
			term.wants(0, "until ", "!stolen")
			if n := o.issuer.Count(oidctest.Token) - before; n != 1 {
				t.Errorf("%d codes were tried", n)
			}
			for _, form := range o.issuer.Forms(oidctest.Token) {
				if form.Get("code") == "stolen" {
					t.Error("a code of somebody else's was tried")
				}
			}
			o.must("", "logout", "--all")
		})
	}

	t.Run("the answer comes again and again", func(t *testing.T) {
		o := o.in(t)
		before := o.issuer.Count(oidctest.Token)
		hold := make(chan struct{})
		o.issuer.SetHook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
			<-hold
			o.issuer.Usual(oidctest.Token)(w, r)
		})
		defer o.issuer.SetHook(oidctest.Token, nil)
		term, address, _ := o.signIn()
		once := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := once.Get(address.String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		var all sync.WaitGroup
		var mu sync.Mutex
		pages := map[int]int{}
		for range 8 {
			all.Go(func() {
				status, _, err := oidctest.Visit(resp.Header.Get("Location"))
				mu.Lock()
				defer mu.Unlock()
				if err != nil { // after the end
					status = 0
				}
				pages[status]++
			})
		}
		for until := time.Now().Add(patience); o.issuer.Count(oidctest.Token) == before && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		close(hold)
		all.Wait()
		term.wants(0, "until ")
		if n := o.issuer.Count(oidctest.Token) - before; n != 1 || pages[200] == 0 || pages[403]+pages[500] > 0 {
			t.Errorf("%d codes were tried, pages %v", n, pages)
		}
		o.must("", "logout", "--all")
	})

	// What has the right state is the issuer's own answer, and may be a no.
	for name, answer := range map[string]string{
		"an error with HTML and escape sequences": "error=access_denied&error_description=" + url.QueryEscape("AADSTS50105: <script>alert(1)</script>\x1b[2Jcanary-8d1f"),
		"an error that is no name":                "error=" + url.QueryEscape("<b>\x1b]0;canary-8d1f\a</b>"),
		"a code and an error":                     "code=stolen&error=access_denied&error_description=canary-8d1f",
		"another issuer's code":                   "code=stolen&iss=" + url.QueryEscape("https://evil.test/canary-8d1f"),
	} {
		t.Run(name, func(t *testing.T) {
			o := o.in(t)
			before := o.issuer.Count(oidctest.Token)
			term, address, back := o.signIn()
			if name != "another issuer's code" {
				answer += "&iss=" + url.QueryEscape(o.issuer.URL)
			}
			status, page, err := oidctest.Visit(back.String() + "?state=" + address.Query().Get("state") + "&" + answer)
			if err != nil || status != 403 || strings.Contains(page, "canary-8d1f") || strings.Contains(page, "<script") {
				t.Errorf("the page: %d %v %s", status, err, page)
			}
			term.wants(1, "hint: ", "!canary-8d1f", "!\x1b[2J", "!\x1b]0", "!<script", "!stolen")
			if n := o.issuer.Count(oidctest.Token) - before; n != 0 {
				t.Errorf("%d codes were tried", n)
			}
			o.nobodyIn()
		})
	}
}

// says answers with a text of a type.
func says(status int, kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// huge answers with JSON of 100 MiB, which may be packed into little.
func huge(packed bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		to := io.Writer(w)
		if packed {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			to = z
		}
		_, _ = io.WriteString(to, `{"x":"canary-8d1f`)
		for chunk, n := strings.Repeat("a", 1<<20), 0; n < 100; n++ {
			if _, err := io.WriteString(to, chunk); err != nil {
				return
			}
		}
		_, _ = io.WriteString(to, `"}`)
	}
}

func hostileIssuer(t *testing.T) {
	o := newOffice(t, nil)
	document := func(name string, value any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetDocument(func(d map[string]any) { d[name] = value }) }
	}
	discovery := func(h http.HandlerFunc) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetDiscovery(h) }
	}
	hook := func(path string, h http.HandlerFunc) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetHook(path, h) }
	}
	answer := func(name string, value any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.SetAnswer(func(a map[string]any) { a[name] = value }) }
	}
	code := func(more string) func(*oidctest.Provider) {
		return hook(oidctest.DeviceNew, says(200, "application/json", `{"device_code":"canary-8d1f","user_code":"ABCD-EFGH",`+more+`}`))
	}
	claims := func(name string, value any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) {
			p.SetClaims(func(c oidctest.Claims) oidctest.Claims { return c.With(oidctest.Claims{name: value}) })
		}
	}
	clock := func(later time.Duration) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) {
			p.SetNow(func() time.Time { return time.Now().Add(later) })
			p.SetHook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(later).UTC().Format(http.TimeFormat))
				p.Usual(oidctest.Token)(w, r)
			})
		}
	}
	slowly := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	uri := `"verification_uri":"` + o.issuer.URL + `/device","expires_in":600`
	for _, c := range []struct {
		name  string
		flow  string // "": browser
		lie   func(*oidctest.Provider)
		words string
	}{
		{"it calls itself another", "", document("issuer", "https://evil.test"), `calls itself "https://evil.test"`},
		{"it calls itself by an escape sequence", "", document("issuer", "https://evil.test/\x1b[2J\u202e"), `calls itself "https://evil.test/`},
		{"its token endpoint is elsewhere", "", document("token_endpoint", "https://evil.test/token"), "token_endpoint on another host, evil.test"},
		{"people are sent elsewhere", "", document("authorization_endpoint", "https://evil.test/authorize"), "authorization_endpoint on another host, evil.test"},
		{"its token endpoint is without TLS", "", document("token_endpoint", "http://id.example.test/token"), "token_endpoint is not https"},
		{"people are sent to a script", "", document("authorization_endpoint", "javascript:alert(1)"), "authorization_endpoint"},
		{"its keys are in a file", "", document("jwks_uri", "file:///etc/passwd"), "jwks_uri"},
		{"it signs with no key", "", document("id_token_signing_alg_values_supported", []string{"none", "HS256"}), "without a secret"},
		{"HTML", "", discovery(says(200, "text/html", "<html>canary-8d1f")), "something else than JSON"},
		{"HTML that is a 500", "", discovery(says(500, "text/html", "<html>canary-8d1f")), "answers 500"},
		{"100 MiB", "", discovery(huge(false)), "mebibyte"},
		{"100 MiB in little", "", discovery(huge(true)), "mebibyte"},
		{"it sends on to where clouds keep credentials", "", discovery(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/canary-8d1f", http.StatusFound)
		}), "sends on"},
		{"it is slow", "", discovery(slowly), "does not answer in time"},
		{"its token endpoint is slow", "", hook(oidctest.Token, slowly), "does not answer in time"},
		{"its token endpoint answers with HTML", "", hook(oidctest.Token, says(200, "text/html", "<html>canary-8d1f")), "something else than JSON"},
		{"its token endpoint answers with a wrong type", "", hook(oidctest.Token, says(200, "text/plain", `{"access_token":"canary-8d1f"}`)), "something else than JSON"},
		{"its token endpoint answers with 100 MiB", "", hook(oidctest.Token, huge(false)), "mebibyte"},
		{"its token endpoint sends on", "", hook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.test/canary-8d1f", http.StatusTemporaryRedirect)
		}), "sends on"},
		{"its token endpoint says back what it was sent", "", hook(oidctest.Token, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_request","error_description":"canary-8d1f %s %s"}`, r.Form.Get("code"), r.Form.Get("code_verifier"))
		}), "invalid_request"},
		{"no identity token", "", answer("id_token", nil), "there is none"},
		{"an identity token that is none", "", answer("id_token", "canary-8d1f"), "is not taken"},
		{"an identity token for another client", "", claims("aud", "another"), "aud"},
		{"an identity token with another nonce", "", claims("nonce", "another"), "nonce"},
		{"an identity token of another issuer", "", claims("iss", "https://evil.test"), "issuer"},
		{"an identity token of the day before", "", func(p *oidctest.Provider) {
			p.SetNow(func() time.Time { return time.Now().Add(-24 * time.Hour) })
		}, "is not taken"},
		{"its clock is an hour later", "", clock(time.Hour), "behind that of the issuer"},
		{"its clock is an hour earlier", "", clock(-time.Hour), "ahead of that of the issuer"},
		{"a code to enter at a script", "device", code(`"verification_uri":"javascript:alert(1)","expires_in":600`), "the address to enter the code at is not https"},
		{"a code to enter at a file", "device", code(`"verification_uri":"file:///etc/passwd","expires_in":600`), "the address to enter the code at is not https"},
		{"a code that steers the terminal", "device", hook(oidctest.DeviceNew, says(200, "application/json", `{"device_code":"x","user_code":"A\u001b[2JB",`+uri+`}`)), "not a short text"},
		{"a code that is over", "device", code(`"verification_uri":"` + o.issuer.URL + `/device","expires_in":-5`), "over before it began"},
		{"a code that is soon over", "device", code(`"verification_uri":"` + o.issuer.URL + `/device","expires_in":1,"interval":-7`), "nobody signed in in time"},
		{"an interval that is no number", "device", code(uri + `,"interval":"canary-8d1f"`), "interval is no number"},
		{"a negative interval", "device", func(p *oidctest.Provider) {
			code(uri + `,"interval":-1e300`)(p)
			p.SetHook(oidctest.Token, says(400, "application/json", `{"error":"access_denied","error_description":"canary-8d1f"}`))
		}, "access_denied"},
		{"a code in HTML", "device", hook(oidctest.DeviceNew, says(200, "text/html", "<html>canary-8d1f")), "something else than JSON"},
	} {
		if testing.Short() && strings.Contains(c.name, "slow") {
			continue // it is waited for
		}
		t.Run(c.name, func(t *testing.T) {
			o := o.in(t)
			defer func() {
				o.issuer.SetDiscovery(o.issuer.Discovery)
				o.issuer.SetDocument(nil)
				o.issuer.SetAnswer(nil)
				o.issuer.SetClaims(nil)
				o.issuer.SetNow(time.Now)
				for _, path := range []string{oidctest.Token, oidctest.DeviceNew} {
					o.issuer.SetHook(path, nil)
				}
			}()
			c.lie(o.issuer)
			args := []string{"login", "--store", "passphrase"}
			if c.flow != "" {
				args = append(args, "--flow", c.flow)
			}
			shown := o.run(args...).wants(1, c.words, "hint: ", "!canary-8d1f", "!\x1b[2J", "!\u202e", "!panic", "!goroutine", "!policies ")
			var secrets []string
			for _, form := range o.issuer.Forms(oidctest.Token) {
				secrets = append(secrets, form.Get("code"), form.Get("code_verifier"))
			}
			if slices.ContainsFunc(secrets, func(s string) bool { return s != "" && strings.Contains(shown, s) }) {
				t.Errorf("it says what it sent: %s", shown)
			}
			o.nobodyIn()
		})
	}
}

// hostileSignIns: what a server says of how people sign in cannot steer the terminal,
// and sends nobody to what is no issuer.
func hostileSignIns(t *testing.T) {
	const odd = "x\x1b[2J\x1b]0;title\a\u202e\nserver https://good.test"
	method := func(change map[string]any) map[string]any {
		m := map[string]any{"mount": "human", "type": "jwt", "issuer": "https://id.example.test", "client_id": "envrun", "roles": []any{map[string]any{"name": "dev", "acr_values": []string{odd}}}}
		for name, value := range change {
			m[name] = value
		}
		return m
	}
	for name, methods := range map[string][]map[string]any{
		"two ways":               {method(map[string]any{"mount": odd}), method(map[string]any{"mount": odd + "2"})},
		"an odd issuer":          {method(map[string]any{"issuer": odd})},
		"an odd address":         {method(map[string]any{"issuer": "https://id.example.test/\x1b[2J"})},
		"an issuer without TLS":  {method(map[string]any{"issuer": "http://id.example.test"})},
		"a script":               {method(map[string]any{"issuer": "javascript:alert(1)"})},
		"a file":                 {method(map[string]any{"issuer": "file:///etc/passwd"})},
		"somebody's metadata":    {method(map[string]any{"issuer": "http://169.254.169.254"})},
		"an odd client":          {method(map[string]any{"client_id": odd, "issuer": "http://127.0.0.1:1"})},
		"an odd mount":           {method(map[string]any{"mount": odd, "issuer": "http://127.0.0.1:1"})},
		"a mount somewhere else": {method(map[string]any{"mount": "../../sys", "issuer": "http://127.0.0.1:1"})},
	} {
		t.Run(name, func(t *testing.T) {
			hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "sys/sign-in"):
					_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"methods": methods}})
				default:
					w.WriteHeader(http.StatusForbidden)
					_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{odd}, "warnings": []string{odd}})
				}
			}))
			defer hostile.Close()
			p := newPerson(t)
			p.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", hostile.URL))
			p = p.phrased().as("BROWSER=touch " + filepath.Join(p.dir, "opened"))
			never := []string{"hint: ", "!\x1b[2J", "!\x1b]0", "!\a", "!\u202e", "!\nserver https://good.test", "!open this"}
			p.run("login", "--store", "passphrase").wants(1, never...)
			p.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n[sign_in]\nissuer = \"https://right.example.test\"\n", hostile.URL))
			p.run("login", "--store", "passphrase").wants(1, never...)
			if _, err := os.Stat(filepath.Join(p.dir, "opened")); err == nil {
				t.Error("a browser was opened")
			}
			if _, err := os.Stat(filepath.Join(p.home, ".local/state/envrun/issuers.json")); err == nil {
				t.Error("the issuer is believed")
			}
		})
	}
	// The same of Vault's own method.
	for name, address := range map[string]string{
		"a script": "javascript:alert(1)", "a file": "file:///etc/passwd", "odd": "https://id.example.test/" + odd, "an option": "--help", "nothing of a sign-in": "https://id.example.test/",
	} {
		t.Run("Vault's own, "+name, func(t *testing.T) {
			hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/auth_url") {
					_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"auth_url": address}})
					return
				}
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"errors":[]}`)
			}))
			defer hostile.Close()
			p := newPerson(t)
			p = p.phrased().as("BROWSER=touch " + filepath.Join(p.dir, "opened"))
			p.run("login", "--store", "passphrase", "--method", "vault-oidc", hostile.URL).wants(1, "hint: ", "!\x1b[2J", "!\x1b]0", "!\a", "!\u202e", "!open this")
			if _, err := os.Stat(filepath.Join(p.dir, "opened")); err == nil {
				t.Error("a browser was opened")
			}
		})
	}
}

package browser_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/auth"
	"envrun/auth/browser"
)

const state = "the-state-of-this-sign-in-1234567890"

// calm fails a test that leaves goroutines behind.
func calm(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines are left, %d were there before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

func listen(t *testing.T, o browser.Options) *browser.Loopback {
	t.Helper()
	l, err := browser.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.Expect(auth.NewSecret(state))
	return l
}

// ask sends a request without following, and returns status, headers and body.
func ask(t *testing.T, method, address string, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// comes is a browser that comes back right; the page is sent where it can be read.
func comes(l *browser.Loopback, query string) <-chan string {
	shown := make(chan string, 1)
	go func() {
		resp, err := http.Get(l.Redirect() + "?" + query)
		if err != nil {
			shown <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		shown <- fmt.Sprint(resp.StatusCode, " ", string(text))
	}()
	return shown
}

func wait(t *testing.T, l *browser.Loopback) browser.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := l.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// nothing fails if an answer was taken.
func nothing(t *testing.T, l *browser.Loopback) {
	t.Helper()
	select {
	case a := <-l.Answers():
		t.Errorf("it was taken as an answer: %+v", a)
	default:
	}
}

func TestStrayRequestsAreNotFoundAndTheRightOneCounts(t *testing.T) {
	type stray struct {
		name, method, path string
		change             func(*http.Request)
	}
	form := func(body string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
	}
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	right := "/callback?state=" + state + "&code=stolen"
	for _, c := range []stray{
		{"A45 the wrong state", "GET", "/callback?state=guess&code=x", nil},
		{"A45 no state", "GET", "/callback?code=x", nil},
		{"A45 an empty state", "GET", "/callback?state=&code=x", nil},
		{"A45 the state and more", "GET", "/callback?state=" + state + "x&code=x", nil},
		{"A45 the state in capitals", "GET", "/callback?state=" + strings.ToUpper(state) + "&code=x", nil},
		{"A45 the state twice", "GET", right + "&state=" + state, nil},
		{"A45 two codes", "GET", right + "&code=y", nil},
		{"A45 no code", "GET", "/callback?state=" + state, nil},
		{"A45 an empty code", "GET", "/callback?state=" + state + "&code=", nil},
		{"A45 a code with an escape sequence", "GET", "/callback?state=" + state + "&code=%1b%5b31m", nil},
		{"A45 a code of 17 KiB", "GET", "/callback?state=" + state + "&code=" + strings.Repeat("a", 17<<10), nil},
		{"A45 an issuer with a line break", "GET", right + "&iss=https%3a%2f%2fx%0a", nil},
		{"A45 a broken escape", "GET", right + "&x=%zz", nil},
		{"A45 a semicolon", "GET", right + ";x=1", nil},
		{"A45 an evil Host, as of DNS rebinding", "GET", right, host("evil.example")},
		{"A45 localhost, which was not asked for", "GET", right, func(r *http.Request) { r.Host = "localhost:" + r.URL.Port() }},
		{"A45 the Host without its port", "GET", right, host("127.0.0.1")},
		{"A45 another port in Host", "GET", right, host("127.0.0.1:1")},
		{"A45 HEAD", "HEAD", right, nil},
		{"A45 OPTIONS", "OPTIONS", right, nil},
		{"A45 PUT", "PUT", right, nil},
		{"A45 a method of somebody's own", "BREW", right, nil},
		{"A45 another path", "GET", "/?state=" + state + "&code=x", nil},
		{"A45 a path below", "GET", "/callback/?state=" + state + "&code=x", nil},
		{"A45 a path with dots", "GET", "/x/../callback?state=" + state + "&code=x", nil},
		{"A45 /favicon.ico", "GET", "/favicon.ico", nil},
		{"A45 a form that is JSON", "POST", "/callback", func(r *http.Request) {
			form(`{"state":"` + state + `","code":"x"}`)(r)
			r.Header.Set("Content-Type", "application/json")
		}},
		{"A45 a form with the wrong state", "POST", "/callback", form("state=guess&code=x")},
		{"A45 a form whose state is in the address", "POST", right, form("code=x")},
		{"A45 a form of 40 KiB", "POST", "/callback", form("state=" + state + "&code=x&y=" + strings.Repeat("a", 40<<10))},
	} {
		t.Run(c.name, func(t *testing.T) {
			calm(t)
			l := listen(t, browser.Options{})
			base := strings.TrimSuffix(l.Redirect(), "/callback")
			status, header, text := ask(t, c.method, base+c.path, c.change)
			if status != 404 || strings.Contains(text, "stolen") || header.Get("Location") != "" || header.Get("Allow") != "" || header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("answered %d %v %s", status, header, text)
			}
			nothing(t, l)
			shown := comes(l, "state="+state+"&code=good")
			if a := wait(t, l); a.Code.Reveal() != "good" {
				t.Errorf("got %q", a.Code.Reveal())
			}
			l.End(browser.Page{OK: true})
			if page := <-shown; !strings.HasPrefix(page, "200 ") {
				t.Errorf("the page says %s", page)
			}
		})
	}

	t.Run("A45 100 wrong states, then the right one", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				resp, err := http.Get(l.Redirect() + fmt.Sprintf("?state=guess-%d&code=x", i))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if resp.StatusCode != 404 {
					t.Errorf("a guess was answered %d", resp.StatusCode)
				}
			})
		}
		all.Wait()
		nothing(t, l)
		shown := comes(l, "state="+state+"&code=good&iss=https%3A%2F%2Fid.example.test")
		if a := wait(t, l); a.Code.Reveal() != "good" || a.Issuer != "https://id.example.test" || a.Error != "" {
			t.Errorf("got %+v", a)
		}
		l.End(browser.Page{OK: true})
		<-shown
	})
	t.Run("A45 before a sign-in began there is no state to guess", func(t *testing.T) {
		l, err := browser.Listen(browser.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for _, q := range []string{"?state=&code=x", "?code=x", "?state=x&code=x"} {
			if status, _, _ := ask(t, "GET", l.Redirect()+q, nil); status != 404 {
				t.Errorf("%s was answered %d", q, status)
			}
		}
		nothing(t, l)
	})
	t.Run("A45 error_description with HTML and escape sequences is not repeated", func(t *testing.T) {
		l := listen(t, browser.Options{})
		shown := comes(l, "state="+state+"&error=access_denied&error_description="+url.QueryEscape("AADSTS50105: <script>alert(1)</script>\x1b[31m canary"))
		a := wait(t, l)
		if a.Error != "access_denied" || a.Detail != "AADSTS50105" || !a.Code.Empty() {
			t.Errorf("got %+v", a)
		}
		l.End(browser.Page{})
		if page := <-shown; !strings.HasPrefix(page, "403 ") || strings.Contains(page, "script") || strings.Contains(page, "canary") || strings.Contains(page, "access_denied") {
			t.Errorf("the page says %s", page)
		}
	})
	t.Run("A45 an error that is HTML has no name, and no code counts beside it", func(t *testing.T) {
		l := listen(t, browser.Options{})
		comes(l, "state="+state+"&code=x&error="+url.QueryEscape("<b>\x1b]0;pwned\a</b>"))
		if a := wait(t, l); a.Error != "an error without a name" || !a.Code.Empty() {
			t.Errorf("got %+v", a)
		}
	})
}

func TestARepeatedCallbackIsHarmless(t *testing.T) {
	calm(t)
	l := listen(t, browser.Options{})
	first := comes(l, "state="+state+"&code=good")
	if a := wait(t, l); a.Code.Reveal() != "good" {
		t.Fatal("the first did not count")
	}
	second, third := comes(l, "state="+state+"&code=good"), comes(l, "state="+state+"&code=another")
	time.Sleep(20 * time.Millisecond) // they may come before the end or after it: all is well either way
	nothing(t, l)
	l.End(browser.Page{OK: true, Account: "alice"})
	if page := <-first; !strings.HasPrefix(page, "200 ") {
		t.Errorf("the first page says %s", page)
	}
	<-second
	<-third
	nothing(t, l)
	l.End(browser.Page{}) // only the first End counts, and there may be more
	l.Close()
}

func TestAFormIsAnAnswerToo(t *testing.T) {
	l := listen(t, browser.Options{})
	go func() {
		resp, err := http.PostForm(l.Redirect(), url.Values{"state": {state}, "code": {"good"}})
		if err == nil {
			resp.Body.Close()
		}
	}()
	if a := wait(t, l); a.Code.Reveal() != "good" {
		t.Errorf("got %+v", a)
	}
}

func TestThePage(t *testing.T) {
	l := listen(t, browser.Options{})
	type answer struct {
		status int
		header http.Header
		text   string
	}
	shown := make(chan answer, 1)
	go func() {
		resp, err := http.Get(l.Redirect() + "?state=" + state + "&code=good")
		if err != nil {
			shown <- answer{text: err.Error()}
			return
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		shown <- answer{resp.StatusCode, resp.Header, string(text)}
	}()
	wait(t, l)
	l.End(browser.Page{OK: true, Server: "https://secrets.example.test/<script>", Account: "\u202eecila\x1b[31m <b>" + strings.Repeat("x", 500)})
	a := <-shown
	if a.status != 200 || !strings.Contains(a.text, "https://secrets.example.test/&lt;script&gt;") || strings.Contains(a.text, "<b>") || strings.ContainsAny(a.text, "\x1b\u202e") || strings.Contains(a.text, strings.Repeat("x", 201)) {
		t.Errorf("%d %s", a.status, a.text)
	}
	for _, secret := range []string{"good", state, "<script", "http-equiv", "src=", "href=", "onload"} {
		if strings.Contains(a.text, secret) {
			t.Errorf("the page has %s", secret)
		}
	}
	policy := a.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the headers are %v", a.header)
	}
}

func TestListen(t *testing.T) {
	t.Run("a port that is taken is said by its number", func(t *testing.T) {
		l := listen(t, browser.Options{})
		at, _ := url.Parse(l.Redirect())
		port := 0
		fmt.Sscan(at.Port(), &port)
		_, err := browser.Listen(browser.Options{Port: port})
		if taken := (*browser.PortError)(nil); !errors.As(err, &taken) || taken.Port != port {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a given port can be had again at once", func(t *testing.T) {
		one := listen(t, browser.Options{})
		at, _ := url.Parse(one.Redirect())
		one.Close()
		port := 0
		fmt.Sscan(at.Port(), &port)
		listen(t, browser.Options{Port: port})
	})
	t.Run("localhost comes over both families, with a path of its own", func(t *testing.T) {
		l := listen(t, browser.Options{Hosts: []string{"localhost", "127.0.0.1"}, Path: "/oidc/callback"})
		at, _ := url.Parse(l.Redirect())
		if at.Hostname() != "localhost" || at.Path != "/oidc/callback" {
			t.Errorf("the redirect is %s", l.Redirect())
		}
		over := []string{"127.0.0.1"}
		if probe, err := net.Listen("tcp6", "[::1]:0"); err == nil {
			probe.Close()
			over = append(over, "::1")
		}
		for _, ip := range over {
			if status, _, _ := ask(t, "GET", "http://"+net.JoinHostPort(ip, at.Port())+"/oidc/callback?state=x", func(r *http.Request) { r.Host = at.Host }); status != 404 {
				t.Errorf("over %s: %d", ip, status)
			}
		}
	})
	for _, host := range []string{"0.0.0.0", "", "example.test", "::", "127.0.0.2", "localhost.evil.test"} {
		if l, err := browser.Listen(browser.Options{Hosts: []string{host}}); err == nil {
			l.Close()
			t.Errorf("%q was listened on", host)
		}
	}
}

func TestClientsThatBehaveBadly(t *testing.T) {
	dial := func(t *testing.T, l *browser.Loopback) net.Conn {
		t.Helper()
		at, _ := url.Parse(l.Redirect())
		c, err := net.Dial("tcp4", at.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	works := func(t *testing.T, l *browser.Loopback) {
		t.Helper()
		shown := comes(l, "state="+state+"&code=good")
		if a := wait(t, l); a.Code.Reveal() != "good" {
			t.Errorf("got %+v", a)
		}
		began := time.Now()
		l.End(browser.Page{OK: true})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the end took %s", took)
		}
		if page := <-shown; !strings.HasPrefix(page, "200 ") {
			t.Errorf("the page says %s", page)
		}
	}
	t.Run("a port scan", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		for range 50 {
			dial(t, l).Close()
		}
		for _, text := range []string{"\x00\x01\x02\xff", "SSH-2.0-scan\r\n", "\x16\x03\x01\x02\x00\x01\x00", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n", "GET http://evil.test/callback?state=" + state + "&code=x HTTP/1.1\r\nHost: evil.test\r\n\r\n"} {
			c := dial(t, l)
			_, _ = io.WriteString(c, text)
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = io.ReadAll(c)
		}
		nothing(t, l)
		works(t, l)
	})
	t.Run("an address in absolute form", func(t *testing.T) {
		l := listen(t, browser.Options{})
		c := dial(t, l)
		fmt.Fprintf(c, "GET %s?state=%s&code=x HTTP/1.1\r\nHost: evil.test\r\n\r\n", l.Redirect(), state)
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "404") {
			t.Errorf("answered %q, %v", line, err)
		}
		nothing(t, l)
	})
	t.Run("200 that send a byte and no more", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		for range 200 {
			_, _ = io.WriteString(dial(t, l), "G")
		}
		works(t, l)
	})
	t.Run("a form that never ends", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		c := dial(t, l)
		fmt.Fprintf(c, "POST /callback HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nstate=", strings.TrimSuffix(strings.TrimPrefix(l.Redirect(), "http://"), "/callback"))
		works(t, l)
	})
	t.Run("a mebibyte of headers", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		c := dial(t, l)
		go func() {
			fmt.Fprintf(c, "GET /callback?state=%s&code=x HTTP/1.1\r\nHost: x\r\n", state)
			for range 1024 {
				if _, err := fmt.Fprintf(c, "X-A: %s\r\n", strings.Repeat("a", 1024)); err != nil {
					return
				}
			}
		}()
		if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && !strings.Contains(line, "431") {
			t.Errorf("answered %q", line)
		}
		nothing(t, l)
		works(t, l)
	})
	t.Run("a tab that is closed before the end", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", l.Redirect()+"?state="+state+"&code=good", nil)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				resp.Body.Close()
			}
		}()
		if a := wait(t, l); a.Code.Reveal() != "good" {
			t.Errorf("got %+v", a)
		}
		cancel()
		<-gone
		l.End(browser.Page{OK: true})
	})
	t.Run("a tab that never comes back: Ctrl-C ends at once and leaves nothing", func(t *testing.T) {
		calm(t)
		l := listen(t, browser.Options{})
		hold := dial(t, l)
		_, _ = io.WriteString(hold, "GET /")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		began := time.Now()
		l.Close()
		if took := time.Since(began); took > 3*time.Second { // less than what a request may take to arrive
			t.Errorf("closing took %s", took)
		}
		if _, err := net.Dial("tcp4", strings.TrimSuffix(strings.TrimPrefix(l.Redirect(), "http://"), "/callback")); err == nil {
			t.Error("it listens still")
		}
	})
}

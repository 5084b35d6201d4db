package login_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/oidc/oidctest"
)

// A person who does what a test says.
type person struct {
	mu     sync.Mutex
	visit  func(login.Visit)
	code   func(login.Code)
	pasted chan string
	notes  []string
}

func (p *person) Visit(v login.Visit) {
	if p.visit != nil {
		p.visit(v)
	}
}

func (p *person) Code(c login.Code) {
	if p.code != nil {
		p.code(c)
	}
}

func (p *person) Pasted() <-chan string { return p.pasted }

func (p *person) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, text)
}

func (p *person) noted(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(strings.Join(p.notes, "\n"), text)
}

func discover(t *testing.T, p *oidctest.Provider, change ...func(*login.Options)) *login.Provider {
	t.Helper()
	o := login.Options{Issuer: p.URL, ClientID: oidctest.ClientID}
	for _, f := range change {
		f(&o)
	}
	lp, err := login.Discover(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return lp
}

// A page is what the browser showed last.
type page struct {
	status int
	text   string
	err    error
}

// opener is a browser that goes where it is sent and follows.
func opener(shown chan<- page) func(context.Context, string) error {
	return func(_ context.Context, address string) error {
		go func() {
			status, text, err := oidctest.Visit(address)
			shown <- page{status, text, err}
		}()
		return nil
	}
}

// sign signs in by browser and returns what was accepted and shown.
func sign(t *testing.T, lp *login.Provider, ask login.Ask) (*login.Tokens, page, error) {
	t.Helper()
	shown := make(chan page, 1)
	var got *login.Tokens
	err := lp.Browser(t.Context(), ask, login.BrowserOptions{Open: true, Opener: opener(shown)}, &person{}, func(_ context.Context, tokens *login.Tokens) (login.Welcome, error) {
		got = tokens
		return login.Welcome{Server: "https://secrets.example.test", Account: tokens.Email}, nil
	})
	return got, <-shown, err
}

func TestSignInWithABrowser(t *testing.T) {
	p := oidctest.NewProvider(t)
	tokens, shown, err := sign(t, discover(t, p), login.Ask{Hint: "alice@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	if tokens.Subject != "alice" || tokens.Issuer != p.URL || tokens.Email != "alice@example.test" || tokens.Name != "Alice" || tokens.ID.Empty() || tokens.Refresh.Empty() ||
		time.Since(tokens.AuthTime) > time.Minute || strings.Join(tokens.AMR, " ") != "pwd" || strings.Join(tokens.Scopes, " ") != "openid profile email offline_access" {
		t.Errorf("got %+v", tokens)
	}
	if shown.status != 200 || !strings.Contains(shown.text, "You are signed in") || !strings.Contains(shown.text, "alice@example.test") || !strings.Contains(shown.text, "secrets.example.test") {
		t.Errorf("the page says %d %s", shown.status, shown.text)
	}
	asked := p.Forms(oidctest.Authorize)[0]
	for name, want := range map[string]string{"code_challenge_method": "S256", "prompt": "consent", "login_hint": "alice@example.test", "response_type": "code"} {
		if asked.Get(name) != want {
			t.Errorf("%s is %q", name, asked.Get(name))
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(asked.Get(name)) != 43 {
			t.Errorf("%s is not 32 random bytes", name)
		}
	}
	if back, err := url.Parse(asked.Get("redirect_uri")); err != nil || back.Hostname() != "127.0.0.1" || back.Path != "/callback" {
		t.Errorf("the redirect is %v", back)
	}
	if n := p.Count(oidctest.Token); n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
}

func TestThePageWaitsForTheServer(t *testing.T) {
	p := oidctest.NewProvider(t)
	shown := make(chan page, 1)
	refused := errors.New("the server says no")
	err := discover(t, p).Browser(t.Context(), login.Ask{}, login.BrowserOptions{Open: true, Opener: opener(shown)}, &person{}, func(context.Context, *login.Tokens) (login.Welcome, error) {
		select {
		case early := <-shown:
			t.Errorf("the page was there before the server said yes: %s", early.text)
		case <-time.After(50 * time.Millisecond):
		}
		return login.Welcome{}, refused
	})
	if err != refused {
		t.Fatalf("got %v", err)
	}
	if last := <-shown; last.status != 403 || !strings.Contains(last.text, "You are not signed in") || strings.Contains(last.text, "says no") {
		t.Errorf("the page says %d %s", last.status, last.text)
	}
}

// sent is an opener that opens nothing and tells where it was sent.
func sent(to chan<- string) func(context.Context, string) error {
	return func(_ context.Context, address string) error { to <- address; return nil }
}

// answered is where an issuer sends a browser back to, without going there.
func answered(t *testing.T, address string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.Header.Get("Location")
}

func TestPastingWhereTheBrowserEnded(t *testing.T) {
	p := oidctest.NewProvider(t)
	who := &person{pasted: make(chan string, 10)}
	var visit login.Visit
	who.visit = func(v login.Visit) {
		visit = v
		back := answered(t, v.URL)
		at, err := url.Parse(back)
		if err != nil || !strings.HasPrefix(back, v.Redirect+"?") {
			t.Errorf("sent back to %s", back)
			return
		}
		q := at.Query()
		for _, text := range []string{"", "c0de", q.Get("code"), v.URL, v.Redirect + "?code=" + q.Get("code"), v.Redirect + "?state=other&code=" + q.Get("code"), back} {
			who.pasted <- text
		}
	}
	var got *login.Tokens
	if err := discover(t, p).Browser(t.Context(), login.Ask{}, login.BrowserOptions{}, who, keep(&got)); err != nil {
		t.Fatal(err)
	}
	if got.Subject != "alice" || visit.Opened || visit.OpenErr != nil || time.Until(visit.Until) > 5*time.Minute {
		t.Errorf("got %+v after %+v", got, visit)
	}
	if len(who.notes) != 5 || !who.noted("another sign-in") || !who.noted("address bar") || !who.noted("begins at") || p.Count(oidctest.Token) != 1 {
		t.Errorf("told %q", who.notes)
	}
	for _, f := range p.Forms(oidctest.Token) {
		if who.noted(f.Get("code")) {
			t.Error("a note repeats the code")
		}
	}
}

func TestABrowserThatDoesNotOpenIsNoEnd(t *testing.T) {
	p := oidctest.NewProvider(t)
	for _, c := range []struct {
		name string
		open func(context.Context, string) error
	}{
		{"at once", func(context.Context, string) error { return browser.ErrNoOpener }},
		{"after a while", func(context.Context, string) error { time.Sleep(time.Second); return browser.ErrNoOpener }},
	} {
		t.Run(c.name, func(t *testing.T) {
			who := &person{}
			var visit login.Visit
			noted := make(chan bool, 1)
			who.visit = func(v login.Visit) {
				visit = v
				go func() {
					for end := time.Now().Add(10 * time.Second); !v.Opened || !who.noted("no browser opens") && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
						if !v.Opened {
							break
						}
					}
					noted <- who.noted("no browser opens")
					if _, _, err := oidctest.Visit(v.URL); err != nil {
						t.Error(err)
					}
				}()
			}
			var got *login.Tokens
			if err := discover(t, p).Browser(t.Context(), login.Ask{}, login.BrowserOptions{Open: true, Opener: c.open}, who, keep(&got)); err != nil {
				t.Fatal(err)
			}
			if told := <-noted; told != visit.Opened || !visit.Opened && visit.OpenErr == nil {
				t.Errorf("told %v after %+v", told, visit)
			}
		})
	}
}

func TestStepUpAsksForIt(t *testing.T) {
	p := oidctest.NewProvider(t)
	got, _, err := sign(t, discover(t, p), login.Ask{HasMaxAge: true, MaxAge: 0, ACR: []string{"mfa", "phr"}, Once: true})
	if err != nil {
		t.Fatal(err)
	}
	asked := p.Forms(oidctest.Authorize)[0]
	if asked.Get("max_age") != "0" || asked.Get("acr_values") != "mfa phr" || asked.Get("prompt") != "" || strings.Contains(asked.Get("scope"), "offline_access") {
		t.Errorf("asked with %v", asked)
	}
	if got.ACR != "mfa" || !got.Refresh.Empty() {
		t.Errorf("got %+v", got)
	}
}

func TestScopesThatAreGiven(t *testing.T) {
	p := oidctest.NewProvider(t)
	got, _, err := sign(t, discover(t, p, func(o *login.Options) { o.Scopes = []string{"groups"} }), login.Ask{})
	if err != nil || strings.Join(got.Scopes, " ") != "openid groups" || !got.Refresh.Empty() || p.Forms(oidctest.Authorize)[0].Get("prompt") != "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWhatIsShownOfPeople(t *testing.T) {
	for _, c := range []struct {
		name        string
		claims      oidctest.Claims
		email, show string
	}{
		{"A41 an e-mail address that nobody checked", oidctest.Claims{"email_verified": false}, "", "Alice"},
		{"A41 one of an issuer that does not say", oidctest.Claims{"email_verified": nil}, "alice@example.test", "Alice"},
		{"A41 a name with an escape sequence", oidctest.Claims{"name": "\x1b[2Jroot", "preferred_username": "ali\u202ece"}, "alice@example.test", ""},
		{"A41 a name that is a list", oidctest.Claims{"name": []string{"root"}, "preferred_username": "alice"}, "alice@example.test", "alice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			p.SetClaims(func(all oidctest.Claims) oidctest.Claims { return all.With(c.claims) })
			got, _, err := sign(t, discover(t, p), login.Ask{})
			if err != nil || got.Email != c.email || got.Name != c.show || got.Subject != "alice" {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestTheAnswerInAForm(t *testing.T) {
	p := oidctest.NewProvider(t)
	to := make(chan string, 1)
	shown := make(chan page, 1)
	go func() {
		resp, err := http.Get(<-to)
		if err != nil {
			shown <- page{err: err}
			return
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		form := url.Values{}
		for _, field := range regexp.MustCompile(`name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			form.Set(field[1], html.UnescapeString(field[2]))
		}
		action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(string(text))
		if action == nil {
			shown <- page{text: string(text)}
			return
		}
		if resp, err = http.PostForm(html.UnescapeString(action[1]), form); err != nil {
			shown <- page{err: err}
			return
		}
		text, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		shown <- page{status: resp.StatusCode, text: string(text)}
	}()
	var got *login.Tokens
	err := discover(t, p).Browser(t.Context(), login.Ask{}, login.BrowserOptions{Open: true, Opener: sent(to), FormPost: true}, &person{}, keep(&got))
	if last := <-shown; err != nil || last.status != 200 || p.Forms(oidctest.Authorize)[0].Get("response_mode") != "form_post" {
		t.Errorf("got %v and %+v", err, last)
	}
}

func TestWhoeverNeverComesBack(t *testing.T) {
	calm := func(t *testing.T) {
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
	free := func(t *testing.T, redirect string) {
		t.Helper()
		if c, err := net.Dial("tcp4", strings.TrimSuffix(strings.TrimPrefix(redirect, "http://"), "/callback")); err == nil {
			_ = c.Close()
			t.Error("it listens still")
		}
	}
	p := oidctest.NewProvider(t)
	lp := discover(t, p)
	t.Run("is waited for as long as was said", func(t *testing.T) {
		calm(t)
		who := &person{}
		var got *login.Tokens
		var redirect string
		who.visit = func(v login.Visit) { redirect = v.Redirect }
		if err := lp.Browser(t.Context(), login.Ask{}, login.BrowserOptions{Time: 50 * time.Millisecond}, who, keep(&got)); err != login.ErrLate {
			t.Errorf("got %v", err)
		}
		free(t, redirect)
	})
	for _, c := range []struct {
		name string
		when func(p *oidctest.Provider, who *person, cancel func()) login.BrowserOptions
	}{
		{"while the browser opens", func(_ *oidctest.Provider, _ *person, cancel func()) login.BrowserOptions {
			return login.BrowserOptions{Open: true, Opener: func(ctx context.Context, _ string) error { cancel(); <-ctx.Done(); return ctx.Err() }}
		}},
		{"while it is waited for", func(_ *oidctest.Provider, who *person, cancel func()) login.BrowserOptions {
			who.visit = func(login.Visit) { time.AfterFunc(20*time.Millisecond, cancel) }
			return login.BrowserOptions{}
		}},
		{"while the code is exchanged", func(p *oidctest.Provider, _ *person, cancel func()) login.BrowserOptions {
			p.SetHook(oidctest.Token, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
			return login.BrowserOptions{Open: true, Opener: opener(make(chan page, 1))}
		}},
		{"while the keys are fetched", func(p *oidctest.Provider, _ *person, cancel func()) login.BrowserOptions {
			p.SetJWKS(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
			return login.BrowserOptions{Open: true, Opener: opener(make(chan page, 1))}
		}},
	} {
		t.Run("Ctrl-C "+c.name, func(t *testing.T) {
			p := oidctest.NewProvider(t)
			lp := discover(t, p)
			calm(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var at time.Time
			who := &person{}
			o := c.when(p, who, func() { at = time.Now(); cancel() })
			var got *login.Tokens
			err := lp.Browser(ctx, login.Ask{}, o, who, keep(&got))
			if !errors.Is(err, context.Canceled) || got != nil || time.Since(at) > 5*time.Second { // well below the 15 that an answer may take
				t.Errorf("got %T %v after %s", err, err, time.Since(at))
			}
			p.Server.CloseClientConnections()
		})
	}
}

func TestAPortThatIsGiven(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	p := oidctest.NewProvider(t)
	var got *login.Tokens
	err = discover(t, p).Browser(t.Context(), login.Ask{}, login.BrowserOptions{Port: port}, &person{}, keep(&got))
	if taken := (*browser.PortError)(nil); !errors.As(err, &taken) || taken.Port != port {
		t.Errorf("got %v", err)
	}
	_ = l.Close()
	shown := make(chan page, 1)
	if err := discover(t, p).Browser(t.Context(), login.Ask{}, login.BrowserOptions{Port: port, Hosts: []string{"localhost"}, Open: true, Opener: opener(shown)}, &person{}, keep(&got)); err != nil {
		t.Errorf("got %v", err)
	}
	if back := p.Forms(oidctest.Authorize)[0].Get("redirect_uri"); back != fmt.Sprintf("http://localhost:%d/callback", port) {
		t.Errorf("the redirect is %s", back)
	}
}

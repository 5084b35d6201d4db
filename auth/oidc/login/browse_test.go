package login_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

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

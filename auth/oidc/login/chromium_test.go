package login_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/auth/browser/browsertest"
	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/login"
)

// started is a sign-in that has sent a real browser somewhere.
type started struct {
	visit    login.Visit
	accepted chan *login.Tokens // one that the server has to decide about
	answer   chan error         // what it says
	done     chan error
	stop     context.CancelFunc
}

// start signs in to a real provider with a tab of a real browser.
func start(t *testing.T, p *idp.Provider, o login.BrowserOptions, tab *browsertest.Tab) *started {
	t.Helper()
	lp, err := login.Discover(t.Context(), login.Options{Issuer: p.Issuer, ClientID: idp.ClientID, Scopes: idp.Scopes})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s := &started{accepted: make(chan *login.Tokens), answer: make(chan error), done: make(chan error, 1), stop: stop}
	t.Cleanup(stop)
	shown := make(chan login.Visit, 1)
	sent := make(chan string, 1)
	o.Open, o.Opener = true, func(_ context.Context, address string) error { sent <- address; return nil }
	go func() {
		s.done <- lp.Browser(ctx, login.Ask{}, o, &person{visit: func(v login.Visit) { shown <- v }}, func(_ context.Context, tokens *login.Tokens) (login.Welcome, error) {
			s.accepted <- tokens
			return login.Welcome{Server: "https://secrets.example.test", Account: tokens.Email}, <-s.answer
		})
	}()
	tab.Go(<-sent)
	s.visit = <-shown
	return s
}

// fill signs in on the pages of a provider.
func fill(p *idp.Provider, tab *browsertest.Tab, user string) {
	tab.Wait("document.querySelector('[name=login]')")
	tab.Submit(map[string]string{"login": user, "password": idp.Password})
	if p.Name == "oidc-provider" {
		tab.Wait("document.querySelector('[name=prompt][value=consent]')")
		tab.Submit(nil)
	}
}

func TestRealBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a real browser: not in short mode")
	}
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		b := browsertest.Start(t)
		tab := b.Tab(false) // without JavaScript
		s := start(t, p, login.BrowserOptions{}, tab)
		fill(p, tab, "alice")

		// The provider said yes and sent the browser back; the server has said nothing.
		tokens := <-s.accepted
		if tokens.Subject != "alice" || tokens.Email != "alice@example.test" {
			t.Errorf("signed in as %+v", tokens)
		}
		if title := tab.Title(); strings.Contains(title, "signed in") {
			t.Errorf("before the server said yes, the tab says %q", title)
		}
		s.answer <- nil
		if err := <-s.done; err != nil {
			t.Fatal(err)
		}
		tab.Wait("document.title.startsWith('You are signed in')")
		text, at := tab.Text(), tab.URL()
		for _, want := range []string{"alice@example.test", "https://secrets.example.test", "You can close this tab"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not say %q:\n%s", want, text)
			}
		}
		picture(t, tab, p.Name+"-yes")
		harmless(t, p, s, tab, tokens)

		// The button back leads to the provider, and from there nothing leads to tokens.
		tab.Back()
		tab.Wait("!document.title.startsWith('You are signed in')")
		tab.Go(at)
		tab.Wait("!document.title.startsWith('You are signed in')")
		if n := p.Count(idp.Code); n != 1 {
			t.Errorf("after going back and forth the code was sent %d times", n)
		}
	})
}

// harmless looks at the page that a tab shows in the end.
func harmless(t *testing.T, p *idp.Provider, s *started, tab *browsertest.Tab, tokens *login.Tokens) {
	t.Helper()
	at, html := tab.URL(), tab.HTML()
	if !strings.HasPrefix(at, s.visit.Redirect) {
		t.Errorf("the tab is at %s", at)
	}
	for _, secret := range append(p.Secrets(), tokens.ID.Reveal(), tokens.Refresh.Reveal()) {
		if strings.Contains(html, secret) {
			t.Errorf("the page holds %.12s…", secret)
		}
	}
	if strings.Contains(html, "<script") || strings.Contains(html, "http://") {
		t.Errorf("the page has a script or an address:\n%s", html)
	}
	for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := tab.Header(at, name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	// From the callback on, nothing is asked for but the page itself.
	all := tab.Requests()
	from := slices.IndexFunc(all, func(u string) bool { return strings.HasPrefix(u, s.visit.Redirect) })
	if from < 0 || len(all[from:]) != 1 {
		t.Errorf("the page asks for %q", all)
	}
	for _, complaint := range tab.Complaints() {
		if strings.Contains(complaint, "Content Security Policy") && strings.Contains(complaint, "default-src 'none'") {
			t.Errorf("the page breaks its own policy: %s", complaint)
		}
	}
}

// picture keeps what a tab shows, for go test -artifacts.
func picture(t *testing.T, tab *browsertest.Tab, name string) {
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), tab.Picture(), 0o600); err != nil {
		t.Error(err)
	}
}

// The provider is taken for one of the internet, whose pages a browser keeps from
// this machine: a redirect, and a form, are what it lets through.
func TestRealBrowserFromTheInternet(t *testing.T) {
	if testing.Short() {
		t.Skip("a real browser: not in short mode")
	}
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		at, err := url.Parse(p.Issuer)
		if err != nil {
			t.Fatal(err)
		}
		b := browsertest.Start(t, at.Host)
		for _, form := range []bool{false, true} {
			tab := b.Tab(true)
			s := start(t, p, login.BrowserOptions{FormPost: form}, tab)
			// That it is taken for one is seen by what a script there may not do.
			tab.Wait("document.querySelector('[name=login]')")
			var reached bool
			tab.Eval(`Promise.race([fetch("`+s.visit.Redirect+`", {mode: "no-cors"}).then(() => true, () => false), new Promise(r => setTimeout(() => r(false), 1000))])`, &reached)
			if reached {
				t.Error("a page of the internet reaches this machine with a script: the test proves nothing")
			}
			fill(p, tab, "bob")
			<-s.accepted
			s.answer <- nil
			if err := <-s.done; err != nil {
				t.Fatal(err)
			}
			tab.Wait("document.title.startsWith('You are signed in')")
			if asked, _ := url.Parse(s.visit.URL); form && asked.Query().Get("response_mode") == "form_post" && strings.Contains(tab.URL(), "?") {
				t.Errorf("the history has %s", tab.URL())
			}
			tab.Close()
		}
	})
}

func TestRealBrowserSaysNo(t *testing.T) {
	if testing.Short() {
		t.Skip("a real browser: not in short mode")
	}
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		b := browsertest.Start(t)

		// The person cancels at the provider.
		tab := b.Tab(true)
		s := start(t, p, login.BrowserOptions{}, tab)
		tab.Click("a[href*=abort]")
		var refused *login.RefusedError
		if err := <-s.done; !errors.As(err, &refused) || !refused.Denied() {
			t.Errorf("cancelled: %v", err)
		}
		tab.Wait("document.title.startsWith('You are not signed in')")
		if n := p.Count(idp.Code); n != 0 {
			t.Errorf("%d requests for tokens", n)
		}
		picture(t, tab, p.Name+"-no")

		// The server does.
		tab = b.Tab(true)
		s = start(t, p, login.BrowserOptions{}, tab)
		fill(p, tab, "carol")
		<-s.accepted
		no := errors.New("role unknown to canary-31ab")
		s.answer <- no
		if err := <-s.done; err != no {
			t.Errorf("refused: %v", err)
		}
		tab.Wait("document.title.startsWith('You are not signed in')")
		if html := tab.HTML(); strings.Contains(html, "canary-31ab") || strings.Contains(html, "carol@") {
			t.Errorf("the page says too much:\n%s", html)
		}

		// The tab is closed, nobody comes back, and Ctrl-C ends it.
		tab = b.Tab(true)
		s = start(t, p, login.BrowserOptions{}, tab)
		tab.Wait("document.querySelector('form')")
		tab.Close()
		begun := time.Now()
		s.stop()
		if err := <-s.done; !errors.Is(err, context.Canceled) || time.Since(begun) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

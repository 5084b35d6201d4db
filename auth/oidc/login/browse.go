package login

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"envrun/auth"
	"envrun/auth/browser"
)

// Bounds of a sign-in in a browser.
const (
	signInTime = 5 * time.Minute
	openerTime = 700 * time.Millisecond // for an opener to say that it fails, before the address is shown
)

// BrowserOptions say how a browser is used.
type BrowserOptions struct {
	Port     int      // to listen on; 0: any
	Hosts    []string // in the redirect: for issuers that know only localhost; nil: 127.0.0.1
	FormPost bool     // let the answer come in a form, where the issuer can, so that no history has the code

	Open   bool                                // send a browser there; otherwise the address is shown and may be pasted
	Opener func(context.Context, string) error // nil: browser.Open
	Time   time.Duration                       // for the person; 0: 5 minutes
}

// Browser signs somebody in with a browser on this machine, or with what they paste
// of one elsewhere. accept brings the tokens to where they are for; the page in the
// browser says that it worked only when accept said so. What accept was given and did
// not keep, it has to revoke itself.
//
// Errors are those of this package, of accept, browser.PortError, context.Canceled and
// ErrLate.
func (p *Provider) Browser(ctx context.Context, ask Ask, o BrowserOptions, person Person, accept func(context.Context, *Tokens) (Welcome, error)) error {
	defer p.base.CloseIdleConnections()
	l, err := browser.Listen(browser.Options{Port: o.Port, Hosts: o.Hosts})
	if err != nil {
		return err
	}
	defer l.Close()
	state, nonce, verifier := random(), random(), oauth2.GenerateVerifier()
	l.Expect(auth.NewSecret(state))
	config := p.config(ask)
	config.RedirectURL = l.Redirect()
	visit := Visit{URL: config.AuthCodeURL(state, p.wishes(ask, o, nonce, verifier)...), Redirect: l.Redirect()}

	a, err := wait(ctx, p.o.now, l, o, visit, person)
	if err != nil {
		return err
	}
	switch {
	case a.Issuer != "" && a.Issuer != p.o.Issuer:
		return &ProviderError{Issuer: p.o.Issuer, Step: stepSignIn, Why: "the answer came from another issuer"}
	case a.Issuer == "" && p.issAlways:
		return &ProviderError{Issuer: p.o.Issuer, Step: stepSignIn, Why: "the answer does not say that it is its own"}
	case a.Error != "":
		return &RefusedError{Issuer: p.o.Issuer, Step: stepSignIn, Code: word(a.Error), Detail: a.Detail}
	}
	// Once: a code is good for one request, and a second one revokes what it gave.
	t, err := config.Exchange(gooidc.ClientContext(ctx, p.client), a.Code.Reveal(), oauth2.VerifierOption(verifier))
	if err != nil {
		return p.trouble(ctx, stepCode, err)
	}
	tokens, err := p.accepted(ctx, t, ask, proof{nonce: nonce})
	if err != nil {
		return err
	}
	welcome, err := accept(ctx, tokens)
	if err != nil {
		return err
	}
	l.End(browser.Page{OK: true, Server: welcome.Server, Account: welcome.Account})
	return nil
}

// wait sends the person to the issuer and waits for the answer: from the browser, or
// pasted, whichever is first.
func wait(ctx context.Context, now func() time.Time, l *browser.Loopback, o BrowserOptions, visit Visit, person Person) (browser.Answer, error) {
	limit := o.Time
	if limit == 0 {
		limit = signInTime
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	visit.Until = now().Add(limit)
	opened := make(chan error, 1)
	if o.Open {
		open := o.Opener
		if open == nil {
			open = browser.Open
		}
		opening, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { opened <- open(opening, visit.URL) }()
		visit.Opened = true
		select {
		case visit.OpenErr = <-opened:
			visit.Opened = visit.OpenErr == nil
		case <-time.After(openerTime): // it may still fail, and is noted then
		case <-ctx.Done():
			return browser.Answer{}, ctx.Err()
		}
	}
	person.Visit(visit)
	pasted := person.Pasted()
	for {
		select {
		case a := <-l.Answers():
			return a, nil
		case text, more := <-pasted:
			if !more {
				pasted = nil
				continue
			}
			if strings.TrimSpace(text) == "" {
				continue
			}
			if err := l.Paste(text); err != nil {
				person.Note(err.Error())
			}
		case err := <-opened:
			if err != nil {
				person.Note("no browser opens here: open the address yourself")
			}
		case <-late.C:
			return browser.Answer{}, ErrLate
		case <-ctx.Done():
			return browser.Answer{}, ctx.Err()
		}
	}
}

func (p *Provider) config(ask Ask) *oauth2.Config {
	return &oauth2.Config{ClientID: p.o.ClientID, Endpoint: p.endpoint, Scopes: p.asked(ask)}
}

// asked are the scopes of a sign-in.
func (p *Provider) asked(ask Ask) []string {
	if !ask.Once && !p.google() {
		return p.scopes
	}
	return slices.DeleteFunc(slices.Clone(p.scopes), func(s string) bool { return s == offline })
}

func (p *Provider) google() bool { return p.o.Issuer == "https://accounts.google.com" }

// wishes are the parameters of the address beside those that each has. PKCE is used
// whether or not the issuer says that it can: one that cannot ignores it.
func (p *Provider) wishes(ask Ask, o BrowserOptions, nonce, verifier string) []oauth2.AuthCodeOption {
	all := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), gooidc.Nonce(nonce)}
	set := func(name, value string) { all = append(all, oauth2.SetAuthURLParam(name, value)) }
	prompt := ask.Prompt
	if again := !ask.Once && (p.google() || slices.Contains(p.scopes, offline)); again && prompt == "" && !p.microsoft() {
		// OpenID Connect Core §11: without it there need be no refresh token. Microsoft
		// gives one all the same, and would ask people what only administrators may answer.
		prompt = "consent"
	}
	if p.google() && !ask.Once {
		set("access_type", "offline")
	}
	if prompt != "" {
		set("prompt", prompt)
	}
	if ask.HasMaxAge {
		set("max_age", strconv.FormatInt(int64(max(0, ask.MaxAge)/time.Second), 10))
	}
	if len(ask.ACR) > 0 {
		set("acr_values", strings.Join(ask.ACR, " "))
	}
	if ask.Hint != "" {
		set("login_hint", ask.Hint)
	}
	if o.FormPost && p.formPost {
		set("response_mode", "form_post")
	}
	return all
}

func (p *Provider) microsoft() bool {
	for _, host := range []string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"} {
		if strings.HasPrefix(p.o.Issuer, "https://"+host+"/") {
			return true
		}
	}
	return false
}

// random is 32 bytes that nobody can guess.
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

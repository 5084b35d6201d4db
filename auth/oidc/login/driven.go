package login

import (
	"context"
	"errors"
	"strings"
	"time"

	"envrun/auth"
	"envrun/auth/browser"
)

// A Driver is a server that talks to the issuer itself, as those with Vault's oidc
// method do: it holds the client's secret, the nonce and the verifier.
type Driver interface {
	// Start asks the server for the address at which somebody signs in who is then sent
	// back to redirect. It is empty if the server sends nobody there.
	Start(ctx context.Context, redirect string) (address string, err error)
	// Trust says whether people may be sent to an endpoint as a client: of neither is
	// anything known but what the server said.
	Trust(endpoint, clientID string) error
	// Finish brings the server what the issuer sent the browser back with.
	Finish(ctx context.Context, state, code auth.Secret) (Welcome, error)
}

// VaultPort is where the vault command listens: where issuers ask for whole addresses
// of redirects, the administrator gave this one.
const VaultPort = 8250

// A RedirectError is a server that sends nobody back to this machine.
type RedirectError struct{ Redirects []string }

func (e *RedirectError) Error() string {
	return "the role sends nobody back to " + strings.Join(e.Redirects, " or ")
}

// An AddressError is a server that sends people to an address that is not taken: it
// may hold anything, and is not repeated.
type AddressError struct{ Why string }

func (e *AddressError) Error() string {
	return "the server sends people to an address that " + e.Why
}

// Driven signs somebody in where the server drives. It listens where the vault
// command does, at localhost:8250; if that port is taken, or the role does not allow
// it, at any port of localhost and then of 127.0.0.1. o.Port and o.Hosts say another
// place.
//
// The address that the server gives has to be one that a browser may be sent to, and
// has to lead back here with a state and a nonce; the answer has to have that state.
// What the code is worth, and whose it is, is the server's to find out.
//
// Errors are RedirectError, AddressError, those of d, and those of Provider.Browser.
func Driven(ctx context.Context, o BrowserOptions, person Person, d Driver) error {
	l, address, err := driven(ctx, o, d)
	if err != nil {
		return err
	}
	defer l.Close()
	endpoint, client, state, err := readDriven(address, l.Redirect())
	if err != nil {
		return err
	}
	if err := d.Trust(endpoint, client); err != nil {
		return err
	}
	l.Expect(state)
	a, err := wait(ctx, time.Now, l, o, Visit{URL: address, Redirect: l.Redirect()}, person)
	if err != nil {
		return err
	}
	if a.Error != "" {
		return &RefusedError{Issuer: endpoint, Step: stepSignIn, Code: word(a.Error), Detail: a.Detail}
	}
	welcome, err := d.Finish(ctx, state, a.Code)
	if err != nil {
		return err
	}
	l.End(browser.Page{OK: true, Server: welcome.Server, Account: welcome.Account})
	return nil
}

// driven listens at the first place that can be listened at and that the server sends
// people back to.
func driven(ctx context.Context, o BrowserOptions, d Driver) (*browser.Loopback, string, error) {
	places := []browser.Options{{Hosts: []string{"localhost"}, Port: VaultPort}, {Hosts: []string{"localhost"}}, {}}
	if o.Port != 0 {
		places = []browser.Options{{Hosts: []string{"localhost"}, Port: o.Port}, {Port: o.Port}}
	}
	if o.Hosts != nil {
		places = []browser.Options{{Hosts: o.Hosts, Port: o.Port}}
	}
	var tried []string
	var busy *browser.PortError
	refused := map[string]bool{}
	for _, at := range places {
		at.Path = "/oidc/callback"
		l, err := browser.Listen(at)
		if errors.As(err, &busy) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		address, err := "", error(nil)
		// A server that refuses one port of a host for being that host refuses each.
		if host := strings.Join(at.Hosts, " "); !refused[host] {
			if address, err = d.Start(ctx, l.Redirect()); err == nil && address != "" {
				return l, address, nil
			}
			refused[host] = true
			tried = append(tried, l.Redirect())
		}
		l.Close()
		if err != nil {
			return nil, "", err
		}
	}
	if len(tried) == 0 {
		return nil, "", busy
	}
	return nil, "", &RedirectError{tried}
}

// readDriven reads the address that a server sends people to.
func readDriven(address, redirect string) (endpoint, client string, state auth.Secret, err error) {
	bad := func(why string) (string, string, auth.Secret, error) {
		return "", "", auth.Secret{}, &AddressError{why}
	}
	u, err := checkURL(address, true)
	if err != nil || !browser.Openable(address) {
		return bad("no browser may go to")
	}
	q := u.Query()
	for name, want := range map[string]string{"redirect_uri": redirect, "response_type": "code"} {
		if len(q[name]) != 1 || q[name][0] != want {
			return bad("does not lead back here with a code: " + name)
		}
	}
	for _, name := range []string{"state", "nonce", "client_id"} {
		if len(q[name]) != 1 || q[name][0] == "" {
			return bad("has not one " + name)
		}
	}
	if len(q.Get("state")) < 16 {
		return bad("has a state that can be guessed")
	}
	client, state = q.Get("client_id"), auth.NewSecret(q.Get("state"))
	u.RawQuery = ""
	return u.String(), client, state, nil
}

// ClientNonce is a new text for a server that drives: who knows it finishes what it
// was started with.
func ClientNonce() auth.Secret { return auth.NewSecret(random()) }

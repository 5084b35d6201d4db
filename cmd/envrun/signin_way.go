package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"envrun/auth"
	"envrun/auth/browser"
	"envrun/auth/oidc/login"
	"envrun/auth/private"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault/remote"
	"envrun/vault/wire"
)

// A way is how people sign in to one server: what the project says of it, and what
// the server says where that says nothing.
type way struct {
	server, namespace string
	mount, role       string
	issuer, clientID  string
	scopes            []string
	flow              string
	flows             []string // that the server wants people to use; none: any
	ca                []byte
	hosts             []string
	pinned            bool // issuer and client are of the project file
	named             bool // the mount is, or whoever signs in has named it
	driven            bool // the server talks to the issuer
	ask               login.Ask
}

// stepUp reports whether a sign-in is good for one use: the role wants it fresh.
func (w *way) stepUp() bool { return w.ask.HasMaxAge || len(w.ask.ACR) > 0 }

// takes reports whether the server wants people to sign in so.
func (w *way) takes(flow string) bool {
	if flow == browser.FlowPaste { // of what a browser ends at
		flow = browser.FlowBrowser
	}
	return len(w.flows) == 0 || slices.Contains(w.flows, flow)
}

// choose is how somebody at a terminal or a screen signs in, and how else they might.
// devices says whether there are device codes.
func (t *tool) choose(w *way, flow string, devices bool, person login.Person) (choice browser.Choice, others []string, err error) {
	if flow == browser.FlowAuto && !w.takes(browser.FlowBrowser) {
		flow = browser.FlowDevice
	}
	if flow != browser.FlowAuto && !w.takes(flow) {
		hint := "as it wants: envrun login --flow browser; or, with a browser elsewhere: envrun login --flow paste"
		if !w.takes(browser.FlowBrowser) {
			hint = "as it wants: envrun login --flow " + cli.Quote(w.flows[0])
		}
		return choice, nil, &cli.HintError{Err: fmt.Errorf("%s has people sign in to auth/%s by %s alone, and not by %s", w.server, w.mount, strings.Join(w.flows, " or "), flow), Code: cli.CodePolicy, Hint: hint}
	}
	s := browser.Look(t.Getenv)
	s.Terminal, s.Device = true, devices && w.takes(browser.FlowDevice) // the caller has looked
	if choice, err = browser.Choose(flow, s); err != nil {
		return choice, nil, err
	}
	if t.flags.verbose {
		person.Note("signing in by " + choice.Flow + ": " + choice.Why)
	}
	return choice, slices.DeleteFunc(browser.Others(choice.Flow, s), func(f string) bool { return !w.takes(f) }), nil
}

// serverName is the one spelling of a server's address.
func serverName(address string) string {
	u, err := url.Parse(strings.TrimRight(address, "/"))
	if err != nil {
		return address
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	return u.String()
}

// wayTo finds out how people sign in to the server of an environment.
func (t *tool) wayTo(ctx context.Context, v *remote.Vault, env project.Env, how signInHow) (*way, error) {
	pins := env.SignIn
	w := &way{
		server: serverName(env.Vault), namespace: v.Namespace(), flow: cmp.Or(how.flow, pins.Flow),
		mount: cmp.Or(how.mount, pins.Mount), role: cmp.Or(how.role, pins.Role), scopes: pins.Scopes,
		issuer: pins.Issuer, clientID: pins.ClientID, pinned: pins.Issuer != "" && pins.ClientID != "",
	}
	w.named = w.mount != ""
	var err error
	if w.hosts, w.ca, err = issuerIs(pins); err != nil {
		return nil, err
	}
	if how.method == methodDriven {
		w.driven, w.pinned, w.mount = true, false, cmp.Or(w.mount, "oidc") // an endpoint is no issuer that could be pinned
		return w, nil
	}
	in, own, err := v.SignIns(ctx)
	if err != nil {
		return nil, err
	}
	if !own && w.issuer == "" && how.method == "" {
		// Vault and OpenBao have their own way, and where it is not there they say so.
		w.driven, w.mount = true, cmp.Or(w.mount, "oidc")
		return w, nil
	}
	var found *wire.SignInMethod
	var ways []string
	for i, m := range in.Methods {
		way := m.Mount
		if m.Description != "" && auth.Plain(m.Description, 80) {
			way += " (" + m.Description + ")"
		}
		ways = append(ways, way)
		if m.Mount == w.mount || w.mount == "" && len(in.Methods) == 1 {
			found = &in.Methods[i]
		}
	}
	if found != nil {
		for _, c := range [...]struct{ what, pin, says string }{{"issuer", w.issuer, found.Issuer}, {"client_id", w.clientID, found.ClientID}} {
			if c.pin != "" && c.pin != c.says {
				return nil, &cli.HintError{Err: fmt.Errorf("%s says %s = %q of people's sign-in, and the server %s says %q: nobody was sent anywhere", pins.Pos, c.what, c.pin, env.Vault, c.says),
					Code: cli.CodeTampered, Hint: "ask who looks after the server which of them is right, and change [sign_in] in envrun.toml if that is wrong"}
			}
		}
		w.mount, w.issuer, w.clientID, w.flows = found.Mount, found.Issuer, found.ClientID, found.Flows
		if w.scopes == nil {
			w.scopes = found.Scopes
		}
		if w.role == "" {
			w.role = found.DefaultRole
		}
		if w.role == "" && len(found.Roles) == 1 {
			w.role = found.Roles[0].Name
		}
		for _, r := range found.Roles {
			if r.Name == w.role {
				w.ask = login.Ask{MaxAge: time.Duration(r.MaxAge), HasMaxAge: r.MaxAge > 0, ACR: r.ACR}
			}
		}
	} else if w.mount == "" && len(ways) > 1 {
		return nil, &cli.HintError{Err: fmt.Errorf("%s has several ways to sign in: %s", env.Vault, strings.Join(ways, ", ")), Code: cli.CodeConfig, Hint: "name one: envrun login --mount " + cli.Quote(in.Methods[0].Mount) + ", or mount in [sign_in] of envrun.toml"}
	}
	if w.issuer == "" || w.clientID == "" {
		return nil, &cli.HintError{Err: fmt.Errorf("%s does not say how people sign in to it", env.Vault), Code: cli.CodeAuth,
			Hint: "if it takes identity tokens: issuer, client_id and mount in [sign_in] of envrun.toml; else VAULT_ADDR=" + cli.Quote(env.Vault) + " vault login"}
	}
	w.mount = cmp.Or(w.mount, "jwt")
	return w, t.believes(w, how.trust)
}

// A trusted is the issuer that a server named at the first sign-in.
type trusted struct{ Issuer, ClientID string }

// believes refuses an issuer other than the one that this machine signed in at
// before: a server that was taken over could send people to a page of its own. What
// the project file says goes before.
func (t *tool) believes(w *way, accept string) error {
	if w.pinned {
		return nil
	}
	known, _, err := t.issuersKnown()
	if err != nil {
		return err
	}
	is := trusted{w.issuer, w.clientID}
	was, ok := known[w.key()]
	if !ok && !w.named {
		was, ok = w.others(known)
	}
	if !ok || was == is || accept == w.issuer {
		return nil
	}
	return &cli.HintError{
		Err: fmt.Errorf("%s now sends people to the issuer %s as %q; on this machine it was %s as %q: nobody was sent there",
			w.server, w.issuer, w.clientID, was.Issuer, was.ClientID),
		Code: cli.CodeTampered, Hint: "ask who looks after the server; if the new one is right: envrun login --trust-issuer " + cli.Quote(w.issuer) + " " + cli.Quote(w.server),
	}
}

func (w *way) key() string { return w.at() + w.mount }

func (w *way) at() string { return w.server + "\n" + w.namespace + "\n" }

// others is an issuer of other mounts of the server, for a mount that the server itself
// has chosen: another mount must not be a way around what is known. The way's own client
// there, if its issuer is one of those.
func (w *way) others(known map[string]trusted) (was trusted, ok bool) {
	keys := slices.Sorted(maps.Keys(known))
	for _, key := range keys {
		if !strings.HasPrefix(key, w.at()) {
			continue
		}
		if was, ok = known[key], true; was.Issuer == w.issuer {
			return trusted{w.issuer, w.clientID}, true
		}
	}
	return was, ok
}

// issuersKnown are the issuers that servers named, by way.key. Whoever can write the
// file can have people sent elsewhere to sign in.
func (t *tool) issuersKnown() (map[string]trusted, string, error) {
	dir, err := t.stateDir()
	if err != nil {
		return nil, "", err
	}
	known, file := map[string]trusted{}, filepath.Join(dir, "issuers.json")
	text, err := readSmall(file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, file, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil {
		err = fmt.Errorf("%s, which says where people sign in: %w", file, err)
	}
	return known, file, err
}

// believe keeps the issuer of a sign-in that worked.
func (t *tool) believe(ctx context.Context, w *way) error {
	known, file, err := t.issuersKnown()
	if err != nil || known[w.key()] == (trusted{w.issuer, w.clientID}) {
		return err
	}
	unlock, err := private.Lock(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if known, _, err = t.issuersKnown(); err != nil {
		return err
	}
	known[w.key()] = trusted{w.issuer, w.clientID}
	text, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	return private.Write(file, append(text, '\n'), true)
}

// issuerIs is how the project says that the issuer is known.
func issuerIs(s project.SignIn) (hosts []string, ca []byte, err error) {
	if s.CA != "" {
		if ca, err = readSmall(s.CA); err != nil {
			err = fmt.Errorf("the certificates of the issuer, from %s: %w", s.Pos, err)
		}
	}
	return s.Hosts, ca, err
}

// provider asks the issuer of a way where its endpoints are.
func (w *way) provider(ctx context.Context, now func() time.Time) (*login.Provider, error) {
	return login.Discover(ctx, login.Options{Issuer: w.issuer, ClientID: w.clientID, Scopes: w.scopes, CA: w.ca, Hosts: w.hosts, Proxy: http.ProxyFromEnvironment, Now: now})
}

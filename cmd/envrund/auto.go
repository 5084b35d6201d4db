package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"envrun/auth/agekey"
	"envrun/cmd/internal/cli"
	"envrun/vault"
	api "envrun/vault/remote"
	"envrun/vault/seal"
	"envrun/vault/server"
	"envrun/vault/sqlstore"
	"envrun/vault/transit"
)

// autoSealer is one [[seal.auto]] of the configuration file: what opens the server
// at its start. They are tried in their order.
type autoSealer struct {
	Identity   string `toml:"identity"`   // a file with an age identity, also one of a plugin
	Credential string `toml:"credential"` // the same as a credential of systemd, by its name

	Transit   string   `toml:"transit"`    // the address of a Vault or OpenBao whose transit engine opens it
	Name      string   `toml:"name"`       // of that sealer: "main" makes transit:main
	Mount     string   `toml:"mount"`      // of the engine; "" is transit
	Key       string   `toml:"key"`        // of the engine
	Namespace string   `toml:"namespace"`  //
	TokenFile string   `toml:"token_file"` // holds the token; "" is VAULT_TOKEN
	CA        string   `toml:"ca"`         // PEM of who signed its certificate; "" is the system's
	Pins      []string `toml:"pins"`       // of its key
}

// from names files from where the configuration stands.
func (a *autoSealer) from(dir string) {
	for _, p := range []*string{&a.Identity, &a.TokenFile, &a.CA} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// check says what is wrong with it, nothing if nothing is.
func (a *autoSealer) check() string {
	kinds := 0
	for _, s := range []string{a.Identity, a.Credential, a.Transit} {
		if s != "" {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return "each has one of identity, credential and transit"
	case a.Credential != "" && strings.ContainsAny(a.Credential, `/\`):
		return "a credential is a name, as LoadCredentialEncrypted=NAME:… has it"
	case a.Transit == "":
		return ""
	case a.Name == "" || strings.ContainsAny(a.Name, ":/ "):
		return "transit needs a name, which its sealer is known by: letters, digits and dashes"
	case a.Key == "":
		return "transit needs the name of a key"
	}
	return ""
}

// A way is one way in which the server opens by itself.
type way struct {
	what    string // for people: "identity /etc/…", "transit:main"
	within  time.Duration
	service seal.Sealer // nil: an identity
	file    string      // of the identity
}

// ways are those of the configuration, in their order.
func (c *config) ways(getenv func(string) string) ([]way, error) {
	var all []way
	if c.Seal.Identity != "" {
		all = append(all, way{what: "identity " + c.Seal.Identity, within: c.tryTime, file: c.Seal.Identity})
	}
	for i := range c.Seal.Auto {
		a := &c.Seal.Auto[i]
		switch {
		case a.Identity != "":
			all = append(all, way{what: "identity " + a.Identity, within: c.tryTime, file: a.Identity})
		case a.Credential != "":
			// Without systemd there is no folder: then reading the file says so.
			all = append(all, way{what: "credential " + a.Credential, within: c.tryTime, file: filepath.Join(first(getenv("CREDENTIALS_DIRECTORY"), "/run/credentials/envrund.service"), a.Credential)})
		default:
			s, err := a.transit(getenv)
			if err != nil {
				return nil, &cli.HintError{Err: fmt.Errorf("seal.auto %s: %w", a.Name, err), Code: cli.CodeConfig}
			}
			all = append(all, way{what: s.ID(), within: c.tryTime, service: s})
		}
	}
	return all, nil
}

// askTime bounds one request to the service of a sealer.
const askTime = 10 * time.Second

func (a *autoSealer) transit(getenv func(string) string) (seal.Sealer, error) {
	o := api.Options{Address: a.Transit, Namespace: a.Namespace, Pins: a.Pins, Timeout: askTime}
	if a.CA != "" {
		var err error
		if o.CA, err = os.ReadFile(a.CA); err != nil {
			return nil, fmt.Errorf("reading the certificates: %w", err)
		}
	}
	// Read each time: an agent may renew it.
	o.Token = func(context.Context) (string, error) {
		if a.TokenFile == "" {
			return getenv("VAULT_TOKEN"), nil
		}
		text, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return "", &vault.Error{Kind: vault.KindNoIdentity, Op: "reading the token", Err: err}
		}
		return string(bytes.TrimSpace(text)), nil
	}
	v, err := api.Open(o)
	if err != nil {
		return nil, err
	}
	return &transit.Sealer{Name: a.Name, Engine: v, Mount: first(a.Mount, "transit"), Key: a.Key}, nil
}

func services(ways []way) []seal.Sealer {
	var all []seal.Sealer
	for _, w := range ways {
		if w.service != nil {
			all = append(all, w.service)
		}
	}
	return all
}

// tryTime bounds one try of one way, where the configuration says nothing: a plugin
// of age may wait for somebody, and nobody stands beside a server.
const tryTime = 30 * time.Second

// open tries to open the server, and returns the id of the sealer that did.
func (w way) open(ctx context.Context, s *server.Server) (by string, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	if w.service != nil {
		return w.service.ID(), s.UnsealBy(ctx, w.service)
	}
	ids, err := readIdentity(w.file)
	if err != nil {
		return "", err
	}
	return s.Unseal(ctx, ids)
}

// again says whether an error may go away by itself. An identity that is not the
// right one does not, and a plugin that asks for a touch every minute helps nobody.
func (w way) again(err error) bool {
	if plugin := (*agekey.PluginError)(nil); errors.As(err, &plugin) {
		return plugin.Missing
	}
	if w.service == nil && errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch vault.KindOf(err) {
	case vault.KindDenied, vault.KindTampered, vault.KindMalformed, vault.KindInvalid:
		return w.service != nil
	}
	return true
}

// public is what everybody may be told of an error: not where a service is, or
// what lies where on the host.
func (w way) public(err error) string {
	what, _, _ := strings.Cut(w.what, " ") // without the file
	switch kind := vault.KindOf(err); kind {
	case vault.KindOther:
		return what + ": does not open the root key"
	case vault.KindDenied:
		if w.service == nil {
			return what + ": the root key is not sealed for it"
		}
		return what + ": may not, or the root key is not sealed for it"
	default:
		return what + ": " + kind.String()
	}
}

// An opener opens a server at its start, and goes on until it is open, by this
// or by shares that somebody gives.
type opener struct {
	ways []way
	log  *slog.Logger

	mu  sync.Mutex
	why []string // of the last round
}

// problems are why the server is not open.
func (o *opener) problems() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why
}

// The pauses between rounds of tries.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// run opens the server. first is closed after the first round of tries. When the
// server was opened it is over: one that is sealed by somebody later stays sealed.
func (o *opener) run(ctx context.Context, s *server.Server, first chan<- struct{}) {
	said := map[string]string{}
	left := o.ways
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		var why []string
		var next []way
		for _, w := range left {
			if !s.Sealed() {
				break
			}
			by, err := w.open(ctx, s)
			if err == nil {
				o.log.Info("unsealed", "by", by)
				if err := s.Attend(ctx); err != nil {
					o.log.Error("attending to the root key", "error", err)
				}
				break
			}
			if ctx.Err() != nil {
				return
			}
			if said[w.what] != err.Error() {
				said[w.what] = err.Error()
				if vault.KindOf(err) == vault.KindNoVault {
					o.log.Warn("not initialised: envrund init sets the server up")
				} else {
					o.log.Error("not unsealed", "by", w.what, "error", err)
				}
			}
			why = append(why, w.public(err))
			if w.again(err) {
				next = append(next, w)
			} else {
				o.log.Error("not tried again until the next start", "sealer", w.what)
			}
		}
		o.mu.Lock()
		o.why = why
		o.mu.Unlock()
		if first != nil {
			close(first)
			first = nil
		}
		if !s.Sealed() {
			return
		}
		if len(next) == 0 {
			o.log.Error("sealed: nothing is left to open it with but shares (envrund unseal)")
			return
		}
		left = next
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// unsealed opens the database of a server that does not run, with the identity in a
// file or, without one, in the ways of the configuration. hint is what to type where
// there is none.
func (c *config) unsealed(ctx context.Context, t *tool, file, hint string) (*server.Server, *sqlstore.DB, error) {
	ways, err := c.ways(t.Getenv)
	if err != nil {
		return nil, nil, err
	}
	if file != "" {
		ways = []way{{what: "identity " + file, within: c.tryTime, file: file}}
	}
	if len(ways) == 0 {
		return nil, nil, &cli.HintError{Err: errors.New("there is no identity to open the database with"), Code: cli.CodeAuth, Hint: hint}
	}
	s, db, err := c.open(ctx, logger(t), nil, nil)
	if err != nil {
		return nil, nil, err
	}
	var failed []error
	for _, w := range ways {
		if _, err := w.open(ctx, s); err == nil {
			return s, db, nil
		} else {
			failed = append(failed, err)
		}
	}
	return nil, nil, errors.Join(append(failed, db.Close())...)
}

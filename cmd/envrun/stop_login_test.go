//go:build unix

package main_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"envrun/auth/oidc/oidctest"
)

// alive are the processes that came of envrun: by the home that they have, and where
// nobody but root may read that, by their program.
func (p *person) alive() []string {
	var all []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		env, hidden := os.ReadFile(dir + "/environ")
		args, err := os.ReadFile(dir + "/cmdline")
		ours := bytes.Contains(env, []byte("HOME="+p.home+"\x00")) || hidden != nil && bytes.HasPrefix(args, []byte(p.program))
		if err == nil && len(args) > 0 && ours {
			all = append(all, strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return all
}

// Stopped at any step of signing in, by Ctrl-C, by somebody else or by a terminal that
// goes, envrun leaves no half of a session, no lock, nobody who listens and no process,
// and the next one signs in.
func TestLoginStopped(t *testing.T) {
	t.Parallel()
	s := newSpy(t)
	s.ways()
	visitor := s.person
	nobody := s.as("BROWSER=true") // a browser from which nobody comes back
	for _, step := range []struct {
		name string
		who  *person
		held string // the path at which the issuer or the server waits
		args []string
		says string // once it is there
	}{
		{"the passphrase is asked for", s.as("ENVRUN_STORE_PASSPHRASE_FILE="), "", nil, "(not shown)"},
		{"the server is asked how", visitor, "/v1/sys/sign-in", nil, ""},
		{"the issuer is asked where", visitor, "/.well-known/openid-configuration", nil, ""},
		{"a browser is waited for", nobody, "", nil, "paste all of it here"},
		{"an address is waited for", visitor, "", []string{"--flow", "paste"}, "paste all of it here"},
		{"a device code is asked for", visitor, oidctest.DeviceNew, []string{"--flow", "device"}, ""},
		{"a device code is waited for", visitor, "", []string{"--flow", "device"}, "Only approve if"},
		{"the code is exchanged", visitor, oidctest.Token, nil, ""},
		{"the issuer's keys are fetched", visitor, "/keys", nil, ""},
		{"the identity token is brought", visitor, "/v1/auth/human/login", nil, ""},
		{"Vault's own method is asked", visitor, "/v1/auth/oidc/oidc/auth_url", []string{"--method", "vault-oidc", "--mount", "oidc"}, ""},
		{"Vault's own method has the code", visitor, "/v1/auth/oidc/oidc/callback", []string{"--method", "vault-oidc", "--mount", "oidc"}, ""},
		{"a token is asked for", visitor, "", []string{"--method", "token"}, "(not shown)"},
	} {
		t.Run(step.name, func(t *testing.T) {
			for _, how := range []string{"Ctrl-C", "INT", "TERM", "HUP", "KILL"} {
				if testing.Short() && how != "Ctrl-C" && how != "KILL" {
					continue
				}
				if how == "HUP" && signal.Ignored(syscall.SIGHUP) {
					t.Log("SIGHUP is ignored by whoever runs this, as by nohup: then it stops nothing")
					continue
				}
				o := s.in(t)
				came, hold := make(chan struct{}), make(chan struct{})
				var once sync.Once
				waits := func() {
					once.Do(func() { close(came) })
					<-hold
				}
				before := func(h http.HandlerFunc) http.HandlerFunc {
					return func(w http.ResponseWriter, r *http.Request) { waits(); h(w, r) }
				}
				switch step.held {
				case "":
					close(came)
				case oidctest.Token, oidctest.DeviceNew:
					o.issuer.SetHook(step.held, before(o.issuer.Usual(step.held)))
				case "/.well-known/openid-configuration":
					o.issuer.SetDiscovery(before(o.issuer.Discovery))
				case "/keys":
					o.issuer.SetJWKS(before(o.issuer.JWKS))
				default:
					s.answering(func(w http.ResponseWriter, r *http.Request, body string) bool {
						if r.URL.Path == step.held {
							waits()
						}
						return s.drives(w, r, body)
					})
				}
				c := step.who.in(t).run(append([]string{"login", "--store", "passphrase"}, step.args...)...)
				if step.says != "" {
					c.expect(step.says)
				}
				select {
				case <-came:
				case <-time.After(patience):
					t.Fatalf("it does not get there: %s", c.all())
				}
				want := map[string]int{"Ctrl-C": 130, "INT": 130, "TERM": 143, "HUP": 129, "KILL": 137}[how]
				if sig := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[how]; sig != 0 {
					_ = c.cmd.Process.Signal(sig)
				} else {
					c.typed("\x03")
				}
				if how == "KILL" {
					c.end() // nobody puts the terminal back
				} else if _, code := c.wait(); code != want {
					t.Errorf("%s: status %d, want %d: %s", how, code, want, c.all())
				}
				close(hold)
				s.answering(s.drives)
				o.issuer.SetHook(oidctest.Token, nil)
				o.issuer.SetHook(oidctest.DeviceNew, nil)
				o.issuer.SetDiscovery(o.issuer.Discovery)
				o.issuer.SetJWKS(nil)

				if back := callbackOf(c.all()); back != "" {
					if conn, err := net.Dial("tcp4", back); err == nil {
						conn.Close()
						t.Errorf("%s: somebody listens at %s still", how, back)
					}
				}
				for until := time.Now().Add(patience); len(o.alive()) > 0; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(until) {
						t.Errorf("%s: left: %q", how, o.alive())
						break
					}
				}
				if how == "KILL" { // who it was, which the next one does away with
					_ = os.Remove(filepath.Join(o.home, ".local/state/envrun/sessions/login.json"))
				}
				o.nobodyIn()
			}
			// The lock is free.
			visitor.in(t).run("login", "--store", "passphrase").wants(0, "policies ", "!is signing somebody in")
			visitor.in(t).must("", "logout", "--all")
		})
	}
}

// callbackOf is where envrun listened, of what it showed.
func callbackOf(shown string) string {
	for word := range strings.FieldsSeq(shown) {
		if u, err := url.Parse(word); err == nil {
			if back, err := url.Parse(u.Query().Get("redirect_uri")); err == nil && back.Port() != "" {
				return back.Host
			}
		}
	}
	return ""
}

// Two who sign in at once: the second waits for the first, says so, and is let in when
// the first was killed.
func TestLoginWaits(t *testing.T) {
	t.Parallel()
	o := newOffice(t, nil)
	first := o.run("login", "--store", "passphrase", "--flow", "paste")
	first.expect("paste all of it here")
	second := o.run("login", "--store", "passphrase")
	second.expect("another envrun (process " + strconv.Itoa(first.cmd.Process.Pid))
	third := o.run("login", "--store", "passphrase")
	third.expect("is signing somebody in; waiting for it")
	third.typed("\x03")
	third.wants(130)
	_ = first.cmd.Process.Kill()
	first.end()
	second.wants(0, fmt.Sprintf("policies  %s", "default, dev"))
}

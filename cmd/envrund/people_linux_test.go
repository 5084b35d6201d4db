package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"envrun/auth"
	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
	"envrun/auth/oidc/idp"
	"envrun/auth/oidc/login"
	"envrun/vault/vaulttest/hashivault"
)

// A household is a machine with somebody's sessions, an issuer and a server.
type household struct {
	t      *testing.T
	p      *idp.Provider
	server *hashivault.Server
	dir    string // where sessions are kept
	filed  string // what keychains file the key under
	env    []string
	said   *bytes.Buffer // by every process
	mu     *sync.Mutex
}

// newHousehold has an envrund on SQLite, which takes the issuer's people.
func newHousehold(t *testing.T, p *idp.Provider, server *hashivault.Server, env []string) *household {
	h := &household{t: t, p: p, server: server, env: env, said: new(bytes.Buffer), mu: new(sync.Mutex)}
	h.dir, h.filed = filepath.Join(t.TempDir(), "sessions"), keychaintest.Kernel(t)
	server.Do(t, "DELETE", "sys/auth/people", nil)
	jwtMount(t, server, "people", p.Issuer, map[string]string{"zitadel": "ES256", "oidc-provider": "RS256"}[p.Name])
	ask(t, server, "POST", "auth/people/role/ci", map[string]any{"role_type": "jwt", "bound_audiences": []string{idp.ClientID}, "user_claim": "sub", "groups_claim": "groups", "token_policies": []string{"dev"}, "token_ttl": "1h"})
	return h
}

// process is one of the person's, that has not been started.
func (h *household) process(do, stale string) *exec.Cmd {
	text, err := json.Marshal(map[string]any{"Do": do, "Dir": h.dir, "Filed": h.filed, "Server": h.server.Addr, "Issuer": h.p.Issuer, "Stale": fmt.Sprintf("%x", sha256.Sum256([]byte(stale)))})
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command("person")
	cmd.Env = append(slices.Clone(h.env), "PERSON="+string(text))
	return cmd
}

// run runs one to its end, and returns what it printed.
func (h *household) run(do, stale string) (string, error) {
	cmd := h.process(do, stale)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said.Write(errs.Bytes())
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return strings.TrimSpace(out.String()), err
}

// signIn signs somebody in, and looks at the process while it waits for them.
func (h *household) signIn(do, user string) {
	h.t.Helper()
	cmd := h.process(do, "")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	line = strings.TrimSpace(line)
	if do == "device" {
		uri, code, _ := strings.Cut(line, " ")
		err = h.p.Person(user).Approve(h.t.Context(), uri, code)
	} else {
		var back string
		if back, err = h.p.Person(user).SignIn(h.t.Context(), line); err == nil {
			var res *http.Response
			if res, err = http.Get(back); err == nil {
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					err = fmt.Errorf("the page has status %d", res.StatusCode)
				}
			}
		}
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		h.t.Fatalf("%s: %v: %s", do, err, errs.String())
	}
}

// token is the token that a process uses when one has expired.
func (h *household) token(stale string) string {
	h.t.Helper()
	token, err := h.run("token", stale)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// good reports whether the server takes a token.
func (h *household) good(token string) bool {
	status, _ := h.server.DoAs(h.t, token, "GET", "auth/token/lookup-self", nil)
	return status == http.StatusOK
}

// silent looks for what was secret in every file and in everything that was printed
// as an error.
func (h *household) silent(tokens ...string) {
	h.t.Helper()
	all := h.said.String() + strings.Join(files(h.t, h.dir), "")
	for _, secret := range append(h.p.Secrets(), tokens...) {
		if strings.Contains(all, secret) {
			h.t.Errorf("%.12s… is in a file or an error", secret)
		}
	}
}

// files are those below a folder, with what is in them.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		all = append(all, name+": "+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// keychains is the environment of a session in which one keychain is what is chosen.
func keychains(t *testing.T, name string) []string {
	if name == keychain.SecretService {
		_, env := keychaintest.Bus(t)
		keychaintest.Gnome(t, env, "open sesame")
		return append(env, "DISPLAY=:0") // on a desktop
	}
	_, env := keychaintest.Home(t)
	return env
}

// People sign in at a real provider, in processes of their own, with a real keychain,
// to envrund on SQLite, and stay signed in.
func TestPeople(t *testing.T) {
	if testing.Short() {
		t.Skip("real providers, processes and keychains: not in short mode")
	}
	t.Parallel()
	server := new(hashivault.Server)
	server.Addr, server.Token = realServer(t, "")
	idp.Each(t, func(t *testing.T, p *idp.Provider) {
		where := map[string]string{"zitadel": keychain.SecretService, "oidc-provider": keychain.Kernel}[p.Name]
		h := newHousehold(t, p, server, keychains(t, where))

		h.signIn("login", "alice")
		if index, err := os.ReadFile(filepath.Join(h.dir, "accounts.json")); err != nil || !strings.Contains(string(index), `"`+where+`"`) {
			t.Errorf("the key of the sessions is not in the %s keychain: %v %s", where, err, index)
		}
		token := h.token("")
		if !h.good(token) || p.Count(idp.Code) != 1 || p.Count(idp.Refresh) != 0 {
			t.Fatalf("signed in: the server takes the token: %t; %d refreshes", h.good(token), p.Count(idp.Refresh))
		}

		t.Run("sixteen processes, one refresh", func(t *testing.T) {
			var cmds []*exec.Cmd
			outs := make([]bytes.Buffer, 16)
			for i := range outs {
				cmd := h.process("token", token)
				cmd.Stdout, cmd.Stderr = &outs[i], os.Stderr
				cmds = append(cmds, cmd)
			}
			for _, cmd := range cmds {
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
			}
			for _, cmd := range cmds {
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
			}
			for i := range outs {
				if got := strings.TrimSpace(outs[i].String()); got == token || got != strings.TrimSpace(outs[0].String()) {
					t.Errorf("one process has another token")
				}
			}
			if n := p.Count(idp.Refresh); n != 1 {
				t.Errorf("the issuer was asked %d times", n)
			}
		})

		token = h.token("")
		p.RotateKeys()
		jwtConfig(t, server, "people", p.Issuer, map[string]string{"zitadel": "ES256", "oidc-provider": "RS256"}[p.Name]) // within half a minute it would not look
		for range 3 {
			was := token
			if token = h.token(was); token == was || !h.good(token) {
				t.Errorf("a refresh, with keys that changed: the server takes the token: %t", h.good(token))
			}
		}

		t.Run("an issuer that is away ends nothing", func(t *testing.T) {
			p.SetHook(func(kind string, w http.ResponseWriter, r *http.Request, next http.Handler) {
				if kind == idp.Refresh {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				next.ServeHTTP(w, r)
			})
			before := p.Count(idp.Refresh)
			out, err := h.run("token", token)
			p.SetHook(nil)
			if err == nil || out != "" || p.Count(idp.Refresh) != before+1 {
				t.Errorf("%q %v, %d requests", out, err, p.Count(idp.Refresh)-before)
			}
			if token = h.token(token); !h.good(token) {
				t.Error("the session did not outlive it")
			}
		})

		t.Run("Ctrl-C while the issuer answers", func(t *testing.T) {
			cmd := h.process("token", token)
			started := make(chan *os.Process, 1)
			p.SetHook(func(kind string, w http.ResponseWriter, r *http.Request, next http.Handler) {
				if kind == idp.Refresh {
					_ = (<-started).Signal(os.Interrupt)
				}
				next.ServeHTTP(w, r)
			})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			started <- cmd.Process
			_ = cmd.Wait() // it may have got to its end
			p.SetHook(nil)
			before := p.Count(idp.Refresh)
			if token = h.token(token); !h.good(token) {
				t.Error("the session did not outlive it")
			}
			if n := p.Count(idp.Refresh) - before; n > 1 {
				t.Errorf("%d refreshes after it", n)
			}
		})

		t.Run("Ctrl-C while somebody signs in", func(t *testing.T) {
			was := files(t, h.dir)
			for _, do := range []string{"login", "device"} {
				cmd := h.process(do, "")
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, "http") {
					t.Errorf("%q %v", line, err)
				}
				_ = cmd.Process.Signal(os.Interrupt)
				if cmd.Wait() == nil {
					t.Error("it signed somebody in")
				}
			}
			if now := files(t, h.dir); !slices.Equal(now, was) {
				t.Errorf("there was\n%q, now there is\n%q", was, now)
			}
		})

		t.Run("killed when the answer is on its way", func(t *testing.T) {
			cmd := h.process("token", token)
			started := make(chan *os.Process, 1)
			p.SetHook(func(kind string, w http.ResponseWriter, r *http.Request, next http.Handler) {
				if kind != idp.Refresh {
					next.ServeHTTP(w, r)
					return
				}
				next.ServeHTTP(httptest.NewRecorder(), r) // the issuer has given a new token
				_ = (<-started).Kill()
				panic(http.ErrAbortHandler)
			})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			started <- cmd.Process
			err := cmd.Wait()
			p.SetHook(nil)
			if err == nil {
				t.Fatal("it was not killed")
			}
			// The old refresh token is one that was used: for the issuer, a thief's.
			out, err := h.run("token", token)
			if err == nil || out != "sign in again" {
				t.Errorf("%q %v", out, err)
			}
			before := p.Count(idp.Refresh)
			if out, err = h.run("token", token); err == nil || out != "sign in again" || p.Count(idp.Refresh) != before {
				t.Errorf("the second time: %q %v, and the issuer was asked %d times", out, err, p.Count(idp.Refresh)-before)
			}
		})

		t.Run("a device, and signing out", func(t *testing.T) {
			h.signIn("device", "alice")
			token = h.token("")
			token = h.token(token)
			if !h.good(token) {
				t.Error("the token is not taken")
			}
			given := p.Tokens("refresh_token")
			if _, err := h.run("logout", ""); err != nil {
				t.Fatal(err)
			}
			if h.good(token) || p.Count(idp.Revoke) != 1 {
				t.Errorf("after signing out the token is good: %t; revoked %d times", h.good(token), p.Count(idp.Revoke))
			}
			lp, err := login.Discover(t.Context(), login.Options{Issuer: p.Issuer, ClientID: idp.ClientID})
			if err != nil {
				t.Fatal(err)
			}
			_, err = lp.Refresh(t.Context(), auth.NewSecret(given[len(given)-1]), login.Was{Subject: "alice", Issuer: p.Issuer})
			if refused, ok := errors.AsType[*login.RefusedError](err); !ok || !refused.Again() {
				t.Errorf("after signing out the refresh token is worth %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(h.dir, "sessions", "*")); len(left) != 0 {
				t.Errorf("signing out leaves %v", left)
			}
		})
		h.silent(token)
	})
}

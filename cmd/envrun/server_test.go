package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"envrun/auth/keychain/keychaintest"
	"envrun/vault/vaulttest/hashivault"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts of testdata/server are typed against a real Vault, and against our
// own server. A real vault command looks at either beside envrun. Each has a
// project whose environments are mounts of its own: $MOUNT/dev and $MOUNT/prod.
func TestServerScripts(t *testing.T) {
	t.Run("Vault", func(t *testing.T) { serverScripts(t, hashivault.Start(t), false) })
	t.Run("envrund", func(t *testing.T) { serverScripts(t, envrund(t), true) })
}

// envrund is our server, started for a test as a user starts it to try it out. The
// vault command that looks at it is Vault's: without one the test is skipped.
func envrund(t *testing.T) *hashivault.Server {
	t.Helper()
	if testing.Short() || os.Getenv(hashivault.Variable) == "" {
		t.Skipf("a real vault command looks at it: not in short mode, and not without %s", hashivault.Variable)
	}
	return hashivault.StartOwn(t)
}

// serverProgram is our server, built as the working tree has it.
func serverProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "envrund")
	if out, err := exec.Command("go", "build", "-o", program, "../envrund").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return program
}

// A counter stands before a server and keeps which requests went through it.
type counter struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func counting(t *testing.T, address string) *counter {
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c := new(counter)
	proxy := httputil.NewSingleHostReverseProxy(to)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.seen = append(c.seen, r.Method+" "+r.URL.String())
		c.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// requests [N]: since it was said last, the server was asked at most N times.
func requests(ts *testscript.TestScript, neg bool, args []string) {
	c := ts.Value("requests").(*counter)
	c.mu.Lock()
	seen := c.seen
	c.seen = nil
	c.mu.Unlock()
	if len(args) == 0 {
		return
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	if len(seen) > n != neg {
		ts.Fatalf("%d requests:\n%s", len(seen), strings.Join(seen, "\n"))
	}
}

// The condition [own] is true of our server.
func serverScripts(t *testing.T, s *hashivault.Server, own bool) {
	program := os.Getenv(hashivault.Variable)
	var n atomic.Int64
	ci := newPlatform(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/server",
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "own" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return own, nil
		},
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, ".home")
			if err := os.MkdirAll(home, 0o700); err != nil {
				return err
			}
			e.Defer(func() { keychaintest.ForgetUnlocked(home) })
			proxy := counting(t, s.Addr)
			e.Values["requests"] = proxy
			mount := "t" + strconv.FormatInt(n.Add(1), 10)
			for name, value := range map[string]string{
				"HOME": home, "XDG_RUNTIME_DIR": "", "CANARY": "canary-9f31c07be2",
				"SERVER": proxy.URL, "VAULT_ADDR": proxy.URL, "VAULT_TOKEN": s.Token, "MOUNT": mount, "VAULT": program,
				"ISSUER": ci.URL, "GITHUB": ci.github.URL,
			} {
				e.Setenv(name, value)
			}
			text := fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n\n[env.dev]\nmount = \"%s/dev\"\n\n[env.prod]\nmount = \"%s/prod\"\nprotected = true\n", proxy.URL, mount, mount)
			return os.WriteFile(filepath.Join(e.WorkDir, "envrun.toml"), []byte(text), 0o644)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"between":  between(t, s),
			"nowhere":  nowhere,
			"sub":      sub,
			"under":    under(t, s),
			"versions": versionsOf,
			"requests": requests,
			"asked":    asked,
			"idtoken":  ci.idtoken,
			"cluster":  clusterOf(t),
		},
	})
}

// versions N PATH: writes N versions of a secret into the file vault here, and
// commits each.
func versionsOf(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range n {
		ts.Check(ts.Exec("envrun", "set", fmt.Sprintf("%s/N=%d", args[1], i+1)))
		ts.Check(ts.Exec("git", "add", "."))
		ts.Check(ts.Exec("git", "commit", "-qm", "write"))
	}
}

// under POLICY COMMAND…: runs a command with a token that has the policy in a file.
func under(t *testing.T, s *hashivault.Server) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		policy := strings.ReplaceAll(ts.ReadFile(args[0]), "MOUNT", ts.Getenv("MOUNT"))
		name := ts.Getenv("MOUNT") + "-" + strings.TrimSuffix(filepath.Base(args[0]), ".hcl")
		if status, answer := s.Do(t, "PUT", "sys/policies/acl/"+name, map[string]any{"policy": policy}); status != 204 {
			ts.Fatalf("%d %v", status, answer)
		}
		before := ts.Getenv("VAULT_TOKEN")
		ts.Setenv("VAULT_TOKEN", s.TokenFor(t, name))
		err := ts.Exec(args[1], args[2:]...)
		ts.Setenv("VAULT_TOKEN", before)
		if neg && err == nil {
			ts.Fatalf("it succeeded")
		}
		if !neg {
			ts.Check(err)
		}
	}
}

package main

import (
	"database/sql"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"envrun/vault/audit"
	"envrun/vault/vaulttest/hashivault"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// The scripts of testdata/audit have a server of ours each, with its database in a file
// that they can put back and edit, and a project whose environments are on it.
//
//	serve           starts the server, unsealed
//	stop            ends it
//	as FILE|root [JSON]      from here on the token has the policy in a file, and what else is asked for it
//	ask METHOD PATH [JSON]   asks the server, with the root token
//	until FILE PATTERN       waits until a file has a match
//	request VAR FILE         sets VAR to the id of the request of an entry
//	sql STATEMENT   changes the database of a server that is stopped
func TestAuditServerScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the server and starts several")
	}
	if runtime.GOOS == "windows" {
		t.Skip("a server is stopped by a signal")
	}
	program := serverProgram(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/audit",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, ".home")
			if err := os.MkdirAll(home, 0o700); err != nil {
				return err
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			addr := l.Addr().String()
			if err := l.Close(); err != nil {
				return err
			}
			data := filepath.Join(e.WorkDir, "data")
			s := &logServer{server: hashivault.Server{Addr: "http://" + addr}, program: program, dir: e.WorkDir, listen: addr}
			if err := os.WriteFile(filepath.Join(e.WorkDir, "envrund.toml"), []byte("data = \"data\"\nplain_http = \"loopback\"\n[seal]\nidentity = \"ops.txt\"\n"), 0o600); err != nil {
				return err
			}
			out, err := s.run("init", "--new-identity", filepath.Join(e.WorkDir, "ops.txt"), "--env", "dev,prod", "--json").Output()
			if err != nil {
				return err
			}
			var facts struct {
				RootToken string `json:"root_token"`
			}
			if err := json.Unmarshal(out, &facts); err != nil {
				return err
			}
			s.server.Token = facts.RootToken
			e.Values["server"] = s
			e.Defer(s.stop)
			for name, value := range map[string]string{
				"HOME": home, "XDG_RUNTIME_DIR": "", "CANARY": "canary-9f31c07be2", "DATA": data,
				"SERVER": s.server.Addr, "VAULT_ADDR": s.server.Addr, "VAULT_TOKEN": s.server.Token, "ROOT": s.server.Token,
			} {
				e.Setenv(name, value)
			}
			text := "vault = \"" + s.server.Addr + "\"\nproject = \"app\"\ndefault = \"dev\"\n\n[env.dev]\n\n[env.prod]\n"
			return os.WriteFile(filepath.Join(e.WorkDir, "envrun.toml"), []byte(text), 0o644)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"nowhere": nowhere,
			"sub":     sub,
			"request": func(ts *testscript.TestScript, _ bool, args []string) {
				e, err := audit.Parse([]byte(strings.TrimSpace(ts.ReadFile(args[1]))))
				ts.Check(err)
				ts.Setenv(args[0], e.Request.ID)
			},
			"serve": func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).serve(ts) },
			"stop":  func(ts *testscript.TestScript, _ bool, _ []string) { of(ts).stop() },
			"as": func(ts *testscript.TestScript, _ bool, args []string) {
				s := of(ts)
				if args[0] == "root" {
					ts.Setenv("VAULT_TOKEN", s.server.Token)
					return
				}
				name := strings.TrimSuffix(filepath.Base(args[0]), ".hcl")
				if status, answer := s.server.Do(t, "PUT", "sys/policies/acl/"+name, map[string]any{"policy": ts.ReadFile(args[0])}); status != http.StatusNoContent {
					ts.Fatalf("%d %v", status, answer)
				}
				body := map[string]any{"policies": []string{name}, "display_name": name}
				if len(args) > 1 {
					ts.Check(json.Unmarshal([]byte(args[1]), &body))
				}
				status, answer := s.server.Do(t, "POST", "auth/token/create", body)
				if status != http.StatusOK {
					ts.Fatalf("%d %v", status, answer)
				}
				ts.Setenv("VAULT_TOKEN", answer["auth"].(map[string]any)["client_token"].(string))
			},
			"ask": func(ts *testscript.TestScript, _ bool, args []string) {
				var body any
				if len(args) > 2 {
					ts.Check(json.Unmarshal([]byte(args[2]), &body))
				}
				if status, answer := of(ts).server.Do(t, args[0], args[1], body); status >= 300 {
					ts.Fatalf("%d %v", status, answer)
				}
			},
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				want := regexp.MustCompile(args[1])
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					if text, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && want.Match(text) {
						return
					}
				}
				ts.Fatalf("%s has no %s: %s", args[0], args[1], ts.ReadFile(args[0]))
			},
			"sql": func(ts *testscript.TestScript, _ bool, args []string) {
				db, err := sql.Open("sqlite", "file:"+filepath.Join(ts.Getenv("DATA"), "envrun.db"))
				ts.Check(err)
				defer db.Close()
				_, err = db.Exec(args[0])
				ts.Check(err)
			},
		},
	})
}

// logServer is the server of one script.
type logServer struct {
	server               hashivault.Server
	program, dir, listen string
	running              *exec.Cmd
}

func of(ts *testscript.TestScript) *logServer { return ts.Value("server").(*logServer) }

func (s *logServer) run(args ...string) *exec.Cmd {
	cmd := exec.Command(s.program, append(args, "--config", filepath.Join(s.dir, "envrund.toml"))...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	cmd.Dir = s.dir
	return cmd
}

// serve starts the server and waits until it is unsealed.
func (s *logServer) serve(ts *testscript.TestScript) {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	s.running = s.run("serve", "--listen", s.listen)
	s.running.Stderr = log
	ts.Check(s.running.Start())
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(s.server.Addr + "/v1/sys/health")
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("the server does not answer: %s", ts.ReadFile("log"))
}

func (s *logServer) stop() {
	if s.running != nil {
		_ = s.running.Process.Signal(os.Interrupt)
		_ = s.running.Wait()
		s.running = nil
	}
}

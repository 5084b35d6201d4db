package main

import (
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"envrun/cmd/internal/generated"
	"envrun/vault/vaulttest/hashivault"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"envrund": main, "person": personMain})
}

// The program as an operator types it, and the real vault command against it.
//
// A script has $ADDR and $OTHER, where nothing listens yet, and besides what testscript has:
//
//	listens [VAR]        waits until $ADDR answers, or the address in another variable
//	fact VAR FILE KEY…   sets VAR to what stands in a JSON file
//	pin FILE             sets ENVRUND_PIN to the pin that a server printed
//	call METHOD PATH [FILE]  asks $VAULT_ADDR as $VAULT_TOKEN, with a body; answer.json has the answer
//	waitfor FILE TEXT    waits until a file has a text
//	expand FILE          puts the environment into a file, where it says $NAME
//
// [vault] is whether there is a vault program; then vault runs it. [client:NAME] is
// whether there is such a client in $CLIENTS, where .ci/clients puts them.
func TestScript(t *testing.T) {
	vault := os.Getenv(hashivault.Variable)
	if vault == "" {
		t.Logf("without the scripts that drive a real vault command: %s=$(.ci/vault) go test …", hashivault.Variable)
	}
	clients := os.Getenv("ENVRUN_TEST_CLIENTS")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"ADDR", "OTHER"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				e.Setenv(name, l.Addr().String())
				if err := l.Close(); err != nil {
					return err
				}
			}
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("CLIENTS", clients)
			e.Setenv("VAULT_FORMAT", "")
			if vault != "" {
				bin := filepath.Join(e.WorkDir, ".bin")
				if err := os.Mkdir(bin, 0o700); err != nil {
					return err
				}
				if err := os.Symlink(vault, filepath.Join(bin, "vault")); err != nil {
					return err
				}
				e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "vault" {
				return vault != "", nil
			}
			if name, ok := strings.CutPrefix(cond, "client:"); ok {
				_, err := os.Stat(filepath.Join(clients, name))
				return clients != "" && err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"listens": listens, "fact": fact, "pin": pin, "sql": execSQL, "call": call, "waitfor": waitFor, "expand": expand},
	})
}

func listens(ts *testscript.TestScript, _ bool, args []string) {
	addr := ts.Getenv(append(args, "ADDR")[0])
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	ts.Fatalf("nothing listens on %s", addr)
}

func fact(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	for _, key := range args[2:] {
		switch c := v.(type) {
		case map[string]any:
			v = c[key]
		case []any:
			n, err := strconv.Atoi(key)
			ts.Check(err)
			v = c[n]
		}
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

var pinned = regexp.MustCompile(`sha256/[A-Za-z0-9+/]{43}=`)

func pin(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(file) // it is not there yet
		if p := pinned.FindString(string(text)); p != "" {
			ts.Setenv("ENVRUND_PIN", p)
			return
		}
	}
	ts.Fatalf("%s has no pin", file)
}

func call(ts *testscript.TestScript, neg bool, args []string) {
	var body io.Reader = http.NoBody
	if len(args) > 2 {
		body = strings.NewReader(ts.ReadFile(args[2]))
	}
	req, err := http.NewRequest(args[0], ts.Getenv("VAULT_ADDR")+"/v1/"+args[1], body)
	ts.Check(err)
	req.Header.Set("X-Vault-Token", ts.Getenv("VAULT_TOKEN"))
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	if refused := res.StatusCode >= 300; refused != neg {
		ts.Fatalf("%s %s: %s %s", args[0], args[1], res.Status, text)
	}
	ts.Check(os.WriteFile(ts.MkAbs("answer.json"), text, 0o600))
}

func expand(ts *testscript.TestScript, _ bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func waitFor(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text, _ := os.ReadFile(file) // it may not be there yet
		if strings.Contains(string(text), args[1]) {
			return
		}
	}
	text, _ := os.ReadFile(file)
	ts.Fatalf("%s does not get %q: %s", args[0], args[1], text)
}

// The completion scripts and the man pages are those of the commands; with
// -update they are written.
func TestGenerated(t *testing.T) {
	generated.Check(t, func() *cobra.Command {
		root := newRoot(&tool{})
		root.InitDefaultHelpCmd()
		return root
	}, flag.Lookup("update").Value.String() == "true") // which clients_test.go has
}

// Clients compare the version, and take features from it.
func TestVersionIsSemver(t *testing.T) {
	// Terraform's provider takes features from it, and Enterprise's from "ent".
	if !regexp.MustCompile(`^1\.\d+\.\d+\+[a-z]+$`).MatchString(apiVersion) || strings.Contains(apiVersion, "ent") {
		t.Errorf("%q is no version that clients can compare", apiVersion)
	}
}

// execSQL changes the database of a server that is stopped, past everything that
// keeps it: sql STATEMENT.
func execSQL(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(ts.Getenv("ENVRUND_DATA"), "envrun.db"))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[0])
	ts.Check(err)
}

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"envrun/vault"
	"envrun/vault/vaulttest"
	"envrun/vault/vaulttest/pgtest"
)

// program builds envrund, once for a test and what is below it.
func program(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "envrund")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return program
}

// starts starts envrund, to be ended with the test, and returns what it prints or
// logs.
func starts(t *testing.T, cmd *exec.Cmd, pipe func() (io.ReadCloser, error)) *bufio.Reader {
	t.Helper()
	out, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("envrund: %v", err)
		}
	})
	return bufio.NewReader(out)
}

// devServer is envrund dev as a user starts it, with more arguments. It ends with the test.
func devServer(t *testing.T, args ...string) (address, token string) {
	t.Helper()
	cmd := exec.Command(program(t), append([]string{"dev", "--listen", "127.0.0.1:0", "--json"}, args...)...)
	cmd.Stderr = os.Stderr
	line, err := starts(t, cmd, cmd.StdoutPipe).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var facts struct {
		Address   string
		RootToken string `json:"root_token"`
	}
	if err := json.Unmarshal(line, &facts); err != nil {
		t.Fatal(err)
	}
	return facts.Address, facts.RootToken
}

// listening is the address in the line of the log that says that it serves.
var listening = regexp.MustCompile(` listening=(\S+)`)

// realServer is envrund set up and served as an operator does it, on a database: ""
// is SQLite on disk. An identity beside it opens it. It ends with the test.
func realServer(t *testing.T, database string) (address, token string) {
	t.Helper()
	envrund, dir := program(t), t.TempDir()
	config := fmt.Sprintf("listen = \"127.0.0.1:0\"\ndata = %q\ndatabase = %q\nplain_http = \"loopback\"\n[seal]\nidentity = %q\n", filepath.Join(dir, "data"), database, filepath.Join(dir, "ops.txt"))
	file := filepath.Join(dir, "envrund.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	setUp := exec.Command(envrund, "init", "--config", file, "--new-identity", filepath.Join(dir, "ops.txt"), "--json")
	setUp.Stderr = os.Stderr
	text, err := setUp.Output()
	if err != nil {
		t.Fatal(err)
	}
	var facts struct {
		RootToken string `json:"root_token"`
	}
	if err := json.Unmarshal(text, &facts); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(envrund, "serve", "--config", file)
	log := starts(t, cmd, cmd.StderrPipe)
	said := ""
	for {
		line, err := log.ReadString('\n')
		said += line
		if err != nil {
			t.Fatalf("envrund ended: %s", said)
		}
		if m := listening.FindStringSubmatch(line); m != nil {
			go func() { _, _ = io.Copy(io.Discard, log) }() // it must not wait for us
			return "http://" + m[1], facts.RootToken
		}
	}
}

// The one suite of all vaults, over HTTP: envrun's client and our own server, on each
// of its databases. The tables are nobody's vault by themselves: what makes fields,
// notes and the versions of each field out of KV v2 is the client, and who speaks to
// the tables past the server leaves out its decisions and its log. So this is how
// SQLite and PostgreSQL pass the suite; what is theirs alone, transactions, durability
// and what a stolen or changed database gives away, vault/sqlstore and vault/kv test.
func TestSuiteOverRemote(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the server: not in short mode")
	}
	suite := func(t *testing.T, address, token string) {
		vaulttest.Run(t, func(t *testing.T) vault.Vault {
			v := remoteAt(t, address, token)
			for _, env := range []vault.Env{vaulttest.Dev, vaulttest.Prod} {
				if err := v.RemoveEnv(t.Context(), env); err != nil && vault.KindOf(err) != vault.KindNoEnv {
					t.Fatal(err)
				}
				if err := v.AddEnv(t.Context(), env); err != nil {
					t.Fatal(err)
				}
			}
			return v
		})
	}
	t.Run("Memory", func(t *testing.T) {
		address, token := devServer(t)
		suite(t, address, token)
		t.Run("Plain", func(t *testing.T) { suite(t, plain(t, address), token) })
	})
	t.Run("SQLite", func(t *testing.T) {
		address, token := realServer(t, "")
		suite(t, address, token)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		pg := pgtest.Start(t, false)
		pg.Exec(t, "postgres", "CREATE DATABASE envrund")
		address, token := realServer(t, pg.URL("envrund"))
		suite(t, address, token)
	})
}

package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"envrun/vault"
	"envrun/vault/remote"
	"envrun/vault/vaulttest"
)

// devServer is envrund dev as a user starts it, with more arguments. It ends with the test.
func devServer(t *testing.T, args ...string) (address, token string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "envrund")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	cmd := exec.Command(program, append([]string{"dev", "--listen", "127.0.0.1:0", "--json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
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
	line, err := bufio.NewReader(out).ReadBytes('\n')
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

// The one suite of all vaults, over HTTP: envrun's client and our own server.
func TestSuiteOverRemote(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the server: not in short mode")
	}
	address, token := devServer(t)
	vaulttest.Run(t, func(t *testing.T) vault.Vault {
		v, err := remote.Open(remote.Options{Address: address, Token: func(context.Context) (string, error) { return token, nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
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

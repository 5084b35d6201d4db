package main_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"envrun/vault/vaulttest/hashivault"
)

var update = flag.Bool("update", false, "write what a real Vault says to the clients, for the comparison")

// clientsVariable names the folder of real clients, as .ci/clients prints it.
const clientsVariable = "ENVRUN_TEST_CLIENTS"

// client is the path of a client, or the end of the test where there is none.
func client(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv(clientsVariable)
	if folder == "" {
		t.Skipf("no real clients: %s=$(.ci/clients) go test …", clientsVariable)
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s here: .ci/clients says why", name)
	}
	return path
}

// Programs that use the clients which others wrote are told by envrund what a real
// Vault tells them: testdata/clients holds the lines that it had them print. Where
// there is one, it is asked again.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real clients: not in short mode")
	}
	t.Parallel()
	for _, name := range []string{"goapi-hashicorp", "goapi-openbao", "node"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := []string{client(t, name)}
			if name == "node" {
				command = []string{"node", client(t, "node/steps.mjs")}
			}
			golden := filepath.Join("testdata", "clients", name+".txt")
			t.Run("vault", func(t *testing.T) {
				s := hashivault.Start(t)
				compareLines(t, golden, *update, steps(t, command, s.Addr, s.Token))
			})
			t.Run("envrund", func(t *testing.T) {
				address, token := devServer(t)
				compareLines(t, golden, false, steps(t, command, address, token))
			})
		})
	}
}

// steps is what a client prints.
func steps(t *testing.T, command []string, address, token string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH"), "VAULT_ADDR=" + address, "VAULT_TOKEN=" + token}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s", command[0], err, complaints.String())
	}
	return string(out)
}

// compareLines compares what was printed with a file, line by line.
func compareLines(t *testing.T, golden string, update bool, got string) {
	t.Helper()
	if update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want, have := strings.Split(string(text), "\n"), strings.Split(got, "\n")
	for i := range max(len(want), len(have)) {
		var w, h string
		if i < len(want) {
			w = want[i]
		}
		if i < len(have) {
			h = have[i]
		}
		if w != h {
			t.Errorf("line %d:\n  got  %s\n  want %s", i+1, h, w)
		}
	}
}

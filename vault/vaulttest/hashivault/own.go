package hashivault

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// StartOwn starts our own server, as a user does to try it out: nothing of Vault's is
// needed. It is built as the working tree has it.
func StartOwn(t testing.TB) *Server {
	t.Helper()
	program := filepath.Join(t.TempDir(), "envrund")
	if out, err := exec.Command("go", "build", "-o", program, "envrun/cmd/envrund").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	cmd := exec.Command(program, "dev", "--listen", "127.0.0.1:0", "--json")
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
		_ = cmd.Wait()
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
	return &Server{Addr: facts.Address, Token: facts.RootToken}
}

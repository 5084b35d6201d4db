//go:build unix

package main_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A copy with its history that is killed at any moment, over and over, ends with all
// of it: every version, each in a commit, and none twice.
func TestVaultCopyKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills fifteen copies: not in short mode")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("suite killed copies skipped: no git here")
	}
	const secrets, versions = 12, 4
	alice := newPerson(t)
	alice.git("init", "-q", "-b", "main")
	alice.setup("dev")
	for v := range versions {
		set := []string{"set"}
		for s := range secrets {
			set = append(set, fmt.Sprintf("s%d/V=%d-%d", s, s, v))
		}
		alice.must("", set...)
		alice.git("add", ".")
		alice.git("commit", "-qm", "write")
	}
	copying := []string{"vault", "copy", "--to", "there/vault", "--history", "--commit", "--no-recovery"}
	begun := time.Now()
	first := alice.envrun(append(copying, "--dry-run")...)
	if out, err := first.CombinedOutput(); err != nil || !strings.Contains(string(out), fmt.Sprintf("%d versions to write of %d secrets", secrets*versions, secrets)) {
		t.Fatalf("%v: %s", err, out)
	}
	one := time.Since(begun)
	for range 15 {
		cmd := alice.envrun(copying...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(4 * one)) // wherever that is
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	// A git that was under way when envrun was killed may hold its lock for a moment.
	var out string
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, errs, code := alice.pipe("", copying...)
		if out = errs; code == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it does not go on: %s", out)
		}
	}
	if want := fmt.Sprintf("%d values in %d versions of %d secrets, all the same", secrets*versions, secrets*versions, secrets); !strings.Contains(out, want) {
		t.Errorf("not %q: %s", want, out)
	}
	alice.write("envrun.toml", fmt.Sprintf("vault = %q\nproject = \"app\"\ndefault = \"dev\"\n[env.dev]\n", filepath.Join(alice.dir, "there/vault")))
	if out := alice.must("", "history", "s0"); strings.Count(out, "\n") != versions || strings.Contains(out, "not committed") {
		t.Errorf("history at the target:\n%s", out)
	}
	alice.must("", "vault", "verify")
}

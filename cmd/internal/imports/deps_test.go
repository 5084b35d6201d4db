package imports_test

import (
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of dependencies")

const depsFile = "../../envrun/deps.txt"

// What the program links is a text in the repository, so that a new dependency
// shows in review: each is paid at every start. Written with -update, after the
// cost at start was measured. The list is asked of go itself, so run it with
// -count=1 (CI does): the test cache does not see what go reads.
func TestDependencyList(t *testing.T) {
	all := map[string]bool{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "envrun/cmd/envrun")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(string(out)) {
			all[name] = true
		}
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	want := strings.Join(names, "\n") + "\n"
	if *update {
		if err := os.WriteFile(depsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(depsFile)
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(string(have))
	for _, name := range names {
		if !slices.Contains(listed, name) {
			t.Errorf("the program links %s, which is not in cmd/envrun/deps.txt: measure what it costs at start, then go test ./cmd/internal/imports -update", name)
		}
	}
	for _, name := range listed {
		if !all[name] {
			t.Errorf("cmd/envrun/deps.txt lists %s, which is not linked any more", name)
		}
	}
}

// The two programs share what they must and no more: also by way of others.
func TestProgramsApart(t *testing.T) {
	for _, c := range []struct {
		program string
		never   []string
	}{
		{"envrun/cmd/envrund", []string{"charm.land/", "github.com/charmbracelet/", "envrun/tui", "envrun/vault/filevault"}},
		{"envrun/cmd/envrun", []string{"envrun/vault/server", "envrun/vault/guard", "envrun/vault/sqlstore", "envrun/vault/sqlite", "envrun/vault/kv", "envrun/vault/keyring", "modernc.org/", "github.com/jackc/"}},
	} {
		out, err := exec.Command("go", "list", "-deps", c.program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(string(out)) {
			for _, never := range c.never {
				if strings.HasPrefix(name, never) {
					t.Errorf("%s links %s", c.program, name)
				}
			}
		}
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"envrun/cmd/internal/cli"
)

func TestRecorders(t *testing.T) {
	for _, variable := range []string{"ASCIINEMA_REC", "ASCIINEMA_SESSION", "SCRIPT"} {
		got := recorderIn(func(name string) string {
			if name == variable {
				return "x"
			}
			return ""
		})
		if got == "" {
			t.Errorf("%s says nothing", variable)
		}
	}
	proc := t.TempDir()
	process := func(pid, parent int, name string) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stat"), fmt.Appendf(nil, "%d (%s) S %d 1 1", pid, name, parent), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	process(9, 8, "bash")
	process(8, 7, "script")
	process(7, 1, "x) S 8 (")
	process(6, 7, "zsh")
	process(5, 5, "a circle")
	process(4, 3, "an orphan")
	for pid, want := range map[int]string{9: "script", 8: "script", 7: "", 6: "", 5: "", 4: "", 1: "", 99: ""} {
		if got := recorderAbove(proc, pid); got != want {
			t.Errorf("above %d there is %q, want %q", pid, got, want)
		}
	}
}

func TestSharing(t *testing.T) {
	for value, want := range map[string][2]bool{"": {}, "0": {}, "no": {}, "1": {true, false}, "yes": {true, false}, "names": {true, true}} {
		tool := &tool{Streams: cli.Streams{Getenv: func(name string) string {
			if name == "ENVRUN_SHARE" {
				return value
			}
			return ""
		}}}
		share, names, recorder := tool.sharing(false)
		if share != (want[0] || recorder != "") || names != want[1] {
			t.Errorf("%q: %v, %v", value, share, names)
		}
		if share, _, _ := tool.sharing(true); !share {
			t.Errorf("%q: --share does nothing", value)
		}
	}
}

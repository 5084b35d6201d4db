package run_test

import (
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// A sealed file in memory needs no supervisor: the program is the process
// itself, reads it as often as it likes, and cannot change it (runner F3).
func TestMemFD(t *testing.T) {
	t.Parallel()
	for _, o := range []options{{Exec: true}, {Supervise: true}} {
		o.MemFD = true
		o.Files = map[string]string{"A": "first\x00", "B": strings.Repeat("b", 90_000)}
		cmd := mode{"", &o}.command(t, "/bin/sh", "-c", `cat "$A" "$A"; cat "$B" | wc -c; echo x 2>/dev/null >>"$A" || echo sealed; echo $$; echo "$A"`)
		lines := strings.Split(output(t, cmd), "\n")
		if lines[0] != "first\x00first\x0090000" || lines[1] != "sealed" {
			t.Errorf("%.100q", lines)
		}
		if (lines[2] == strconv.Itoa(cmd.Process.Pid)) != o.Exec {
			t.Errorf("exec %v: the program is %s, the wrapper %d", o.Exec, lines[2], cmd.Process.Pid)
		}
		if !strings.HasPrefix(lines[3], "/proc/self/fd/") {
			t.Errorf("path %q", lines[3])
		}
	}
	// Through a terminal of its own as well.
	s := onScreen(t, mode{"", &options{MemFD: true, Mask: "always", Files: map[string]string{"A": "first"}}}.command(t, "/bin/sh", "-c", `cat "$A"`))
	s.expect("first")
	if got := s.wait(); got != "exit 0" {
		t.Error(got)
	}
}

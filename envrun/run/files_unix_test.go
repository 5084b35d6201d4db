//go:build !windows

package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// list returns what is in a folder.
func list(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// delivering is a run that delivers one file below base.
func delivering(base string) mode {
	return mode{"files", &options{Files: map[string]string{"KEY_FILE": "the key\n\x00binary"}, RuntimeDir: base, RuntimeDirAny: true}}
}

// A file has its bytes, is its owner's alone whatever the umask, can be read
// twice, and is gone afterwards (runner F1, F2).
func TestFiles(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, umask := range []string{"022", "0", "0777"} {
		cmd := delivering(base).command(t, "/bin/sh", "-c", `cat "$KEY_FILE" "$KEY_FILE"; ls -ldn "${KEY_FILE%/*}" "$KEY_FILE" | cut -c1-10`)
		cmd.Args = append([]string{"/bin/sh", "-c", "umask " + umask + `; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		const want = "the key\n\x00binarythe key\n\x00binarydrwx------\n-rw-------\n"
		if got := output(t, cmd); got != want {
			t.Errorf("umask %s: %q, want %q", umask, got, want)
		}
		if left := list(t, base); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// Where nothing is asked for, files are in memory.
func TestFilesInMemory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("no /dev/shm here")
	}
	o := &options{Files: map[string]string{"F": "x"}, RuntimeDir: t.TempDir()}
	if inMemory(o.RuntimeDir) {
		t.Skip("the temporary folder is in memory here")
	}
	cmd := mode{"", o}.command(t, "/bin/sh", "-c", `cat "$F"; echo; echo "$F"`)
	out := output(t, cmd)
	path, ok := strings.CutPrefix(out, "x\n/dev/shm/envrun-")
	if !ok {
		t.Fatalf("%q", out)
	}
	if _, err := os.Stat("/dev/shm/envrun-" + strings.TrimSpace(path)); err == nil {
		t.Error("left behind")
	}
}

// They are removed however the run ends, unless it is killed; then by the next one.
func TestFilesRemoved(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGKILL} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			marker := filepath.Join(t.TempDir(), "started")
			cmd := noTTY(delivering(base).command(t, "/bin/sh", "-c", "echo >"+marker+"; exec sleep 1000"))
			start(t, cmd)
			eventually(t, "the program to start", func() bool { _, err := os.Stat(marker); return err == nil })
			if len(list(t, base)) != 1 {
				t.Error("no folder")
			}
			// Another run must not touch the files of one that lives.
			if got := end(delivering(base).command(t, "/bin/sh", "-c", `test -f "$KEY_FILE"`).Run()); got != "exit 0" {
				t.Error(got)
			}
			if len(list(t, base)) != 1 {
				t.Error("the folder of a run was removed by another")
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if got, want := ended(t, cmd), "signal "+unix.SignalName(sig); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if sig == unix.SIGKILL {
				if got := end(delivering(base).command(t, "/bin/sh", "-c", `test -f "$KEY_FILE"`).Run()); got != "exit 0" {
					t.Error(got)
				}
			}
			if left := list(t, base); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("not started", func(t *testing.T) {
		t.Parallel()
		base := t.TempDir()
		for _, program := range []string{"no-such-program", "/etc/passwd"} {
			_ = delivering(base).command(t, program).Run()
		}
		script := writeFile(t, t.TempDir(), "script", "#!/no/such/interpreter\n", 0o755)
		_ = delivering(base).command(t, script).Run()
		if left := list(t, base); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// Runs at the same time do not disturb each other.
func TestFilesTogether(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	t.Cleanup(func() {
		if left := list(t, base); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	for i := range 12 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for range 3 {
				if out := output(t, delivering(base).command(t, "/bin/sh", "-c", `cat "$KEY_FILE"`)); out != "the key\n\x00binary" {
					t.Errorf("%q", out)
				}
			}
		})
	}
}

// A folder that is not ours alone is refused, with words.
func TestFilesRefused(t *testing.T) {
	t.Parallel()
	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, t.TempDir(), "file", "", 0o600)
	for dir, want := range map[string]string{
		open:               "can be written to by other users",
		file:               "is not a folder",
		open + "/no/where": "no such file",
	} {
		cmd := delivering(dir).command(t, "/bin/sh", "-c", "echo started")
		var errs capture
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if got := end(err); got != "exit 125" || len(out) > 0 {
			t.Errorf("%s: %s, said %q", dir, got, out)
		}
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%s: %q does not say %q", dir, errs.String(), want)
		}
	}
}

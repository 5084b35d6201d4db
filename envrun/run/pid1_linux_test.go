package run_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// As process 1 of a container, the supervisor reaps what others leave to it, passes
// signals on, and ends with the program (runner M4).
func TestProcessOne(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a PID namespace")
	}
	inNamespace := func(m mode, argv ...string) *exec.Cmd {
		cmd := m.command(t, argv...)
		cmd.Args = append([]string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", cmd.Path}, cmd.Args[1:]...)
		path, err := exec.LookPath("unshare")
		if err != nil {
			t.Skip("no unshare here")
		}
		cmd.Path = path
		return noTTY(cmd)
	}
	if err := inNamespace(modes()[0], "/bin/true").Run(); err != nil {
		t.Skip("no PID namespaces here:", err)
	}
	each(t, append(modes()[1:], maskModes()[0]), func(t *testing.T, m mode) {
		if m.name != "exec" {
			// Each inner shell leaves a child to process 1, which must not stay a
			// zombie.
			cmd := inNamespace(m, "/bin/bash", "-c", `
for i in 1 2 3 4 5 6 7 8 9 10; do (bash -c ':' & exec true); done
for i in $(seq 1000); do
	zombies=$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)
	[ $zombies = 0 ] && break
	sleep 0.01
done
echo "zombies $zombies, parent $PPID"
exit 9`)
			out, err := cmd.Output()
			if got := end(err); got != "exit 9" || string(out) != "zombies 0, parent 1\n" {
				t.Errorf("%s, %q", got, out)
			}
		}
		// No signal ends process 1 by default: the status says 128 + n.
		out, err := inNamespace(m, "/bin/sh", "-c", "kill -KILL $$; echo still there").Output()
		if got := end(err); got != "exit 137" && m.name != "exec" {
			t.Errorf("%s, %q", got, out)
		}
		program, file := probeScript(t)
		cmd := inNamespace(m, program, file, "until=SIGTERM")
		var errs capture
		cmd.Stderr = &errs // something that is masked
		start(t, cmd)
		started(t, file)
		children, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/task/" + strconv.Itoa(cmd.Process.Pid) + "/children")
		if err != nil {
			t.Skip(err)
		}
		one, err := strconv.Atoi(strings.TrimSpace(string(children)))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(one, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		got(t, file, "SIGUSR1", 1)
		if m.name == "exec" {
			return // as process 1 itself, the probe cannot die of TERM
		}
		if err := unix.Kill(one, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := ended(t, cmd); got != "exit 143" {
			t.Errorf("%s: %s", got, errs.String())
		}
	})
}

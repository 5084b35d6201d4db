package run_test

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// starter sets what a program inherits besides its environment, so that none of it
// is as it is everywhere, and becomes its arguments. Python can do that; a Go
// program changes some of it at its own start.
const starter = `
import os, resource, signal, sys
os.umask(0o027)
for what, soft in (resource.RLIMIT_NOFILE, 333), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_STACK, 4 << 20):
    resource.setrlimit(what, (soft, resource.getrlimit(what)[1]))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGALRM, signal.SIGTTOU})
for s in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(s, signal.SIG_DFL)
for s in (signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN):
    signal.signal(s, signal.SIG_IGN)
# Who starts us through posix_spawn, as make does, leaves the C library's own
# signals ignored; Python has no name for them.
import ctypes
libc = ctypes.CDLL(None)
class action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("flags", ctypes.c_ulong), ("restorer", ctypes.c_void_p), ("mask", ctypes.c_ulong)]
for s in 32, 33:
    libc.syscall(13 if os.uname().machine == "x86_64" else 134, s, ctypes.byref(action()), None, 8)
os.set_inheritable(os.dup2(os.open("/dev/null", os.O_RDONLY), 7), True)
os.nice(3)
os.execv(sys.argv[1], sys.argv[1:])
`

// What the kernel says of a program is the same whether or not envrun started
// it: signals blocked and ignored, limits, umask, priority, open files, rights,
// environment.
func TestInvisible(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 sets up what the program inherits, and is not here")
	}
	script := writeFile(t, t.TempDir(), "starter.py", starter, 0o644)
	lookAt := func(t *testing.T, m mode, argv ...string) string {
		inner := m.command(t, argv...)
		cmd := exec.Command("python3", append([]string{script, inner.Path}, inner.Args[1:]...)...)
		cmd.Env = inner.Env
		return output(t, cmd)
	}
	look := func(t *testing.T, m mode) string {
		var seen []string
		for line := range strings.Lines(lookAt(t, m, "/bin/cat", "/proc/self/status", "/proc/self/limits")) {
			name, _, _ := strings.Cut(line, ":")
			switch name {
			case "Pid", "PPid", "Tgid", "NSpid", "NStgid", "NSpgid", "SigQ", "FDSize", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches":
			default:
				if !strings.HasPrefix(name, "Vm") && !strings.HasPrefix(name, "Rss") {
					seen = append(seen, line)
				}
			}
		}
		stat := strings.Fields(lookAt(t, m, "/bin/cat", "/proc/self/stat"))
		seen = append(seen, "nice "+stat[18]+"\n")
		for line := range strings.Lines(lookAt(t, m, "/usr/bin/find", "/proc/self/fd", "-printf", "fd %f %l\n")) {
			if !strings.Contains(line, "pipe:") && !strings.Contains(line, "/proc/") {
				seen = append(seen, line)
			}
		}
		env := strings.Split(lookAt(t, m, "/bin/cat", "/proc/self/environ"), "\x00")
		env = slices.DeleteFunc(env, func(entry string) bool { return strings.HasPrefix(entry, "RUN_TEST_") })
		slices.Sort(env)
		return strings.Join(seen, "") + strings.Join(env, "\n")
	}
	bare := look(t, modes()[0])
	for _, want := range []string{"Umask:\t0027", " 333 ", "fd 7 /dev/null", "SigBlk:\t0000000000202800", "SigIgn:\t0000000000180003", "nice 3"} {
		if !strings.Contains(bare, want) {
			t.Fatalf("the starter did not do its work: no %q in\n%s", want, bare)
		}
	}
	each(t, modes()[1:], func(t *testing.T, m mode) {
		if with := look(t, m); with != bare {
			t.Errorf("with envrun:\n%s\nwithout:\n%s", with, bare)
		}
	})
}

// A program that is to end with its parent still is when envrun became it: that
// belongs to a thread, and execve from another one loses it.
func TestParentDeathSignal(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 asks for the signal, and is not here")
	}
	const prctl = "import ctypes, os, sys; c = ctypes.CDLL(None); n = ctypes.c_int(); "
	inner := modes()[1].command(t, "python3", "-c", prctl+"c.prctl(2, ctypes.byref(n)); print(n.value)")
	cmd := exec.Command("python3", append([]string{"-c", prctl + "c.prctl(1, 12); os.execv(sys.argv[1], sys.argv[1:])", inner.Path}, inner.Args[1:]...)...)
	cmd.Env = inner.Env
	if got := output(t, cmd); got != "12\n" {
		t.Errorf("the signal is %s, want 12", got)
	}
}

// A program linked as envrun is keeps every ignored signal ignored, not only those
// that the Go runtime leaves alone (runner S7).
func TestIgnoredSignals(t *testing.T) {
	t.Parallel()
	gotool, err := exec.LookPath("go")
	if err != nil || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("needs the go tool, on a machine that has envrun_start")
	}
	entry := filepath.Join(t.TempDir(), "entry")
	build := exec.Command(gotool, "build", "-ldflags=-E=envrun_start", "-o", entry, "./testdata/entry")
	build.Env = environment("CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	output(t, build)
	for _, trap := range []string{"PIPE", "HUP INT QUIT", "TERM USR1 USR2 ALRM PIPE QUIT", "CHLD URG WINCH TSTP TTIN TTOU CONT"} {
		look := func(wrapper string) string {
			return output(t, exec.Command("/bin/bash", "-c", "trap '' "+trap+"; exec "+wrapper+" /bin/grep SigIgn /proc/self/status"))
		}
		bare := look("")
		for _, mode := range []string{"exec", "supervise"} {
			if mode == "supervise" && strings.Contains(trap, "CHLD") {
				continue // a supervisor needs that one
			}
			if with := look(entry + " " + mode); with != bare {
				t.Errorf("ignoring %s, %s: %q, want %q", trap, mode, with, bare)
			}
		}
	}
}

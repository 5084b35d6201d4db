package keychaintest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"envrun/auth/keychain"
)

// patience is how long a program may take to start on a machine busy with other things.
const patience = 60 * time.Second

const secrets = "org.freedesktop.secrets"

// Need skips the suite of a keychain whose programs are not installed.
func Need(t testing.TB, keychain string, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("suite keychain/%s skipped: no %s", keychain, p)
		}
	}
}

// Home is an empty home of its own, short enough for sockets, and the
// environment of a session in it: on a console, with no bus.
func Home(t testing.TB) (dir string, env []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	runtime := filepath.Join(dir, "run")
	if err := os.Mkdir(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, []string{
		"HOME=" + dir,
		"PATH=" + os.Getenv("PATH"),
		"TMPDIR=" + dir,
		"XDG_RUNTIME_DIR=" + runtime,
		"XDG_DATA_HOME=" + filepath.Join(dir, "data"),
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
		"LC_ALL=C",
	}
}

// Daemon starts a program that ends when the test does, and also when the test
// binary is killed: a shell holds it and waits for the end of its own stdin,
// which is us. It returns the first line that the program prints, unless
// input is given, which goes to its stdin.
func Daemon(t testing.TB, env []string, input string, program string, args ...string) (line string, stop func()) {
	t.Helper()
	const leash = `
		input=$1; shift
		if [ -n "$input" ]; then
			printf %s "$input" | "$@" >&2 &
		else
			"$@" </dev/null &
		fi
		pid=$!
		read -r _
		kill -TERM $pid
		i=0; while [ $i -lt 100 ] && kill -0 $pid 2>/dev/null; do sleep 0.05; i=$((i+1)); done
		kill -KILL $pid 2>/dev/null`
	cmd := exec.Command("/bin/sh", append([]string{"-c", leash, "leash", input, program}, args...)...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // survives a Ctrl-C that the test gets
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		hold.Close()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	if input == "" {
		first := make(chan string, 1)
		go func() {
			s, _ := bufio.NewReader(stdout).ReadString('\n')
			first <- strings.TrimSpace(s)
		}()
		select {
		case line = <-first:
		case <-time.After(patience):
			t.Fatalf("%s prints nothing", program)
		}
	}
	return line, stop
}

// Bus starts a session bus in an empty home and returns the environment of a
// session with it. Services that the bus starts end with the test.
func Bus(t testing.TB) (dir string, env []string) {
	t.Helper()
	Need(t, keychain.SecretService, "dbus-daemon")
	dir, env = Home(t)
	address, _ := Daemon(t, env, "", "dbus-daemon", "--session", "--nofork", "--print-address=1", "--address=unix:dir="+dir)
	if !strings.HasPrefix(address, "unix:") {
		t.Fatalf("dbus-daemon says %q", address)
	}
	env = append(env, "DBUS_SESSION_BUS_ADDRESS="+address)
	t.Cleanup(func() {
		// What was activated is no child of ours.
		conn := Connect(t, env)
		defer conn.Close()
		var pid uint32
		if conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, secrets).Store(&pid) == nil && int(pid) != os.Getpid() {
			_ = syscall.Kill(int(pid), syscall.SIGTERM)
		}
	})
	return dir, env
}

// Connect makes a connection of the test's own.
func Connect(t testing.TB, env []string) *dbus.Conn {
	t.Helper()
	for _, v := range env {
		if address, ok := strings.CutPrefix(v, "DBUS_SESSION_BUS_ADDRESS="); ok {
			conn, err := dbus.Connect(address)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
	}
	t.Fatal("no bus in the environment")
	return nil
}

// Gnome starts GNOME Keyring, unlocked with a password unless that is "".
func Gnome(t testing.TB, env []string, password string) (stop func()) {
	t.Helper()
	Need(t, keychain.SecretService, "gnome-keyring-daemon")
	args := []string{"--foreground", "--components=secrets"}
	if password != "" {
		args = append(args, "--unlock")
		_, stop = Daemon(t, env, password, "gnome-keyring-daemon", args...)
	} else {
		_, stop = Daemon(t, env, " ", "gnome-keyring-daemon", args...)
	}
	conn := Connect(t, env)
	defer conn.Close()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		var has bool
		if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, secrets).Store(&has); err != nil {
			t.Fatal(err)
		}
		if has {
			return stop
		}
		if time.Now().After(end) {
			t.Fatal("gnome-keyring-daemon does not take its name")
		}
	}
}

// Kernel is what items of the test's own are filed under in the kernel's keyring. They
// go at its end.
func Kernel(t testing.TB) (service string) {
	t.Helper()
	user, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)
	if err != nil {
		t.Skipf("suite keychain/kernel skipped: no kernel keyring here: %v", err)
	}
	service = fmt.Sprintf("envrun-test-%d-%s", os.Getpid(), strings.ReplaceAll(strings.ToLower(t.Name()), "/", "-"))
	t.Cleanup(func() {
		if ring, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "keyring", service, 0); err == nil {
			_, _ = unix.KeyctlInt(unix.KEYCTL_UNLINK, ring, user, 0, 0)
		}
	})
	return service
}

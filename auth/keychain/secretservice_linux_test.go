package keychain_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
)

const secrets = "org.freedesktop.secrets"

func service(lines ...string) calls {
	return calls{Keychain: keychain.SecretService, Do: lines, Deadline: limit / 2}
}

func TestGnomeUnlocked(t *testing.T) {
	t.Parallel()
	_, env := keychaintest.Bus(t)
	keychaintest.Gnome(t, env, "password")
	service("get a", "delete a", "set a one", "set a two", "get a", "setbytes b", "getbytes b", "delete b", "get b", "choose").
		runs(t, env, "not found", "not found", "ok", "ok", "got two", "ok", "ok", "ok", "not found", "chose secret-service…")
	// Another process, and another program.
	service("get a").runs(t, env, "got two")

	t.Run("secret-tool", func(t *testing.T) {
		keychaintest.Need(t, keychain.SecretService, "secret-tool")
		tool := func(stdin string, args ...string) (stdout, stderr string) {
			cmd := exec.Command("secret-tool", args...)
			cmd.Stdin = strings.NewReader(stdin)
			out, errs, err := within(cmd, env)
			if err != nil {
				t.Fatalf("secret-tool %v: %v %s%s", args, err, out, errs)
			}
			return out, errs
		}
		if out, _ := tool("", "lookup", "service", "envrun", "username", "a"); out != "two" {
			t.Errorf("secret-tool finds %q", out)
		}
		out, attributes := tool("", "search", "--all", "service", "envrun")
		if !strings.Contains(out, "label = Password for 'a' on 'envrun'") || !strings.Contains(out, "secret = two") {
			t.Errorf("secret-tool shows %q", out)
		}
		// It prints attributes on stderr.
		if !strings.Contains(attributes, "attribute.username = a") || strings.Contains(attributes, "two") {
			t.Errorf("the attributes are %q", attributes)
		}
		tool("three", "store", "--label=other", "service", "envrun", "username", "c")
		service("get c", "delete c").runs(t, env, "got three", "ok")
	})
	t.Run("over SSH", func(t *testing.T) {
		service("get a", "choose").runs(t, append(env, "SSH_CONNECTION=1 2 3 4"), "got two", "chose secret-service…")
	})
	t.Run("in a CI job", func(t *testing.T) {
		service("choose").runs(t, append(env, "CI=true"), "none | secret-service: this is a CI job, which keeps nothing | …")
	})
	t.Run("address is left alone", func(t *testing.T) {
		// Found at its standard place, it is not left in the environment for
		// each child process to inherit.
		var address, runtime string
		rest := []string{}
		for _, v := range env {
			if a, ok := strings.CutPrefix(v, "DBUS_SESSION_BUS_ADDRESS=unix:path="); ok {
				address, _, _ = strings.Cut(a, ",")
				continue
			}
			if r, ok := strings.CutPrefix(v, "XDG_RUNTIME_DIR="); ok {
				runtime = r
			}
			rest = append(rest, v)
		}
		if err := os.Symlink(address, filepath.Join(runtime, "bus")); err != nil {
			t.Fatal(err)
		}
		service("get a", "env DBUS_SESSION_BUS_ADDRESS").runs(t, rest, "got two", `"" false`)
	})
	service("delete a", "get a").runs(t, env, "ok", "not found")
}

func TestGnomeLocked(t *testing.T) {
	t.Parallel()
	_, env := keychaintest.Bus(t)
	stop := keychaintest.Gnome(t, env, "password")
	service("set a one").runs(t, env, "ok")
	stop()
	keychaintest.Gnome(t, env, "")

	const locked = "locked: the Secret Service is locked"
	service("get a", "set a two", "delete a", "choose").
		runs(t, env, locked, locked, locked, "none | …")
	over := service("get a")
	over.Interactive = true // a person is there, and no screen that could ask them
	over.runs(t, append(env, "SSH_CONNECTION=1 2 3 4", "DISPLAY=localhost:10.0"), locked)

	// On a desktop the person is asked; here no prompter is installed to do so.
	desktop := service("get a")
	desktop.Interactive = true
	desktop.runs(t, append(env, "DISPLAY=:99"), "locked: the Secret Service stayed locked")
}

func TestGnomeWithoutACollection(t *testing.T) {
	t.Parallel()
	_, env := keychaintest.Bus(t)
	keychaintest.Gnome(t, env, "")
	service("get a", "set a one").runs(t, env,
		"unavailable: the Secret Service has no default collection to store in",
		"unavailable: the Secret Service has no default collection to store in")
}

func TestNoService(t *testing.T) {
	t.Parallel()
	dir, env := keychaintest.Bus(t)
	const nobody = "unavailable: no Secret Service is running"
	service("get a", "set a one").runs(t, env, nobody, nobody)

	// A service that could be activated, and would not come up for two minutes.
	services := filepath.Join(dir, "data", "dbus-1", "services")
	if err := os.MkdirAll(services, 0o755); err != nil {
		t.Fatal(err)
	}
	started := filepath.Join(dir, "started")
	text := "[D-BUS Service]\nName=" + secrets + "\nExec=/bin/sh -c \"echo $$ >" + started + "; exec sleep 120\"\n"
	if err := os.WriteFile(filepath.Join(services, secrets+".service"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	conn := keychaintest.Connect(t, env)
	defer conn.Close()
	if err := conn.BusObject().Call("org.freedesktop.DBus.ReloadConfig", 0).Err; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var pid int
		if b, err := os.ReadFile(started); err == nil {
			_, _ = fmt.Sscan(string(b), &pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	nothing := func(when string) {
		t.Helper()
		if _, err := os.Stat(started); err == nil {
			t.Errorf("%s started the service", when)
		}
	}
	service("get a").runs(t, env, nobody)
	nothing("a call on a console")
	service("get a").runs(t, append(env, "DISPLAY=:99", "WSL_DISTRO_NAME=Debian"), nobody)
	nothing("a call in WSL")
	service("choose").runs(t, append(env, "DISPLAY=:99"), "none | …")
	nothing("choosing on a desktop")
	// On a desktop, for a secret that is known to be there, it is started, and
	// not waited for longer than for anything else.
	slow := service("get a", "get a")
	slow.Deadline = 300 * time.Millisecond
	slow.runs(t, append(env, "DISPLAY=:99"), "timeout", "timeout")
}

func TestNoBus(t *testing.T) {
	t.Parallel()
	dir, env := keychaintest.Home(t)
	const none = "unavailable: there is no session bus"
	mark := filepath.Join(dir, "mark")
	if err := os.WriteFile(filepath.Join(dir, "dbus-launch"), []byte("#!/bin/sh\n: >"+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	env = append(env, "PATH="+dir+":"+os.Getenv("PATH"))
	service("get a", "choose", "env DBUS_SESSION_BUS_ADDRESS").runs(t, env, none, "none | …", `"" false`)
	service("get a").runs(t, append(env, "DBUS_SESSION_BUS_ADDRESS=autolaunch:"), none)
	service("get a", "env DBUS_SESSION_BUS_ADDRESS").runs(t, append(env, "DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere/bus"),
		"unavailable: the session bus does not answer", `"unix:path=/nowhere/bus" true`)
	if _, err := os.Stat(mark); err == nil {
		t.Error("dbus-launch was executed")
	}
}

func TestSilentBus(t *testing.T) {
	t.Parallel()
	dir, env := keychaintest.Home(t)
	l, err := net.Listen("unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	c := service("get a", "get a")
	c.Deadline = 300 * time.Millisecond
	c.runs(t, append(env, "DBUS_SESSION_BUS_ADDRESS=unix:path="+filepath.Join(dir, "bus")),
		"unavailable: the session bus does not answer", "unavailable: the session bus does not answer")
}

func TestFakeServices(t *testing.T) {
	t.Parallel()
	// impatient is a call with a deadline that the fake will let pass; each
	// other result of these cases comes at once.
	impatient := func(lines ...string) calls {
		c := service(lines...)
		c.Deadline = 2 * time.Second
		return c
	}
	for _, test := range []struct {
		name  string
		fake  *keychaintest.Fake
		calls calls
		want  []string
	}{
		{"one that works", &keychaintest.Fake{}, service("set a one", "get a", "delete a", "get a", "choose"),
			[]string{"ok", "got one", "ok", "not found", "chose secret-service…"}},
		{"silent from the start", &keychaintest.Fake{Silent: "Get"}, impatient("get a"), []string{"timeout"}},
		{"silent when asked for a session", &keychaintest.Fake{Silent: "OpenSession"}, impatient("set a one", "get a", "set a one"),
			[]string{"timeout", "not asked again", "not asked again"}},
		{"silent when asked for the secret", &keychaintest.Fake{Silent: "SearchItems"}, impatient("get a", "get a"),
			[]string{"timeout", "not asked again"}},
		{"prompt to unlock, never answered", &keychaintest.Fake{Unlock: "hang"}, impatient("get a", "get a", "choose"),
			[]string{"timeout", "not asked again", "none | …"}},
		{"prompt to unlock, dismissed", &keychaintest.Fake{Unlock: "dismiss"}, service("get a", "set a one"),
			[]string{"locked: the Secret Service stayed locked", "locked: the Secret Service stayed locked"}},
		{"prompt to store, never answered", &keychaintest.Fake{Create: "hang"}, impatient("set a one", "set a one"),
			[]string{"timeout", "not asked again"}},
		{"prompt to store, dismissed", &keychaintest.Fake{Create: "dismiss"}, service("set a one", "choose"),
			[]string{"lost", "none | …"}},
		{"loses what it is given", &keychaintest.Fake{Create: "lose"}, service("set a one", "choose"), []string{"lost", "none | …"}},
		{"something else", &keychaintest.Fake{Partial: true}, service("get a"),
			[]string{"unavailable: what answers as the Secret Service is not a complete one"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.calls.runs(t, test.fake.Start(t), test.want...)
		})
	}
}

// A fake that goes away while it is asked.
func TestServiceGoesAway(t *testing.T) {
	t.Parallel()
	f := &keychaintest.Fake{Silent: "SearchItems"}
	env := f.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	seen := make(chan *dbus.Message, 100)
	watch := keychaintest.Connect(t, env)
	defer watch.Close()
	if err := watch.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, []string{"member='SearchItems'"}, uint32(0)).Err; err != nil {
		t.Skip("the bus cannot be watched: ", err)
	}
	watch.Eavesdrop(seen)
	go func() {
		for m := range seen {
			if m.Headers[dbus.FieldMember].Value() == "SearchItems" {
				f.Away()
				return
			}
		}
	}()
	service("get a", "get a").runs(t, env,
		"unavailable: the Secret Service went away while it was asked",
		"unavailable: no Secret Service is running")
}

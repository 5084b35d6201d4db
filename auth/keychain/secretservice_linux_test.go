package keychain_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"envrun/auth/keychain"
)

const secrets = "org.freedesktop.secrets"

// bus starts a session bus in an empty home and returns the environment of a
// session with it. Services that the bus starts end with the test.
func bus(t *testing.T) (dir string, env []string) {
	t.Helper()
	need(t, keychain.SecretService, "dbus-daemon")
	dir, env = home(t)
	address, _ := daemon(t, env, "", "dbus-daemon", "--session", "--nofork", "--print-address=1", "--address=unix:dir="+dir)
	if !strings.HasPrefix(address, "unix:") {
		t.Fatalf("dbus-daemon says %q", address)
	}
	env = append(env, "DBUS_SESSION_BUS_ADDRESS="+address)
	t.Cleanup(func() {
		// What was activated is no child of ours.
		conn := connect(t, env)
		defer conn.Close()
		var pid uint32
		if conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, secrets).Store(&pid) == nil && int(pid) != os.Getpid() {
			_ = syscall.Kill(int(pid), syscall.SIGTERM)
		}
	})
	return dir, env
}

// connect makes a connection of the test's own.
func connect(t *testing.T, env []string) *dbus.Conn {
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

// gnome starts GNOME Keyring, unlocked with a password unless that is "".
func gnome(t *testing.T, env []string, password string) (stop func()) {
	t.Helper()
	need(t, keychain.SecretService, "gnome-keyring-daemon")
	args := []string{"--foreground", "--components=secrets"}
	if password != "" {
		args = append(args, "--unlock")
		_, stop = daemon(t, env, password, "gnome-keyring-daemon", args...)
	} else {
		_, stop = daemon(t, env, " ", "gnome-keyring-daemon", args...)
	}
	conn := connect(t, env)
	defer conn.Close()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
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

func service(lines ...string) calls {
	return calls{Keychain: keychain.SecretService, Do: lines, Deadline: limit / 2}
}

func TestGnomeUnlocked(t *testing.T) {
	t.Parallel()
	_, env := bus(t)
	gnome(t, env, "password")
	service("get a", "delete a", "set a one", "set a two", "get a", "setbytes b", "getbytes b", "delete b", "get b", "choose").
		runs(t, env, "not found", "not found", "ok", "ok", "got two", "ok", "ok", "ok", "not found", "chose secret-service…")
	// Another process, and another program.
	service("get a").runs(t, env, "got two")

	t.Run("secret-tool", func(t *testing.T) {
		need(t, keychain.SecretService, "secret-tool")
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
	_, env := bus(t)
	stop := gnome(t, env, "password")
	service("set a one").runs(t, env, "ok")
	stop()
	gnome(t, env, "")

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
	_, env := bus(t)
	gnome(t, env, "")
	service("get a", "set a one").runs(t, env,
		"unavailable: the Secret Service has no default collection to store in",
		"unavailable: the Secret Service has no default collection to store in")
}

func TestNoService(t *testing.T) {
	t.Parallel()
	dir, env := bus(t)
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
	conn := connect(t, env)
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
	dir, env := home(t)
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
	dir, env := home(t)
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

// fake is a Secret Service that misbehaves as it is told.
type fake struct {
	conn *dbus.Conn

	silent  string // the method that never answers
	unlock  string // "": at once; "hang": a prompt that nobody answers; "dismiss": one that is dismissed
	create  string // "": stores; "hang" and "dismiss": by a prompt; "lose": reports success
	partial bool   // has no properties, as a service of something else

	mu    sync.Mutex
	items map[string]string
}

const (
	root       = dbus.ObjectPath("/org/freedesktop/secrets")
	collection = root + "/collection/login"
	hanging    = root + "/prompt/hang"
	dismissing = root + "/prompt/dismiss"
)

var never = make(chan struct{})

func (f *fake) wait(method string) {
	if f.silent == method {
		<-never
	}
}

func (f *fake) prompt(how string) dbus.ObjectPath {
	switch how {
	case "hang":
		return hanging
	case "dismiss":
		return dismissing
	}
	return "/"
}

// The interfaces, each as a type of its own so that it exports nothing else.
type (
	fakeService    struct{ f *fake }
	fakeCollection struct{ f *fake }
	fakeProperties struct{ f *fake }
	fakeSession    struct{}
	fakeItem       struct {
		f    *fake
		name string
	}
	fakePrompt struct {
		f    *fake
		path dbus.ObjectPath
	}
)

// itemPath is a path that D-Bus takes: letters, digits and "_" only.
func itemPath(name string) dbus.ObjectPath {
	return collection + "/" + dbus.ObjectPath(fmt.Sprintf("%x", name))
}

type fakeSecret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

func (s fakeService) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	s.f.wait("OpenSession")
	return dbus.MakeVariant(""), root + "/session/1", nil
}

func (s fakeService) Unlock(paths []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	s.f.wait("Unlock")
	if p := s.f.prompt(s.f.unlock); p != "/" {
		return nil, p, nil
	}
	return paths, "/", nil
}

func (s fakeService) ReadAlias(string) (dbus.ObjectPath, *dbus.Error) { return collection, nil }

func (c fakeCollection) SearchItems(attributes map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	c.f.wait("SearchItems")
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	name := attributes["username"]
	if _, ok := c.f.items[name]; !ok {
		return nil, nil
	}
	return []dbus.ObjectPath{itemPath(name)}, nil
}

func (c fakeCollection) CreateItem(properties map[string]dbus.Variant, secret fakeSecret, _ bool) (dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	c.f.wait("CreateItem")
	if p := c.f.prompt(c.f.create); p != "/" {
		return "/", p, nil
	}
	attributes, _ := properties["org.freedesktop.Secret.Item.Attributes"].Value().(map[string]string)
	name := attributes["username"]
	path := itemPath(name)
	if c.f.create == "lose" {
		return path, "/", nil
	}
	c.f.mu.Lock()
	c.f.items[name] = string(secret.Value)
	c.f.mu.Unlock()
	item := fakeItem{c.f, name}
	_ = c.f.conn.Export(item, path, "org.freedesktop.Secret.Item")
	return path, "/", nil
}

func (i fakeItem) GetSecret(session dbus.ObjectPath) (fakeSecret, *dbus.Error) {
	i.f.wait("GetSecret")
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	return fakeSecret{Session: session, Parameters: []byte{}, Value: []byte(i.f.items[i.name]), ContentType: "text/plain"}, nil
}

func (i fakeItem) Delete() (dbus.ObjectPath, *dbus.Error) {
	i.f.mu.Lock()
	defer i.f.mu.Unlock()
	delete(i.f.items, i.name)
	return "/", nil
}

func (p fakeProperties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	p.f.wait("Get")
	if name == "Collections" {
		return dbus.MakeVariant([]dbus.ObjectPath{collection}), nil
	}
	return dbus.MakeVariant(false), nil // Locked
}

func (fakeSession) Close() *dbus.Error { return nil }

func (p fakePrompt) Prompt(string) *dbus.Error {
	if p.path == dismissing {
		// After the answer, as a person would.
		time.AfterFunc(10*time.Millisecond, func() {
			_ = p.f.conn.Emit(p.path, "org.freedesktop.Secret.Prompt.Completed", true, dbus.MakeVariant(""))
		})
	}
	return nil
}

// start puts the service on a bus of its own.
func (f *fake) start(t *testing.T) (env []string) {
	t.Helper()
	_, env = bus(t)
	f.conn = connect(t, env)
	t.Cleanup(func() { f.conn.Close() })
	f.items = map[string]string{}
	export := func(v any, path dbus.ObjectPath, name string) {
		if err := f.conn.Export(v, path, name); err != nil {
			t.Fatal(err)
		}
	}
	const properties = "org.freedesktop.DBus.Properties"
	export(fakeService{f}, root, "org.freedesktop.Secret.Service")
	export(fakeCollection{f}, collection, "org.freedesktop.Secret.Collection")
	export(fakeSession{}, root+"/session/1", "org.freedesktop.Secret.Session")
	export(fakePrompt{f, hanging}, hanging, "org.freedesktop.Secret.Prompt")
	export(fakePrompt{f, dismissing}, dismissing, "org.freedesktop.Secret.Prompt")
	if !f.partial {
		export(fakeProperties{f}, root, properties)
		export(fakeProperties{f}, collection, properties)
	}
	if reply, err := f.conn.RequestName(secrets, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("taking the name: %v %v", reply, err)
	}
	return env
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
		fake  *fake
		calls calls
		want  []string
	}{
		{"one that works", &fake{}, service("set a one", "get a", "delete a", "get a", "choose"),
			[]string{"ok", "got one", "ok", "not found", "chose secret-service…"}},
		{"silent from the start", &fake{silent: "Get"}, impatient("get a"), []string{"timeout"}},
		{"silent when asked for a session", &fake{silent: "OpenSession"}, impatient("set a one", "get a", "set a one"),
			[]string{"timeout", "not asked again", "not asked again"}},
		{"silent when asked for the secret", &fake{silent: "SearchItems"}, impatient("get a", "get a"),
			[]string{"timeout", "not asked again"}},
		{"prompt to unlock, never answered", &fake{unlock: "hang"}, impatient("get a", "get a", "choose"),
			[]string{"timeout", "not asked again", "none | …"}},
		{"prompt to unlock, dismissed", &fake{unlock: "dismiss"}, service("get a", "set a one"),
			[]string{"locked: the Secret Service stayed locked", "locked: the Secret Service stayed locked"}},
		{"prompt to store, never answered", &fake{create: "hang"}, impatient("set a one", "set a one"),
			[]string{"timeout", "not asked again"}},
		{"prompt to store, dismissed", &fake{create: "dismiss"}, service("set a one", "choose"),
			[]string{"lost", "none | …"}},
		{"loses what it is given", &fake{create: "lose"}, service("set a one", "choose"), []string{"lost", "none | …"}},
		{"something else", &fake{partial: true}, service("get a"),
			[]string{"unavailable: what answers as the Secret Service is not a complete one"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.calls.runs(t, test.fake.start(t), test.want...)
		})
	}
}

// A fake that goes away while it is asked.
func TestServiceGoesAway(t *testing.T) {
	t.Parallel()
	f := &fake{silent: "SearchItems"}
	env := f.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	seen := make(chan *dbus.Message, 100)
	watch := connect(t, env)
	defer watch.Close()
	if err := watch.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, []string{"member='SearchItems'"}, uint32(0)).Err; err != nil {
		t.Skip("the bus cannot be watched: ", err)
	}
	watch.Eavesdrop(seen)
	go func() {
		for m := range seen {
			if m.Headers[dbus.FieldMember].Value() == "SearchItems" {
				f.conn.Close()
				return
			}
		}
	}()
	service("get a", "get a").runs(t, env,
		"unavailable: the Secret Service went away while it was asked",
		"unavailable: no Secret Service is running")
}

package keychaintest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// Fake is a Secret Service that misbehaves as it is told.
type Fake struct {
	conn *dbus.Conn

	Silent  string // the method that never answers
	Unlock  string // "": at once; "hang": a prompt that nobody answers; "dismiss": one that is dismissed
	Create  string // "": stores; "hang" and "dismiss": by a prompt; "lose": reports success
	Partial bool   // has no properties, as a service of something else

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

func (f *Fake) wait(method string) {
	if f.Silent == method {
		<-never
	}
}

func (f *Fake) prompt(how string) dbus.ObjectPath {
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
	fakeService    struct{ f *Fake }
	fakeCollection struct{ f *Fake }
	fakeProperties struct{ f *Fake }
	fakeSession    struct{}
	fakeItem       struct {
		f    *Fake
		name string
	}
	fakePrompt struct {
		f    *Fake
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
	if p := s.f.prompt(s.f.Unlock); p != "/" {
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
	if p := c.f.prompt(c.f.Create); p != "/" {
		return "/", p, nil
	}
	attributes, _ := properties["org.freedesktop.Secret.Item.Attributes"].Value().(map[string]string)
	name := attributes["username"]
	path := itemPath(name)
	if c.f.Create == "lose" {
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

// Start puts the service on a bus of its own.
func (f *Fake) Start(t testing.TB) (env []string) {
	t.Helper()
	_, env = Bus(t)
	f.conn = Connect(t, env)
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
	if !f.Partial {
		export(fakeProperties{f}, root, properties)
		export(fakeProperties{f}, collection, properties)
	}
	if reply, err := f.conn.RequestName(secrets, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatalf("taking the name: %v %v", reply, err)
	}
	return env
}

// Away has the service leave its bus.
func (f *Fake) Away() { f.conn.Close() }

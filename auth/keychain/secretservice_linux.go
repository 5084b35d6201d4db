package keychain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
)

// D-Bus names of the Secret Service (freedesktop.org, Secret Service API 0.2).
const (
	secretsName    = "org.freedesktop.secrets"
	secretsPath    = dbus.ObjectPath("/org/freedesktop/secrets")
	secretsService = "org.freedesktop.Secret.Service"
	loginPath      = secretsPath + "/collection/login"
	collectionLock = "org.freedesktop.Secret.Collection.Locked"
)

// busPatience is how long the bus itself may take to say who is there.
func (o Options) busPatience() time.Duration {
	if o.Deadline > 0 {
		return o.Deadline / 2
	}
	return 500 * time.Millisecond
}

func newSecretService(o Options) backend {
	s := secretService{o: o, session: o.Session()}
	return native{
		service: o.service(),
		readyTo: s.ready,
		explain: explainSecretService,
		limit:   func(string) int { return 64 << 10 }, // no limit of its own; more is no secret
	}
}

type secretService struct {
	o       Options
	session Session
}

// ready asks over a connection of its own, so that a bus or a service that
// stays silent holds no lock that a later call needs.
func (s secretService) ready(ctx context.Context, asking bool) error {
	address := s.o.busAddress()
	if address == "" {
		return s.unavailable("there is no session bus", "sign in to a desktop, or choose another store")
	}
	conn, err := dialBus(ctx, address, s.o.busPatience())
	if err != nil {
		u := s.unavailable("the session bus does not answer", "the address in DBUS_SESSION_BUS_ADDRESS may be of a session that has ended")
		u.Err = err
		return u
	}
	defer conn.Close()

	if err := s.owned(ctx, conn, asking); err != nil {
		return err
	}
	locked, err := collectionLocked(ctx, conn)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errNoCollection):
		return s.unavailable("the Secret Service has no default collection to store in",
			"create a default keyring in your desktop's password settings (GNOME: Passwords and Keys)")
	case err != nil:
		return explainSecretService(err)
	case locked && !(s.o.Interactive && s.session.Graphical):
		// Unlocking would put a prompt on a screen where nobody sits, or none at all.
		u := s.unavailable("the Secret Service is locked", "unlock the keyring in your desktop session")
		if !s.session.Graphical {
			u.Hint = "unlock it in the desktop session; over SSH or on a console nothing can ask for its password"
		}
		u.Locked = true
		return u
	}
	return nil
}

// owned says whether somebody answers for the Secret Service. Asking starts
// nothing: in WSL, for one, activation waits two minutes for nobody. Only a
// desktop session that has secrets stored already may start its service,
// since some start it for the first program that needs it.
func (s secretService) owned(ctx context.Context, conn *dbus.Conn, asking bool) error {
	var has bool
	short, cancel := context.WithTimeout(ctx, s.o.busPatience())
	defer cancel()
	if err := conn.BusObject().CallWithContext(short, "org.freedesktop.DBus.NameHasOwner", 0, secretsName).Store(&has); err != nil {
		u := s.unavailable("the session bus does not answer", "")
		u.Err = err
		return u
	}
	if has {
		return nil
	}
	nobody := s.unavailable("no Secret Service is running", "start one, such as gnome-keyring-daemon, KWallet or KeePassXC with its Secret Service on")
	if asking || !s.session.Graphical || s.session.WSL {
		return nobody
	}
	var status uint32
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.StartServiceByName", 0, secretsName, uint32(0)).Store(&status); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		nobody.Err = err
		return nobody
	}
	return nil
}

func (s secretService) unavailable(reason, hint string) *UnavailableError {
	return &UnavailableError{Keychain: SecretService, Reason: reason, Hint: hint}
}

var errNoCollection = errors.New("no default collection")

// collectionLocked reads the lock of the collection that go-keyring will use,
// which asks nobody for anything.
func collectionLocked(ctx context.Context, conn *dbus.Conn) (bool, error) {
	path, err := collectionPath(ctx, conn)
	if err != nil {
		return false, err
	}
	v, err := property(ctx, conn.Object(secretsName, path), collectionLock)
	if err != nil {
		return false, err
	}
	locked, ok := v.Value().(bool)
	if !ok {
		return false, errors.New("the Secret Service gives no boolean for " + collectionLock)
	}
	return locked, nil
}

func collectionPath(ctx context.Context, conn *dbus.Conn) (dbus.ObjectPath, error) {
	service := conn.Object(secretsName, secretsPath)
	v, err := property(ctx, service, secretsService+".Collections")
	if err != nil {
		return "", err
	}
	if paths, ok := v.Value().([]dbus.ObjectPath); ok {
		for _, p := range paths {
			if p == loginPath {
				return p, nil
			}
		}
	}
	var path dbus.ObjectPath
	if err := service.CallWithContext(ctx, secretsService+".ReadAlias", 0, "default").Store(&path); err != nil {
		return "", err
	}
	if path == "/" || path == "" {
		return "", errNoCollection
	}
	return path, nil
}

func property(ctx context.Context, o dbus.BusObject, name string) (dbus.Variant, error) {
	i := strings.LastIndexByte(name, '.')
	var v dbus.Variant
	err := o.CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, name[:i], name[i+1:]).Store(&v)
	return v, err
}

// dialBus makes a private connection, and the shared one that go-keyring will
// find, within patience.
func dialBus(ctx context.Context, address string, patience time.Duration) (*dbus.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type result struct {
		conn *dbus.Conn
		err  error
	}
	done := make(chan result, 1)
	abandoned := make(chan struct{})
	go func() {
		conn, err := connect(address, abandoned)
		if err == nil {
			if err = shareBus(address); err != nil {
				conn.Close()
				conn = nil
			}
		}
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		return r.conn, r.err
	case <-ctx.Done():
		close(abandoned)
		go func() { // it may have come through in the meantime
			if r := <-done; r.conn != nil {
				r.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// connect gives up, and lets go of its socket, when abandoned is closed.
func connect(address string, abandoned <-chan struct{}) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-abandoned:
			conn.Close()
		case <-ended:
		}
	}()
	if err = conn.Auth(nil); err == nil {
		err = conn.Hello()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

var busMu sync.Mutex

// shareBus makes the connection that go-keyring takes from godbus, at the
// address we decided on. godbus would otherwise look for one itself, execute
// dbus-launch if there is none, and leave the address in our environment for
// each child process to inherit.
func shareBus(address string) error {
	const name = "DBUS_SESSION_BUS_ADDRESS"
	busMu.Lock()
	defer busMu.Unlock()
	was, wasSet := os.LookupEnv(name)
	if was != address {
		if err := os.Setenv(name, address); err != nil {
			return err
		}
		defer func() {
			if wasSet {
				_ = os.Setenv(name, was)
			} else {
				_ = os.Unsetenv(name)
			}
		}()
	}
	_, err := dbus.SessionBus()
	return err
}

// explainSecretService sorts what services and the bus say. The raw text of
// D-Bus helps nobody alone, so it only stands behind the reason.
func explainSecretService(err error) error {
	u := &UnavailableError{Keychain: SecretService, Err: err}
	text := err.Error()
	var e dbus.Error
	name := ""
	if errors.As(err, &e) {
		name = e.Name
	}
	switch {
	case name == "org.freedesktop.Secret.Error.IsLocked",
		strings.Contains(text, "failed to unlock correct collection"):
		u.Reason, u.Locked = "the Secret Service stayed locked", true
		u.Hint = "unlock the keyring in your desktop session"
	case strings.HasPrefix(name, "org.freedesktop.DBus.Error.Unknown"), // Interface, Method, Object, Property
		strings.Contains(text, "No such interface"):
		u.Reason = "what answers as the Secret Service is not a complete one"
		u.Hint = "look which program owns org.freedesktop.secrets on the session bus"
	case name == "org.freedesktop.DBus.Error.ServiceUnknown",
		name == "org.freedesktop.DBus.Error.NameHasNoOwner",
		strings.HasPrefix(name, "org.freedesktop.DBus.Error.Spawn"):
		u.Reason = "no Secret Service is running"
		u.Hint = "start one, such as gnome-keyring-daemon, KWallet or KeePassXC with its Secret Service on"
	case name == "org.freedesktop.DBus.Error.NoReply",
		name == "org.freedesktop.DBus.Error.Disconnected",
		errors.Is(err, dbus.ErrClosed):
		u.Reason = "the Secret Service went away while it was asked"
	case name == "org.freedesktop.DBus.Error.AccessDenied":
		u.Reason = "the bus does not let this program talk to the Secret Service"
		u.Hint = "a sandbox such as Flatpak or Snap must permit org.freedesktop.secrets"
	default:
		u.Reason = "the Secret Service reports an error"
	}
	return u
}

// busAddress is where the session bus is said to be, found without asking or
// starting anything; "" if nothing says so.
func (o Options) busAddress() string {
	if a := o.getenv("DBUS_SESSION_BUS_ADDRESS"); a != "" && !strings.HasPrefix(a, "autolaunch:") {
		return a
	}
	dir := o.getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	}
	sock := filepath.Join(dir, "bus")
	if fi, err := os.Stat(sock); err != nil || fi.Mode()&os.ModeSocket == 0 {
		return ""
	}
	return "unix:path=" + dbus.EscapeBusAddressValue(sock)
}

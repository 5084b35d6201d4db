package keychain

import (
	"context"
	"errors"
	"time"

	"github.com/99designs/keyring"
	"golang.org/x/sys/unix"
)

// kernel is the user keyring: it lives in the kernel's memory as long as the
// machine is up, and any process of the user can read it.
type kernel struct{ service string }

func (k kernel) max(string) int { return 32767 } // security/keys/user_defined.c

func (k kernel) ready(context.Context, bool) error {
	return k.on(func(keyring.Keyring) error { return nil })
}

func (k kernel) get(_ context.Context, key string) (secret []byte, err error) {
	err = k.on(func(ring keyring.Keyring) error {
		item, err := ring.Get(key)
		secret = item.Data
		return err
	})
	return secret, err
}

func (k kernel) set(_ context.Context, key string, secret []byte) error {
	return k.on(func(ring keyring.Keyring) error {
		return ring.Set(keyring.Item{Key: key, Data: secret})
	})
}

func (k kernel) delete(_ context.Context, key string) error {
	return k.on(func(ring keyring.Keyring) error {
		// Remove says "not found" whatever keeps it from looking.
		item, err := ring.Get(key)
		if err != nil {
			return err
		}
		clear(item.Data)
		return ring.Remove(key)
	})
}

// setFor sets the time-out itself, on the key that the library stored: it has
// no way to. If that fails the key goes again, rather than stay for good.
func (k kernel) setFor(_ context.Context, key string, secret []byte, d time.Duration) error {
	seconds := max(int((d+time.Second-1)/time.Second), 1)
	return k.on(func(ring keyring.Keyring) error {
		if err := ring.Set(keyring.Item{Key: key, Data: secret}); err != nil {
			return err
		}
		err := k.expire(key, seconds)
		if err != nil {
			_ = ring.Remove(key)
		}
		return err
	})
}

func (k kernel) expire(key string, seconds int) error {
	ring, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "keyring", k.service, 0)
	if err != nil {
		return err
	}
	id, err := unix.KeyctlSearch(ring, "user", key, 0)
	if err != nil {
		return err
	}
	_, err = unix.KeyctlInt(unix.KEYCTL_SET_TIMEOUT, id, seconds, 0, 0)
	return err
}

// on opens our keyring, which hangs below the user's, and calls f with it.
//
// KeyCtlPerm stays unset on purpose. The kernel's default is what we want:
// everything for whoever possesses the key, a look for the user's other
// processes, nothing for the rest. With it set, the library would take each
// secret through the session keyring, and so give a process that has none one
// of its own, on one thread.
func (k kernel) on(f func(keyring.Keyring) error) error {
	if err := possess(); err != nil {
		return explainKernel(err)
	}
	ring, err := keyring.Open(keyring.Config{
		AllowedBackends: []keyring.BackendType{keyring.KeyCtlBackend},
		ServiceName:     k.service,
		KeyCtlScope:     "user",
	})
	if err != nil {
		return explainKernel(err)
	}
	return explainKernel(f(ring))
}

// possess links the user's keyring into the session's, from which possession
// comes: without it a key can be added and not be read, "Permission denied".
// A process without a session keyring falls back to the user session's, which
// holds the link already; to link by its special number would start a new one.
func possess() error {
	user, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)
	if err != nil {
		return err
	}
	session, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if err != nil {
		return err
	}
	fallback, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_SESSION_KEYRING, true)
	if err != nil || session == fallback {
		return err
	}
	_, err = unix.KeyctlInt(unix.KEYCTL_LINK, user, session, 0, 0)
	return err
}

func explainKernel(err error) error {
	u := &UnavailableError{Keychain: Kernel, Err: err}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keyring.ErrKeyNotFound),
		errors.Is(err, unix.ENOKEY),
		errors.Is(err, unix.EKEYEXPIRED): // forgotten in time
		return ErrNotFound
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS):
		u.Reason = "the kernel's keyring is closed to this process, as it is in most containers"
		u.Hint = "a container needs a seccomp profile that permits add_key and keyctl"
	case errors.Is(err, unix.EACCES):
		u.Reason = "this session does not possess the user's keyring"
		u.Hint = "link it with: keyctl link @u @s"
	case errors.Is(err, unix.EKEYREVOKED):
		u.Reason = "the session's keyring was revoked, as it is after the session ends"
		u.Hint = "sign in again, or start a new one with: keyctl session"
	case errors.Is(err, unix.EDQUOT):
		u.Reason = "the user's quota of keys in the kernel is used up"
		u.Hint = "see /proc/key-users and /proc/sys/kernel/keys/maxkeys"
	default:
		u.Reason = "the kernel's keyring reports an error"
	}
	return u
}

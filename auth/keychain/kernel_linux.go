package keychain

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/99designs/keyring"
	"golang.org/x/sys/unix"
)

// kernel is the user keyring: it lives in the kernel's memory as long as the
// machine is up, and any process of the user can read it.
type kernel struct{ service string }

// kernelPerm lets whoever possesses a key do everything with it, and a process
// of the same user that does not, look, read and search. Nobody else anything.
var kernelPerm = keyring.GetPermissions(
	keyring.KEYCTL_PERM_ALL,
	keyring.KEYCTL_PERM_VIEW|keyring.KEYCTL_PERM_READ|keyring.KEYCTL_PERM_SEARCH,
	0, 0)

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
	return k.on(func(ring keyring.Keyring) error { return ring.Remove(key) })
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

// on opens our keyring and calls f with it, on an operating system thread that
// ends with it. Possession of a key comes through the session keyring, which
// is a thread's own: a process that has none yet, as under cron or su, is given
// one when the user keyring is linked into it, and every later call must come
// from that thread to find it.
func (k kernel) on(f func(keyring.Keyring) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- k.onThread(f)
	}()
	return <-done
}

func (k kernel) onThread(f func(keyring.Keyring) error) error {
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true); err != nil {
		return explainKernel(err)
	}
	// Without the link a key may be added and not be read: "Permission denied".
	if _, err := unix.KeyctlInt(unix.KEYCTL_LINK, unix.KEY_SPEC_USER_KEYRING, unix.KEY_SPEC_SESSION_KEYRING, 0, 0); err != nil {
		return explainKernel(err)
	}
	ring, err := keyring.Open(keyring.Config{
		AllowedBackends: []keyring.BackendType{keyring.KeyCtlBackend},
		ServiceName:     k.service,
		KeyCtlScope:     "user",
		KeyCtlPerm:      kernelPerm,
	})
	if err != nil {
		return explainKernel(err)
	}
	return explainKernel(f(ring))
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

// Package keychain stores small secrets in what the operating system has for
// them: the macOS Keychain, the Windows Credential Manager, the Secret Service
// of a Linux desktop, the kernel's keyring, and pass.
//
// The libraries underneath have no deadlines, report success for a prompt that
// was dismissed, and name errors in D-Bus. So every call goes through one
// wrapper: it looks first whether the keychain can answer without starting or
// asking anything (ready), bounds the whole call, reads back what it wrote, and
// turns what went wrong into an error that says what to do. After one call
// that did not come back the keychain is not called again by this process,
// since the stuck call cannot be ended.
//
// What each one protects against, said plainly: the Secret Service, once
// unlocked, hands out its items to every process of the user; so does the
// macOS Keychain for ours, because the item trusts /usr/bin/security, through
// which it is written; so does the Credential Manager. They protect a disk
// that is stolen, not an account that is taken over. The kernel's keyring
// forgets at reboot.
//
// It refuses to be a database: no listing, no attributes, values up to a few
// kilobytes. It never falls back to another store by itself, and never stores
// anything in a plain file. The pass backend runs the program itself instead
// of through 99designs/keyring, which gives it no deadline, cannot end it
// together with gpg and pinentry, and writes its messages to our stderr. That
// library's file backend is not used.
package keychain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Names of keychains, as they stand in files and options.
const (
	MacOS         = "keychain"       // the login keychain of macOS
	WinCred       = "wincred"        // the Windows Credential Manager
	SecretService = "secret-service" // GNOME Keyring, KWallet from 5.97, KeePassXC
	Kernel        = "kernel"         // the user keyring of the Linux kernel: forgets at reboot
	Pass          = "pass"           // passwordstore.org
)

// Keychain is one store of secrets. Its methods are safe for use by several
// goroutines, and none takes longer than the deadline of its Options.
type Keychain interface {
	// Name is one of Names.
	Name() string

	// Get returns the secret of key; ErrNotFound if there is none.
	Get(ctx context.Context, key string) ([]byte, error)

	// Set stores secret, which must not be empty, over what key held, and
	// has read it back when it returns nil.
	Set(ctx context.Context, key string, secret []byte) error

	// Delete removes key and has looked that it is gone; ErrNotFound if it
	// was not there.
	Delete(ctx context.Context, key string) error
}

// Expirer is a Keychain that can forget by itself. The kernel's keyring is one.
type Expirer interface {
	Keychain

	// SetFor is Set for at most d, in whole seconds and at least one.
	SetFor(ctx context.Context, key string, secret []byte, d time.Duration) error
}

// Volatile reports whether the named keychain loses what it holds at reboot.
func Volatile(name string) bool { return name == Kernel }

// ErrNotFound says that a keychain answered and does not hold the key.
var ErrNotFound = errors.New("not in the keychain")

// ErrNone is returned by Choose when no keychain can be used here.
var ErrNone = errors.New("no keychain can be used here")

// UnavailableError says that a keychain cannot be used, here or now.
type UnavailableError struct {
	Keychain string // its name
	Reason   string // what is the matter, without a full stop
	Hint     string // what a person can do about it; may be empty
	Locked   bool   // it is there, and would answer if somebody unlocked it
	Err      error  // what the system said; may be nil
}

func (e *UnavailableError) Error() string {
	s := e.Keychain + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// TimeoutError says that a keychain did not answer in time.
type TimeoutError struct {
	Keychain string
	Op       string        // "get", "set", "delete"
	After    time.Duration // how long it was given
	Tripped  bool          // it was not asked at all, since it failed to answer before
}

func (e *TimeoutError) Error() string {
	if e.Tripped {
		return e.Keychain + ": not asked again, since it did not answer before"
	}
	return fmt.Sprintf("%s: %s: no answer within %v", e.Keychain, e.Op, e.After)
}

// Timeout is true, as net.Error has it.
func (e *TimeoutError) Timeout() bool { return true }

// TooBigError says that a secret does not fit, found out before anything was written.
type TooBigError struct {
	Keychain  string
	Size, Max int // bytes
}

func (e *TooBigError) Error() string {
	return fmt.Sprintf("%s: a secret of %d bytes does not fit, the limit is %d", e.Keychain, e.Size, e.Max)
}

// LostError says that a keychain reported success and did not do it: what was
// written cannot be read back, or what was deleted is still there. Some
// do so when the person dismisses their dialog.
type LostError struct {
	Keychain string
	Op       string // "set", "delete"
}

func (e *LostError) Error() string {
	if e.Op == "delete" {
		return e.Keychain + ": said that it deleted the secret, and still has it"
	}
	return e.Keychain + ": said that it stored the secret, and does not have it"
}

// Options say how keychains are used. The zero value is for use in the
// background: three seconds, and nobody is asked anything.
type Options struct {
	Service string // what our items are filed under; "envrun" if empty

	// Interactive says that a person is there to answer a prompt of the
	// keychain: they get 60 seconds instead of 3.
	Interactive bool

	// OnWait, if not nil, is called once per call that has taken longer than
	// a second, from another goroutine, to say what is being waited for.
	OnWait func(keychain string)

	// Getenv is the environment; os.Getenv if nil.
	Getenv func(string) string

	// MayForget says, to Choose, that what is kept can be had again, as by signing
	// in: a keychain that forgets at reboot will do.
	MayForget bool

	// Deadline replaces the 3 and 60 seconds if not zero.
	Deadline time.Duration
}

// Chooser opens keychains. Options is one; tests have others.
type Chooser interface {
	Open(name string) (Keychain, error)
	Choose(ctx context.Context) (Keychain, []Rejection, error)
}

// Open is Open with these options.
func (o Options) Open(name string) (Keychain, error) { return Open(name, o) }

// Choose is Choose with these options.
func (o Options) Choose(ctx context.Context) (Keychain, []Rejection, error) { return Choose(ctx, o) }

func (o Options) service() string {
	if o.Service == "" {
		return "envrun"
	}
	return o.Service
}

func (o Options) getenv(name string) string {
	if o.Getenv == nil {
		return os.Getenv(name)
	}
	return o.Getenv(name)
}

func (o Options) deadline() time.Duration {
	switch {
	case o.Deadline > 0:
		return o.Deadline
	case o.Interactive:
		return 60 * time.Second
	}
	return 3 * time.Second
}

// Names lists the keychains of this operating system, whether or not they can
// be used here.
func Names() []string { return namesOn(runtime.GOOS) }

func namesOn(goos string) []string {
	switch goos {
	case "darwin":
		return []string{MacOS, Pass}
	case "windows":
		return []string{WinCred}
	case "linux":
		return []string{SecretService, Kernel, Pass}
	}
	return nil
}

// Open returns the named keychain. It does no I/O: whether the keychain can be
// used, the first call says. The error is an *UnavailableError if this
// operating system does not have it.
func Open(name string, o Options) (Keychain, error) {
	if !slices.Contains(Names(), name) {
		return nil, &UnavailableError{
			Keychain: name,
			Reason:   "there is no such keychain on " + runtime.GOOS,
			Hint:     "it has: " + strings.Join(Names(), ", "),
		}
	}
	return wrap(name, backendOf(name, o), o), nil
}

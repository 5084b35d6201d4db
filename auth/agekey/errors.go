package agekey

import (
	"errors"
	"fmt"

	"envrun/auth/passphrase"
	"envrun/auth/private"
)

var (
	// ErrNone says that there is no identity here.
	ErrNone = errors.New("there is no identity")
	// ErrExists says that there is one already, which is never overwritten.
	ErrExists = errors.New("there is an identity already")
	// ErrLocked says that the identity needs its passphrase and nobody can give it.
	ErrLocked = errors.New("the identity is locked with a passphrase")
	// ErrPassphrase says that the passphrase is wrong.
	ErrPassphrase = passphrase.ErrWrong
	// ErrLost says that the store answers and does not have the identity that the facts name.
	ErrLost = errors.New("the store does not have the identity")
	// ErrMismatch says that what is stored is not the identity that the facts name.
	ErrMismatch = errors.New("what is stored is another identity")
	// ErrBusy says that another process is changing the identity.
	ErrBusy = errors.New("another process is changing the identity")
	// ErrFileOnly says that only an identity in the file store can have a passphrase of ours.
	ErrFileOnly = errors.New("only an identity in a file can be given a passphrase")
)

// FileError is about one of our files. Err is one of the errors above, a
// *ParseError, or what the system said.
type FileError = private.Error

// InsecureError says that others could read or replace a file or folder of
// ours. It is refused, as ssh refuses it.
type InsecureError = private.InsecureError

// StoreError is about a keychain that holds, or should hold, the identity. Err
// is ErrLost, ErrMismatch, a *ParseError or one of package keychain's errors.
type StoreError struct {
	Store string // the keychain
	Key   string // what it is filed under there
	Op    string // "loading", "storing", "deleting"
	Err   error
}

func (e *StoreError) Error() string {
	return fmt.Sprintf("%s the identity: %v", e.Op, e.Err)
}

func (e *StoreError) Unwrap() error { return e.Err }

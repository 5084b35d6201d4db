package session

import (
	"errors"
	"fmt"
	"strings"

	"envrun/auth/keychain"
)

var (
	// ErrSignIn is every error after which only signing in again helps.
	ErrSignIn = errors.New("sign in again")
	// ErrNoAccount says that there is no such session.
	ErrNoAccount = errors.New("there is no such session")
	// ErrRetired says that somebody signed out, or in anew, while a session was renewed.
	ErrRetired = errors.New("somebody signed out or in again meanwhile")
	// ErrNobodyToAsk says that a passphrase is needed and nobody can give it.
	ErrNobodyToAsk = errors.New("the key of sessions is under a passphrase, and nobody can be asked for it")
)

// KeyError says that the key that sessions are sealed with is gone, or is another
// one. It is ErrSignIn.
type KeyError struct {
	Place string // where it should be
	Other bool   // there is another key
	Host  string // the machine where it was put, if that is not this one
}

func (e *KeyError) Error() string {
	where := placeText(e.Place)
	switch {
	case e.Other:
		return "the key in " + where + " is not the one that this session was sealed with"
	case e.Host != "":
		return "the key of this session was put into " + where + " on " + e.Host + ", and is not here"
	case keychain.Volatile(e.Place):
		return "the key of this session is not in " + where + " any more, which forgets when the machine restarts"
	}
	return "the key of this session is not in " + where + " any more"
}

func (e *KeyError) Is(target error) bool { return target == ErrSignIn }

// DamagedError is about a file that is not as it was written. It is ErrSignIn, but
// for the index, which has to be put away first.
type DamagedError struct {
	File   string
	Reason string
	Index  bool // it is the index
}

func (e *DamagedError) Error() string { return e.File + ": " + e.Reason }

func (e *DamagedError) Is(target error) bool { return target == ErrSignIn && !e.Index }

// EndedError says that the issuer does not renew the session any more. It is ErrSignIn.
type EndedError struct {
	Account Account
	Why     string // in the issuer's words
}

func (e *EndedError) Error() string { return "the session has ended: " + e.Why }

func (e *EndedError) Is(target error) bool { return target == ErrSignIn }

// PlaceError says that the place where the key is cannot be used now. Nothing else
// is tried in its stead.
type PlaceError struct {
	Place string
	Err   error // one of package keychain's, mostly
}

func (e *PlaceError) Error() string {
	return "the key of sessions, in " + placeText(e.Place) + ": " + e.Err.Error()
}

func (e *PlaceError) Unwrap() error { return e.Err }

// NoPlaceError says that there is nowhere to keep the key, and why.
type NoPlaceError struct {
	Rejected []keychain.Rejection
}

func (e *NoPlaceError) Error() string {
	if len(e.Rejected) == 0 {
		return "there is no keychain to keep a session with"
	}
	why := make([]string, 0, len(e.Rejected))
	for _, r := range e.Rejected {
		why = append(why, r.Keychain+": "+r.Reason)
	}
	return "there is no keychain to keep a session with (" + strings.Join(why, "; ") + ")"
}

func (e *NoPlaceError) Unwrap() error { return keychain.ErrNone }

// ElsewhereError says that sessions are kept with a key in another place than is
// asked for. One key is for all of them.
type ElsewhereError struct{ Have, Want string }

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("the key of the sessions that are kept here is in %s, and not in %s", placeText(e.Have), placeText(e.Want))
}

// BusyError says that another process holds a lock for too long.
type BusyError struct{ What string }

func (e *BusyError) Error() string { return "another envrun is " + e.What }

// SudoError says that this is root on behalf of somebody whose sessions these are.
type SudoError struct{ User string }

func (e *SudoError) Error() string {
	who := e.User
	if who == "" {
		who = "somebody else"
	}
	return "this runs as root through sudo for " + who + ", and sessions are a person's own"
}

// placeText is a place in words.
func placeText(name string) string {
	switch name {
	case ByPassphrase:
		return "the file under a passphrase"
	case InMemory:
		return "memory"
	case keychain.Kernel:
		return "the kernel's keyring"
	case "":
		return "no place"
	}
	return "the keychain " + name
}

package keychain

import (
	"context"
	"errors"
	"fmt"
)

// Rejection says why a keychain was not chosen.
type Rejection struct {
	Keychain string
	Reason   string // without a full stop
	Hint     string // what a person can do about it; may be empty
	Err      error  // the error behind it; nil if it was not tried
}

// Candidates says which keychains are worth trying in a session, best first,
// and why the others are not. mayForget says that what is kept can be had
// again, so that the kernel's keyring, which forgets at reboot, is one of them.
//
//	macOS                        keychain, pass
//	Windows                      wincred
//	Linux, any session           secret-service, pass
//	Linux, mayForget, graphical  secret-service, kernel, pass
//	Linux, mayForget, else       kernel, secret-service, pass
//	pipeline, sudo               none
//
// A session over SSH, in WSL or in a container makes no other list where
// nothing may be forgotten: whether there is a Secret Service, and whether it is
// unlocked, its readiness check finds out without starting or asking anything.
func Candidates(s Session, mayForget bool) ([]string, []Rejection) {
	var names []string
	var no []Rejection
	reject := func(name, reason, hint string) {
		no = append(no, Rejection{Keychain: name, Reason: reason, Hint: hint})
	}
	for _, name := range namesOn(s.OS) {
		switch {
		case s.CI:
			reject(name, "this is a CI job, which keeps nothing", "hand the job its key in a variable")
		case s.Sudo:
			reject(name, "this runs as root through sudo, and would write to a keychain of root's", "run it without sudo")
		case Volatile(name) && mayForget && !s.Graphical:
			names = append([]string{name}, names...)
		case Volatile(name) && !mayForget:
			reject(name, "it forgets everything at reboot", "ask for it by name if that is wanted")
		default:
			names = append(names, name)
		}
	}
	return names, no
}

// Choose returns the first of Candidates that stores, returns and deletes a
// random value, and why the ones before it could not be used. With no usable
// keychain the error is ErrNone. A keychain that is only locked is a rejection
// like any other: the caller should show it before it settles for less.
func Choose(ctx context.Context, o Options) (Keychain, []Rejection, error) {
	names, no := Candidates(o.Session(), o.MayForget)
	for _, name := range names {
		b := backendOf(name, o)
		k := &bounded{name, b, o}
		err := k.probe(ctx)
		if err == nil {
			return wrap(name, b, o), no, nil
		}
		if ctx.Err() != nil {
			return nil, no, ctx.Err()
		}
		no = append(no, rejection(name, err))
	}
	return nil, no, ErrNone
}

// Probe says whether the named keychain can be used here, by storing,
// returning and deleting a random value.
func Probe(ctx context.Context, name string, o Options) error {
	if _, err := Open(name, o); err != nil {
		return err
	}
	return (&bounded{name, backendOf(name, o), o}).probe(ctx)
}

func rejection(name string, err error) Rejection {
	r := Rejection{Keychain: name, Reason: err.Error(), Err: err}
	var unavailable *UnavailableError
	var timeout *TimeoutError
	var lost *LostError
	switch {
	case errors.As(err, &unavailable):
		r.Reason, r.Hint = unavailable.Reason, unavailable.Hint
	case errors.As(err, &timeout):
		r.Reason = fmt.Sprintf("no answer within %v", timeout.After)
		if timeout.Tripped {
			r.Reason = "it did not answer before"
		}
		r.Hint = "a prompt may be waiting for an answer, perhaps on another screen"
	case errors.As(err, &lost):
		r.Reason = "it said that it stored a value and does not have it"
		r.Hint = "a prompt may have been dismissed"
	}
	return r
}

package vault

import (
	"errors"
	"strconv"
	"strings"
)

// Kind says what went wrong in a way that a caller can act on. One table in
// cmd/internal/cli turns kinds into next steps and, for a server, into statuses.
type Kind int

const (
	KindOther       Kind = iota
	KindNotFound         // the secret, field or version is not there
	KindNoEnv            // the environment is not there
	KindNoVault          // there is no vault at that place
	KindExists           // it is there already and must not be overwritten
	KindInvalid          // the input is not of its form
	KindConflict         // somebody else wrote in between
	KindDenied           // the caller holds no key, or may not
	KindNoIdentity       // there is no identity to open anything with
	KindTampered         // a check of authenticity failed: nothing of it is used
	KindMalformed        // a stored file is not of its form: truncated, edited, damaged
	KindUnmerged         // a stored file holds conflict marks
	KindVersion          // made by a newer envrun
	KindInsecure         // permissions or owner of a file are too wide
	KindBusy             // another process holds the lock
	KindReadOnly         // the place cannot be written
	KindFull             // no space left
	KindUnsupported      // this vault cannot do that
	KindUnavailable      // a service did not answer in time
)

// Error is the one error type of vaults: the kind, and the facts that a
// message names. It never holds a value.
type Error struct {
	Kind   Kind
	Op     string // what was being done: "opening", "set"; may be empty
	Env    Env
	Path   Path
	Field  FieldName
	File   string // the file at fault, if one is
	Line   int    // its line, counted from 1; 0 if none
	Detail string // what is wrong, lower case, without a full stop
	Err    error  // the cause, may be nil
}

func (e *Error) Error() string {
	var parts []string
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.File != "" {
		at := e.File
		if e.Line > 0 {
			at += ":" + strconv.Itoa(e.Line)
		}
		parts = append(parts, at)
	}
	var what []string
	if e.Env != "" {
		what = append(what, string(e.Env))
	}
	if e.Path != "" {
		what = append(what, string(e.Path))
	}
	if e.Field != "" {
		what = append(what, string(e.Field))
	}
	if len(what) > 0 {
		parts = append(parts, strings.Join(what, " "))
	}
	if e.Detail != "" {
		parts = append(parts, e.Detail)
	} else if e.Err == nil {
		parts = append(parts, e.Kind.String())
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first *Error in err's tree, KindOther if it has none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindOther
}

func (k Kind) String() string {
	switch k {
	case KindNotFound:
		return "not found"
	case KindNoEnv:
		return "no such environment"
	case KindNoVault:
		return "no vault"
	case KindExists:
		return "already there"
	case KindInvalid:
		return "invalid"
	case KindConflict:
		return "changed by somebody else"
	case KindDenied:
		return "no access"
	case KindNoIdentity:
		return "no identity"
	case KindTampered:
		return "failed its check of authenticity"
	case KindMalformed:
		return "malformed"
	case KindUnmerged:
		return "unresolved merge"
	case KindVersion:
		return "made by a newer version"
	case KindInsecure:
		return "permissions too wide"
	case KindBusy:
		return "locked by another process"
	case KindReadOnly:
		return "read-only"
	case KindFull:
		return "no space left"
	case KindUnsupported:
		return "not supported"
	case KindUnavailable:
		return "did not answer"
	}
	return "error"
}

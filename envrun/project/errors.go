package project

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"envrun/vault"
)

// Pos is where something was written: a file and its line, counted from 1. The
// zero Pos means nowhere; Line 0 means the file as a whole.
type Pos struct {
	File string
	Line int
}

// String is "file:line", as an editor opens it; empty for the zero Pos.
func (p Pos) String() string {
	if p.File == "" || p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Short is String with the file's base name only, for tables.
func (p Pos) Short() string {
	if p.File == "" {
		return ""
	}
	return Pos{filepath.Base(p.File), p.Line}.String()
}

// Error says what is wrong with a project file. It unwraps to a *vault.Error
// of its Kind.
type Error struct {
	Kind    vault.Kind // KindInvalid, KindInsecure, KindExists, KindNoEnv, KindOther
	Pos     Pos
	Key     string // the key at fault, dotted: "inject.only"; may be empty
	Detail  string // what is wrong, lower case, without a full stop
	Nearest string // what was probably meant; may be empty
	Err     error  // the cause, may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	if at := e.Pos.String(); at != "" {
		b.WriteString(at + ": ")
	}
	b.WriteString(e.Detail)
	if e.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Nearest)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the same facts as a *vault.Error, so that vault.KindOf works.
func (e *Error) Unwrap() error {
	return &vault.Error{Kind: e.Kind, File: e.Pos.File, Line: e.Pos.Line, Detail: e.Detail, Err: e.Err}
}

// NoProjectError says that there is no project file. Its kind is KindNoVault:
// without one there is no place to look for secrets.
type NoProjectError struct {
	Dir  string // where the search began
	Last string // the last directory that was looked in
}

func (e *NoProjectError) Error() string {
	if e.Last == e.Dir {
		return fmt.Sprintf("no envrun.toml in %s", e.Dir)
	}
	return fmt.Sprintf("no envrun.toml in %s or above it up to %s", e.Dir, e.Last)
}

func (e *NoProjectError) Unwrap() error {
	return &vault.Error{Kind: vault.KindNoVault, File: e.Dir, Detail: "no project file"}
}

// Origin says what chose an environment.
type Origin string

const (
	FromFlag     Origin = "-e"
	FromVariable Origin = "ENVRUN_ENV"
	FromDefault  Origin = "default"
)

// EnvError says that the environment to use is not one of the project's, or
// that nothing names one. Its kind is KindNoEnv.
type EnvError struct {
	Name    string // as given; empty if nothing named an environment
	From    Origin // what named it; empty with Name
	Nearest string // the environment that was probably meant; may be empty
	Known   []vault.Env
	File    string
}

func (e *EnvError) Error() string {
	var b strings.Builder
	switch {
	case e.Name == "":
		b.WriteString("no environment chosen and " + e.File + " names no default")
	default:
		fmt.Fprintf(&b, "environment %q (from %s) is not in %s", e.Name, e.From, e.File)
	}
	if e.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Nearest)
	}
	if len(e.Known) == 0 {
		b.WriteString("; it has no environments")
		return b.String()
	}
	b.WriteString("; it has ")
	for i, k := range e.Known {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(k))
	}
	return b.String()
}

func (e *EnvError) Unwrap() error {
	return &vault.Error{Kind: vault.KindNoEnv, File: e.File, Detail: "no such environment in the project file"}
}

package run

import (
	"context"
	"fmt"
	"os"
	"time"

	"envrun/envrun/environ"
	"envrun/envrun/redact"
	"envrun/vault"
)

// A Command says what to run and how. Argv or Shell must be set; every other
// field may be zero.
type Command struct {
	// Argv is the program and its arguments, handed on byte for byte. With
	// Shell it holds the positional parameters of the shell command.
	Argv []string
	// Shell is a command line for /bin/sh -c, on Windows cmd.exe /d /s /c
	// (runner P3). No secret may be part of it.
	Shell string
	// Dir is the directory the program starts in, "" for the present one.
	Dir string
	// Env is the program's whole environment; nil means none at all. It is not
	// changed.
	Env *environ.Environ

	// Stdin, Stdout and Stderr become the program's; nil means ours.
	Stdin, Stdout, Stderr *os.File

	// Files are delivered as files, their variables set to the paths (runner
	// F1-F4).
	Files []FileVar
	// MemFD delivers them as sealed files in memory that live as long as somebody
	// holds them open, which needs no clean-up. Linux only. A program started by
	// the program sees them only if it is given all open descriptors.
	MemFD bool
	// RuntimeDir is where files are put, normally $XDG_RUNTIME_DIR. Where it is
	// empty or unsuitable, Linux uses /dev/shm, macOS and Windows the user's
	// temporary folder.
	RuntimeDir string
	// RuntimeDirAny accepts a RuntimeDir that is kept on a disk. It is
	// for a user who asked for that folder by name.
	RuntimeDirAny bool

	// Mask says which streams are masked; Masker makes the masker and is called
	// only if one is. Without a Masker nothing is masked.
	Mask   Mask
	Masker func() *redact.Masker
	// Sensitive makes MaskAuto mask the streams that are no terminal: in CI,
	// under a coding agent, in a protected environment (runner T2).
	Sensitive bool

	// Timeout ends the program with TERM; 0 means never (runner E4).
	Timeout time.Duration
	// KillAfter is how long after an INT, QUIT or TERM that was passed on, or
	// after Timeout, KILL follows; 0 means never (runner S6).
	KillAfter time.Duration

	// ForceExec makes it an error to need a supervisor, ForceSupervise to do
	// without.
	ForceExec      bool
	ForceSupervise bool

	// OnExit is called in order when the program has ended or could not be started,
	// each with a context that ends after 5 seconds. An error becomes a warning.
	OnExit []func(ctx context.Context) error
}

// A FileVar is a value delivered as a file.
type FileVar struct {
	Var   string // the variable that will hold the path
	Name  string // the last element of the path; "" for Var
	Value vault.Value
}

// Mask says which of the program's streams are masked (runner T2, T3).
type Mask int

const (
	MaskAuto   Mask = iota // those that are no terminal, if the run is Sensitive
	MaskAlways             // both, a terminal through a pseudo-terminal
	MaskNever
)

func (m Mask) String() string {
	switch m {
	case MaskAuto:
		return "auto"
	case MaskAlways:
		return "always"
	case MaskNever:
		return "never"
	}
	return fmt.Sprintf("Mask(%d)", int(m))
}

// ParseMask reads what String writes.
func ParseMask(s string) (Mask, error) {
	for _, m := range []Mask{MaskAuto, MaskAlways, MaskNever} {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("mask %q is none of auto, always, never", s)}
}

// hookTime is what one function of Command.OnExit gets.
const hookTime = 5 * time.Second

// Status is how the program ended.
type Status struct {
	// Code is the exit status to report: the program's own; 128 + Signal if a
	// signal ended it; 124 after Timeout, 137 if that took KILL.
	Code   int
	Signal int  // the signal that ended it, or 0
	Core   bool // it left a core file
	// TimedOut says that Timeout passed, Killed that KillAfter did.
	TimedOut, Killed bool
	// Warnings are what went wrong without changing the status (runner E6).
	Warnings []error
}

// Exit statuses of our own (runner E3): those of env, nohup and docker.
const (
	CodeFailed    = 125 // nothing was started
	CodeCannotRun = 126 // the program was found but cannot be run
	CodeNotFound  = 127 // the program was not found

	codeTimedOut = 124
	codeKilled   = 137
)

// Reason says why nothing was started.
type Reason int

const (
	ReasonSetup         Reason = iota // 125: preparing failed: Err says what
	ReasonUsage                       // 125: the Command contradicts itself
	ReasonExec                        // 125: ForceExec, but a supervisor is needed
	ReasonSize                        // 125: Err is an *environ.SizeError
	ReasonDir                         // 125: Dir cannot be entered
	ReasonFiles                       // 125: files cannot be delivered
	ReasonNotFound                    // 127: no such program
	ReasonRelative                    // 127: found only at Found, through a PATH entry that is not absolute
	ReasonNotExecutable               // 126: no permission to execute, or a folder
	ReasonInterpreter                 // 126: the script's Interpreter, or the program's loader, is missing
	ReasonFormat                      // 126: not a program for this system
	ReasonBatch                       // 126: an argument that a Windows batch file could take for a command
)

// An Error says why nothing was started. It holds no value and no argument.
type Error struct {
	Code        int // 125, 126 or 127
	Reason      Reason
	Program     string // as it was asked for; may be empty
	Found       string // the file it is about, if one was found
	Interpreter string // with ReasonInterpreter
	Detail      string // what is wrong, lower case, without a full stop
	Err         error  // the cause, may be nil
}

func (e *Error) Error() string {
	s := e.Detail
	if e.Err != nil {
		if s != "" {
			s += ": "
		}
		s += e.Err.Error()
	}
	if e.Program != "" {
		s = e.Program + ": " + s
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

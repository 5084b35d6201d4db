package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"envrun/vault"

	"github.com/spf13/cobra"
)

// Exit statuses of envrun's own commands. A run passes its command's status on
// and has 125, 126 and 127 for itself.
const (
	ExitFailed = 1 // it was not done, or a check found something
	ExitUsage  = 2 // the command line is not right
)

// A Report is an error as the user gets it.
type Report struct {
	Message string   `json:"error"`
	Code    string   `json:"code"` // stable: E_AUTH, E_CONFIG, E_MISSING, …
	Hints   []string `json:"hints,omitempty"`
	Exit    int      `json:"exit"`
	Program string   `json:"-"` // that says it; "" is envrun
	Quiet   bool     `json:"-"` // the status says it all

	base string
}

// Codes of reports (runner E5). They are stable; messages are not.
const (
	CodeAuth     = "E_AUTH"     // no identity, no key, not accepted
	CodeConfig   = "E_CONFIG"   // project file, settings, input files
	CodeConflict = "E_CONFLICT" // somebody else wrote, or it is there already
	CodeIO       = "E_IO"       // disk full, read-only, permission
	CodeMissing  = "E_MISSING"  // a secret or environment is not there
	CodeOffline  = "E_OFFLINE"  // a service did not answer
	CodePolicy   = "E_POLICY"   // protected, refused
	CodeSize     = "E_SIZE"     // too big for the system
	CodeTampered = "E_TAMPERED" // a check of authenticity failed
	CodeUsage    = "E_USAGE"    // the command line
	CodeFailed   = "E_FAILED"   // anything else
)

// HintError is an error with its code and the next command to type.
type HintError struct {
	Err  error
	Code string
	Hint string
}

func (e *HintError) Error() string { return e.Err.Error() }
func (e *HintError) Unwrap() error { return e.Err }

// UsageError is a command line that is not right.
type UsageError struct {
	Command string // "envrun set"
	Err     error
}

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(command, format string, args ...any) error {
	return &UsageError{Command: command, Err: fmt.Errorf(format, args...)}
}

// StatusError is an error that ends a run before it starts, with one of 125, 126, 127.
type StatusError struct {
	Exit int
	Err  error
}

func (e *StatusError) Error() string { return e.Err.Error() }
func (e *StatusError) Unwrap() error { return e.Err }

// ErrDeclined is a "no" to a question.
var ErrDeclined = errors.New("not confirmed: nothing was changed")

// ErrShown is a failure whose findings are printed already.
var ErrShown = errors.New("see above")

// nearError is an error with the name that was perhaps meant.
type nearError struct {
	error
	near string
}

func (e *nearError) Unwrap() error { return e.error }

// Near adds to err the name that was perhaps meant, if there is one.
func Near[S ~string](err error, near S) error {
	if near == "" {
		return err
	}
	return &nearError{err, string(near)}
}

// PathOf is the path that a vault's error is about.
func PathOf(err error) (vault.Path, bool) {
	var e *vault.Error
	if errors.As(err, &e) && e.Path != "" {
		return e.Path, true
	}
	return "", false
}

// Several is one error of many: nil of none.
func Several(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return &several{errs}
}

type several struct{ errs []error }

func (e *several) Error() string { return strings.Join(e.lines(), "\n") }

func (e *several) lines() []string {
	lines := make([]string, 0, len(e.errs))
	for i, err := range e.errs {
		if i == 20 {
			lines = append(lines, fmt.Sprintf("… and %d more", len(e.errs)-i))
			break
		}
		lines = append(lines, err.Error())
	}
	return lines
}

func (e *several) Unwrap() []error { return e.errs }

// Explainer turns errors into reports: the one place where an error meets the
// names of commands.
type Explainer struct {
	// Base is what relative file names in errors are relative to; hints name
	// files as they are found from where the user stands.
	Base string

	// More are asked in order before the table of kinds: each adds what it knows
	// of one kind of error to its report, and says whether it knew it.
	More []func(err error, r *Report) bool
}

// Explain turns an error into what the user is told.
func (x Explainer) Explain(err error) Report {
	r := Report{Message: err.Error(), Code: CodeFailed, base: x.Base}
	x.explain(err, &r)
	var status *StatusError
	switch {
	case errors.As(err, &status):
		r.Exit = status.Exit
	case r.Exit != 0:
	case r.Code == CodeUsage:
		r.Exit = ExitUsage
	default:
		r.Exit = ExitFailed
	}
	var near *nearError
	if errors.As(err, &near) {
		r.Hints = append([]string{fmt.Sprintf("did you mean %s?", near.near)}, r.Hints...)
	}
	r.Message = Printable(r.Message)
	var many *several
	if errors.As(err, &many) {
		lines := many.lines()
		for i := range lines {
			lines[i] = Printable(lines[i])
		}
		r.Message = strings.Join(lines, "\n")
	}
	for i := range r.Hints {
		r.Hints[i] = Printable(r.Hints[i])
	}
	return r
}

func (x Explainer) explain(err error, r *Report) {
	var usage *UsageError
	var hint *HintError
	var need *NeedsAnswer
	switch {
	case errors.Is(err, ErrShown):
		r.Quiet = true
		return
	case errors.Is(err, ErrInterrupted), errors.Is(err, context.Canceled):
		r.Message, r.Exit = "interrupted", 130
		var by *signalled
		if errors.As(err, &by) {
			r.Exit = 128 + int(by.signal)
		}
		return
	case errors.Is(err, ErrLines):
		r.Code = CodeUsage
		r.hint("read it from a file: envrun set NAME < FILE")
		return
	case errors.As(err, &usage):
		r.Code = CodeUsage
		r.hint("%s", usage.Command+" --help")
		return
	case errors.As(err, &hint):
		r.Code = hint.Code
		r.hint("%s", hint.Hint)
		return
	case errors.As(err, &need):
		r.Code = CodePolicy
		r.hint("%s", need.Need)
		return
	}
	for _, more := range x.More {
		if more(err, r) {
			return
		}
	}
	var ve *vault.Error
	if errors.As(err, &ve) {
		r.byKind(ve)
		return
	}
	r.bySystem(err)
}

func (r *Report) hint(format string, args ...any) {
	if h := fmt.Sprintf(format, args...); h != "" {
		r.Hints = append(r.Hints, h)
	}
}

// AddHint adds a hint.
func (r *Report) AddHint(format string, args ...any) { r.hint(format, args...) }

// Path is a file of an error as the user finds it from here, to be pasted.
func (r *Report) Path(file string) string {
	if file == "" {
		return "."
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(r.base, file)
	}
	if here, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(here, file); err == nil && len(rel) < len(file) {
			file = rel
		}
	}
	return Quote(file)
}

// byKind is the table: what a kind of error means for the one who types.
func (r *Report) byKind(e *vault.Error) {
	env, path, file := "ENV", string(e.Path), r.Path(e.File)
	if e.Env != "" {
		env = string(e.Env)
	}
	switch e.Kind {
	case vault.KindNotFound:
		r.Code = CodeMissing
		r.hint("envrun list -e %s", env)
		if e.Path != "" {
			r.hint("envrun history -e %s %s", env, path)
		}
	case vault.KindNoEnv:
		r.Code = CodeMissing
		r.hint("if git has it: git checkout -- %s", file)
		r.hint("to make it: envrun env add %s", env)
	case vault.KindNoVault:
		r.Code = CodeConfig
		r.hint("if git has it: git checkout -- %s", file)
		r.hint("to make one: envrun init")
	case vault.KindExists:
		r.Code = CodeConflict
	case vault.KindInvalid:
		r.Code = CodeConfig
	case vault.KindConflict:
		r.Code = CodeConflict
		r.hint("look at what is there now, then try again: envrun history -e %s %s", env, path)
	case vault.KindDenied:
		r.Code = CodeAuth
		if e.Env != "" {
			r.hint("to ask for access: envrun request %s", env)
		}
		r.hint("who has a key: envrun vault status")
		r.hint("which identity you use: envrun key show")
	case vault.KindNoIdentity:
		r.Code = CodeAuth
		r.hint("envrun key new, or in CI set ENVRUN_KEY")
	case vault.KindTampered:
		r.Code = CodeTampered
		r.hint("nothing of it was used; look at who changed it: git log -- %s", file)
		if e.Path != "" {
			r.hint("to bring back a genuine version: envrun history -e %s %s, then envrun rollback -e %s %s --to N", env, path, env, path)
		}
	case vault.KindMalformed:
		r.Code = CodeTampered
		r.hint("bring the file back as git has it: git checkout -- %s", file)
		r.hint("if git has it so: git log -- %s, then git checkout COMMIT -- %s", file, file)
	case vault.KindUnmerged:
		r.Code = CodeConflict
		r.hint("envrun vault merge")
	case vault.KindVersion:
		r.Code = CodeConfig
		r.hint("install a newer envrun: this one cannot read it")
		if e.File != "" {
			r.hint("if nobody works with a newer one, look at who wrote it: git log -- %s", file)
		}
	case vault.KindInsecure:
		r.Code = CodePolicy
		if e.File != "" {
			r.hint("ls -ld %s", file)
		}
	case vault.KindBusy:
		r.Code = CodeConflict
		r.hint("wait for it to end, and try again")
	case vault.KindReadOnly:
		r.Code = CodeIO
		r.hint("check the permissions: ls -ld %s", file)
	case vault.KindFull:
		r.Code = CodeIO
		r.hint("free some space (df -h %s) and try again; nothing was half-written", file)
	case vault.KindUnavailable:
		r.Code = CodeOffline
		r.hint("envrun doctor")
	case vault.KindUnsupported:
		r.Code = CodeConfig
	default:
		r.bySystem(e)
	}
}

func (r *Report) bySystem(err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrExist):
		r.Code = CodeIO
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		r.Code = CodeOffline
	}
}

// WriteText prints the report for a person.
func (r Report) WriteText(w io.Writer) {
	if r.Quiet {
		return
	}
	program := r.Program
	if program == "" {
		program = "envrun"
	}
	fmt.Fprintf(w, "%s: %s (%s)\n", program, r.Message, r.Code)
	for _, h := range r.Hints {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
}

// WriteJSON prints the report as one line of JSON.
func (r Report) WriteJSON(w io.Writer) {
	if r.Quiet {
		return
	}
	line, err := json.Marshal(r)
	if err != nil {
		r.WriteText(w)
		return
	}
	fmt.Fprintf(w, "%s\n", line)
}

// ExactArgs, MinArgs and MaxArgs are cobra's, with our errors.
func ExactArgs(n int) cobra.PositionalArgs {
	return args(func(got int) bool { return got == n }, func() string {
		switch n {
		case 0:
			return "takes no argument"
		case 1:
			return "takes one argument"
		}
		return fmt.Sprintf("takes %d arguments", n)
	})
}

// MinArgs needs at least n arguments.
func MinArgs(n int) cobra.PositionalArgs {
	return args(func(got int) bool { return got >= n }, func() string { return fmt.Sprintf("needs at least %d argument", n) })
}

// MaxArgs takes at most n arguments.
func MaxArgs(n int) cobra.PositionalArgs {
	return args(func(got int) bool { return got <= n }, func() string { return fmt.Sprintf("takes at most %d argument", n) })
}

// RangeArgs takes between least and most arguments.
func RangeArgs(least, most int) cobra.PositionalArgs {
	return args(func(got int) bool { return got >= least && got <= most }, func() string { return fmt.Sprintf("takes %d or %d arguments", least, most) })
}

func args(ok func(int) bool, what func() string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if ok(len(args)) {
			return nil
		}
		return Usagef(cmd.CommandPath(), "%s %s: %s", cmd.CommandPath(), what(), cmd.UseLine())
	}
}

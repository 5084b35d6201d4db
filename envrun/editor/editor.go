// Package editor hands the fields of a secret to a person's own editor, as
// NAME=value lines, and reads back what they made of them. The commands and the
// terminal interface edit with the same code.
//
// It refuses to write the text anywhere but where run.NewFolder puts it: in
// memory, in a folder of this user alone that is gone when the editor has ended.
// The name of the file says nothing of the secret. Known editors are told to
// keep no swap, undo, backup or history of it; what an unknown one does is for
// whoever chose it (Known tells).
package editor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"envrun/envrun/environ"
	"envrun/envrun/run"
	"envrun/vault"
)

// TextName is what errors of Parse call the text.
const TextName = "your text"

// Text is the fields of a secret to be edited. head is lines of explanation,
// without "#". The error says which field cannot be written as such text.
func Text(fields []vault.Field, head ...string) ([]byte, error) {
	var b bytes.Buffer
	for _, line := range head {
		b.WriteString("# " + line + "\n")
	}
	entries := make([]environ.Entry, len(fields))
	for i, f := range fields {
		entries[i] = environ.Entry{Name: string(f.Name), Value: f.Value}
	}
	if err := environ.Export(&b, environ.Dotenv, entries, environ.ExportOptions{Dialect: environ.DialectNode}); err != nil {
		return nil, fmt.Errorf("this secret cannot be edited as text: %w", err)
	}
	return b.Bytes(), nil
}

// Parse reads an edited text. It is never nil without an error; no lines are no
// fields.
func Parse(text []byte) ([]vault.Field, error) {
	entries, err := environ.Import(bytes.NewReader(text), environ.Dotenv, environ.ImportOptions{Dialect: environ.DialectNode, File: TextName})
	if err != nil {
		return nil, err
	}
	fields := make([]vault.Field, 0, len(entries))
	for _, e := range entries {
		name, err := vault.ParseFieldName(e.Name)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindInvalid, File: TextName, Line: e.Line, Err: err}
		}
		fields = append(fields, vault.Field{Name: name, Value: e.Value})
	}
	return fields, nil
}

// Diff is what an edit changed: the fields that are new or have another value,
// and the names that are gone.
func Diff(was, now []vault.Field) (set []vault.Field, drop []vault.FieldName) {
	for _, f := range now {
		i := slices.IndexFunc(was, func(o vault.Field) bool { return o.Name == f.Name })
		if i < 0 || !was[i].Value.Equal(f.Value) {
			set = append(set, f)
		}
	}
	for _, f := range was {
		if !slices.ContainsFunc(now, func(n vault.Field) bool { return n.Name == f.Name }) {
			drop = append(drop, f.Name)
		}
	}
	return set, drop
}

// A Command is an editor and how it is started.
type Command struct {
	Line       string   // "vim", "code --wait"; a shell splits it, on Windows its spaces
	RuntimeDir string   // normally $XDG_RUNTIME_DIR; may be empty
	Environ    []string // what it inherits; envrun's own variables are left out
	GOOS       string   // empty: this system

	Stdin, Stdout, Stderr *os.File
}

// A StatusError says that the editor ended with a status that means failure.
type StatusError struct{ Code int }

func (e *StatusError) Error() string { return fmt.Sprintf("the editor ended with status %d", e.Code) }

// OnDisk reports whether the text lies on a disk while it is edited, because
// this system has no folder in memory.
func OnDisk() bool { return runtime.GOOS != "linux" }

// Edit runs the editor on text and returns what it left. The handlers of signals
// that the caller has installed must be removed before: run.Run has its own.
func (c Command) Edit(ctx context.Context, text []byte) (edited []byte, err error) {
	folder, err := run.NewFolder(c.RuntimeDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, folder.Remove()) }()
	file := filepath.Join(folder.Dir(), "fields.env")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	env := environ.FromList(c.Environ, c.GOOS)
	env.DropOwn()
	r := run.Command{
		Shell: c.Line + quiet(c.Line) + ` "$@"`, Argv: []string{file}, Env: env,
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, ForceSupervise: true,
	}
	if c.GOOS == "windows" || c.GOOS == "" && runtime.GOOS == "windows" {
		r.Shell, r.Argv = "", append(strings.Fields(c.Line), file)
	}
	status, err := run.Run(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("the editor: %w", err)
	}
	if status.Code != 0 {
		return nil, &StatusError{status.Code}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, environ.MaxInput+1))
}

// quiet are the flags that keep an editor from writing copies elsewhere.
func quiet(line string) string {
	switch program(line) {
	case "vim", "nvim", "vi", "view", "vimdiff":
		// Plain vi takes -c too; what it does not know it says and goes on. The
		// viminfo is turned off twice, since a vimrc can turn -i around.
		return ` -n -i NONE -c "set noundofile nobackup nowritebackup noswapfile viminfo="`
	case "nano":
		return " --ignorercfiles"
	}
	return ""
}

// Known reports whether an editor is one that Edit can tell to keep no copies.
func Known(line string) bool { return quiet(line) != "" }

func program(line string) string {
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	return filepath.Base(words[0])
}

// Choose is the command line of the editor that the environment names:
// ENVRUN_EDITOR, VISUAL or EDITOR, else vi.
func Choose(getenv func(string) string) string {
	for _, name := range [...]string{"ENVRUN_EDITOR", "VISUAL", "EDITOR"} {
		if line := getenv(name); line != "" {
			return line
		}
	}
	return "vi"
}

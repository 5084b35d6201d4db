package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/environ"
	"envrun/envrun/run"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newEdit(t *tool) *cobra.Command {
	var editor string
	cmd := &cobra.Command{
		Use:   "edit [PATH]",
		Short: "Edit a secret's fields as NAME=value lines in your editor",
		Long: `Opens the fields of one secret in --editor, $ENVRUN_EDITOR, $VISUAL, $EDITOR or vi. The text
lies in memory-backed storage that only you can read and is gone when the editor
ends; swap, undo and backup files of vim and nano are turned off. Leaving without
a change writes nothing, and a text with an error is offered for editing again.`,
		Example: `  envrun edit
  EDITOR="code --wait" envrun edit -e staging shared/stripe`,
		Args: cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runEdit(cmd.Context(), t, args, editor) },
	}
	cmd.Flags().StringVar(&editor, "editor", "", "the editor, a command line")
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

func runEdit(ctx context.Context, t *tool, args []string, editor string) error {
	if editor == "" {
		if !t.Interactive() {
			return &cli.HintError{Err: errors.New("nobody is at a terminal to edit"), Code: cli.CodePolicy, Hint: "envrun set NAME < FILE, or name an editor: --editor COMMAND"}
		}
		for _, name := range []string{"ENVRUN_EDITOR", "VISUAL", "EDITOR"} {
			if editor = t.Getenv(name); editor != "" {
				break
			}
		}
		if editor == "" {
			editor = "vi"
		}
	}
	s, err := t.openToWrite(ctx)
	if err != nil {
		return err
	}
	path, err := secretPath(s.Project, args)
	if err != nil {
		return err
	}
	secret, err := s.vault.Get(ctx, s.env.Name, path)
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		return err
	}
	if err := t.allow(ctx, s.env, "was changed"); err != nil {
		return err
	}
	text, err := editText(s, path, secret)
	if err != nil {
		return err
	}
	var infos []vault.Info
	var fields []vault.Field
	for first := true; ; first = false {
		edited, err := t.editInMemory(ctx, editor, path, text)
		if err != nil {
			return err
		}
		if first && bytes.Equal(edited, text) {
			t.Notef("nothing was changed")
			return nil
		}
		text = edited
		if fields, err = parseEdited(edited); err == nil {
			infos, err = t.applyEdit(ctx, s, path, secret, fields)
		}
		if err == nil {
			break
		}
		if !t.Interactive() {
			return fmt.Errorf("nothing was changed: %w", err)
		}
		// What was typed is not lost for what went wrong with it.
		t.explain(err).WriteText(t.Err)
		again, askErr := t.Confirm(ctx, "Edit again? (no drops what you typed)", "")
		if askErr != nil {
			return askErr
		}
		if !again {
			return cli.ErrDeclined
		}
	}
	if infos == nil || infos[0].Version == secret.Version {
		t.Notef("nothing was changed")
		return nil
	}
	var names []string
	for _, f := range infos[0].Fields {
		if f.Since == infos[0].Version {
			names = append(names, string(f.Name))
		}
	}
	for _, f := range secret.Fields {
		if !slices.ContainsFunc(fields, func(n vault.Field) bool { return n.Name == f.Name }) {
			names = append(names, string(f.Name)+" (removed)")
		}
	}
	t.Notef("%s %s: %s (version %d)", s.env.Name, path, strings.Join(names, ", "), infos[0].Version)
	return nil
}

// applyEdit writes what the editor changed. When somebody else wrote meanwhile,
// it is laid over theirs, unless both changed the same field.
func (t *tool) applyEdit(ctx context.Context, s selected, path vault.Path, was vault.Secret, fields []vault.Field) ([]vault.Info, error) {
	if len(fields) == 0 {
		if was.Version == 0 {
			return nil, nil
		}
		return nil, &cli.HintError{Err: errors.New("every line was removed"), Code: cli.CodeUsage, Hint: "to delete the secret: envrun rm --secret " + string(path)}
	}
	change := vault.Change{Path: path, Was: was.Version}
	for _, f := range fields {
		if old, ok := was.Field(f.Name); !ok || !old.Value.Equal(f.Value) {
			change.Set = append(change.Set, f)
		}
	}
	for _, f := range was.Fields {
		if !slices.ContainsFunc(fields, func(n vault.Field) bool { return n.Name == f.Name }) {
			change.Drop = append(change.Drop, f.Name)
		}
	}
	infos, err := s.vault.Apply(ctx, s.env.Name, []vault.Change{change})
	if vault.KindOf(err) != vault.KindConflict {
		return infos, err
	}
	now, getErr := s.vault.Get(ctx, s.env.Name, path)
	if getErr != nil {
		return nil, err
	}
	mine := append([]vault.FieldName{}, change.Drop...)
	for _, f := range change.Set {
		mine = append(mine, f.Name)
	}
	for _, name := range mine {
		old, had := was.Field(name)
		theirs, has := now.Field(name)
		if had != has || has && !theirs.Value.Equal(old.Value) {
			return nil, fmt.Errorf("%s was changed by %s meanwhile: %w", name, now.By, err)
		}
	}
	change.Was = now.Version
	return s.vault.Apply(ctx, s.env.Name, []vault.Change{change})
}

func editText(s selected, path vault.Path, secret vault.Secret) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s %s, one NAME=value a line; a line that is removed removes its field.\n", s.env.Name, path)
	fmt.Fprintf(&b, "# Leave without a change, or remove every line, to change nothing.\n")
	var entries []environ.Entry
	for _, f := range secret.Values {
		entries = append(entries, environ.Entry{Name: string(f.Name), Value: f.Value})
	}
	if err := environ.Export(&b, environ.Dotenv, entries, environ.ExportOptions{Dialect: environ.DialectNode}); err != nil {
		return nil, fmt.Errorf("this secret cannot be edited as text: %w", err)
	}
	return b.Bytes(), nil
}

func parseEdited(text []byte) ([]vault.Field, error) {
	entries, err := environ.Import(bytes.NewReader(text), environ.Dotenv, environ.ImportOptions{Dialect: environ.DialectNode, File: "your text"})
	if err != nil {
		return nil, err
	}
	fields := []vault.Field{}
	for _, e := range entries {
		name, err := vault.ParseFieldName(e.Name)
		if err != nil {
			return nil, &vault.Error{Kind: vault.KindInvalid, File: "your text", Line: e.Line, Err: err}
		}
		fields = append(fields, vault.Field{Name: name, Value: e.Value})
	}
	return fields, nil
}

// editInMemory runs the editor on a file in memory and returns what it left.
func (t *tool) editInMemory(ctx context.Context, editor string, path vault.Path, text []byte) (edited []byte, err error) {
	folder, err := run.NewFolder(t.Getenv("XDG_RUNTIME_DIR"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, folder.Remove()) }()
	file := filepath.Join(folder.Dir(), strings.ReplaceAll(string(path), "/", "-")+".env")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	env := environ.FromList(t.environ(), t.goos)
	env.DropOwn()
	c := run.Command{
		Shell: editor + quiet(editor) + ` "$@"`, Argv: []string{file}, Env: env,
		Stdin: t.In, Stdout: t.Out, Stderr: t.Err, ForceSupervise: true,
	}
	if t.goos == "windows" {
		c.Shell, c.Argv = "", append(strings.Fields(editor), file)
	}
	t.releaseSignals()
	status, err := run.Run(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("the editor: %w", err)
	}
	if status.Code != 0 {
		return nil, &cli.HintError{Err: fmt.Errorf("the editor ended with status %d: nothing was changed", status.Code), Code: cli.CodeFailed, Hint: "set EDITOR to an editor that works here"}
	}
	return os.ReadFile(file)
}

// quiet are the flags that keep an editor from writing copies elsewhere.
func quiet(editor string) string {
	words := strings.Fields(editor)
	if len(words) == 0 {
		return ""
	}
	switch filepath.Base(words[0]) {
	case "vim", "nvim", "vi", "view", "vimdiff":
		// Plain vi takes -c too; what it does not know it says and goes on. The
		// viminfo is turned off twice, since a vimrc can turn -i around.
		return ` -n -i NONE -c "set noundofile nobackup nowritebackup noswapfile viminfo="`
	case "nano":
		return " --ignorercfiles"
	}
	return ""
}

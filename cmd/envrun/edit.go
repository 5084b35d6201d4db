package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/editor"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newEdit(t *tool) *cobra.Command {
	var line string
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
		RunE: func(cmd *cobra.Command, args []string) error { return runEdit(cmd.Context(), t, args, line) },
	}
	cmd.Flags().StringVar(&line, "editor", "", "the editor, a command line")
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

func runEdit(ctx context.Context, t *tool, args []string, line string) error {
	if line == "" {
		if !t.Interactive() {
			return &cli.HintError{Err: errors.New("nobody is at a terminal to edit"), Code: cli.CodePolicy, Hint: "envrun set NAME < FILE, or name an editor: --editor COMMAND"}
		}
		line = editor.Choose(t.Getenv)
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
	text, err := editor.Text(secret.Values,
		fmt.Sprintf("%s %s, one NAME=value a line; a line that is removed removes its field.", s.env.Name, path),
		"Leave without a change, or remove every line, to change nothing.")
	if err != nil {
		return err
	}
	var infos []vault.Info
	var fields []vault.Field
	for first := true; ; first = false {
		edited, err := t.editInMemory(ctx, line, text)
		if err != nil {
			return err
		}
		if first && bytes.Equal(edited, text) {
			t.Notef("nothing was changed")
			return nil
		}
		text = edited
		if fields, err = editor.Parse(edited); err == nil {
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
	change.Set, change.Drop = editor.Diff(was.Values, fields)
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
			who := ""
			if now.By != "" {
				who = " by " + now.By // not every vault knows
			}
			return nil, fmt.Errorf("%s was changed%s meanwhile: %w", name, who, err)
		}
	}
	change.Was = now.Version
	return s.vault.Apply(ctx, s.env.Name, []vault.Change{change})
}

// editInMemory runs the editor and returns what it left.
func (t *tool) editInMemory(ctx context.Context, line string, text []byte) ([]byte, error) {
	t.releaseSignals()
	c := editor.Command{Line: line, RuntimeDir: t.Getenv("XDG_RUNTIME_DIR"), Environ: t.environ(), GOOS: t.goos, Stdin: t.In, Stdout: t.Out, Stderr: t.Err}
	edited, err := c.Edit(ctx, text)
	if status := (*editor.StatusError)(nil); errors.As(err, &status) {
		return nil, &cli.HintError{Err: fmt.Errorf("%w: nothing was changed", err), Code: cli.CodeFailed, Hint: "set EDITOR to an editor that works here"}
	}
	return edited, err
}

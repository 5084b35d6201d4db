package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/environ"
	"envrun/envrun/intake"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

// importOptions say how files with values are read, for import and init --import.
type importOptions struct {
	format    string
	dialect   string
	service   string
	gitignore bool
	template  bool
	quiet     bool // no notes
}

func (o *importOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "", "dotenv, json, yaml, compose or k8s (default: by the file's name and beginning)")
	f.StringVar(&o.dialect, "dialect", "", "whose dotenv file it is: node, compose, ruby, python or docker")
	f.StringVar(&o.service, "service", "", "the service of a compose file, or the name of a Kubernetes object")
	f.BoolVar(&o.gitignore, "gitignore", false, "add the files to .gitignore without asking")
	f.BoolVar(&o.template, "template", false, "write .env.template beside each file: its names without values")
}

func newImport(t *tool) *cobra.Command {
	var o importOptions
	var path string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Take the secrets of .env, JSON, YAML, compose or Kubernetes files into the vault",
		Long: `Reads files with values and sets each as a field. It shows what it will do, by
names; values that the vault has differently are replaced only when you say yes.
A file with an error changes nothing. "-" is stdin.

Programs read .env files differently. Where they do, --dialect says whose file it
is; without it what they agree on is taken, Node's reading where they do not, and
each such line is named. Nothing is ever expanded: $NAME is kept as it is written.`,
		Example: `  envrun import .env
  envrun import -e prod --path shared/stripe stripe.json
  kubectl get secret app -o yaml | envrun import --format k8s -`,
		Args: cli.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImport(cmd.Context(), t, o, path, dryRun, args)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&path, "path", "", "the secret that they become fields of (default: the project's own)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be done")
	return cmd
}

func runImport(ctx context.Context, t *tool, o importOptions, path string, dryRun bool, files []string) error {
	// Everything is read before anything is opened for writing.
	fields, err := t.readImports(o, files)
	if err != nil {
		return err
	}
	s, err := t.openToWrite(ctx)
	if err != nil {
		return err
	}
	var to vault.Path
	if path != "" {
		to, err = vault.ParsePath(path)
	} else {
		to, err = secretPath(s.Project, nil)
	}
	if err != nil {
		return err
	}
	if dryRun {
		_, err := t.planImport(ctx, s.vault, s.env, to, fields)
		return err
	}
	info, err := t.importInto(ctx, s.vault, s.env, to, fields)
	if err != nil {
		return err
	}
	if info.Version == 0 {
		t.Notef("%s %s has all of it already; nothing to do", s.env.Name, to)
	} else {
		t.Notef("imported into %s %s (version %d)", s.env.Name, to, info.Version)
	}
	return t.afterImport(ctx, o, files)
}

// importPlan is what an import would do, by names.
type importPlan struct {
	there                uint64 // the version that it was compared with
	added, changed, same []string
}

// planImport compares fields with what is there, and shows it.
func (t *tool) planImport(ctx context.Context, v vault.Reader, env project.Env, to vault.Path, fields []vault.Field) (importPlan, error) {
	there, err := v.Get(ctx, env.Name, to)
	if err != nil && vault.KindOf(err) != vault.KindNotFound {
		return importPlan{}, err
	}
	p := importPlan{there: there.Version}
	for i, verdict := range intake.Compare(fields, there) {
		name := string(fields[i].Name)
		switch verdict {
		case intake.New:
			p.added = append(p.added, name)
		case intake.Same:
			p.same = append(p.same, name)
		case intake.Replaced:
			p.changed = append(p.changed, name)
		}
	}
	t.noteNames(fields)
	t.Sayf("%s %s:", env.Name, to)
	for _, part := range []struct {
		what  string
		names []string
	}{{"new", p.added}, {"replaced", p.changed}, {"as it is", p.same}} {
		if len(part.names) > 0 {
			t.Sayf("  %-9s %s", part.what, strings.Join(part.names, ", "))
		}
	}
	return p, nil
}

// noteNames says at once what would stop a later run.
func (t *tool) noteNames(fields []vault.Field) {
	for _, f := range fields {
		if reason, refused := environ.Refused(string(f.Name)); refused {
			t.Notef("%s: a run refuses a variable of this name, since it %s, unless allow_names in envrun.toml lists it", f.Name, reason)
		} else if environ.CheckName(string(f.Name)) != nil {
			t.Notef("%s: no variable can have this name; an [[inject]] rule in envrun.toml can rename it", f.Name)
		}
	}
}

// importInto sets fields after it was shown, and allowed, what that does. The
// Info is zero if there was nothing to do.
func (t *tool) importInto(ctx context.Context, v vault.Vault, env project.Env, to vault.Path, fields []vault.Field) (vault.Info, error) {
	p, err := t.planImport(ctx, v, env, to, fields)
	if err != nil || len(p.added)+len(p.changed) == 0 {
		return vault.Info{}, err
	}
	if err := t.allow(ctx, env, "was imported"); err != nil {
		return vault.Info{}, err
	}
	if err := t.allowOverwrite(ctx, env.Name, to, p.changed); err != nil {
		return vault.Info{}, err
	}
	infos, err := v.Apply(ctx, env.Name, []vault.Change{{Path: to, Was: p.there, Set: fields}})
	if err != nil {
		return vault.Info{}, err
	}
	return infos[0], nil
}

// readImports reads files into fields, sorted by name. Of a name in several
// files the last counts.
func (t *tool) readImports(o importOptions, files []string) ([]vault.Field, error) {
	var all []environ.Entry
	for _, file := range files {
		entries, err := t.readImport(o, file)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	name := strings.Join(files, ", ")
	fields, err := intake.Fields(all)
	var many *intake.TooManyError
	switch {
	case errors.Is(err, intake.ErrEmpty):
		return nil, &cli.HintError{Err: fmt.Errorf("there is no variable in %s", name), Code: cli.CodeConfig, Hint: "check --format and --dialect"}
	case errors.As(err, &many):
		return nil, &cli.HintError{Err: err, Code: cli.CodeConfig, Hint: "split the file and import each part with --path"}
	}
	return fields, err
}

func shown(file string) string {
	if file == "-" {
		return "stdin"
	}
	return file
}

func (t *tool) readImport(o importOptions, file string) ([]environ.Entry, error) {
	var in io.Reader = t.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, environ.MaxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", shown(file), err)
	}
	var doubtful bool
	entries, err := intake.Read(text, shown(file), intake.Options{
		Format: environ.Format(o.format), Dialect: environ.Dialect(o.dialect), Service: o.service,
		Note: func(n environ.Note) {
			if o.quiet {
				return
			}
			doubtful = doubtful || n.Kind == environ.NoteAmbiguous
			t.Notef("%s", noteText(n))
		},
	})
	if errors.Is(err, intake.ErrFormat) {
		return nil, &cli.HintError{Err: err, Code: cli.CodeConfig, Hint: "add --format dotenv, json, yaml, compose or k8s"}
	}
	if doubtful {
		t.Notef("%s: --dialect node, compose, ruby, python or docker says whose reading is right", shown(file))
	}
	return entries, err
}

func noteText(n environ.Note) string {
	at := fmt.Sprintf("%s:%d", n.File, n.Line)
	switch {
	case n.Kind == environ.NoteAmbiguous:
		return fmt.Sprintf("%s: %s %s; Node's reading is taken, %s would differ", at, n.Name, n.Kind, cli.Join(n.Others))
	case n.What != "":
		return fmt.Sprintf("%s: %s: %s", at, cli.Printable(n.What), n.Kind)
	case n.Name == "": // what stands there may be a piece of a secret
		return fmt.Sprintf("%s: this line %s", at, n.Kind)
	}
	return fmt.Sprintf("%s: %s %s", at, cli.Printable(n.Name), n.Kind)
}

// afterImport looks after the plain files that the values came from.
func (t *tool) afterImport(ctx context.Context, o importOptions, files []string) error {
	for _, file := range files {
		if file == "-" {
			continue
		}
		if o.template {
			if err := t.writeTemplate(o, file); err != nil {
				return err
			}
		}
		if err := t.ignore(ctx, file, o.gitignore); err != nil {
			return err
		}
	}
	return nil
}

// writeTemplate writes .env.template beside file: its names in order, no values.
func (t *tool) writeTemplate(o importOptions, file string) error {
	o.quiet = true // the notes were printed when it was read first
	entries, err := t.readImport(o, file)
	if err != nil {
		return err
	}
	target := filepath.Join(filepath.Dir(file), ".env.template")
	var b strings.Builder
	b.WriteString("# The names of this project's secrets; their values are in its vault:\n#   envrun -- COMMAND\n")
	for _, e := range entries {
		b.WriteString(e.Name + "=\n")
	}
	err = createFile(target, []byte(b.String()))
	if errors.Is(err, os.ErrExist) {
		t.Notef("%s is there already and was left alone", target)
		return nil
	}
	if err != nil {
		return err
	}
	t.Notef("wrote %s with %s", target, cli.Count(len(entries), "name"))
	return nil
}

// ignore sees to it that git does not take in a file with plain values.
func (t *tool) ignore(ctx context.Context, file string, sure bool) error {
	dir := filepath.Dir(file)
	if fi, err := os.Lstat(filepath.Join(dir, ".gitignore")); err == nil && !fi.Mode().IsRegular() {
		t.Notef("%s is not a plain file, and was left alone; see to it that git leaves out %s", filepath.Join(dir, ".gitignore"), file)
		return nil // git would read it, and wait for ever for a pipe
	}
	soon, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	git := func(args ...string) ([]byte, error) {
		return filevault.Git(soon, dir, args...).Output()
	}
	if _, err := git("rev-parse", "--git-dir"); err != nil {
		return nil // not in a repository, or no git
	}
	base := filepath.Base(file)
	if _, err := git("ls-files", "--error-unmatch", "--", base); err == nil {
		t.Notef("%s is tracked by git: its values are in the repository's history, and everyone who has that knows them", file)
		t.Sayf("hint: git rm --cached %s, then replace each value at its source: envrun set NAME", file)
	}
	if _, err := git("check-ignore", "-q", "--no-index", "--", base); err == nil {
		return nil
	}
	if !sure {
		if !t.Interactive() {
			t.Notef("%s is not in .gitignore; --gitignore adds it", file)
			return nil
		}
		ok, err := t.Confirm(ctx, fmt.Sprintf("Add %s to .gitignore?", base), "--gitignore")
		if err != nil || !ok {
			return nil // the values are taken in already; this was an offer
		}
	}
	if strings.ContainsAny(base, "*?[\\\n\r ") {
		t.Notef("the name %s cannot be put into .gitignore as it is; ignore it by hand", base)
		return nil
	}
	return t.appendIgnore(filepath.Join(dir, ".gitignore"), "/"+base)
}

// appendIgnore adds a line to a .gitignore, once. Whoever made the repository
// may have made that a link to another file of the user's, or a pipe.
func (t *tool) appendIgnore(file, line string) error {
	if fi, err := os.Lstat(file); err == nil && !fi.Mode().IsRegular() {
		t.Notef("%s is not a plain file, and was left alone; where git is told what to leave out, add %s", file, line)
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for have := range strings.Lines(string(text)) {
		if strings.TrimSpace(have) == line {
			return nil
		}
	}
	add := line + "\n"
	if len(text) > 0 && text[len(text)-1] != '\n' {
		add = "\n" + add
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(add); err != nil {
		f.Close()
		return err
	}
	t.Notef("added %s to %s", line, file)
	return f.Close()
}

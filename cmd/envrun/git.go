package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

func newGit(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "git",
		Short: "Let git merge secrets by itself and show what changed in them",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	var remove bool
	setup := &cobra.Command{
		Use: "setup", Short: "Tell this clone's git about envrun's merge and diff drivers",
		Long: `Writes into this clone's own config that git merges secrets with envrun, where
nobody has to decide anything, and shows in a diff which fields changed. Each
value stands there as a short print of it that needs the key to make, never in
clear. Protected environments are left to envrun vault merge, which asks.

All of it is comfort. Without it git marks what both sides changed, and envrun
vault merge resolves it; a merge that went wrong is refused when it is read.
GitHub's merge button, and those of other hosts, never run such drivers.

--remove takes it back. Doing either twice changes nothing.`,
		Example: `  envrun git setup
  envrun git setup --remove
  git -c diff.envrun.textconv='envrun git textconv --reveal --' diff   # once, with values`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runGitSetup(cmd.Context(), t, remove) },
	}
	setup.Flags().BoolVar(&remove, "remove", false, "take the settings back")
	driver := &cobra.Command{
		Use: "merge-driver BASE OURS THEIRS PATH", Short: "Merge one file for git, which runs it", Hidden: true,
		Args: cli.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error { return runMergeDriver(cmd.Context(), t, args) },
	}
	var reveal bool
	textconv := &cobra.Command{
		Use: "textconv FILE", Short: "Show a secret's file for git diff, which runs it", Hidden: true,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			runTextconv(cmd.Context(), t, args[0], reveal)
			return nil
		},
	}
	textconv.Flags().BoolVar(&reveal, "reveal", false, "show values")
	cmd.AddCommand(setup, driver, textconv)
	return cmd
}

// gitFacts is what setup prints.
type gitFacts struct {
	Settings []gitSettingFacts `json:"settings"`
}

type gitSettingFacts struct {
	Key     string `json:"key"`
	Was     string `json:"was,omitempty"`
	Now     string `json:"now,omitempty"`
	Changed bool   `json:"changed"`
}

func runGitSetup(ctx context.Context, t *tool, remove bool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	commands, err := gitCommands()
	if err != nil {
		return err
	}
	facts := gitFacts{Settings: []gitSettingFacts{}}
	for _, v := range vaults {
		var settings []filevault.GitSetting
		if remove {
			settings, err = v.UninstallGit(ctx)
		} else {
			settings, err = v.InstallGit(ctx, commands)
		}
		if err != nil {
			return noHistory(err)
		}
		for _, s := range settings {
			// A second vault of one repository finds what the first has set.
			if !slices.ContainsFunc(facts.Settings, func(f gitSettingFacts) bool { return f.Key == s.Key && !s.Changed() }) {
				facts.Settings = append(facts.Settings, gitSettingFacts{s.Key, s.Was, s.Now, s.Changed()})
			}
		}
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, facts)
	}
	table := cli.NewTable(t.Streams)
	for _, s := range facts.Settings {
		table.Row(s.Key, s.what(), s.before())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if remove {
		t.Notef("git merges and shows secrets as any other text again; what it marks is resolved by: envrun vault merge")
		return nil
	}
	t.Sayf(`These are settings of this clone alone. Nothing needs them: without them git marks
what both sides changed, and envrun vault merge resolves it. GitHub's merge button
never runs them. To take them back: envrun git setup --remove`)
	return nil
}

func (s gitSettingFacts) what() string {
	switch {
	case s.Now == "" && !s.Changed:
		return "not set"
	case s.Now == "":
		return "removed"
	case s.Changed:
		return "set to " + s.Now
	}
	return "is " + s.Now
}

func (s gitSettingFacts) before() string {
	switch {
	case !s.Changed:
		return "as before"
	case s.Was == "":
		return "was not set"
	}
	return "was " + s.Was
}

// gitCommands are the lines that git hands to a shell. Paths come after "--":
// whoever made the repository named them.
func gitCommands() (filevault.GitCommands, error) {
	program, err := ownPath()
	if err != nil {
		return filevault.GitCommands{}, err
	}
	quoted := shellWord(filepath.ToSlash(program))
	return filevault.GitCommands{
		// Git puts its own words in for %O and the like, here and nowhere else.
		Merge:    strings.ReplaceAll(quoted, "%", "%%") + " git merge-driver -- %O %A %B %P",
		Textconv: quoted + " git textconv --",
	}, nil
}

// ownPath is where this program is, under the name that it was called by if
// that is in PATH: an update may move what the name is a link to.
func ownPath() (string, error) {
	here, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	named, err := exec.LookPath(os.Args[0])
	if err == nil {
		named, err = filepath.Abs(named)
	}
	if err == nil {
		a, errA := os.Stat(here)
		b, errB := os.Stat(named)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return named, nil
		}
	}
	return here, nil
}

// shellWord is s as one word of a POSIX shell, whatever is in it.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// driverVault opens the vault of a file that git hands out. A driver asks
// nothing, since git and its pager have the terminal, and trusts no key that
// this machine does not know.
func (t *tool) driverVault(ctx context.Context, file string) (*filevault.Vault, error) {
	t.NoInput = true
	top, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	dir, err := filevault.Find(ctx, top, file)
	if err != nil {
		return nil, err
	}
	o, err := t.vaultOptions(dir)
	if err != nil {
		return nil, err
	}
	o.FirstContact, o.Notice = nil, nil
	return filevault.Open(ctx, o)
}

// runMergeDriver merges one file. Git takes status 1 for a conflict.
func runMergeDriver(ctx context.Context, t *tool, args []string) error {
	base, ours, theirs, path := args[0], args[1], args[2], args[3]
	v, err := t.driverVault(ctx, path)
	if err == nil {
		v, err = t.driverWriter(ctx, v, path)
	}
	if err != nil {
		err = errors.Join(err, filevault.Mark(ctx, ".", base, ours, theirs))
	} else {
		var clean bool
		if clean, err = v.DriverMerge(ctx, base, ours, theirs, path); clean {
			return nil
		}
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		t.Notef("%s", cli.Printable(line))
	}
	t.Notef("left for: envrun vault merge")
	return cli.ErrShown
}

// driverWriter is the vault to write a file of: not one of a protected
// environment, which is written to when it is named, and for somebody who brings
// a bare key, as whom the grant says.
func (t *tool) driverWriter(ctx context.Context, v *filevault.Vault, path string) (*filevault.Vault, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(filepath.Join(v.Dir(), "envs"), abs)
	if err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
	env, err := vault.ParseEnv(name)
	if err != nil {
		return nil, err
	}
	if !t.unprotected(v, env) {
		return nil, fmt.Errorf("%s is protected, and a driver cannot ask", env)
	}
	if t.Getenv("ENVRUN_KEY") == "" {
		return v, nil
	}
	s := selectIn(nil, project.Env{Name: env, Vault: v.Dir()}, v)
	err = t.signAs(ctx, &s)
	return s.file, err
}

// runTextconv shows a secret's file. Git diff and git log fail with it, so it
// does not fail: what is wrong is a line of what it shows.
func runTextconv(ctx context.Context, t *tool, file string, reveal bool) {
	var protected vault.Env
	text, err := func() ([]byte, error) {
		v, err := t.driverVault(ctx, file)
		if err != nil {
			return filevault.TextconvNames(file, err)
		}
		return v.Textconv(ctx, file, func(env vault.Env) bool {
			if reveal && !t.unprotected(v, env) {
				protected = env
			}
			return reveal && protected == ""
		})
	}()
	if err != nil {
		text = fmt.Appendf(nil, "# not read: %s\n", cli.Printable(err.Error()))
	}
	if protected != "" {
		text = fmt.Appendf(text, "# %s is protected: --reveal --yes=%s shows its values\n", protected, protected)
	}
	_, _ = t.Out.Write(text)
}

// unprotected reports whether values of an environment may be shown or written
// with nobody asked: what is not known not to be protected is.
func (t *tool) unprotected(v *filevault.Vault, env vault.Env) bool {
	if t.yes(env) {
		return true
	}
	home, _ := os.UserHomeDir()
	p, err := project.Find(project.FindOptions{Dir: filepath.Dir(v.Dir()), Config: t.flags.config, Home: home})
	if err != nil {
		return false
	}
	e, ok := p.Env(env)
	return ok && !e.Protected
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/auth/browser"
	"envrun/auth/keychain"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/envrun/run"
	"envrun/vault"
	"envrun/vault/cache"
	"envrun/vault/filevault"
	"envrun/vault/near"
	"envrun/vault/registry"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

// tool is the world as the commands get it: streams, environment, clock, and
// the global flags. Only cmd reads the environment and prints.
type tool struct {
	cli.Streams
	environ        func() []string
	now            func() time.Time
	goos           string
	flags          globals
	runFlags       runOptions   // the root's own run flags
	plain          bool         // --plain of the root
	statusFile     *os.File     // --status-fd
	base           string       // the project's folder, which errors name files from; empty until it is known
	pipeline       pipeline     // what a CI platform's identity was used for
	shown          tokens       // what servers were shown, or why nothing
	notice         func(string) // where warnings go while the interface has the terminal; nil: stderr
	hidden         asker        // asks for what is not shown while the interface has the terminal; nil: AskHidden
	accounts       accounts     // that were chosen in the interface
	opened         openedSessions
	writes         bool // the command was begun to write something
	cache          cacheFlags
	stale          *cache.Facts // what was kept of a server and is used instead of it; nil: nothing
	releaseSignals func()
}

// begin is run before every command: checks that hold for all of them.
func (t *tool) begin(cmd *cobra.Command) error {
	t.NoInput = t.flags.noInput || browser.Silent(t.Getenv)
	switch t.flags.errorFormat {
	case "text", "json":
	default:
		err := cli.Usagef(cmd.CommandPath(), "--error-format is text or json, not %q", t.flags.errorFormat)
		if runs(cmd) {
			err = &cli.StatusError{Exit: run.CodeFailed, Err: err}
		}
		return err
	}
	if cmd.Flags().Changed("env") && t.flags.env == "" {
		// An unset variable in a script must not run the default environment.
		err := cli.Usagef(cmd.CommandPath(), "-e names no environment: it is empty")
		if runs(cmd) {
			err = &cli.StatusError{Exit: run.CodeFailed, Err: err}
		}
		return err
	}
	return nil
}

// explain turns an error into what the user is told.
func (t *tool) explain(err error) cli.Report {
	r := cli.Explainer{Base: t.base, More: explainers()}.Explain(err)
	if t.writes && remote.Away(err) {
		r.AddHint("nothing is written without the server: what was kept of it is for runs")
	}
	return r
}

// yes reports whether --yes confirms a protected environment by its name.
func (t *tool) yes(env vault.Env) bool {
	return slices.Contains(strings.Split(t.flags.yes, ","), string(env))
}

// fail prints an error and returns the exit status it asks for.
func (t *tool) fail(err error) int {
	r := t.explain(err)
	if t.flags.errorFormat == "json" {
		r.WriteJSON(t.Err)
	} else {
		r.WriteText(t.Err)
	}
	return r.Exit
}

// configDir holds the identity and settings of this person; stateDir what
// this machine has seen (pins) and may be thrown away only knowingly.
func (t *tool) configDir() (string, error) {
	return t.userDir("ENVRUN_CONFIG_DIR", "XDG_CONFIG_HOME", ".config", "APPDATA")
}

func (t *tool) stateDir() (string, error) {
	return t.userDir("ENVRUN_STATE_DIR", "XDG_STATE_HOME", ".local/state", "LOCALAPPDATA")
}

func (t *tool) userDir(own, xdg, below, windows string) (string, error) {
	if dir := t.Getenv(own); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := t.Getenv(xdg); filepath.IsAbs(dir) {
		return filepath.Join(dir, "envrun"), nil
	}
	if t.goos == "windows" {
		if dir := t.Getenv(windows); dir != "" {
			return filepath.Join(dir, "envrun"), nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", &cli.HintError{Err: errors.New("there is no home folder to keep settings in: HOME is not set"), Code: cli.CodeConfig, Hint: "export HOME=/some/folder, or both ENVRUN_CONFIG_DIR and ENVRUN_STATE_DIR"}
	}
	return filepath.Join(home, filepath.FromSlash(below), "envrun"), nil
}

// project finds and reads the project file.
func (t *tool) project() (*project.Project, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("the working directory: %w", err)
	}
	home, _ := os.UserHomeDir()
	p, err := project.Find(project.FindOptions{Dir: dir, Config: t.flags.config, Home: home})
	if err == nil {
		t.base = p.Dir
	}
	return p, err
}

// named is the environment that an argument names.
func named(p *project.Project, name string) (project.Env, error) {
	if env, ok := p.Env(vault.Env(name)); ok {
		return env, nil
	}
	known := p.EnvNames()
	return project.Env{}, &project.EnvError{Name: name, From: "the argument", Nearest: string(near.Nearest(name, known)), Known: known, File: p.File}
}

// envArg takes the environment that a command's argument names, if there is
// one, as if -e had. args has at most one.
func (t *tool) envArg(command string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if t.flags.env != "" && t.flags.env != args[0] {
		return cli.Usagef(command, "the argument names %s and -e %s", args[0], t.flags.env)
	}
	t.flags.env = args[0]
	return nil
}

// store is what every vault that a command opens can do.
type store interface {
	vault.Vault
	vault.Historian
	// Restore writes a former version again, as a new one; wrote is false where
	// the present one has what that had.
	Restore(ctx context.Context, env vault.Env, path vault.Path, version uint64) (info vault.Info, wrote bool, err error)
}

var (
	_ store = (*filevault.Vault)(nil)
	_ store = (*remote.Vault)(nil)
)

// selected is a project, one environment of it, and the vault that holds it.
type selected struct {
	*project.Project
	env   project.Env
	vault store
	file  *filevault.Vault // the same vault; nil if it is on a server
}

// selectIn is an environment in a vault that is open.
func selectIn(p *project.Project, env project.Env, v store) selected {
	file, _ := v.(*filevault.Vault)
	return selected{p, env, v, file}
}

// open finds the project, selects its environment and opens the vault.
func (t *tool) open(ctx context.Context) (selected, error) {
	p, err := t.project()
	if err != nil {
		return selected{}, err
	}
	env, err := p.Select(t.flags.env, t.Getenv("ENVRUN_ENV"))
	if err != nil {
		return selected{}, err
	}
	v, err := t.store(ctx, p, env)
	if err != nil {
		return selected{}, err
	}
	return selectIn(p, env, v), nil
}

// openFile is open for what only a vault in files can do.
func (t *tool) openFile(ctx context.Context) (selected, error) {
	s, err := t.open(ctx)
	if err == nil && s.file == nil {
		err = onServer(s.env.Vault)
	}
	return s, err
}

// openFileToWrite is openFile for a command that writes.
func (t *tool) openFileToWrite(ctx context.Context) (selected, error) {
	s, err := t.openToWrite(ctx)
	if err == nil && s.file == nil {
		err = onServer(s.env.Vault)
	}
	return s, err
}

// store opens the vault of an environment, wherever it is.
func (t *tool) store(ctx context.Context, p *project.Project, env project.Env) (store, error) {
	server := func(context.Context, string) (vault.Vault, error) { return t.server(p, env) }
	v, err := registry.Registry{
		"":      func(ctx context.Context, place string) (vault.Vault, error) { return t.vault(ctx, place) },
		"https": server,
		"http":  server,
	}.Open(ctx, env.Vault)
	if err != nil {
		return nil, err
	}
	s, ok := v.(store)
	if !ok {
		return nil, &vault.Error{Kind: vault.KindUnsupported, Env: env.Name, Detail: "the vault at " + env.Vault + " keeps no history"}
	}
	return s, nil
}

// openToWrite is open for a command that writes, which takes a member's name: of
// whoever brings a bare key the grant says who they are.
func (t *tool) openToWrite(ctx context.Context) (selected, error) {
	t.writes = true
	s, err := t.open(ctx)
	if err != nil || s.file == nil || t.Getenv("ENVRUN_KEY") == "" {
		return s, err
	}
	return s, t.signAs(ctx, &s)
}

func (t *tool) signAs(ctx context.Context, s *selected) error {
	o, err := t.vaultOptions(s.env.Vault)
	if err != nil || o.Member != "" {
		return err
	}
	if o.Member, err = s.file.Mine(ctx, s.env.Name); err != nil {
		return err
	}
	v, err := filevault.Open(ctx, o)
	if err != nil {
		return err
	}
	s.vault, s.file = v, v
	return nil
}

// vault opens the file vault at a place that the project file names.
func (t *tool) vault(ctx context.Context, place string) (*filevault.Vault, error) {
	if registry.Scheme(place) != "" {
		return nil, onServer(place)
	}
	o, err := t.vaultOptions(place)
	if err != nil {
		return nil, err
	}
	return filevault.Open(ctx, o)
}

func (t *tool) vaultOptions(place string) (filevault.Options, error) {
	me, err := t.me()
	if err != nil {
		return filevault.Options{}, err
	}
	state, err := t.stateDir()
	if err != nil && me.ci == nil {
		// Names can be read all the same; opening a key takes a place to pin it.
		me.identity = func(context.Context) (*agekey.Identity, error) { return nil, err }
	}
	return filevault.Options{
		Dir:          place,
		StateDir:     state,
		Place:        t.base,
		Member:       me.member,
		Identity:     me.identity,
		CI:           me.ci,
		FirstContact: t.firstContact,
		Fresh:        t.flags.fresh || isTrue(t.Getenv("ENVRUN_FRESH")),
		Plugins:      t.flags.plugins,
		PluginUI:     t.pluginUI(),
		Now:          t.now,
		Notice:       func(s string) { t.Notef("%s", cli.Printable(s)) },
	}, nil
}

// isTrue reads a switch in the environment.
func isTrue(s string) bool { return s != "" && s != "0" && s != "false" && s != "no" }

// me is who works here: the machine key in ENVRUN_KEY, else the person's own identity.
type me struct {
	member   string
	identity func(context.Context) (*agekey.Identity, error)
	ci       *agekey.CIKey
}

func (t *tool) me() (me, error) {
	if text := t.Getenv("ENVRUN_KEY"); text != "" {
		id, ci, err := agekey.ParseKey(text)
		if err != nil {
			return me{}, &cli.HintError{Err: fmt.Errorf("ENVRUN_KEY: %w", err), Code: cli.CodeAuth, Hint: "set ENVRUN_KEY to an age identity (AGE-SECRET-KEY-…), an ssh-ed25519 key without a passphrase, all lines of it, or a CI key string (envrun-ci-1:…)"}
		}
		id = id.WithPluginUI(t.pluginUI())
		return me{member: t.Getenv("ENVRUN_MEMBER"), identity: func(context.Context) (*agekey.Identity, error) { return id, nil }, ci: ci}, nil
	}
	var facts agekey.Facts
	home, err := t.home()
	if err == nil {
		facts, err = home.Facts()
	}
	if err != nil {
		// Names can be read without an identity; what needs one fails with this.
		return me{identity: func(context.Context) (*agekey.Identity, error) { return nil, err }}, nil
	}
	return me{member: facts.Member, identity: home.Load}, nil
}

// home is where this person's identity lives.
func (t *tool) home() (*agekey.Home, error) {
	dir, err := t.configDir()
	if err != nil {
		return nil, err
	}
	return &agekey.Home{
		ConfigDir: dir,
		Keychains: keychain.Options{Interactive: t.Interactive()},
		Passphrase: func(ctx context.Context, prompt string) ([]byte, error) {
			return t.passphrase(ctx, prompt)
		},
		PluginUI: t.pluginUI(),
		Now:      t.now,
	}, nil
}

// passphrase comes from the file that ENVRUN_PASSPHRASE_FILE names, or from the person.
func (t *tool) passphrase(ctx context.Context, prompt string) ([]byte, error) {
	return t.passphraseFrom(ctx, "ENVRUN_PASSPHRASE_FILE", prompt)
}

// firstContact is asked when this machine has never seen the key of an environment.
func (t *tool) firstContact(ctx context.Context, c filevault.Contact) error {
	if !t.Interactive() && c.Known > 0 {
		// A key that replaced the one this machine knows is for a person to judge.
		return &filevault.UntrustedError{Contact: c}
	}
	if !t.Interactive() {
		t.Notef("first contact with %s of vault %s: key fingerprint %s", c.Env, c.Vault, c.Fingerprint)
		return nil
	}
	if c.Known > 0 {
		t.Sayf("The key of %s is not the one that this machine knows (%s), and what leads from that to it is not here. Its fingerprint is", c.Env, c.KnownFingerprint)
	} else {
		t.Sayf("This machine has not opened %s of this vault before. Its key has the fingerprint", c.Env)
	}
	t.Sayf("    %s", c.Fingerprint)
	ok, err := t.Confirm(ctx, "Compare it with somebody who works with it. Is it right?", "envrun with the CI key string in ENVRUN_KEY")
	if err != nil {
		return err
	}
	if !ok {
		return &cli.HintError{Err: fmt.Errorf("the key of %s was not accepted", c.Env), Code: cli.CodeAuth, Hint: "ask a member of the vault for: envrun vault status"}
	}
	return nil
}

// allow asks before a protected environment is changed or used (runner K4).
// what ends the sentence "nothing …": "was changed", "was run".
func (t *tool) allow(ctx context.Context, env project.Env, what string) error {
	if !env.Protected || t.yes(env.Name) {
		return nil
	}
	need := fmt.Sprintf("--yes=%s", env.Name)
	if !t.Interactive() {
		return &cli.HintError{Err: fmt.Errorf("%s is protected, and nobody is at a terminal to confirm", env.Name), Code: cli.CodePolicy, Hint: "add " + need}
	}
	answer, err := t.Ask(ctx, fmt.Sprintf("%s is protected. Type its name to go on: ", env.Name), need)
	if err != nil {
		return err
	}
	if answer != string(env.Name) {
		return &cli.HintError{Err: fmt.Errorf("%s is protected, and its name was not typed: nothing %s", env.Name, what), Code: cli.CodePolicy, Hint: "type " + string(env.Name) + ", or add " + need}
	}
	return nil
}

// field reads "NAME" as a field of the project's own secret and
// "path/to/secret/NAME" as a field of that path.
func field(p *project.Project, s string) (vault.Path, vault.FieldName, error) {
	path, name := p.Name, s
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		parsed, err := vault.ParsePath(s[:i])
		if err != nil {
			return "", "", err
		}
		path, name = parsed, s[i+1:]
	}
	f, err := vault.ParseFieldName(name)
	if err == nil && path == "" {
		err = &cli.HintError{Err: fmt.Errorf("%s has no path: envrun.toml names no project that it would be a field of", s), Code: cli.CodeConfig, Hint: `set project = "NAME" in envrun.toml, or write PATH/` + s}
	}
	return path, f, err
}

// secretPath reads an optional PATH argument: the project's own secret if there is none.
func secretPath(p *project.Project, args []string) (vault.Path, error) {
	if len(args) == 0 {
		if p.Name == "" {
			return "", &cli.HintError{Err: errors.New("which secret? envrun.toml names no project"), Code: cli.CodeConfig, Hint: "envrun list"}
		}
		return p.Name, nil
	}
	return vault.ParsePath(args[0])
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

type initOptions struct {
	importOptions
	project      string
	imports      []string
	noRecovery   bool
	recoveryFile string
	member       string
	store        string
	here         bool
}

func newInit(t *tool) *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Set this project up: envrun.toml, a vault, and an identity if you have none",
		Long: `Makes envrun.toml and an encrypted vault in .envrun/vault, both to be committed,
and an identity for you if this machine has none. With --import the values of
.env and other files go into the first environment.

It never overwrites anything: where there is a vault already, only what is
missing is added.

A recovery identity is made too: a second key to the vault, to be kept away from
this machine. Lose your identity without it, and the secrets are lost. On a
terminal it is printed once; else it is written to a file, which you move away.`,
		Example: `  envrun init
  envrun init --env dev,staging,prod --import .env
  envrun init --no-recovery --store file`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runInit(cmd.Context(), t, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.here, "here", false, "make a project here though the folder is in one already")
	f.StringArrayVar(&o.imports, "import", nil, "take the values of this file into the first environment; may be repeated")
	f.StringVar(&o.project, "project", "", "name of the project (default: the folder's)")
	f.BoolVar(&o.noRecovery, "no-recovery", false, "make no recovery identity: when yours is lost, the secrets are")
	f.StringVar(&o.recoveryFile, "recovery-file", "", "write the recovery identity to this new file instead")
	f.StringVar(&o.member, "member", "", "your name among the vault's members (default: user@host)")
	f.StringVar(&o.store, "store", "", "where a new identity is kept: "+strings.Join(append(keychain.Names(), agekey.StoreFile), ", ")+" (default: the best there is)")
	o.importOptions.flags(cmd)
	return cmd
}

const (
	projectFile = "envrun.toml"
	vaultDir    = ".envrun/vault"
)

func runInit(ctx context.Context, t *tool, o initOptions) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if done, err := t.existing(ctx, o, dir); done || err != nil {
		return err
	}
	envs, err := parseEnvs(t.flags.env)
	if err != nil {
		return err
	}
	name, err := projectName(o.project, dir)
	if err != nil {
		return err
	}
	// What can be wrong with the input is found before anything is made.
	var fields []vault.Field
	if len(o.imports) > 0 {
		if fields, err = t.readImports(o.importOptions, o.imports); err != nil {
			return err
		}
	}
	if o.noRecovery && o.recoveryFile != "" {
		return cli.Usagef("envrun init", "--no-recovery and --recovery-file contradict each other")
	}
	if err := t.ensureIdentity(ctx, o.member, o.store); err != nil {
		return err
	}

	if t.base, err = filepath.EvalSymlinks(dir); err != nil { // as the project file will be found
		return err
	}
	place := filepath.Join(dir, filepath.FromSlash(vaultDir))
	v, made, err := t.initVault(ctx, o, place, envs)
	if err != nil {
		return err
	}
	if len(fields) > 0 {
		if _, err := t.importInto(ctx, v, project.Env{Name: envs[0]}, name, fields); err != nil {
			return err
		}
	}
	if made && len(fields) > 0 {
		// From the first day nothing of it can go unnoticed.
		if err := v.Seal(ctx, envs[0]); err != nil {
			return err
		}
	}
	// The project file comes last: with it the project is set up, without it
	// the next init goes on from here.
	var protected []vault.Env
	for _, env := range envs {
		if isProduction(env) {
			protected = append(protected, env)
		}
	}
	text := project.New(project.NewOptions{Vault: vaultDir, Project: name, Envs: envs, Protected: protected})
	if err := createFile(filepath.Join(dir, projectFile), text); err != nil {
		return err
	}
	if err := t.appendIgnore(filepath.Join(dir, ".gitignore"), "/envrun.local.toml"); err != nil {
		return err
	}
	if made {
		t.Notef("made the vault %s with %s", vaultDir, cli.Join(envs))
	} else {
		t.Notef("took the vault %s, which was there", vaultDir)
	}
	t.Notef("wrote %s", projectFile)
	if len(fields) > 0 {
		t.Notef("imported %s into %s %s", cli.Count(len(fields), "field"), envs[0], name)
	}
	if err := t.afterImport(ctx, o.importOptions, o.imports); err != nil {
		return err
	}
	t.Sayf("Next: commit %s, .envrun and .gitignore, then run something:  envrun -- COMMAND", projectFile)
	if len(fields) == 0 {
		t.Sayf("      first set a secret:  envrun set NAME")
	}
	return nil
}

// existing deals with a project file that is there, here or above. done says
// that nothing is left to do: its vault was missing and is made.
func (t *tool) existing(ctx context.Context, o initOptions, dir string) (done bool, err error) {
	for _, name := range project.FileNames() {
		file := filepath.Join(dir, name)
		if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return false, err
		}
		already := &cli.HintError{Err: fmt.Errorf("this project is set up already: there is %s", file), Code: cli.CodeConflict,
			Hint: "to add an environment: envrun env add NAME; to take a file in: envrun import FILE"}
		p, err := project.Load(file)
		if err != nil || len(p.Envs) == 0 || p.Vault == "" || strings.Contains(p.Vault, "://") || o.imports != nil {
			return false, already
		}
		t.base = p.Dir
		if _, err := t.vault(ctx, p.Vault); vault.KindOf(err) != vault.KindNoVault {
			return false, already
		}
		if filevault.Git(ctx, dir, "cat-file", "-e", "HEAD:./.envrun/vault/vault.toml").Run() == nil {
			return false, &cli.HintError{Err: fmt.Errorf("the vault of %s is missing, and git has it", file), Code: cli.CodeConflict, Hint: "git checkout -- .envrun"}
		}
		if err := t.ensureIdentity(ctx, o.member, o.store); err != nil {
			return false, err
		}
		if _, _, err := t.initVault(ctx, o, p.Vault, p.EnvNames()); err != nil {
			return false, err
		}
		t.Notef("made the vault that %s names, with %s", file, cli.Join(p.EnvNames()))
		return true, nil
	}
	if p, err := t.project(); err == nil && !o.here && t.flags.config == "" {
		return false, &cli.HintError{Err: fmt.Errorf("this folder belongs to a project already: %s", p.File), Code: cli.CodeConflict,
			Hint: "to use it, go on without init; to make another one here: envrun init --here"}
	}
	return false, nil
}

// parseEnvs reads -e dev,staging,prod: dev if nothing is said.
func parseEnvs(list string) ([]vault.Env, error) {
	if list == "" {
		return []vault.Env{"dev"}, nil
	}
	var envs []vault.Env
	seen := map[vault.Env]bool{}
	for name := range strings.SplitSeq(list, ",") {
		env, err := vault.ParseEnv(name)
		if err != nil {
			return nil, err
		}
		if seen[env] {
			return nil, cli.Usagef("envrun init", "%s is named twice", env)
		}
		seen[env] = true
		envs = append(envs, env)
	}
	return envs, nil
}

// projectName is the path of the project's own secret: as given, else the
// folder's name with what a path cannot have left out.
func projectName(given, dir string) (vault.Path, error) {
	if given != "" {
		return vault.ParsePath(given)
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, filepath.Base(dir))
	name = strings.Trim(name, ".-_")
	if path, err := vault.ParsePath(name); err == nil {
		return path, nil
	}
	return "app", nil
}

// ensureIdentity makes an identity if this machine has none.
func (t *tool) ensureIdentity(ctx context.Context, member, store string) error {
	if t.Getenv("ENVRUN_KEY") != "" {
		return nil
	}
	home, err := t.home()
	if err != nil {
		return err
	}
	if _, err := home.Facts(); !errors.Is(err, agekey.ErrNone) {
		return err
	}
	return t.createIdentity(ctx, home, member, store)
}

func (t *tool) createIdentity(ctx context.Context, home *agekey.Home, member, store string) error {
	if member == "" {
		member = defaultMember()
	}
	var passed []keychain.Rejection
	home.Rejected = func(rs []keychain.Rejection) { passed = rs }
	facts, err := home.Create(ctx, member, store)
	if err != nil {
		return err
	}
	t.Notef("made an identity for %s, kept in %s", facts.Member, storeText(facts, home))
	if facts.Store != agekey.StoreFile {
		return nil
	}
	// Nobody should end up with less than they think, or not know why.
	for _, r := range passed {
		if !keychain.Volatile(r.Keychain) {
			t.Sayf("      not in %s: %s", r.Keychain, cli.Printable(r.Reason))
		}
	}
	t.Sayf("      Whoever can read that file can open your vaults; to put a passphrase on it:  envrun key protect")
	return nil
}

func storeText(f agekey.Facts, home *agekey.Home) string {
	if f.Store == agekey.StoreFile {
		return "the file " + home.File()
	}
	return "the keychain " + f.Store
}

// defaultMember is user@host, in the letters that a member's name may have.
func defaultMember() string {
	name := "me"
	if u, err := user.Current(); err == nil {
		name = u.Username
		if i := strings.LastIndexByte(name, '\\'); i >= 0 {
			name = name[i+1:] // DOMAIN\user
		}
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	clean := func(s string) string {
		s = strings.Map(func(r rune) rune {
			switch {
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
				return r
			case 'A' <= r && r <= 'Z':
				return r + 'a' - 'A'
			}
			return -1
		}, s)
		return strings.Trim(s[:min(len(s), 30)], ".-_")
	}
	name, host = clean(name), clean(host)
	if name == "" {
		name = "me"
	}
	if host == "" {
		return name
	}
	return name + "@" + host
}

// initVault makes the vault, or opens the one that is there and adds what is missing.
func (t *tool) initVault(ctx context.Context, o initOptions, place string, envs []vault.Env) (v *filevault.Vault, made bool, err error) {
	options, err := t.vaultOptions(place)
	if err != nil {
		return nil, false, err
	}
	if options.Member == "" {
		options.Member = o.member
		if options.Member == "" {
			options.Member = defaultMember()
		}
	}
	v, err = filevault.Open(ctx, options)
	if err == nil {
		there, err := v.Envs(ctx)
		if err != nil {
			return nil, false, err
		}
		for _, env := range envs {
			if !slices.Contains(there, env) {
				if err := v.AddEnv(ctx, env); err != nil {
					return nil, false, err
				}
			}
		}
		return v, false, nil
	}
	if vault.KindOf(err) != vault.KindNoVault {
		return nil, false, err
	}
	io := filevault.InitOptions{Options: options, Envs: envs}
	if o.noRecovery {
		v, err = filevault.Init(ctx, io)
		return v, err == nil, err
	}
	id, err := agekey.Generate()
	if err != nil {
		return nil, false, err
	}
	// It is kept before the vault is made, so that no vault stands there whose recovery is lost.
	r, err := t.keepRecovery(o.recoveryFile, id)
	if err != nil {
		return nil, false, err
	}
	io.Recovery = &filevault.RecoveryTo{Member: filevault.RecoveryMember, Recipient: id.Recipient()}
	if v, err = filevault.Init(ctx, io); err != nil {
		r.drop()
		return nil, false, err
	}
	r.tell()
	return v, true, nil
}

// recovery is a recovery identity on its way to its owner.
type recovery struct {
	tell func() // say where it is, or what it is, once there is a vault that it opens
	drop func() // there is none
}

// keepRecovery brings a recovery identity to where its owner finds it: the
// terminal if somebody is there, else a file.
func (t *tool) keepRecovery(file string, id *agekey.Identity) (recovery, error) {
	text := id.ExportText(agekey.Facts{Member: filevault.RecoveryMember, Created: t.now()})
	if file == "" && t.Interactive() {
		return recovery{
			tell: func() {
				t.Sayf("\nThis is the recovery identity. It opens the vault when yours is lost, and it is not\nkept anywhere: write it down or put it into a password manager now.\n\n%s", text)
			},
			drop: func() {},
		}, nil
	}
	if file != "" {
		if abs, err := filepath.Abs(file); err == nil && filevault.Git(context.Background(), filepath.Dir(abs), "rev-parse", "--show-toplevel").Run() == nil {
			return recovery{}, &cli.HintError{Err: fmt.Errorf("%s is in a git repository, where a recovery identity would be committed sooner or later", file), Code: cli.CodePolicy, Hint: "envrun init --recovery-file ../recovery.txt, or a folder that is no repository"}
		}
	}
	if file == "" {
		config, err := t.configDir()
		if err != nil {
			return recovery{}, err
		}
		if err := os.MkdirAll(config, 0o700); err != nil {
			return recovery{}, err
		}
		file = filepath.Join(config, "recovery-"+t.now().UTC().Format("20060102-150405")+".txt")
	}
	if err := createPrivate(file, []byte(text)); err != nil {
		return recovery{}, fmt.Errorf("keeping the recovery identity: %w", err)
	}
	return recovery{
		tell: func() {
			t.Notef("wrote the recovery identity to %s: move it off this machine, it opens the vault when yours is lost", file)
		},
		drop: func() { os.Remove(file) },
	}, nil
}

// isProduction guesses by its usual names that an environment is the one where
// mistakes cost most.
func isProduction(env vault.Env) bool {
	return env == "prod" || env == "production" || env == "live"
}

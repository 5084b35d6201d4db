package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/filevault"
	"envrun/vault/near"
	"envrun/vault/remote"
	"envrun/vault/wire"

	"github.com/spf13/cobra"
)

func newEnv(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "List, add and remove environments",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	list := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the environments of this project",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runEnvList(cmd.Context(), t) },
	}
	add := &cobra.Command{
		Use: "add NAME", Short: "Add an environment with a key of its own",
		Long: `Adds an environment to the vault, with a key of its own that you and the recovery
identity hold, and to envrun.toml.`,
		Example: "  envrun env add staging",
		Args:    cli.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runEnvAdd(cmd.Context(), t, args[0]) },
	}
	rm := &cobra.Command{
		Use: "rm NAME", Short: "Remove an environment with everything in it",
		Long: `Removes an environment from the vault and from envrun.toml. What git has of it
stays in its history.`,
		Example: "  envrun env rm staging --yes=staging",
		Args:    cli.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runEnvRm(cmd.Context(), t, args[0]) },
	}
	rm.ValidArgsFunction = t.completeEnvs
	var ro rotateOptions
	rotate := &cobra.Command{
		Use: "rotate-key [ENV]", Short: "Give an environment a new key that the same members hold",
		Long: `Makes a new key, grants it to everybody who holds the present one, wraps every secret
anew and moves the checkpoint, all or nothing. The values stay as they are: whoever
knew them still does. To take access away from somebody: envrun member rm.

--resume finishes a rotation of which only a part was committed and came here.

On a team server the server does it, while others read and write, and the command
waits for that. It needs a token with sudo on sys/rotate/env/….`,
		Example: "  envrun env rotate-key prod --yes=prod",
		Args:    cli.MaxArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runRotateKey(cmd.Context(), t, args, ro) },
	}
	rotate.Flags().BoolVar(&ro.resume, "resume", false, "finish a rotation that came here in part")
	rotate.Flags().StringVar(&ro.why, "why", "", "one line for the others, in clear")
	rotate.Flags().StringSliceVar(&t.flags.plugins, "plugin", nil, "may be started to wrap the new key: NAME of age-plugin-NAME")
	rotate.ValidArgsFunction = t.completeEnvs
	cmd.AddCommand(list, add, rm, rotate)
	return cmd
}

// group is a command that only holds others.
func group(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if len(args) > 0 {
		return cli.Near(cli.Usagef(cmd.CommandPath(), "%s has no command %q; it has %s", cmd.CommandPath(), args[0], cli.Join(names)), near.Nearest(args[0], names))
	}
	return cli.Usagef(cmd.CommandPath(), "%s what? %s", cmd.CommandPath(), cli.Join(names))
}

type envFacts struct {
	Name      vault.Env `json:"name"`
	Default   bool      `json:"default,omitempty"`
	Protected bool      `json:"protected,omitempty"`
	Vault     string    `json:"vault"`
	InVault   bool      `json:"in_vault"`
	Secrets   int       `json:"secrets"`
	Server    bool      `json:"server,omitempty"`
	Unnamed   bool      `json:"not_in_project,omitempty"` // marked as an environment on a server, and not in envrun.toml
	Problem   string    `json:"problem,omitempty"`        // why the server could not be asked
}

func runEnvList(ctx context.Context, t *tool) error {
	p, err := t.project()
	if err != nil {
		return err
	}
	facts := []envFacts{}
	more := map[vault.Env]project.Env{} // that servers have besides, each with where
	for _, e := range p.Envs {
		f := envFacts{Name: e.Name, Default: e.Name == p.Default, Protected: e.Protected, Vault: e.Vault}
		if v, err := t.store(ctx, p, e); err == nil {
			there, err := v.Envs(ctx)
			if err != nil && e.Remote() && ctx.Err() == nil {
				// One server that cannot be asked must not hide the others.
				f.Server, f.Problem = true, cli.Printable(t.explain(err).Message)
				facts = append(facts, f)
				continue
			}
			if err != nil {
				return err
			}
			f.Server = e.Remote()
			for _, name := range there {
				if _, named := p.Env(name); !named && f.Server {
					more[name] = project.Env{Name: name, Vault: e.Vault, VaultPos: e.VaultPos, Server: e.Server}
				}
			}
			if f.InVault = slices.Contains(there, e.Name); f.InVault {
				for _, err := range v.List(ctx, e.Name, "") {
					if err == nil {
						f.Secrets++
					}
				}
			}
		}
		facts = append(facts, f)
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		facts = append(facts, envFacts{Name: name, Vault: more[name].Vault, InVault: true, Server: true, Unnamed: true})
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, facts)
	}
	table := cli.NewTable(t.Streams)
	for _, f := range facts {
		what := cli.Count(f.Secrets, "secret")
		if f.Unnamed {
			what = "on " + cli.Printable(f.Vault) + ", and not in this project; to use it: envrun env add " + string(f.Name)
		}
		if !f.InVault {
			what = "not in the vault; if git has it: git checkout -- .envrun; to make it: envrun env add " + string(f.Name)
			if f.Problem != "" {
				what = f.Problem
			} else if f.Server {
				what = "not on its server, or not for your token; to make it: envrun env add " + string(f.Name)
			}
		}
		var marks []string
		if f.Default {
			marks = append(marks, "default")
		}
		if f.Protected {
			marks = append(marks, "protected")
		}
		mark := strings.Join(marks, ", ")
		table.Row(string(f.Name), mark, what)
	}
	return table.Flush()
}

func runEnvAdd(ctx context.Context, t *tool, name string) error {
	env, err := vault.ParseEnv(name)
	if err != nil {
		return err
	}
	p, err := t.project()
	if err != nil {
		return err
	}
	target, inFile := p.Env(env)
	if !inFile {
		target = project.Env{Name: env, Vault: p.Vault, VaultPos: p.VaultPos, Server: p.Server}
	}
	v, err := t.keeperToAdd(ctx, p, target)
	if err != nil {
		return err
	}
	// The vault first: an environment of the file without a key is of no use,
	// and what is left of a command that was cut short is finished by the next.
	err = v.AddEnv(ctx, env)
	exists := vault.KindOf(err) == vault.KindExists
	if err != nil && !exists {
		return err
	}
	if exists && inFile {
		return &cli.HintError{Err: fmt.Errorf("there is an environment %s already", env), Code: cli.CodeConflict, Hint: "envrun env list"}
	}
	if !inFile {
		text, err := os.ReadFile(p.File)
		if err != nil {
			return err
		}
		text, err = project.AddEnv(text, env, isProduction(env))
		if err != nil {
			return atFile(err, p.File)
		}
		if err := replaceFile(p.File, text); err != nil {
			return err
		}
	}
	if file, ok := v.(*filevault.Vault); ok {
		t.Notef("added %s; commit %s and %s", env, p.File, file.Dir())
	} else {
		t.Notef("added %s on %s; commit %s", env, target.Vault, p.File)
	}
	if isProduction(env) && !inFile {
		t.Sayf("      it is protected: it asks before it runs or writes (protected = true in %s)", p.File)
	}
	return nil
}

// keeper opens a vault to remove an environment from.
func (t *tool) keeper(ctx context.Context, p *project.Project, env project.Env) (vault.EnvKeeper, error) {
	if env.Remote() {
		return t.server(p, env)
	}
	return t.vault(ctx, env.Vault)
}

// keeperToAdd opens a vault to make an environment in.
func (t *tool) keeperToAdd(ctx context.Context, p *project.Project, env project.Env) (vault.EnvKeeper, error) {
	if env.Remote() {
		return t.server(p, env)
	}
	return t.vaultToAdd(ctx, env.Vault)
}

// vaultToAdd opens a vault to make an environment in, as the member that a new
// grant is to name.
func (t *tool) vaultToAdd(ctx context.Context, place string) (*filevault.Vault, error) {
	v, err := t.vault(ctx, place)
	if err != nil || t.Getenv("ENVRUN_KEY") == "" {
		return v, err
	}
	o, err := t.vaultOptions(place)
	if err != nil || o.Member != "" {
		return v, err
	}
	envs, err := v.Envs(ctx)
	if err != nil {
		return nil, err
	}
	for _, env := range envs {
		if o.Member, err = v.Mine(ctx, env); err == nil {
			return filevault.Open(ctx, o)
		}
	}
	return nil, &cli.HintError{Err: errors.New("the key in ENVRUN_KEY opens no environment of this vault, so it does not say who you are"), Code: cli.CodeAuth, Hint: "export ENVRUN_MEMBER=NAME"}
}

func runEnvRm(ctx context.Context, t *tool, name string) error {
	env, err := vault.ParseEnv(name)
	if err != nil {
		return err
	}
	p, err := t.project()
	if err != nil {
		return err
	}
	e, inFile := p.Env(env)
	if !inFile {
		e = project.Env{Name: env, Vault: p.Vault}
	} else if e.Pos.File != "" && e.Pos.File != p.File {
		return &cli.HintError{Err: fmt.Errorf("%s stands in %s", env, e.Pos.File), Code: cli.CodeConfig, Hint: "remove it there: " + e.Pos.String()}
	}
	if !inFile {
		e.VaultPos, e.Server = p.VaultPos, p.Server
	}
	v, err := t.keeper(ctx, p, e)
	if err != nil {
		return err
	}
	// The file is edited in memory first: what it refuses must stop us before the vault is touched.
	var text []byte
	if inFile {
		if text, err = os.ReadFile(p.File); err != nil {
			return err
		}
		if text, err = project.RemoveEnv(text, env); err != nil {
			return atFile(err, p.File)
		}
	}
	// Whatever it is, a whole environment goes: its name is asked for as if it were protected.
	e.Protected = true
	lost, goes := "", "everything in it goes"
	if e.Remote() {
		lost = t.onIt(ctx, p, e)
		goes = "it holds " + lost
		if t.Interactive() && !t.yes(env) {
			t.Sayf("%s on %s holds %s. All of it goes, with all versions; the server keeps nothing.", env, e.Vault, lost)
		}
	}
	if err := t.allow(ctx, e, "was removed"); err != nil {
		var hint *cli.HintError
		if errors.As(err, &hint) {
			hint.Err = fmt.Errorf("removing %s takes its name: %s", env, goes)
		}
		return err
	}
	if err := v.RemoveEnv(ctx, env); err != nil && (vault.KindOf(err) != vault.KindNoEnv || !inFile) {
		return err
	}
	if inFile {
		if err := replaceFile(p.File, text); err != nil {
			return err
		}
	}
	if e.Remote() {
		t.Notef("removed %s from %s, with all versions of its secrets: %s", env, e.Vault, lost)
	} else {
		t.Notef("removed %s; what git has of it stays in its history", env)
	}
	return nil
}

// onIt says what an environment on a server holds.
func (t *tool) onIt(ctx context.Context, p *project.Project, e project.Env) string {
	v, err := t.server(p, e)
	if err != nil {
		return "what cannot be listed"
	}
	secrets, fields := 0, 0
	for info, err := range v.List(ctx, e.Name, "") {
		if err != nil {
			return "more than can be listed"
		}
		secrets++
		fields += len(info.Fields)
	}
	return fmt.Sprintf("%s with %s", cli.Count(secrets, "secret"), cli.Count(fields, "field"))
}

// rotateOptions are the flags of env rotate-key.
type rotateOptions struct {
	resume bool
	why    string
}

func runRotateKey(ctx context.Context, t *tool, args []string, o rotateOptions) error {
	if err := t.envArg("envrun env rotate-key", args); err != nil {
		return err
	}
	s, err := t.openToWrite(ctx)
	if err != nil {
		return err
	}
	env := s.env.Name
	if err := t.allow(ctx, s.env, "was rotated"); err != nil {
		return err
	}
	if server, ok := s.vault.(*remote.Vault); ok {
		return t.rotateOn(ctx, server, s.env)
	}
	ro, end := t.changing(env, o.why)
	defer end()
	if !o.resume {
		r, err := s.file.RotateKey(ctx, env, ro)
		end()
		if err != nil {
			return cmp.Or(s.inPart(ctx, err), err)
		}
		return t.rotated(s, r)
	}
	r, err := s.file.ResumeRotation(ctx, env, ro)
	end()
	if err != nil {
		return err
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, struct {
			Env     vault.Env    `json:"env"`
			Wrapped []vault.Path `json:"wrapped"`
			Left    []vault.Path `json:"left"`
			Sealed  bool         `json:"sealed"`
		}{env, append([]vault.Path{}, r.Wrapped...), append([]vault.Path{}, r.Left...), r.Sealed}); err != nil {
			return err
		}
	}
	if len(r.Wrapped) == 0 && !r.Sealed && len(r.Left) == 0 {
		t.Notef("%s: there is nothing to finish", env)
		return nil
	}
	t.Notef("%s: finished: %s put under the present key", env, cli.Count(len(r.Wrapped), "secret"))
	if len(r.Left) > 0 {
		t.Notef("%s: left under a former key, since they are newer than the last seal: %s", env, cli.Join(r.Left))
		t.Sayf("      to look at them and take them over: envrun vault adopt -e %s", env)
	}
	t.sayCommit(s.file, fmt.Sprintf("%s: finish the new key", env))
	return nil
}

// rotateOn rotates the key of an environment on a server, which goes on with one that
// has begun.
func (t *tool) rotateOn(ctx context.Context, v *remote.Vault, env project.Env) error {
	r, err := v.RotateKey(ctx, env.Name, func(r wire.Rotation) {
		if r.Rows > 0 && cli.IsTerminal(t.Err) {
			t.Sayf("\r%d of %d rows", r.Rows, r.Total)
		}
	})
	if err != nil {
		return err
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, r)
	}
	t.Notef("%s: everything on %s is sealed under key %d now", env.Name, env.Vault, r.Generation)
	return nil
}

// inPart is what to say of err, with which a rotation was refused, where another
// came only in part; else nil. Only then is it worth a look at every record.
func (s selected) inPart(ctx context.Context, err error) error {
	if vault.KindOf(err) != vault.KindTampered {
		return nil
	}
	st, err := s.file.Status(ctx)
	if err != nil {
		return nil // what was said first is what counts
	}
	for _, e := range st.Envs {
		if e.Env == s.env.Name && e.SealGen > 0 && e.SealGen < e.Gen {
			return &cli.HintError{Err: fmt.Errorf("a rotation of %s came here only in part: %s still at key %d of %d", e.Env, cli.Count(len(e.OldKey), "record"), e.SealGen, e.Gen),
				Code: cli.CodeConflict, Hint: fmt.Sprintf("pull what is missing of its commit, or finish it: envrun env rotate-key %s --resume", e.Env)}
		}
	}
	return nil
}

// atFile puts the file's name into an error about a project file's text.
func atFile(err error, file string) error {
	var e *project.Error
	if errors.As(err, &e) && e.Pos.File == "" {
		e.Pos.File = file
	}
	return err
}

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

	"envrun/auth/agekey"
	"envrun/auth/keychain"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/envrun/run"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

func newDoctor(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine and project, and say what to do",
		Long: `Checks the project file, the vault, your identity, its store and the age plugins
that it names (with the program that each is), the keychains of this machine, the
memory-backed storage for files, and whether plain .env files lie about. It changes
nothing, reads no value, and exits 1 if something is wrong.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), t) },
	}
}

// A symptom is one line of the doctor's.
type symptom struct {
	State string `json:"state"` // ok, note, bad
	What  string `json:"what"`
	Says  string `json:"says"`
	Hint  string `json:"hint,omitempty"`
}

type doctor struct {
	*tool
	ctx      context.Context
	symptoms []symptom
}

func (d *doctor) say(state, what, says, hint string) {
	d.symptoms = append(d.symptoms, symptom{state, what, cli.Printable(says), cli.Printable(hint)})
}

// err says an error as it would be reported.
func (d *doctor) err(what string, err error) {
	r := d.explain(err)
	d.say("bad", what, r.Message, strings.Join(r.Hints, "; "))
}

func runDoctor(ctx context.Context, t *tool) error {
	d := &doctor{tool: t, ctx: ctx}
	d.say("ok", "envrun", version, "")
	// Whoever has all on servers needs no identity.
	if p, err := t.project(); err != nil || slices.ContainsFunc(p.Envs, func(e project.Env) bool { return !e.Remote() }) || len(p.Envs) == 0 {
		d.identity(ctx)
		d.keychains(ctx)
	}
	if p := d.project(); p != nil {
		d.vaults(ctx, p)
		if slices.ContainsFunc(p.Envs, project.Env.Remote) {
			d.sessions(ctx)
			d.caches(p)
		}
		d.plainFiles(ctx, p)
	}
	d.memory()
	d.variables()
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, d.symptoms); err != nil {
			return err
		}
	} else {
		table := cli.NewTable(t.Streams)
		for _, s := range d.symptoms {
			table.Row(s.State, s.What, s.Says)
			if s.Hint != "" {
				table.Row("", "", "→ "+s.Hint)
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	for _, s := range d.symptoms {
		if s.State == "bad" {
			return cli.ErrShown
		}
	}
	return nil
}

func (d *doctor) identity(ctx context.Context) {
	me, err := d.me()
	if err != nil {
		d.err("identity", err)
		return
	}
	if d.Getenv("ENVRUN_KEY") != "" {
		id, err := me.identity(ctx)
		if err != nil {
			d.err("identity", err)
			return
		}
		d.say("ok", "identity", "from ENVRUN_KEY", "")
		d.plugins(id)
		return
	}
	home, err := d.home()
	if err != nil {
		d.err("identity", err)
		return
	}
	facts, err := home.Facts()
	if err != nil {
		d.err("identity", err)
		return
	}
	if facts.Protected {
		d.say("ok", "identity", me.member+" in "+storeText(facts, home)+", with a passphrase", "")
		return
	}
	id, err := me.identity(ctx)
	if err != nil {
		d.err("identity", err)
		return
	}
	if facts.Store == agekey.StoreFile {
		d.say("note", "identity", me.member+" in "+storeText(facts, home)+": whoever can read it can open your vaults", "envrun key protect, or envrun key move STORE")
	} else {
		d.say("ok", "identity", me.member+" in "+storeText(facts, home), "")
	}
	d.plugins(id)
	if !agekey.PostQuantum(facts.Recipient) {
		d.say("note", "identity", "it is not post-quantum: what you can open today, a quantum computer may open from the git history", "envrun key new on a new machine makes one that is")
	}
	if len(facts.Leftover) > 0 {
		d.say("bad", "identity", "a copy of it may still be in "+strings.Join(facts.Leftover, ", "), "envrun key move "+facts.Store)
	}
}

// plugins says which programs open things for the identity: each gets the keys
// that it unwraps, so it should be the one that was meant.
func (d *doctor) plugins(id *agekey.Identity) {
	for _, name := range id.Plugins() {
		file, err := agekey.FindPlugin(name)
		if err != nil {
			d.err("plugin "+name, err)
			continue
		}
		d.say("ok", "plugin "+name, "your identity is opened by "+file, "")
	}
}

func (d *doctor) keychains(ctx context.Context) {
	for _, name := range keychain.Names() {
		err := keychain.Probe(ctx, name, keychain.Options{})
		switch {
		case err == nil && keychain.Volatile(name):
			d.say("ok", "keychain "+name, "works; forgets at reboot", "")
		case err == nil:
			d.say("ok", "keychain "+name, "works", "")
		default:
			r := d.explain(err)
			d.say("note", "keychain "+name, r.Message, strings.Join(r.Hints, "; "))
		}
	}
}

func (d *doctor) project() *project.Project {
	p, err := d.tool.project()
	if err != nil {
		var none *project.NoProjectError
		if errors.As(err, &none) {
			d.say("note", "project", err.Error(), "envrun init")
			return nil
		}
		d.err("project", err)
		return nil
	}
	d.say("ok", "project", p.File, "")
	local := filepath.Join(p.Dir, "envrun.local.toml")
	if _, err := os.Lstat(local); err == nil && d.inRepo(p.Dir) && !d.git(p.Dir, "check-ignore", "-q", "--", local) {
		d.say("bad", "project", local+" is yours alone and not ignored by git", "echo /envrun.local.toml >> "+filepath.Join(p.Dir, ".gitignore"))
	}
	return p
}

func (d *doctor) inRepo(dir string) bool { return d.git(dir, "rev-parse", "--git-dir") }

func (d *doctor) git(dir string, args ...string) bool {
	return filevault.Git(d.ctx, dir, args...).Run() == nil
}

func (d *doctor) vaults(ctx context.Context, p *project.Project) {
	files := slices.ContainsFunc(p.Envs, func(e project.Env) bool { return !e.Remote() })
	if !files {
		// Nothing of it is in git.
	} else if _, err := exec.LookPath("git"); err != nil {
		d.say("note", "git", "is not here: no history, no rollback", "install git")
	} else if !d.inRepo(p.Dir) {
		d.say("note", "git", p.Dir+" is in no repository: no history, no rollback, nothing shared", "git init")
	}
	seen := map[string]bool{}
	for _, env := range p.Envs {
		if env.Remote() {
			d.server(ctx, p, env)
			continue
		}
		v, err := d.vault(ctx, env.Vault)
		if err != nil {
			if !seen[env.Vault] {
				d.err("vault", err)
			}
			seen[env.Vault] = true
			continue
		}
		if !seen[env.Vault] {
			seen[env.Vault] = true
			if d.inRepo(p.Dir) && d.git(p.Dir, "check-ignore", "-q", "--", filepath.Join(env.Vault, "vault.toml")) {
				d.say("bad", "vault", env.Vault+" is ignored by git, so nobody else gets it", "git check-ignore -v "+env.Vault)
			}
			d.drivers(v)
		}
		envs, err := v.Envs(ctx)
		if err != nil {
			d.err("environment "+string(env.Name), err)
			continue
		}
		if !slices.Contains(envs, env.Name) {
			d.say("bad", "environment "+string(env.Name), "is in envrun.toml and not in its vault", "envrun env add "+string(env.Name))
			continue
		}
		d.count(ctx, v, env, "")
	}
}

// count lists an environment.
func (d *doctor) count(ctx context.Context, v vault.Reader, env project.Env, where string) {
	n, bad := 0, 0
	var first error
	for _, err := range v.List(ctx, env.Name, "") {
		if n++; err != nil {
			bad++
			first = err
		}
	}
	if first != nil {
		d.err("environment "+string(env.Name), fmt.Errorf("%d of %d records cannot be read, one of them: %w", bad, n, first))
		return
	}
	d.say("ok", "environment "+string(env.Name), cli.Count(n, "secret")+where, "")
}

// server asks a server for an environment.
func (d *doctor) server(ctx context.Context, p *project.Project, env project.Env) {
	what := "environment " + string(env.Name)
	v, err := d.tool.server(p, env)
	if err != nil {
		d.err(what, err)
		return
	}
	defer v.Close()
	envs, err := v.Envs(ctx)
	if err != nil {
		d.err(what, err)
		return
	}
	if !slices.Contains(envs, env.Name) {
		d.say("bad", what, "is in envrun.toml and not on "+env.Vault+", or not for your token", "envrun env add "+string(env.Name))
		return
	}
	d.count(ctx, v, env, " on "+env.Vault+", "+d.tool.showing(env))
}

// showing says what an environment's server is shown, as tool.token looks for it.
func (t *tool) showing(env project.Env) string {
	if _, job := t.platform(env); job {
		return "with the identity token of the job"
	}
	_, from, _ := t.anyToken()
	if from == "ENVRUN_TOKEN" || from == "VAULT_TOKEN" {
		return "with the token in " + from
	}
	if store, err := t.sessions(false); err == nil {
		if a, err := t.sessionOf(store, env); err == nil {
			return "as " + cli.Printable(a.Label)
		}
	}
	return "with the token in " + from
}

// plainFiles looks for .env files with values in the project's own folder.
func (d *doctor) plainFiles(ctx context.Context, p *project.Project) {
	entries, err := os.ReadDir(p.Dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !strings.HasPrefix(name, ".env") || name == ".envrc" || name == ".envrun.toml" {
			continue
		}
		if strings.HasSuffix(name, ".template") || strings.HasSuffix(name, ".example") || strings.HasSuffix(name, ".sample") || strings.HasSuffix(name, ".dist") {
			continue
		}
		switch {
		case !d.inRepo(p.Dir):
			d.say("note", "plain file", name+" holds values in clear", "envrun import "+name+", then delete it")
		case d.git(p.Dir, "ls-files", "--error-unmatch", "--", name):
			d.say("bad", "plain file", name+" is in git: its values are in the history", "envrun import "+name+"; git rm --cached "+name+"; replace the values at their source")
		case !d.git(p.Dir, "check-ignore", "-q", "--", name):
			d.say("bad", "plain file", name+" holds values in clear and is not ignored by git", "envrun import --gitignore "+name+", then delete it")
		default:
			d.say("note", "plain file", name+" holds values in clear", "envrun import "+name+", then delete it")
		}
	}
}

// drivers says whether git has ours. Those of a program that is gone make git
// diff fail.
func (d *doctor) drivers(v *filevault.Vault) {
	have, err := v.GitInstalled(d.ctx)
	if err != nil {
		return // in no repository, which was said
	}
	want, err := gitCommands()
	switch {
	case err == nil && have == want:
		d.say("ok", "git drivers", "git merges secrets by itself where nobody must decide", "")
	case have == filevault.GitCommands{}:
		d.say("note", "git drivers", "are not installed, and nothing needs them", "envrun git setup")
	default:
		d.say("note", "git drivers", "are not those of this program: "+have.Merge, "envrun git setup, or envrun git setup --remove")
	}
}

func (d *doctor) memory() {
	folder, err := run.NewFolder(d.Getenv("XDG_RUNTIME_DIR"))
	if err != nil {
		d.say("note", "files in memory", "[[file]] rules and envrun edit cannot work: "+err.Error(), "set XDG_RUNTIME_DIR to a folder in memory")
		return
	}
	dir := filepath.Dir(folder.Dir())
	if err := folder.Remove(); err != nil {
		d.say("bad", "files in memory", err.Error(), "")
		return
	}
	d.say("ok", "files in memory", dir, "")
}

func (d *doctor) variables() {
	for _, name := range []string{"ENVRUN_ENV", "ENVRUN_CONFIG_DIR", "ENVRUN_STATE_DIR"} {
		if v := d.Getenv(name); v != "" {
			d.say("note", "variable", name+" is set to "+v, "")
		}
	}
	if name := d.CI(); name != "" {
		d.say("note", "variable", name+" is set: nobody is asked anything, and output is masked", "")
	}
	if name := d.Agent(); name != "" {
		d.say("note", "variable", name+" is set: nobody is asked anything, and output is masked", "")
	}
}

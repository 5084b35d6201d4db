package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/carry"
	"envrun/vault/filevault"
	"envrun/vault/registry"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

// copyOptions are the flags of vault copy.
type copyOptions struct {
	from, to                string
	history, replace, leave bool
	dryRun, commit          bool
	keep                    int
	mounts, pins            []string
	ca, tokenFile           string
	recoveryFile            string
	noRecovery              bool
}

func newVaultCopy(t *tool) *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use: "copy --to PLACE | --from PLACE", Short: "Copy whole environments to a server or to another vault",
		Long: `Copies every secret of all environments, or of those that -e names, from one vault
to another. A PLACE is the address of a server (envrund, OpenBao, Vault) or the
folder of a file vault; the side that is not named is what envrun.toml says.

It says first what it will do and what cannot be carried, and with --dry-run no
more than that. It never writes over what is different at the target, unless you
choose --replace, and removes nothing there. It can be stopped and run again, as
often as you like: what is there already is not written again. At its end it reads
both sides and compares every value.

With --history the former versions go too, oldest first, with their deletions. A
file vault has those that git has, and takes them as commits: --commit makes one
for each version.

A server keeps so many versions of a secret as its mount says, ten where nothing is
said; --keep has the mounts keep more.

A folder without a vault gets one, and an environment that is missing is made.`,
		Example: `  envrun vault copy --to https://vault.example.dev --dry-run
  envrun vault copy --to https://vault.example.dev -e dev,staging --history
  envrun vault copy --from https://vault.example.dev --to .envrun/vault --history --commit`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVaultCopy(cmd.Context(), t, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "the vault to copy from: an address or a folder (default: what envrun.toml says)")
	f.StringVar(&o.to, "to", "", "the vault to copy to (default: what envrun.toml says)")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "say what would be done, and write nothing")
	f.BoolVar(&o.history, "history", false, "former versions too")
	f.IntVar(&o.keep, "keep", 0, "have the mounts of a server keep so many versions of each secret")
	f.BoolVar(&o.commit, "commit", false, "of a file vault: commit its folder to git after each version")
	f.BoolVar(&o.replace, "replace", false, "what is different at the target gets the present values, as a new version")
	f.BoolVar(&o.leave, "leave", false, "leave what is different at the target or cannot be carried, and copy the rest")
	f.StringArrayVar(&o.mounts, "mount", nil, "ENV=MOUNT: the mount of an environment on the named server, if that has another name")
	f.StringArrayVar(&o.pins, "pin", nil, "sha256/…: the public key of the named server")
	f.StringVar(&o.ca, "ca", "", "a file of certificates that the named server's must lead to")
	f.StringVar(&o.tokenFile, "token-file", "", "a file with the token for the named server")
	f.BoolVar(&o.noRecovery, "no-recovery", false, "of a new file vault: make no recovery identity")
	f.StringVar(&o.recoveryFile, "recovery-file", "", "of a new file vault: write the recovery identity to this new file")
	return cmd
}

// end is one side of a copy: a vault and an environment in it.
type end struct {
	env   project.Env
	vault exporter
	there bool // the environment is
}

// exporter is what a copy takes of either side.
type exporter interface {
	store
	vault.Exporter
	vault.EnvKeeper
}

var (
	_ exporter = (*filevault.Vault)(nil)
	_ exporter = (*remote.Vault)(nil)
)

// route is one environment on its way.
type route struct {
	from, to end
	plan     *carry.Plan
	lost     lostFacts
}

// copyFacts is what vault copy prints: an environment each, and what a comparison
// of both sides found once it was done.
type copyFacts struct {
	Env       vault.Env      `json:"env"`
	From      string         `json:"from"`
	To        string         `json:"to"`
	Mount     string         `json:"mount,omitempty"` // at the target, if that is a server
	Makes     bool           `json:"makes,omitempty"` // the environment is made there
	Secrets   int            `json:"secrets"`
	Write     int            `json:"write"`    // secrets that something is written of
	Versions  int            `json:"versions"` // that are written
	Same      int            `json:"same"`
	Different []vault.Path   `json:"different"`
	Unfit     []string       `json:"unfit"`
	Elsewhere []vault.Path   `json:"only_at_target"`
	Lost      lostFacts      `json:"not_carried"`
	Done      bool           `json:"done"`
	Compared  *comparedFacts `json:"compared,omitempty"`
}

// lostFacts count what the other side has no place for.
type lostFacts struct {
	Authors   int `json:"authors_and_times"`           // versions that are written as by who copies, now
	Missing   int `json:"versions_not_kept"`           // by the source, below the last of their secret
	Older     int `json:"versions_too_many,omitempty"` // for the target, which keeps the newest
	Notes     int `json:"notes_of_former_versions,omitempty"`
	Rotations int `json:"rotations_from_now,omitempty"` // whose time begins anew
	Histories int `json:"other_histories,omitempty"`    // secrets whose values were there, with other former versions
	Grants    int `json:"grants,omitempty"`
	Requests  int `json:"requests,omitempty"`
	Exposures int `json:"exposure_lists,omitempty"`
}

type comparedFacts struct {
	Secrets  int          `json:"secrets"`
	Versions int          `json:"versions"`
	Values   int          `json:"values"`
	Differ   []vault.Path `json:"differ"`
}

func runVaultCopy(ctx context.Context, t *tool, o copyOptions) error {
	p, err := t.project()
	if err != nil {
		return err
	}
	routes, err := t.routes(ctx, p, o)
	if err != nil {
		return err
	}
	for i := range routes {
		if err := t.openRoute(ctx, p, &routes[i], o); err != nil {
			return err
		}
		if err := routes[i].look(ctx, o); err != nil {
			return noHistory(err)
		}
	}
	if !t.flags.json {
		t.sayPlan(routes, o)
	}
	if err := refuseCopy(routes); err != nil {
		return err
	}
	facts := []copyFacts{}
	for i := range routes {
		r := &routes[i]
		f := r.facts()
		if !o.dryRun {
			if f.Compared, err = t.copyRoute(ctx, p, r, o); err != nil {
				return err
			}
			f.Done = true
		}
		facts = append(facts, f)
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, facts); err != nil {
			return err
		}
	} else if !o.dryRun {
		t.sayCopied(routes, facts)
	}
	for _, f := range facts {
		if f.Compared != nil && len(f.Compared.Differ) > 0 {
			return &cli.HintError{Err: fmt.Errorf("%s: not the same on both sides: %s", f.Env, cli.Join(f.Compared.Differ)), Code: cli.CodeConflict, Hint: "somebody wrote there meanwhile; the same command again copies the rest"}
		}
	}
	return nil
}

// routes are the environments to copy, from where to where. Nothing is opened yet.
func (t *tool) routes(ctx context.Context, p *project.Project, o copyOptions) ([]route, error) {
	const command = "envrun vault copy"
	if o.from == "" && o.to == "" {
		return nil, cli.Usagef(command, "--to PLACE or --from PLACE is needed: an address, or the folder of a file vault")
	}
	if o.keep < 0 || o.keep > 0 && !o.history {
		return nil, cli.Usagef(command, "--keep is how many versions the target keeps of those that --history brings, at least 1")
	}
	if o.replace && o.leave {
		return nil, cli.Usagef(command, "--replace and --leave contradict each other")
	}
	envs := p.Envs
	if t.flags.env != "" {
		names, err := parseEnvs(t.flags.env)
		if err != nil {
			return nil, err
		}
		envs = nil
		for _, name := range names {
			env, err := named(p, string(name))
			if err != nil {
				return nil, err
			}
			envs = append(envs, env)
		}
	}
	var routes []route
	for _, env := range envs {
		r := route{from: end{env: env}, to: end{env: env}}
		for _, side := range []struct {
			e          *end
			flag, name string
		}{{&r.from, "--from", o.from}, {&r.to, "--to", o.to}} {
			if side.name == "" {
				continue
			}
			var err error
			if side.e.env, err = elsewhere(p, env, side.flag, side.name, o); err != nil {
				return nil, err
			}
		}
		if r.from.env.Vault == r.to.env.Vault && r.from.env.MountName() == r.to.env.MountName() {
			if t.flags.env == "" {
				continue
			}
			return nil, cli.Usagef(command, "%s is at %s on both sides", env.Name, r.to.env.Vault)
		}
		if o.history && !r.to.env.Remote() && !o.commit {
			return nil, cli.Usagef(command, "a file vault has the former versions that git has: --history takes --commit, which commits its folder after each version")
		}
		if o.commit && r.to.env.Remote() {
			return nil, cli.Usagef(command, "--commit is for a file vault, and %s goes to a server", env.Name)
		}
		if err := t.allow(ctx, env, "was copied"); err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	if len(routes) == 0 {
		return nil, cli.Usagef(command, "all environments of the project are there already")
	}
	return routes, t.giveToken(o)
}

// elsewhere is an environment of the project at the place that a flag names.
func elsewhere(p *project.Project, env project.Env, flag, place string, o copyOptions) (project.Env, error) {
	at := project.Env{Name: env.Name, Protected: env.Protected, VaultPos: project.Pos{File: flag}}
	if registry.Scheme(place) == "" {
		dir, err := filepath.Abs(place)
		at.Vault = dir
		return at, err
	}
	u, err := remote.ParseAddress(place)
	if err != nil {
		return at, fmt.Errorf("%s: %w", flag, err)
	}
	at.Vault = u.String()
	for _, known := range p.Envs { // how the project knows that server
		if known.Vault == at.Vault {
			at.Server = known.Server
			if known.Name == env.Name {
				at.Mount = known.Mount
			}
		}
	}
	if len(o.pins) > 0 {
		at.Server.Pins = o.pins
	}
	if o.ca != "" {
		if at.Server.CA, err = filepath.Abs(o.ca); err != nil {
			return at, err
		}
	}
	for _, m := range o.mounts {
		name, mount, ok := strings.Cut(m, "=")
		if !ok {
			return at, cli.Usagef("envrun vault copy", "--mount is ENV=MOUNT, not %q", m)
		}
		if name == string(env.Name) {
			at.Mount = mount
		}
	}
	return at, nil
}

// giveToken takes the token for the server that a flag names from its file: who
// writes both on one command line has said where it goes.
func (t *tool) giveToken(o copyOptions) error {
	if o.tokenFile == "" {
		return nil
	}
	place := o.to
	if registry.Scheme(place) == "" {
		place = o.from
	}
	u, err := remote.ParseAddress(place)
	if err != nil {
		return cli.Usagef("envrun vault copy", "--token-file is for a server that --to or --from names")
	}
	text, err := readSmall(o.tokenFile)
	if err != nil {
		return fmt.Errorf("the token for %s: %w", place, err)
	}
	t.shown.given = map[string]string{serverName(u.String()): strings.TrimSpace(string(text))}
	return nil
}

// openRoute opens both sides. A vault of files that is not there yet stays nil.
func (t *tool) openRoute(ctx context.Context, p *project.Project, r *route, o copyOptions) error {
	for _, e := range []*end{&r.from, &r.to} {
		v, err := t.openEnd(ctx, p, e.env)
		if e == &r.to && vault.KindOf(err) == vault.KindNoVault {
			continue
		}
		if err != nil {
			return err
		}
		envs, err := v.Envs(ctx)
		if err != nil {
			return err
		}
		e.vault, e.there = v, slices.Contains(envs, e.env.Name)
	}
	return nil
}

// openEnd opens a vault that may be another than that of the project.
func (t *tool) openEnd(ctx context.Context, p *project.Project, env project.Env) (exporter, error) {
	if env.Remote() {
		q := *p
		q.Envs = []project.Env{env}
		return t.server(&q, env)
	}
	o, err := t.vaultOptions(env.Vault)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(p.Envs, func(e project.Env) bool { return e.Vault == env.Vault }) {
		o.Place = "" // the project has another one
	}
	v, err := filevault.Open(ctx, o)
	if err != nil || o.Member != "" {
		return v, err
	}
	// Of whoever brings a bare key the grant says who they are.
	if o.Member, err = v.Mine(ctx, env.Name); err != nil {
		return v, nil // which only reads
	}
	return filevault.Open(ctx, o)
}

// look compares both sides and counts what cannot be carried.
func (r *route) look(ctx context.Context, o copyOptions) error {
	c := carry.Options{History: o.history, Replace: o.replace, Leave: o.leave, Batch: 500}
	if r.to.env.Remote() {
		c.Batch, c.Width = 1, 8
		if c.Keep = o.keep; o.history && c.Keep == 0 {
			var err error
			if c.Keep, err = r.to.keeps(ctx); err != nil {
				return err
			}
		}
	}
	var there vault.Exporter
	if r.to.there {
		there = r.to.vault
	}
	var err error
	if r.plan, err = carry.Make(ctx, r.from.vault, there, r.from.env.Name, c); err != nil {
		return err
	}
	n := r.plan.Counts()
	r.lost = lostFacts{Authors: n.Versions, Missing: n.Missing, Older: n.Older, Rotations: n.Rotations, Histories: n.OtherHistories}
	if r.to.env.Remote() {
		r.lost.Notes = n.FormerNotes
	}
	if file, ok := r.from.vault.(*filevault.Vault); ok {
		s, err := file.Status(ctx, r.from.env.Name)
		if err != nil {
			return err
		}
		for _, e := range s.Envs {
			r.lost.Grants, r.lost.Requests, r.lost.Exposures = len(e.Members), len(e.Requests), len(e.Exposures)
		}
	}
	return nil
}

// keeps is how many versions a server keeps.
func (e end) keeps(ctx context.Context) (int, error) {
	server, ok := e.vault.(*remote.Vault)
	if !ok || !e.there {
		return remote.KeptByDefault, nil
	}
	return server.Keeps(ctx, e.env.Name)
}

// refuseCopy says what keeps a copy from being begun.
func refuseCopy(routes []route) error {
	different, unfit := 0, 0
	for _, r := range routes {
		for _, i := range r.plan.Stops() {
			if i.State == carry.Different {
				different++
			} else {
				unfit++
			}
		}
	}
	switch {
	case different > 0:
		return &cli.HintError{Err: fmt.Errorf("%s at the target, with other values or another history: nothing was written", cli.Count(different, "secret")), Code: cli.CodeConflict,
			Hint: "to give them the source's present values, as new versions: --replace; to leave them as they are and copy the rest: --leave"}
	case unfit > 0:
		return &cli.HintError{Err: fmt.Errorf("%s cannot be carried: nothing was written", cli.Count(unfit, "secret")), Code: cli.CodeConflict,
			Hint: "to copy the rest: --leave"}
	}
	return nil
}

// copyRoute carries one environment, and compares both sides.
func (t *tool) copyRoute(ctx context.Context, p *project.Project, r *route, o copyOptions) (*comparedFacts, error) {
	if err := t.makeTarget(ctx, p, r, o); err != nil {
		return nil, err
	}
	if server, ok := r.to.vault.(*remote.Vault); ok && o.keep > 0 {
		if err := server.Keep(ctx, r.to.env.Name, o.keep); err != nil {
			return nil, err
		}
	}
	file, _ := r.to.vault.(*filevault.Vault)
	commit := func(what string) error {
		if !o.commit {
			return nil
		}
		_, err := file.Commit(ctx, fmt.Sprintf("envrun: %s from %s", what, r.from.env.Vault))
		return noHistory(err)
	}
	// What is there and in no commit would be lost under the next version.
	if err := commit(fmt.Sprintf("before a copy of %s", r.from.env.Name)); err != nil {
		return nil, err
	}
	total := r.plan.Counts().Versions
	progress := cli.NewProgress(t.Streams, fmt.Sprintf("copying %s", r.from.env.Name), t.now)
	err := r.plan.Run(ctx, r.to.vault, func(done int) { progress.Step(done, total) }, func(round int) error {
		return commit(fmt.Sprintf("%s, version %d of what was copied", r.from.env.Name, round+1))
	})
	progress.End()
	if err != nil {
		return nil, goesOn(err)
	}
	c, err := r.plan.Check(ctx, r.from.vault, r.to.vault)
	if err != nil {
		return nil, fmt.Errorf("all is written, and comparing both sides: %w", err)
	}
	return &comparedFacts{c.Secrets, c.Versions, c.Values, append([]vault.Path{}, c.Differ...)}, nil
}

// goesOn says of a copy that stopped how it goes on.
func goesOn(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &cli.HintError{Err: err, Hint: "what is written stays; the same command again goes on from there"}
}

// makeTarget makes what is missing at the target: the vault, the environment.
func (t *tool) makeTarget(ctx context.Context, p *project.Project, r *route, o copyOptions) error {
	if r.to.there {
		return nil
	}
	if r.to.vault == nil { // or made for an environment before this
		v, err := t.openEnd(ctx, p, r.to.env)
		if err == nil {
			r.to.vault = v
		} else if vault.KindOf(err) != vault.KindNoVault {
			return err
		}
	}
	if r.to.vault == nil {
		if err := t.ensureIdentity(ctx, "", ""); err != nil {
			return err
		}
		v, _, err := t.initVault(ctx, initOptions{noRecovery: o.noRecovery, recoveryFile: o.recoveryFile}, r.to.env.Vault, []vault.Env{r.to.env.Name})
		if err != nil {
			return err
		}
		t.Notef("made the vault %s", r.to.env.Vault)
		r.to.vault, r.to.there = v, true
		return nil
	}
	err := r.to.vault.AddEnv(ctx, r.to.env.Name)
	if vault.KindOf(err) == vault.KindDenied && r.to.env.Remote() {
		return &cli.HintError{Err: fmt.Errorf("making the environment: %w", err), Code: cli.CodeAuth, Hint: fmt.Sprintf("the token needs create and update on sys/mounts/%s, or somebody makes it before", r.to.env.MountName())}
	}
	if err != nil && vault.KindOf(err) != vault.KindExists {
		return err
	}
	r.to.there = true
	return nil
}

func (r *route) facts() copyFacts {
	f := copyFacts{
		Env: r.from.env.Name, From: r.from.env.Vault, To: r.to.env.Vault, Makes: !r.to.there,
		Secrets: len(r.plan.Items), Different: []vault.Path{}, Unfit: []string{}, Elsewhere: append([]vault.Path{}, r.plan.Elsewhere...), Lost: r.lost,
	}
	if r.to.env.Remote() {
		f.Mount = r.to.env.MountName()
	}
	for _, i := range r.plan.Items {
		if i.Write > 0 {
			f.Write++
			f.Versions += i.Write
		}
		switch i.State {
		case carry.Same:
			f.Same++
		case carry.Different:
			f.Different = append(f.Different, i.Path)
		case carry.Unfit:
			f.Unfit = append(f.Unfit, cli.Printable(i.Err.Error()))
		}
	}
	return f
}

// sayPlan says what is going to be done, and what is not carried.
func (t *tool) sayPlan(routes []route, o copyOptions) {
	for i := range routes {
		f := routes[i].facts()
		to := f.To
		if f.Mount != "" && f.Mount != string(f.Env) {
			to += ", mount " + f.Mount
		}
		t.Printf("%s: %s → %s\n", f.Env, cli.Printable(f.From), cli.Printable(to))
		if f.Makes {
			t.Printf("  the environment is not there, and is made\n")
		}
		t.Printf("  %s: %s to write of %s; %d the same already\n", cli.Count(f.Secrets, "secret"), cli.Count(f.Versions, "version"), cli.Count(f.Write, "secret"), f.Same)
		for _, path := range f.Different {
			what := "is different at the target"
			if o.replace {
				what += ", and is replaced"
			} else if o.leave {
				what += ", and is left"
			}
			t.Printf("  %s %s\n", path, what)
		}
		for _, why := range f.Unfit {
			t.Printf("  cannot be carried: %s\n", why)
		}
		if n := len(f.Elsewhere); n > 0 {
			t.Printf("  %s at the target and not at the source, which stays\n", cli.Count(n, "secret"))
		}
		for _, line := range f.Lost.lines() {
			t.Printf("  not carried: %s\n", line)
		}
	}
}

// lines say what is not carried, with how much of it there is.
func (l lostFacts) lines() (lines []string) {
	add := func(n int, what, format string) {
		if n > 0 {
			lines = append(lines, fmt.Sprintf(format, cli.Count(n, what)))
		}
	}
	add(l.Authors, "version", "who wrote it and when, of %s: at the target that is you, now")
	add(l.Rotations, "secret", "how old its value is, of %s with a rotation: its time begins anew")
	add(l.Missing, "former version", "%s that the source does not keep or cannot open: numbers at the target are lower")
	add(l.Older, "former version", "%s more than the target keeps: for more, --keep N")
	add(l.Notes, "former version", "note, rotation and tags of %s: a server has those of the present one")
	add(l.Histories, "secret", "the history of %s that has the same values at the target, and other former versions")
	add(l.Grants, "grant", "%s: who may read at the target is said there")
	add(l.Requests, "request", "%s for access")
	add(l.Exposures, "list", "%s of what a former member could read: replace those values at their source all the same")
	return lines
}

// sayCopied says what was done, and what comes next.
func (t *tool) sayCopied(routes []route, facts []copyFacts) {
	for _, f := range facts {
		t.Notef("%s: wrote %s of %s; compared on both sides: %s in %s of %s, %s", f.Env, cli.Count(f.Versions, "version"), cli.Count(f.Write, "secret"),
			cli.Count(f.Compared.Values, "value"), cli.Count(f.Compared.Versions, "version"), cli.Count(f.Compared.Secrets, "secret"),
			map[bool]string{true: "all the same", false: cli.Count(len(f.Compared.Differ), "secret") + " not the same"}[len(f.Compared.Differ) == 0])
		if lines := f.Lost.lines(); len(lines) > 0 {
			t.Sayf("%s: not carried:", f.Env)
			for _, line := range lines {
				t.Sayf("    %s", line)
			}
		}
	}
	r := routes[0]
	if r.to.env.Remote() {
		t.Sayf("Next: to use it, in envrun.toml:  vault = %q", r.to.env.Vault)
		if len(r.to.env.Server.Pins) > 0 {
			t.Sayf("                                 pin = %q", r.to.env.Server.Pins[0])
		}
	} else {
		t.Sayf("Next: commit %s, if it is not; to use it, in envrun.toml:  vault = %q", cli.Printable(t.fromProject(r.to.env.Vault)), t.fromProject(r.to.env.Vault))
	}
	if !r.from.env.Remote() {
		t.Sayf("The vault %s stays as it is, and so does git's history of it: whoever has a clone and a key\nof it can read there what was in it, also after you remove it. Values that some of them are\nnot to know any more are to be replaced at their source.", cli.Printable(t.fromProject(r.from.env.Vault)))
	}
}

// fromProject is a file vault's folder as the project file would name it.
func (t *tool) fromProject(dir string) string {
	if rel, err := filepath.Rel(t.base, dir); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return dir
}

package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

func newVault(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vault",
		Short: "Check and care for the file vault, and copy it elsewhere",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	verify := &cobra.Command{
		Use: "verify", Short: "Check every record of every environment",
		Long: `Checks that every record is genuine and in its place, and that nothing sealed is
missing or rolled back: with values in the environments you hold a key of, by
form alone in the others. Without -e all environments are checked. Exits 1 if
anything is wrong.`,
		Example: "  envrun vault verify\n  envrun vault verify -e prod --json",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runVerify(cmd.Context(), t) },
	}
	status := &cobra.Command{
		Use: "status", Short: "Show keys, members and what is not sealed yet",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVaultStatus(cmd.Context(), t) },
	}
	seal := &cobra.Command{
		Use: "seal", Short: "Move the checkpoint to what is there now",
		Long: `Checks the whole environment and writes its checkpoint: from then on a deletion or
a roll-back of what is there now is noticed. Recommended on the main branch,
after merges. Without -e all environments you hold a key of are sealed.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runSeal(cmd.Context(), t) },
	}
	trust := &cobra.Command{
		Use: "trust FINGERPRINT", Short: "Take the present key of an environment as the right one",
		Long: `Makes this machine trust the key that the environment of -e has now, if its
fingerprint is the one given. Get the fingerprint from somebody who works with the
environment, over another channel than the repository: this is how a key that was
made anew on purpose is accepted, and how an attacker's would be.`,
		Example: "  envrun vault trust -e prod 7QMX-2K4D-9TRW-XB5N",
		Args:    cli.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runTrust(cmd.Context(), t, args[0]) },
	}
	cmd.AddCommand(verify, status, seal, trust, newVaultMerge(t), newVaultAdopt(t), newVaultCopy(t))
	return cmd
}

// placed is a vault with the environments of the project that are in it.
type placed struct {
	*filevault.Vault
	envs []project.Env
}

func (p placed) names() []vault.Env {
	var names []vault.Env
	for _, env := range p.envs {
		names = append(names, env.Name)
	}
	return names
}

// vaults opens every vault of the project, with the environment that -e names or with all.
func (t *tool) vaults(ctx context.Context) ([]placed, error) {
	p, err := t.project()
	if err != nil {
		return nil, err
	}
	envs := p.Envs
	if t.flags.env != "" {
		env, err := p.Select(t.flags.env, "")
		if err != nil {
			return nil, err
		}
		envs = []project.Env{env}
	}
	var all []placed
	at := map[string]int{}
	for _, env := range envs {
		if env.Remote() && t.flags.env == "" {
			continue // of all environments these have nothing to do with it
		}
		i, ok := at[env.Vault]
		if !ok {
			v, err := t.vault(ctx, env.Vault)
			if err != nil {
				return nil, err
			}
			i = len(all)
			at[env.Vault] = i
			all = append(all, placed{Vault: v})
		}
		all[i].envs = append(all[i].envs, env)
	}
	if len(all) == 0 && len(envs) > 0 {
		return nil, onServer(envs[0].Vault)
	}
	return all, nil
}

type findingFacts struct {
	Env   vault.Env  `json:"env,omitempty"` // of what is outside of all, none
	Path  vault.Path `json:"path,omitempty"`
	Error string     `json:"error"`
	Code  string     `json:"code"`
	Hints []string   `json:"hints,omitempty"`
}

type verifyFacts struct {
	Checked  int            `json:"checked"`
	ByForm   int            `json:"by_form"` // of these, how many by form alone, for want of a key that counts
	Findings []findingFacts `json:"findings"`
}

func runVerify(ctx context.Context, t *tool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	facts := verifyFacts{Findings: []findingFacts{}}
	// All is read once and dropped: collecting it more seldom is a third of the time.
	debug.SetGCPercent(400)
	for _, v := range vaults {
		if t.flags.env == "" {
			strays, err := v.Strays(ctx, v.names()...)
			if err != nil {
				return err
			}
			for _, err := range strays {
				r := t.explain(err)
				facts.Findings = append(facts.Findings, findingFacts{"", "", r.Message, r.Code, r.Hints})
			}
		}
		for _, env := range v.envs {
			_, keyErr := v.Mine(ctx, env.Name)
			for f := range v.Verify(ctx, env.Name) {
				if f.Err == nil {
					facts.Checked++
					if keyErr != nil {
						facts.ByForm++
					}
					continue
				}
				r := t.explain(f.Err)
				facts.Findings = append(facts.Findings, findingFacts{f.Env, f.Path, r.Message, r.Code, r.Hints})
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, facts); err != nil {
			return err
		}
	} else {
		for _, f := range facts.Findings {
			cli.Report{Message: f.Error, Code: f.Code, Hints: f.Hints}.WriteText(t.Err)
		}
		form := ""
		if facts.ByForm > 0 {
			form = fmt.Sprintf(" (%d of them by form alone: there is no key to check them with)", facts.ByForm)
		}
		t.Printf("%s right%s, %s\n", cli.Count(facts.Checked, "record"), form, cli.Count(len(facts.Findings), "finding"))
	}
	if len(facts.Findings) > 0 {
		return cli.ErrShown
	}
	return nil
}

func runSeal(ctx context.Context, t *tool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	sealed := 0
	var denied error
	for _, v := range vaults {
		for _, env := range v.envs {
			if err := t.allow(ctx, env, "was sealed"); err != nil {
				return err
			}
			s := selectIn(nil, env, v.Vault)
			err := t.signAs(ctx, &s)
			if err == nil {
				err = s.file.Seal(ctx, env.Name)
			}
			if vault.KindOf(err) == vault.KindDenied && t.flags.env == "" {
				t.Notef("%s: left alone, you hold no key of it", env.Name)
				denied = err
				continue
			}
			if err != nil {
				return err
			}
			sealed++
			t.Notef("%s is sealed", env.Name)
		}
	}
	if sealed == 0 {
		return denied
	}
	return nil
}

func runTrust(ctx context.Context, t *tool, fingerprint string) error {
	if t.flags.env == "" {
		return cli.Usagef("envrun vault trust", "-e ENV is needed: which environment's key")
	}
	s, err := t.openFile(ctx)
	if err != nil {
		return err
	}
	if err := s.file.Trust(ctx, s.env.Name, strings.ToUpper(fingerprint)); err != nil {
		return err
	}
	t.Notef("this machine trusts the key %s of %s from now on", fingerprint, s.env.Name)
	return nil
}

// statusFacts is what status prints of a vault; envStatusFacts of an environment.
type statusFacts struct {
	Vault   string           `json:"vault"`
	Dir     string           `json:"dir"`
	Journal string           `json:"journal,omitempty"`
	Envs    []envStatusFacts `json:"envs"`
	Strays  []string         `json:"strays,omitempty"`
}

type envStatusFacts struct {
	Env         vault.Env       `json:"env"`
	Closed      string          `json:"closed,omitempty"` // why you cannot open it
	Generation  uint32          `json:"generation"`
	Fingerprint string          `json:"fingerprint"`
	By          string          `json:"by"`
	At          time.Time       `json:"at"`
	Why         string          `json:"why,omitempty"`
	Mine        string          `json:"mine,omitempty"`
	Members     []memberFacts   `json:"members"`
	PostQuantum bool            `json:"post_quantum"` // all members are
	Secrets     int             `json:"secrets"`
	Deleted     int             `json:"deleted"`
	Damaged     int             `json:"damaged"`
	OldKey      []vault.Path    `json:"under_old_key,omitempty"`
	SealSeq     uint64          `json:"seal"`
	SealBy      string          `json:"sealed_by"`
	SealAt      time.Time       `json:"sealed_at"`
	SealGen     uint32          `json:"seal_generation"`
	Unsealed    int             `json:"unsealed"`
	Requests    []string        `json:"requests"`
	Exposed     []exposureFacts `json:"exposed,omitempty"` // what former members could read and is in use
}

type memberFacts struct {
	Member      string     `json:"member"`
	You         bool       `json:"you,omitempty"`
	Recipient   string     `json:"recipient,omitempty"`
	Kind        string     `json:"kind"` // of key: "post-quantum", "classic", "ssh-ed25519" …
	PostQuantum bool       `json:"post_quantum"`
	By          string     `json:"by"`
	Since       time.Time  `json:"since"`
	Until       *time.Time `json:"until,omitempty"`
	Plugin      string     `json:"plugin,omitempty"`  // that wrapping a key for them takes
	Pending     bool       `json:"pending,omitempty"` // their grant waits for somebody who has it
	Problem     string     `json:"problem,omitempty"`
}

func statusOf(s filevault.Status, envs []project.Env) statusFacts {
	f := statusFacts{Vault: s.Vault, Dir: s.Dir, Journal: string(s.Journal), Envs: []envStatusFacts{}}
	for _, err := range s.Strays {
		f.Strays = append(f.Strays, err.Error())
	}
	for _, e := range s.Envs {
		if !slices.ContainsFunc(envs, func(p project.Env) bool { return p.Name == e.Env }) {
			continue
		}
		f.Envs = append(f.Envs, envStatusOf(e))
	}
	return f
}

// envStatusOf is the state of one environment, as it is printed.
func envStatusOf(e filevault.EnvStatus) envStatusFacts {
	x := envStatusFacts{
		Env: e.Env, Generation: e.Gen, Fingerprint: e.Fingerprint, By: e.By, At: e.At, Why: e.Why, Mine: e.Mine,
		Members: []memberFacts{}, PostQuantum: true, Secrets: e.Secrets, Deleted: e.Deleted, Damaged: e.Damaged, OldKey: e.OldKey,
		SealSeq: e.SealSeq, SealGen: e.SealGen, SealBy: e.SealBy, SealAt: e.SealAt, Unsealed: e.Unsealed, Requests: []string{},
	}
	for _, r := range e.Requests {
		x.Requests = append(x.Requests, r.Member)
	}
	for _, f := range exposuresOf(e.Exposures) {
		if len(f.Fields) > 0 {
			x.Exposed = append(x.Exposed, f)
		}
	}
	if e.Err != nil {
		x.Closed = e.Err.Error()
	}
	for _, m := range e.Members {
		mf := memberFacts{
			Member: m.Member, You: m.Member == e.Mine, Recipient: m.Recipient, Kind: kindOfKey(m), PostQuantum: m.PostQuantum,
			By: m.By, Since: m.Since, Plugin: m.Plugin, Pending: m.Pending,
		}
		if !m.Until.IsZero() {
			mf.Until = &m.Until
		}
		if m.Recipient == "" {
			mf.Recipient = m.Sealer
		}
		if m.Err != nil {
			mf.Problem = m.Err.Error()
		}
		x.PostQuantum = x.PostQuantum && m.PostQuantum
		x.Members = append(x.Members, mf)
	}
	return x
}

func runVaultStatus(ctx context.Context, t *tool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	all := []statusFacts{}
	for _, v := range vaults {
		var names []vault.Env
		for _, env := range v.envs {
			names = append(names, env.Name)
		}
		s, err := v.Status(ctx, names...)
		if err != nil {
			return err
		}
		all = append(all, statusOf(s, v.envs))
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, all)
	}
	for _, s := range all {
		t.Printf("vault %s in %s\n", s.Vault, cli.Printable(s.Dir))
		if text := journalText(filevault.Journal(s.Journal)); text != "" {
			t.Printf("%s\n", text)
		}
		for _, stray := range s.Strays {
			t.Printf("no file of a vault: %s\n", cli.Printable(stray))
		}
		for _, e := range s.Envs {
			t.Printf("\n%s\n", e.Env)
			table := cli.NewTable(t.Streams)
			for _, row := range e.rows(t.now()) {
				table.Row("  "+row[0], row[1])
			}
			if err := table.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// journalText says that a write was interrupted; nothing if none was.
func journalText(j filevault.Journal) string {
	switch j {
	case filevault.Unfinished:
		return "a write was interrupted after it was decided: the next command finishes it"
	case filevault.Abandoned:
		return "a write was interrupted before it was decided: the next write removes what is left of it"
	}
	return ""
}

// kindOfKey names the kind of key that a member has.
func kindOfKey(m filevault.Member) string {
	kind, _, _ := strings.Cut(m.Recipient, " ")
	switch {
	case m.Sealer != "":
		return m.Sealer
	case m.Recipient == "":
		return ""
	case strings.HasPrefix(kind, "ssh-"):
		return kind
	case m.PostQuantum:
		return "post-quantum"
	case strings.HasPrefix(kind, "age1tag1"):
		return "classic, hardware"
	case m.Plugin != "":
		return "age-plugin-" + m.Plugin
	}
	return "classic"
}

// rows are the lines of one environment, for a person.
func (e envStatusFacts) rows(now time.Time) (rows [][2]string) {
	add := func(what, format string, args ...any) {
		rows = append(rows, [2]string{what, fmt.Sprintf(format, args...)})
	}
	if e.Closed != "" {
		add("closed to you", "%s", e.Closed)
	}
	add("key", "generation %d, fingerprint %s", e.Generation, e.Fingerprint)
	add("made", "%s by %s", e.At.Format(time.DateOnly), e.By)
	classic := 0
	for _, m := range e.Members {
		if !m.PostQuantum {
			classic++
		}
		add("member", "%s, %s", m.name(), m.terms(now))
		switch {
		case m.Pending:
			add("", "somebody with that plugin: envrun member add %s -e %s --plugin %s", m.Member, e.Env, m.Plugin)
		case m.Until != nil && !m.Until.After(now):
			add("", "they hold the key until it changes: envrun access sweep -e %s", e.Env)
		}
	}
	if classic == 0 {
		add("post-quantum", "yes")
	} else {
		add("post-quantum", "no: %d of %d grants are classic", classic, len(e.Members))
	}
	add("secrets", "%d", e.Secrets)
	if e.Damaged > 0 {
		add("damaged", "%d: envrun vault verify -e %s", e.Damaged, e.Env)
	}
	if len(e.OldKey) > 0 {
		if e.SealGen < e.Generation {
			add("rotation", "came here in part: %s still at key %d; to finish it: envrun env rotate-key %s --resume", cli.Count(len(e.OldKey), "record"), e.SealGen, e.Env)
		} else {
			add("under an old key", "%s; to look at them: envrun vault adopt -e %s", cli.Join(e.OldKey), e.Env)
		}
	}
	sealed := "all of it"
	if e.Unsealed > 0 {
		sealed = fmt.Sprintf("%s since: envrun vault seal -e %s", cli.Count(e.Unsealed, "change"), e.Env)
	}
	add("seal", "%d, %s by %s; %s", e.SealSeq, e.SealAt.Format(time.DateOnly), e.SealBy, sealed)
	for _, member := range e.Requests {
		add("asks for access", "%s: envrun access approve %s -e %s", member, member, e.Env)
	}
	for _, x := range e.Exposed {
		add("exposed", "%s could read %s in use: replace each at its source, then here", x.Member, cli.Count(len(x.Fields), "value"))
		for _, name := range x.Fields {
			add("", "envrun set -e %s %s", e.Env, name)
		}
	}
	return rows
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/cmd/internal/cli"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

func newMember(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Who can open the environments of a file vault",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	list := &cobra.Command{
		Use: "list", Short: "List who can open each environment",
		Long: `Lists the members of each environment, or of the one that -e names: since when
they hold its key, until when, and who let them in.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runMemberList(cmd.Context(), t) },
	}
	var add addOptions
	addCmd := &cobra.Command{
		Use: "add MEMBER [RECIPIENT]", Short: "Let somebody in whose public key you have",
		Long: `Grants the key of one environment to MEMBER, a name such as bob@desktop, and moves
the checkpoint. RECIPIENT is their public key: age1pq1… or age1… as envrun key show
prints it, age1tag… of a hardware key, a line of ssh-ed25519, or - to read it from
stdin. Be sure that it is theirs: whoever has the private half can read everything in
the environment. Where the two of you share no safe channel, let them ask with
envrun request and compare the check code.

A recipient of another plugin (age1yubikey1…) takes that program on this machine; it
gets the environment's key, so it is only started if --plugin names it. Without
RECIPIENT a member whose grant is pending since a rotation gets it.

--until ends access: honest envruns keep to it, and it is made true by
envrun access sweep, which changes the key. Until then they hold it.`,
		Example: `  envrun member add bob@desktop age1pq1… -e staging
  envrun member add carol - -e prod --until 7d < carol.pub`,
		Args: cli.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return runMemberAdd(cmd.Context(), t, args, add) },
	}
	add.flags(t, addCmd)
	var why string
	rm := &cobra.Command{
		Use: "rm MEMBER…", Short: "Take access away: a new key, and a list of what they could read",
		Long: `Gives the environment a new key that everybody else holds, wraps every secret anew,
moves the checkpoint, and lists what those who leave could read, from git's history
too. Without -e it is done in every environment in which one of them is a member.

What somebody could read they know: the values are to be replaced at their source,
and envrun vault status reminds of each until it is. Take away their write access to
the repository first: whoever held the old key and can write can fool a fresh clone.`,
		Example: "  envrun member rm bob@desktop\n  envrun member rm ci-github -e prod --yes=prod",
		Args:    cli.MinArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runMemberRm(cmd.Context(), t, args, why) },
	}
	rm.Flags().StringVar(&why, "why", "", "one line for the others, in clear")
	rm.Flags().StringSliceVar(&t.flags.plugins, "plugin", nil, "may be started to wrap the new key: NAME of age-plugin-NAME")
	rm.ValidArgsFunction = t.completeMembers
	cmd.AddCommand(list, addCmd, rm)
	return cmd
}

// addOptions are the flags of what lets somebody in.
type addOptions struct {
	until   string
	replace bool
}

func (o *addOptions) flags(t *tool, cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.until, "until", "", "when the access is to end: 2026-12-31, 2026-12-31T18:00, or 8h, 7d from now")
	cmd.Flags().BoolVar(&o.replace, "replace", false, "replace the key that this member has")
	cmd.Flags().StringSliceVar(&t.flags.plugins, "plugin", nil, "may be started to wrap the key: NAME of age-plugin-NAME")
}

// time reads --until.
func (o addOptions) time(now time.Time) (time.Time, error) {
	if t, ok := parseUntil(o.until, now); ok {
		return t, nil
	}
	return time.Time{}, cli.Usagef("envrun member add", "--until is a day (2026-12-31), a time (2026-12-31T18:00) or a duration (8h, 7d), not %q", o.until)
}

// parseUntil reads when access is to end, zero of nothing. A day ends with itself,
// here.
func parseUntil(s string, now time.Time) (time.Time, bool) {
	if s == "" {
		return time.Time{}, true
	}
	if d, err := parseDuration(s); err == nil {
		return now.Add(d).UTC().Truncate(time.Second), true
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), true
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t.UTC(), true
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second).UTC(), true
	}
	return time.Time{}, false
}

// parseDuration reads 8h, 30m, 7d, 2w.
func parseDuration(s string) (time.Duration, error) {
	for unit, d := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			h, err := time.ParseDuration(n + "h")
			return h / time.Hour * d, err
		}
	}
	return time.ParseDuration(s)
}

type memberListFacts struct {
	Env     vault.Env     `json:"env"`
	Closed  string        `json:"closed,omitempty"` // why you cannot open it: then these are claims
	Members []memberFacts `json:"members"`
}

func runMemberList(ctx context.Context, t *tool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	all := []memberListFacts{}
	for _, v := range vaults {
		for _, env := range v.envs {
			e, err := v.KeyStatus(ctx, env.Name)
			if vault.KindOf(err) == vault.KindNoEnv {
				continue
			}
			if err != nil {
				return err
			}
			x := envStatusOf(e)
			all = append(all, memberListFacts{x.Env, x.Closed, x.Members})
		}
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, all)
	}
	table := cli.NewTable(t.Streams)
	for _, e := range all {
		for _, m := range e.Members {
			table.Row(string(e.Env), m.name(), m.terms(t.now()), m.Kind)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, e := range all {
		if e.Closed != "" {
			t.Notef("%s is closed to you: what is listed of it is what its files say of themselves", e.Env)
		}
	}
	return nil
}

// name is how a member is shown.
func (m memberFacts) name() string {
	if m.You {
		return m.Member + " (you)"
	}
	return m.Member
}

// terms is since and until when somebody is a member, or what keeps them from it.
func (m memberFacts) terms(now time.Time) string {
	switch {
	case m.Problem != "":
		return m.Problem
	case m.Pending:
		return "pending: takes age-plugin-" + m.Plugin
	}
	text := "since " + m.Since.Format(time.DateOnly)
	if m.By != "" && m.By != m.Member {
		text += ", let in by " + m.By
	}
	if m.Until == nil {
		return text
	}
	if !m.Until.After(now) {
		return text + ", ended " + m.Until.Format("2006-01-02 15:04 MST") + " and not swept"
	}
	return text + ", until " + m.Until.Format("2006-01-02 15:04 MST")
}

// recipientArg reads a recipient as people paste it.
func (t *tool) recipientArg(s string) (string, error) {
	if s == "-" {
		text, err := io.ReadAll(io.LimitReader(t.In, 64<<10))
		if err != nil {
			return "", err
		}
		s = string(text)
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				s = line
				break
			}
		}
	}
	return agekey.CanonicalRecipient(s), nil
}

func runMemberAdd(ctx context.Context, t *tool, args []string, o addOptions) error {
	until, err := o.time(t.now())
	if err != nil {
		return err
	}
	m := filevault.NewMember{Member: args[0], Until: until, Replace: o.replace}
	if len(args) > 1 {
		if m.Recipient, err = t.recipientArg(args[1]); err != nil {
			return err
		}
	}
	s, err := t.openFileToWrite(ctx)
	if err != nil {
		return err
	}
	if err := t.allow(ctx, s.env, "was granted"); err != nil {
		return err
	}
	if err := s.file.AddMember(ctx, s.env.Name, m); err != nil {
		return err
	}
	return t.sayLetIn(ctx, s, m.Member, until)
}

// sayLetIn says what remains to be done for a new member.
func (t *tool) sayLetIn(ctx context.Context, s selected, member string, until time.Time) error {
	t.Notef("%s can open %s now", member, s.env.Name)
	if c, err := s.file.Fingerprint(ctx, s.env.Name); err == nil {
		t.Sayf("      tell them the fingerprint of its key, which their machine shows at first contact: %s", c)
	}
	t.sayUntil(until)
	t.sayCommit(s.file, letInMessage(s.env.Name, member))
	return nil
}

func letInMessage(env vault.Env, member string) string {
	return fmt.Sprintf("%s: let %s in", env, member)
}

// sayUntil says what a time limit means here.
func (t *tool) sayUntil(until time.Time) {
	if !until.IsZero() {
		t.Sayf("      until %s: honest envruns keep to that, and nothing else does before somebody changes the", until.Local().Format("2006-01-02 15:04 MST"))
		t.Sayf("      key. Have this run then, by hand or on a schedule: envrun access sweep")
	}
}

// sayCommit says how a change of the vault gets to the others.
func (t *tool) sayCommit(v *filevault.Vault, message string) {
	t.Sayf("      to share it: %s", t.commitCommand(v, message))
}

func (t *tool) commitCommand(v *filevault.Vault, message string) string {
	return fmt.Sprintf("git add %s && git commit -m %s && git push", cli.Quote(t.here(v.Dir())), cli.Quote(message))
}

// here is a file as it is found from where the user stands.
func (t *tool) here(file string) string {
	if !filepath.IsAbs(file) {
		file = filepath.Join(t.base, file) // errors and facts name files from the project's folder
	}
	if dir, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(dir, file); err == nil && len(rel) < len(file) {
			return rel
		}
	}
	return file
}

// memberEnvs are the environments that a command about members is for: the one
// that -e names, else all in which one of them stands.
type memberEnv struct {
	env   project.Env
	vault *filevault.Vault
	who   []string
}

func (t *tool) memberEnvs(ctx context.Context, members []string) ([]memberEnv, error) {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return nil, err
	}
	var all []memberEnv
	for _, v := range vaults {
		for _, env := range v.envs {
			now, err := v.Members(ctx, env.Name)
			if vault.KindOf(err) == vault.KindNoEnv {
				continue
			}
			if err != nil {
				return nil, err
			}
			var who []string
			for _, m := range now {
				if slices.Contains(members, m.Member) {
					who = append(who, m.Member)
				}
			}
			if len(who) > 0 || t.flags.env != "" {
				all = append(all, memberEnv{env, v.Vault, who})
			}
		}
	}
	return all, nil
}

func runMemberRm(ctx context.Context, t *tool, members []string, why string) error {
	envs, err := t.memberEnvs(ctx, members)
	if err != nil {
		return err
	}
	for _, m := range members {
		if !slices.ContainsFunc(envs, func(e memberEnv) bool { return t.flags.env != "" || slices.Contains(e.who, m) }) {
			return &cli.HintError{Err: fmt.Errorf("%s is a member of no environment", m), Code: cli.CodeMissing, Hint: "envrun member list"}
		}
	}
	var left []string
	var last error
	for _, e := range envs {
		who := e.who
		if t.flags.env != "" {
			who = members // who is no member is an error
		}
		err := t.removeFrom(ctx, e, who, why)
		if kind := vault.KindOf(err); (kind == vault.KindDenied || kind == vault.KindNoIdentity) && t.flags.env == "" {
			left, last = append(left, string(e.env.Name)), err
			continue
		}
		if err != nil {
			return err
		}
	}
	if len(left) > 0 {
		t.Notef("left alone, since you hold no key: %s. Somebody who does must run this there too", strings.Join(left, ", "))
		return last
	}
	return nil
}

func (t *tool) removeFrom(ctx context.Context, e memberEnv, who []string, why string) error {
	s := selectIn(nil, e.env, e.vault)
	if err := t.signAs(ctx, &s); err != nil {
		return err
	}
	if _, err := s.file.Mine(ctx, e.env.Name); err != nil {
		return err
	}
	if err := t.allow(ctx, e.env, "was removed"); err != nil {
		return err
	}
	if !e.env.Protected && t.flags.yes == "" {
		ok, err := t.Confirm(ctx, fmt.Sprintf("Remove %s from %s? It gets a new key.", strings.Join(who, ", "), e.env.Name), "--yes")
		if err != nil {
			return err
		}
		if !ok {
			return cli.ErrDeclined
		}
	}
	if why == "" {
		why = "removed " + strings.Join(who, ", ")
	}
	o, end := t.changing(e.env.Name, why)
	r, err := s.file.RemoveMembers(ctx, e.env.Name, who, o)
	end()
	if err != nil {
		return err
	}
	return t.rotated(s, r)
}

// changing says on a terminal how much of a new key is done, until end is called.
func (t *tool) changing(env vault.Env, why string) (o filevault.RotateOptions, end func()) {
	p := cli.NewProgress(t.Streams, "changing the key of "+string(env), t.now)
	return filevault.RotateOptions{Why: why, Progress: p.Step}, p.End
}

type rotationFacts struct {
	Env         vault.Env       `json:"env"`
	Generation  uint32          `json:"generation"`
	Fingerprint string          `json:"fingerprint"`
	Secrets     int             `json:"secrets"`
	Members     []string        `json:"members"`
	Removed     []string        `json:"removed,omitempty"`
	Pending     []string        `json:"pending,omitempty"`
	Exposed     []exposureFacts `json:"exposed,omitempty"`
}

type exposureFacts struct {
	Member string   `json:"member"`
	At     string   `json:"at"`
	List   string   `json:"list"`
	Fields []string `json:"fields"` // PATH/FIELD
}

func exposuresOf(all []filevault.Exposure) []exposureFacts {
	var facts []exposureFacts
	for _, e := range all {
		f := exposureFacts{Member: e.Member, At: e.At.Format(time.RFC3339), List: e.File, Fields: []string{}}
		for _, o := range e.Open {
			for _, name := range o.Fields {
				f.Fields = append(f.Fields, string(o.Path)+"/"+string(name))
			}
		}
		facts = append(facts, f)
	}
	return facts
}

func rotationFactsOf(r filevault.Rotation) rotationFacts {
	f := rotationFacts{r.Env, r.Gen, r.Fingerprint, r.Secrets, r.Members, r.Removed, nil, exposuresOf(r.Exposed)}
	for _, p := range r.Pending {
		f.Pending = append(f.Pending, p.Member)
	}
	return f
}

// rotated prints the outcome of a rotation.
func (t *tool) rotated(s selected, r filevault.Rotation) error {
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, rotationFactsOf(r)); err != nil {
			return err
		}
	}
	t.sayRotated(s, r)
	return nil
}

// sayRotated tells what a rotation did and what is left to do.
func (t *tool) sayRotated(s selected, r filevault.Rotation) {
	if len(r.Removed) > 0 {
		t.Notef("%s: %s cannot read what is written from now on", r.Env, strings.Join(r.Removed, ", "))
	}
	t.Notef("%s: key %d, fingerprint %s, held by %s; %s wrapped anew", r.Env, r.Gen, r.Fingerprint, strings.Join(r.Members, ", "), cli.Count(r.Secrets, "secret"))
	for _, p := range r.Pending {
		t.Notef("%s: the grant of %s is pending: it takes age-plugin-%s. Somebody who has it: %s", r.Env, p.Member, p.Plugin, addPendingCommand(r.Env, p.Member, p.Plugin))
	}
	t.sayExposed(r.Env, exposuresOf(r.Exposed))
	t.sayCommit(s.file, rotatedMessage(r.Env, r.Removed))
	for _, p := range r.Pipelines {
		t.Sayf("      the CI key of %s names the former key; it goes on working, and says so. A new one: %s", p, newCIKeyCommand(r.Env, p))
	}
}

func newCIKeyCommand(env vault.Env, member string) string {
	return fmt.Sprintf("envrun key export --ci %s --member %s --replace", env, cli.Quote(member))
}

func addPendingCommand(env vault.Env, member, plugin string) string {
	return fmt.Sprintf("envrun member add %s -e %s --plugin %s", cli.Quote(member), env, plugin)
}

// rotatedMessage is the message of a commit with a new key.
func rotatedMessage(env vault.Env, removed []string) string {
	if len(removed) > 0 {
		return fmt.Sprintf("%s: remove %s", env, strings.Join(removed, ", "))
	}
	return fmt.Sprintf("%s: new key", env)
}

// sayExposed reminds of what a former member could read.
func (t *tool) sayExposed(env vault.Env, all []exposureFacts) {
	const most = 10
	for _, e := range all {
		if len(e.Fields) == 0 {
			continue
		}
		t.Notef("%s: %s could read %s in use. Replace each at its source, then here:", env, e.Member, cli.Count(len(e.Fields), "value"))
		for _, name := range e.Fields[:min(most, len(e.Fields))] {
			t.Sayf("        envrun set -e %s %s", env, name)
		}
		if n := len(e.Fields) - most; n > 0 {
			t.Sayf("        and %d more: envrun vault status -e %s --json", n, env)
		}
	}
}

// completeMembers completes names of members.
func (t *tool) completeMembers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	vaults, err := t.vaults(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, v := range vaults {
		for _, env := range v.envs {
			now, err := v.Members(cmd.Context(), env.Name)
			if err != nil {
				continue
			}
			for _, m := range now {
				if !slices.Contains(names, m.Member) {
					names = append(names, m.Member)
				}
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// explainMember is about who is let in.
func explainMember(err error, r *cli.Report) bool {
	var (
		has    *filevault.HasGrantError
		plugin *filevault.PluginError
		ended  *filevault.EndedError
		none   *filevault.NoMemberError
		code   *filevault.CodeError
	)
	switch {
	case errors.As(err, &has):
		r.Code = cli.CodeConflict
		if has.Same {
			r.AddHint("envrun member list -e %s", has.Env)
		} else {
			r.AddHint("if the new key is theirs and the old one is to go: add --replace, and then envrun env rotate-key %s", has.Env)
		}
	case errors.As(err, &plugin):
		r.Code = cli.CodeAuth
		if plugin.Missing {
			r.AddHint("install age-plugin-%s, or let a member do this who has it", plugin.Plugin)
		} else {
			r.AddHint("if you trust the program that this machine has under that name: add --plugin %s", plugin.Plugin)
		}
	case errors.As(err, &ended):
		r.Code = cli.CodeAuth
		r.AddHint("ask again: envrun request %s", envOf(err))
	case errors.As(err, &none):
		r.Code = cli.CodeMissing
		r.AddHint("envrun member list -e %s", none.Env)
	case errors.As(err, &code):
		r.Code = cli.CodeTampered
		r.AddHint("ask %s to read the code once more, not over the repository: envrun access show %s -e %s", code.Member, code.Member, code.Env)
		r.AddHint("who wrote the request: git log -p -- %s", r.Path(fileOf(err)))
		r.AddHint("to refuse it: envrun access deny %s -e %s", code.Member, code.Env)
	default:
		return false
	}
	return true
}

func envOf(err error) vault.Env {
	var e *vault.Error
	if errors.As(err, &e) && e.Env != "" {
		return e.Env
	}
	return "ENV"
}

func fileOf(err error) string {
	var e *vault.Error
	errors.As(err, &e)
	return e.File
}

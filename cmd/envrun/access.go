package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/auth/agekey"
	"envrun/cmd/internal/cli"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

func newAccess(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Ask for access to an environment, and decide who gets it",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	list := &cobra.Command{
		Use: "ls", Short: "List who asks for access",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runAccessList(cmd.Context(), t) },
	}
	show := &cobra.Command{
		Use: "show MEMBER", Short: "Show one request, with the check code to compare",
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runAccessShow(cmd.Context(), t, args[0]) },
	}
	var o addOptions
	var code string
	approve := &cobra.Command{
		Use: "approve MEMBER", Short: "Grant what somebody asks for, after comparing the check code",
		Long: `Shows who asks, when and why, and asks for the check code, as MEMBER reads it to you
over another channel than the repository: the phone, in person. Anybody who can
write to the repository can write a request in anybody's name; the code is what shows
that the key in it is theirs. Then the key is granted, the checkpoint moved and the
request removed, all in one. Without a terminal the code is given with --code.`,
		Example: `  envrun access approve bob@desktop -e prod
  envrun access approve bob@desktop -e prod --code 4F2K-9XQM-7T1D --until 8h --yes=prod`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAccessApprove(cmd.Context(), t, args[0], code, o)
		},
	}
	approve.Flags().StringVar(&code, "code", "", "the check code that MEMBER has read to you")
	o.flags(t, approve)
	deny := &cobra.Command{
		Use: "deny MEMBER", Short: "Remove a request without granting it",
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runAccessDeny(cmd.Context(), t, args[0]) },
	}
	var dry bool
	sweep := &cobra.Command{
		Use: "sweep", Short: "Make time limits true: change the key of what has ended",
		Long: `A time limit in a vault of files is a promise of honest programs: whoever was let in
holds the key until it changes. This changes the key of every environment in which
somebody's time is over, without them, and lists what they could read, as
envrun member rm does. Run it on a schedule where limits are given.`,
		Example: "  envrun access sweep\n  envrun access sweep -e prod --yes=prod",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runAccessSweep(cmd.Context(), t, dry) },
	}
	sweep.Flags().BoolVar(&dry, "dry-run", false, "say whose time is over, and change nothing")
	sweep.Flags().StringSliceVar(&t.flags.plugins, "plugin", nil, "may be started to wrap the new key: NAME of age-plugin-NAME")
	cmd.AddCommand(requestCommand(t), list, show, approve, deny, sweep)
	for _, c := range []*cobra.Command{show, approve, deny} {
		c.ValidArgsFunction = t.completeRequests
	}
	return cmd
}

func newRequest(t *tool) *cobra.Command { return requestCommand(t) }

func requestCommand(t *tool) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "request [ENV]", Short: "Ask for access to an environment",
		Long: `Writes a request with your public key into the vault, prints its check code, and
says how it gets to somebody who can approve it. Read the code to them over another
channel than the repository: it is how they know that the request is yours.`,
		Example: `  envrun request prod --reason "on call this week"`,
		Args:    cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRequest(cmd.Context(), t, args, reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "one line for who decides, in clear")
	cmd.ValidArgsFunction = t.completeEnvs
	return cmd
}

type requestFacts struct {
	Env         vault.Env  `json:"env"`
	Member      string     `json:"member"`
	Reason      string     `json:"reason,omitempty"`
	At          *time.Time `json:"at,omitempty"`
	Author      string     `json:"author,omitempty"` // as git has it: a claim
	Code        string     `json:"check_code,omitempty"`
	Recipient   string     `json:"recipient,omitempty"`
	PostQuantum bool       `json:"post_quantum"`
	Plugin      string     `json:"plugin,omitempty"`
	Replaces    bool       `json:"replaces_key,omitempty"` // this member has a grant for another key
	File        string     `json:"file"`
	Problem     string     `json:"problem,omitempty"`
}

func requestFactsOf(env vault.Env, r filevault.Request) requestFacts {
	f := requestFacts{Env: env, Member: r.Member, Reason: r.Reason, Code: r.Code, Recipient: r.Recipient, Plugin: r.Plugin, File: r.File, PostQuantum: agekey.PostQuantum(r.Recipient)}
	if r.Err != nil {
		f.Problem = r.Err.Error()
		return f
	}
	f.At = &r.At
	return f
}

func runRequest(ctx context.Context, t *tool, args []string, reason string) error {
	p, err := t.project()
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if err := t.envArg("envrun request", args); err != nil {
			return err
		}
		if _, err := named(p, args[0]); err != nil {
			return err
		}
	}
	s, err := t.openFile(ctx)
	if err != nil {
		return err
	}
	ask, err := t.ask(ctx)
	if err != nil {
		return err
	}
	ask.Reason = reason
	r, err := s.file.Request(ctx, s.env.Name, ask)
	if err != nil {
		return err
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, requestFactsOf(s.env.Name, r))
	}
	file := t.here(r.File)
	t.Notef("wrote %s: %s asks for access to %s", file, r.Member, s.env.Name)
	t.Sayf("      check code: %s", r.Code)
	t.Sayf("      Read it to whoever approves, by phone or in person: it shows that the request is yours.")
	send := t.sending(s.env.Name, r)
	t.Sayf("      to send it:  %s", send.branch)
	t.Sayf("                   %s", send.commit)
	t.Sayf("                   %s, then open a pull request", send.push)
	t.Sayf("      they type:   %s", send.approve)
	return nil
}

// sending are the commands by which a request gets to who decides.
type sending struct{ branch, commit, push, approve string }

func (t *tool) sending(env vault.Env, r filevault.Request) sending {
	branch := cli.Quote(fmt.Sprintf("access-%s-%s", env, strings.NewReplacer("@", "-", ".", "-").Replace(r.Member)))
	return sending{
		branch:  "git switch -c " + branch,
		commit:  fmt.Sprintf("git add %s && git commit -m %s", cli.Quote(t.here(r.File)), cli.Quote(fmt.Sprintf("%s asks for access to %s", r.Member, env))),
		push:    "git push -u origin " + branch,
		approve: fmt.Sprintf("envrun access approve %s -e %s", cli.Quote(r.Member), env),
	}
}

// ask is who asks: the person of this machine, or the machine key's.
func (t *tool) ask(ctx context.Context) (filevault.Ask, error) {
	if t.Getenv("ENVRUN_KEY") == "" {
		home, err := t.home()
		if err != nil {
			return filevault.Ask{}, err
		}
		f, err := home.Facts()
		if err == nil && f.Recipient == "" {
			err = errors.New("the recipient of your identity is not known: its plugin's identity file names it in a comment, \"# recipient: age1…\"")
		}
		return filevault.Ask{Member: f.Member, Recipient: f.Recipient}, err
	}
	who, err := t.me()
	if err != nil {
		return filevault.Ask{}, err
	}
	id, err := who.identity(ctx)
	if err != nil {
		return filevault.Ask{}, err
	}
	if who.member == "" {
		return filevault.Ask{}, &cli.HintError{Err: errors.New("the key in ENVRUN_KEY does not say who you are"), Code: cli.CodeAuth, Hint: "export ENVRUN_MEMBER=NAME"}
	}
	return filevault.Ask{Member: who.member, Recipient: id.Recipient()}, nil
}

// requestIn is a request and where it is.
type requestIn struct {
	placed
	env vault.Env
	filevault.Request
}

// requests are all requests, or those of the environment that -e names.
func (t *tool) requests(ctx context.Context) ([]requestIn, error) {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return nil, err
	}
	var all []requestIn
	for _, v := range vaults {
		for _, env := range v.envs {
			list, err := v.Requests(ctx, env.Name)
			if vault.KindOf(err) == vault.KindNoEnv && t.flags.env == "" {
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, r := range list {
				all = append(all, requestIn{v, env.Name, r})
			}
		}
	}
	return all, nil
}

func runAccessList(ctx context.Context, t *tool) error {
	all, err := t.requests(ctx)
	if err != nil {
		return err
	}
	facts := []requestFacts{}
	for _, r := range all {
		facts = append(facts, requestFactsOf(r.env, r.Request))
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, facts)
	}
	if len(facts) == 0 {
		t.Notef("nobody asks for access")
		return nil
	}
	table := cli.NewTable(t.Streams)
	for _, f := range facts {
		if f.Problem != "" {
			table.Row(string(f.Env), f.Member, "", f.Problem)
			continue
		}
		table.Row(string(f.Env), f.Member, f.At.Format(time.DateOnly), f.Reason)
	}
	return table.Flush()
}

// oneRequest finds the request of a member: in the environment of -e, else in
// the only one where they ask.
func (t *tool) oneRequest(ctx context.Context, member string) (requestIn, error) {
	all, err := t.requests(ctx)
	if err != nil {
		return requestIn{}, err
	}
	all = slices.DeleteFunc(all, func(r requestIn) bool { return r.Member != member })
	switch len(all) {
	case 0:
		where := "any environment"
		if t.flags.env != "" {
			where = t.flags.env
		}
		return requestIn{}, &cli.HintError{Err: fmt.Errorf("%s does not ask for access to %s", cli.Printable(member), where), Code: cli.CodeMissing, Hint: "envrun access ls; if it is on a branch: git switch BRANCH"}
	case 1:
		return all[0], all[0].Err
	}
	var envs []vault.Env
	for _, r := range all {
		envs = append(envs, r.env)
	}
	return requestIn{}, &cli.HintError{Err: fmt.Errorf("%s asks for access to %s: which one?", member, cli.Join(envs)), Code: cli.CodeUsage, Hint: "add -e " + string(envs[0])}
}

// describe adds what is known of a request beside its file.
func (r requestIn) describe(ctx context.Context) requestFacts {
	f := requestFactsOf(r.env, r.Request)
	f.Author, _ = r.RequestAuthor(ctx, r.env, r.Member) // without git nobody is named
	if now, err := r.Members(ctx, r.env); err == nil {
		f.Replaces = slices.ContainsFunc(now, func(m filevault.Member) bool {
			return m.Err == nil && m.Member == r.Member && m.Recipient != r.Recipient
		})
	}
	return f
}

func (f requestFacts) rows(add func(...string)) {
	add("who", f.Member)
	add("for", string(f.Env))
	add("when", f.At.Local().Format("2006-01-02 15:04 MST"))
	reason := f.Reason
	if reason == "" {
		reason = "none given"
	}
	add("why", reason)
	author := f.Author
	if author == "" {
		author = "nobody: it is not committed"
	}
	add("committed by", author+" (a name that anybody can claim)")
	kind := "post-quantum"
	switch {
	case f.Plugin != "":
		kind = "of age-plugin-" + f.Plugin + ", which must be allowed with --plugin " + f.Plugin
	case !f.PostQuantum:
		kind = "classic, not post-quantum"
	}
	add("key", kind)
	if f.Replaces {
		add("careful", f.Member+" has a grant for another key, which this would replace (--replace)")
	}
}

func runAccessShow(ctx context.Context, t *tool, member string) error {
	r, err := t.oneRequest(ctx, member)
	if err != nil {
		return err
	}
	f := r.describe(ctx)
	if t.flags.json {
		return cli.WriteJSON(t.Out, f)
	}
	table := cli.NewTable(t.Streams)
	f.rows(table.Row)
	table.Row("check code", f.Code+", to compare with the one that "+f.Member+" reads to you")
	return table.Flush()
}

func runAccessApprove(ctx context.Context, t *tool, member, code string, o addOptions) error {
	until, err := o.time(t.now())
	if err != nil {
		return err
	}
	r, err := t.oneRequest(ctx, member)
	if err != nil {
		return err
	}
	t.flags.env = string(r.env)
	s, err := t.openFileToWrite(ctx)
	if err != nil {
		return err
	}
	if _, err := s.file.Mine(ctx, s.env.Name); err != nil { // before anybody is asked anything
		return err
	}
	if code == "" {
		r.describe(ctx).rows(func(cells ...string) { t.Sayf("  %-13s %s", cells[0], cells[1]) })
		question := fmt.Sprintf("Ask %s for the check code, by phone or in person. The code as they read it: ", cli.Printable(member))
		if code, err = t.Ask(ctx, question, fmt.Sprintf("--code CODE, as %s reads it to you", member)); err != nil {
			return err
		}
	}
	if err := t.allow(ctx, s.env, "was granted"); err != nil {
		return err
	}
	if err := s.file.Approve(ctx, s.env.Name, filevault.Approval{Member: member, Code: code, Until: until, Replace: o.replace}); err != nil {
		return err
	}
	return t.sayLetIn(ctx, s, member, until)
}

func runAccessDeny(ctx context.Context, t *tool, member string) error {
	r, err := t.oneRequest(ctx, member)
	if err != nil && (r.Vault == nil || vault.KindOf(err) == vault.KindOther) {
		return err // but what cannot be read can be denied
	}
	if err := r.Deny(ctx, r.env, member); err != nil {
		return err
	}
	t.Notef("denied: the request of %s for %s is gone", member, r.env)
	t.sayCommit(r.Vault, denyMessage(r.env, member))
	return nil
}

func denyMessage(env vault.Env, member string) string {
	return fmt.Sprintf("%s: deny %s", env, member)
}

type sweepFacts struct {
	Env     vault.Env      `json:"env"`
	Ended   []string       `json:"ended"`
	Rotated *rotationFacts `json:"rotated,omitempty"`
	Closed  string         `json:"closed,omitempty"`
}

func runAccessSweep(ctx context.Context, t *tool, dry bool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	facts := []sweepFacts{}
	over := 0
	for _, v := range vaults {
		for _, env := range v.envs {
			s := selectIn(nil, env, v.Vault)
			err := t.signAs(ctx, &s)
			var ended []string
			if err == nil {
				ended, err = s.file.Ended(ctx, env.Name)
			}
			if kind := vault.KindOf(err); t.flags.env == "" && (kind == vault.KindDenied || kind == vault.KindNoEnv) {
				facts = append(facts, sweepFacts{Env: env.Name, Ended: []string{}, Closed: err.Error()})
				continue
			}
			if err != nil {
				return err
			}
			f := sweepFacts{Env: env.Name, Ended: append([]string{}, ended...)}
			over += len(ended)
			if len(ended) > 0 && !dry {
				if err := t.allow(ctx, env, "was swept"); err != nil {
					return err
				}
				o, end := t.changing(env.Name, "")
				r, _, err := s.file.Sweep(ctx, env.Name, o)
				end()
				if err != nil {
					return err
				}
				rotated := rotationFactsOf(r)
				f.Rotated = &rotated
				t.sayRotated(s, r)
			}
			if len(ended) > 0 && dry {
				t.Notef("%s: the time of %s is over, and they hold the key until it changes: envrun access sweep -e %s", env.Name, strings.Join(ended, ", "), env.Name)
			}
			facts = append(facts, f)
		}
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, facts)
	}
	for _, f := range facts {
		if f.Closed != "" {
			t.Notef("%s: not looked at: %s", f.Env, f.Closed)
		}
	}
	if over == 0 {
		t.Notef("nobody's time is over")
	}
	return nil
}

// completeRequests completes names of those who ask.
func (t *tool) completeRequests(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := t.requests(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range all {
		names = append(names, r.Member)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

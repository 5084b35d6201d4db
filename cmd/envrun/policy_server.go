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

	"envrun/cmd/internal/cli"
	"envrun/envrun/policies"
	"envrun/envrun/project"
	"envrun/vault"
	"envrun/vault/near"
	"envrun/vault/remote"

	"github.com/spf13/cobra"
)

func newPolicyList(t *tool) *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the policies on the server",
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runPolicyList(cmd.Context(), t) },
	}
}

func newPolicyRead(t *tool) *cobra.Command {
	return &cobra.Command{
		Use: "read NAME", Short: "Print the text of a policy on the server",
		Example: "  envrun policy read billing > policies/billing.hcl",
		Args:    cli.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPolicyRead(cmd.Context(), t, args[0]) },
	}
}

func newPolicyWrite(t *tool) *cobra.Command {
	return &cobra.Command{
		Use: "write NAME [FILE]", Short: "Write one policy to the server",
		Long: `Writes the text of a policy from FILE, ` + policyFolder + `/NAME.hcl if none is named, "-" for stdin.
It shows what changes first and asks; elsewhere than on a terminal it takes --yes.
What "policy check" calls an error is refused. The change is made against the text that
was shown: if somebody else writes in between, it is not made.`,
		Example: "  envrun policy write billing\n  envrun policy write billing - --yes < billing.hcl",
		Args:    cobra.RangeArgs(1, 2),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPolicyWrite(cmd.Context(), t, args) },
	}
}

func newPolicyRm(t *tool) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME…", Short: "Remove policies from the server",
		Long: `Removes policies from the server. Tokens that have them keep their others. It says what
they gave, and which token roles name them.`,
		Example: "  envrun policy rm old --yes",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPolicyRm(cmd.Context(), t, args) },
	}
}

type policyApplyOptions struct {
	dry, prune, lockOut bool
}

func newPolicyApply(t *tool) *cobra.Command {
	var o policyApplyOptions
	cmd := &cobra.Command{
		Use: "apply [FOLDER]", Short: "Make the server's policies what the folder has, as one change",
		Long: `Compares the policies of the folder (` + policyFolder + `/) with those on the server, shows the
difference and what it means, asks, and makes the server have what the folder has. The
tests beside the policies must hold. Elsewhere than on a terminal it takes --yes.

On envrund all of it happens or nothing, and not if somebody changed a policy since it
was shown. Vault and OpenBao change them one after the other: if that stops in between,
it says what was done.

Policies on the server that the folder does not have stay, unless --prune removes them;
"default" is never removed. If the token would lose the right to do this again, it says
so, and takes --lock-out where nobody can be asked.

With --dry-run nothing is changed, and it exits 1 if something would be.`,
		Example: `  envrun policy apply --dry-run
  envrun policy apply
  envrun policy apply --prune --yes`,
		Args: cli.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runPolicyApply(cmd.Context(), t, o, args) },
	}
	cmd.Flags().BoolVar(&o.dry, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&o.prune, "prune", false, "remove policies that the folder does not have")
	cmd.Flags().BoolVar(&o.lockOut, "lock-out", false, "also if the token loses the right to do this again")
	return cmd
}

func newPolicyDiff(t *tool) *cobra.Command {
	o := policyApplyOptions{dry: true}
	cmd := &cobra.Command{
		Use: "diff [FOLDER]", Short: "Show what applying the folder would change",
		Long:    `Shows what "policy apply" would change and what it means. Exits 1 if there is something.`,
		Example: "  envrun policy diff\n  envrun policy diff --prune --json",
		Args:    cli.MaxArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPolicyApply(cmd.Context(), t, o, args) },
	}
	cmd.Flags().BoolVar(&o.prune, "prune", false, "as if policies that the folder does not have were removed")
	return cmd
}

// policyServer is the server whose policies are meant: that of the project's
// environment, or without a project the one that VAULT_ADDR names.
func (t *tool) policyServer() (*remote.Vault, error) {
	p, err := t.project()
	if none := (*project.NoProjectError)(nil); errors.As(err, &none) && t.Getenv("VAULT_ADDR") != "" {
		address := strings.TrimRight(t.Getenv("VAULT_ADDR"), "/")
		if _, err := remote.ParseAddress(address); err != nil {
			return nil, fmt.Errorf("VAULT_ADDR: %w", err)
		}
		return t.server(&project.Project{}, project.Env{Vault: address})
	}
	if err != nil {
		return nil, err
	}
	env, err := p.Select(t.flags.env, t.Getenv("ENVRUN_ENV"))
	if err != nil {
		return nil, err
	}
	if !env.Remote() {
		return nil, &cli.HintError{
			Err:  fmt.Errorf("the vault of %s is in files: who may read there is said by its members, and it has no policies", env.Name),
			Code: cli.CodeConfig, Hint: "envrun member list",
		}
	}
	return t.server(p, env)
}

func runPolicyList(ctx context.Context, t *tool) error {
	v, err := t.policyServer()
	if err != nil {
		return err
	}
	defer v.Close()
	names, err := v.Policies(ctx)
	if err != nil {
		return err
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, names)
	}
	for _, name := range names {
		t.Printf("%s\n", cli.Printable(name))
	}
	return nil
}

func runPolicyRead(ctx context.Context, t *tool, name string) error {
	v, err := t.policyServer()
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := v.Policy(ctx, name)
	if vault.KindOf(err) == vault.KindNotFound {
		return t.noPolicy(ctx, v, name)
	}
	if err != nil {
		return err
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, p)
	}
	text := p.Policy
	if cli.IsTerminal(t.Out) {
		text = printableLines(text)
	}
	t.Printf("%s", text)
	if text != "" && !strings.HasSuffix(text, "\n") && cli.IsTerminal(t.Out) {
		t.Printf("\n")
	}
	return nil
}

func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(cli.Printable(strings.ReplaceAll(line, "\t", "        ")), "\r", "")
	}
	return strings.Join(lines, "\n")
}

// noPolicy says that there is none of a name, and which was perhaps meant.
func (t *tool) noPolicy(ctx context.Context, v *remote.Vault, name string) error {
	names, _ := v.Policies(ctx)
	return cli.Near(&cli.HintError{Err: fmt.Errorf("there is no policy %s on %s", name, v.Address()), Code: cli.CodeMissing, Hint: "envrun policy list"}, near.Nearest(name, names))
}

func runPolicyWrite(ctx context.Context, t *tool, args []string) error {
	name, file := args[0], filepath.Join(policyFolder, args[0]+".hcl")
	if len(args) > 1 {
		file = args[1]
	}
	var text []byte
	var err error
	if file == "-" {
		file = "stdin"
		text, err = io.ReadAll(io.LimitReader(t.In, maxSmall))
	} else {
		text, err = readSmall(file)
	}
	if errors.Is(err, os.ErrNotExist) {
		return &cli.HintError{Err: fmt.Errorf("there is no %s", file), Code: cli.CodeMissing, Hint: "envrun policy write " + cli.Quote(name) + " FILE"}
	}
	if err != nil {
		return err
	}
	folder := policies.Of(name, file, string(text))
	if err := cli.Several(folder.Errors()); err != nil {
		return err
	}
	for _, f := range folder.Check() {
		if f.Level == policies.Warning {
			t.Notef("%s:%d: warning: %q %s", f.File, f.Line, f.Path, f.What)
		}
	}
	v, err := t.policyServer()
	if err != nil {
		return err
	}
	defer v.Close()
	there := map[string]string{}
	p, err := v.Policy(ctx, name)
	if err == nil {
		there[name] = p.Policy
	} else if vault.KindOf(err) != vault.KindNotFound {
		return err
	}
	plan := folder.Plan(there, nil, false, t.now())
	return t.applyPlan(ctx, v, plan, there, policyApplyOptions{})
}

func runPolicyRm(ctx context.Context, t *tool, names []string) error {
	v, err := t.policyServer()
	if err != nil {
		return err
	}
	defer v.Close()
	there := map[string]string{}
	for _, name := range names {
		p, err := v.Policy(ctx, name)
		if vault.KindOf(err) == vault.KindNotFound {
			return t.noPolicy(ctx, v, name)
		}
		if err != nil {
			return err
		}
		there[name] = p.Policy
	}
	plan := (&policies.Folder{}).Plan(there, names, true, t.now())
	for _, name := range names {
		if !slices.ContainsFunc(plan.Steps, func(s policies.Step) bool { return s.Name == name }) {
			return &cli.HintError{Err: fmt.Errorf("the policy %s is the server's own and cannot be removed", name), Code: cli.CodePolicy, Hint: "envrun policy write " + cli.Quote(name) + " changes it, if it is default"}
		}
		roles, complete, err := v.RolesOf(ctx, name)
		if err != nil {
			return err
		}
		if len(roles) > 0 {
			t.Notef("the token %s %s: no more tokens with it can be made by %s", plural(len(roles), "role names", "roles name")+" "+name, cli.Join(roles), plural(len(roles), "it", "them"))
		} else if !complete {
			t.Notef("which token roles name %s is not known: the token may not see them all", name)
		}
	}
	return t.applyPlan(ctx, v, plan, there, policyApplyOptions{})
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func runPolicyApply(ctx context.Context, t *tool, o policyApplyOptions, args []string) error {
	folder, err := t.usablePolicies(args)
	if err != nil {
		return err
	}
	tested, err := folder.Test(t.now())
	if err != nil {
		return err
	}
	if tested.Failed > 0 {
		t.outcomes(tested)
		return &cli.HintError{Err: fmt.Errorf("%s of the tests beside the policies did not hold: nothing was changed", cli.Count(tested.Failed, "line")), Code: cli.CodePolicy, Hint: "envrun policy test"}
	}
	v, err := t.policyServer()
	if err != nil {
		return err
	}
	defer v.Close()
	var named []string
	for _, f := range folder.Files {
		if f.Policy != nil {
			named = append(named, f.Name)
		}
	}
	set, err := v.PolicySet(ctx, named)
	if err != nil {
		return err
	}
	if o.prune && set.Names == nil {
		return &cli.HintError{Err: errors.New("which policies there are is not known, and --prune needs it: the token may not list them"), Code: cli.CodeAuth, Hint: `what it takes: path "sys/policies/acl/" { capabilities = ["list"] }`}
	}
	plan := folder.Plan(set.Texts, set.Names, o.prune, t.now())
	return t.applyPlan(ctx, v, plan, set.Texts, o)
}

// policyStep is a step as JSON has it.
type policyStep struct {
	Policy  string         `json:"policy"`
	What    string         `json:"what"`
	File    string         `json:"file,omitempty"`
	Diff    string         `json:"diff"`
	Changes []policyChange `json:"changes"`
}

type policyChange struct {
	Path       string   `json:"path"`
	Gains      []string `json:"gains,omitempty"`
	Loses      []string `json:"loses,omitempty"`
	Conditions bool     `json:"conditions,omitempty"` // under other ones
}

type policyPlan struct {
	Server    string          `json:"server"`
	Steps     []policyStep    `json:"steps"`
	Tests     []policies.Flip `json:"tests"` // that are decided otherwise than before
	Same      []string        `json:"same"`
	Unmanaged []string        `json:"unmanaged"`
	LockedOut []string        `json:"locked_out"` // rights over policies that the token loses
	Applied   bool            `json:"applied"`
	Whole     bool            `json:"as_one"` // in one change
}

// applyPlan shows a plan, asks, and does it.
func (t *tool) applyPlan(ctx context.Context, v *remote.Vault, plan policies.Plan, there map[string]string, o policyApplyOptions) error {
	facts := planFacts(plan, v.Address())
	if !t.flags.json {
		t.showPlan(plan, v.Address())
	}
	done := func() error {
		if t.flags.json {
			return cli.WriteJSON(t.Out, facts)
		}
		return nil
	}
	if len(plan.Steps) == 0 {
		t.Notef("%s is as it is to be: nothing to do", v.Address())
		return done()
	}
	held, err := v.HeldPolicies(ctx)
	if err != nil && vault.KindOf(err) != vault.KindDenied {
		return err
	}
	texts := t.textsOf(ctx, v, held, there)
	lost, known := plan.LockedOut(held, texts, t.now())
	facts.LockedOut = append(facts.LockedOut, lost...)
	if len(lost) > 0 {
		t.Sayf("")
		t.Notef("THIS TAKES FROM YOUR OWN TOKEN: %s", strings.Join(lost, "; "))
		t.Sayf("      it could not do this again, and could not undo it")
	} else if !known || err != nil {
		t.Notef("whether your token keeps the right to do this again is not known: it may not read all of its own policies")
	}
	if o.dry {
		if err := done(); err != nil {
			return err
		}
		return cli.ErrShown
	}
	need := "--yes"
	if len(lost) > 0 && !o.lockOut {
		need = "--lock-out --yes"
	}
	if t.flags.yes == "" || need != "--yes" {
		ok, err := t.Confirm(ctx, fmt.Sprintf("Change %s on %s?", counted(len(plan.Steps)), v.Address()), need)
		if err != nil {
			return err
		}
		if !ok {
			return cli.ErrDeclined
		}
	}
	changes := inOrder(plan, held)
	facts.Whole, err = v.ChangePolicies(ctx, changes)
	if err != nil {
		return err
	}
	facts.Applied = true
	switch {
	case len(changes) == 1:
		t.Notef("%s on %s: %s", changes[0].Name, v.Address(), plan.Steps[0].What())
	case facts.Whole:
		t.Notef("%s changed on %s, as one", counted(len(changes)), v.Address())
	default:
		t.Notef("%s changed on %s, one after the other", counted(len(changes)), v.Address())
	}
	return done()
}

// textsOf adds to the texts that are there those of the policies that the token has.
func (t *tool) textsOf(ctx context.Context, v *remote.Vault, held []string, there map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range there {
		all[name] = text
	}
	for _, name := range held {
		if _, ok := all[name]; ok || name == "root" {
			continue
		}
		if p, err := v.Policy(ctx, name); err == nil {
			all[name] = p.Policy
		}
	}
	return all
}

// inOrder puts the policies that the token itself has last: on a server that changes
// one after the other, a change that takes its rights must not stop the others.
func inOrder(plan policies.Plan, held []string) []remote.PolicyChange {
	var first, last []remote.PolicyChange
	for _, s := range plan.Steps {
		c := remote.PolicyChange{Name: s.Name, Was: s.Was, Now: s.Now, New: s.New, Remove: s.Remove}
		if slices.Contains(held, s.Name) {
			last = append(last, c)
		} else {
			first = append(first, c)
		}
	}
	return append(first, last...)
}

// showPlan prints the differences, and what they mean.
func (t *tool) showPlan(plan policies.Plan, server string) {
	for i, s := range plan.Steps {
		if i > 0 {
			t.Printf("\n")
		}
		from := ""
		if s.File != "" {
			from = " by " + s.File
		}
		t.Printf("%s: %s%s\n", cli.Printable(s.Name), s.What(), cli.Printable(from))
		t.Printf("%s", printableLines(s.Diff()))
		switch {
		case s.Broken:
			t.Printf("  what it means is not known: the text on the server is no policy that can be read\n")
		case len(s.Changes) == 0:
			t.Printf("  gives what it gave\n")
		}
		for _, c := range s.Changes {
			t.Printf("  %s\n", cli.Printable(c.Pattern+": "+policies.Says(c)))
		}
		if s.Partly {
			t.Printf("  and perhaps more: there are too many rules to compare each with each\n")
		}
	}
	for i, f := range plan.Flips {
		if i == 0 {
			t.Printf("\n")
		}
		was, is := "allowed", "denied"
		if f.Allowed {
			was, is = is, was
		}
		t.Printf("%s\n", cli.Printable(fmt.Sprintf("%s:%d: %s %s was %s, and is %s", f.File, f.Line, f.Op, f.Path, was, is)))
	}
	if len(plan.Unmanaged) > 0 {
		t.Notef("only on %s, and left there: %s", server, cli.Join(plan.Unmanaged))
	}
}

func planFacts(plan policies.Plan, server string) policyPlan {
	facts := policyPlan{
		Server: server, Steps: []policyStep{}, Tests: append([]policies.Flip{}, plan.Flips...),
		Same: append([]string{}, plan.Same...), Unmanaged: append([]string{}, plan.Unmanaged...), LockedOut: []string{},
	}
	for _, s := range plan.Steps {
		step := policyStep{Policy: s.Name, What: s.What(), File: s.File, Diff: s.Diff(), Changes: []policyChange{}}
		for _, c := range s.Changes {
			change := policyChange{Path: c.Pattern, Conditions: c.Conditions}
			if g := c.Gained(); g != 0 {
				change.Gains = g.Names()
			}
			if l := c.Lost(); l != 0 {
				change.Loses = l.Names()
			}
			step.Changes = append(step.Changes, change)
		}
		facts.Steps = append(facts.Steps, step)
	}
	return facts
}

// explainPolicyServer is about policies on a server.
func explainPolicyServer(err error, r *cli.Report) bool {
	var part *remote.PolicyPartialError
	if errors.As(err, &part) {
		r.Code = cli.CodeConflict
		r.AddHint("what is left: envrun policy diff, then envrun policy apply")
		return true
	}
	var e *remote.PolicyError
	if !errors.As(err, &e) {
		return false
	}
	switch vault.KindOf(err) {
	case vault.KindConflict:
		r.Code = cli.CodeConflict
		r.AddHint("nothing was changed; see what is there now: envrun policy diff")
	case vault.KindDenied:
		r.Code = cli.CodeAuth
		name := e.Name
		if name == "" && e.Op != "list" {
			name = "NAME"
		}
		r.AddHint(`what it takes: path "sys/policies/acl/%s" { capabilities = [%q] }`, name, e.Op)
		r.AddHint("who you are there, and what you may reach: envrun whoami --verify")
	case vault.KindInvalid:
		r.Code = cli.CodeConfig
		r.AddHint("envrun policy check")
	default:
		return false
	}
	return true
}

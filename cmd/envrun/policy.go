package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/envrun/policies"
	"envrun/envrun/project"
	"envrun/vault"

	"github.com/spf13/cobra"
)

// policyFolder is where policies are kept as code, unless an argument says otherwise.
const policyFolder = "policies"

func newPolicy(t *tool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Keep the policies of a team server as code",
		Long: `The policies of a server say which token may do what. A team keeps them as code:
one file each, policies/NAME.hcl, as Vault writes them, and beside it NAME.tests with
lines that say what it must do:

  allow read         prod/data/billing/stripe
  deny  read,update  prod/data/root-ca/key
  policies billing default
  allow update       auth/token/renew-self

"policy check" and "policy test" need no server. "policy diff" shows what applying the
folder would change, and "policy apply" does it as one change. The server is that of the
project's environment; without a project the one that VAULT_ADDR names.`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	cmd.AddCommand(newPolicyCheck(t), newPolicyTest(t), newPolicyDiff(t), newPolicyApply(t), newPolicyList(t), newPolicyRead(t), newPolicyWrite(t), newPolicyRm(t))
	return cmd
}

func newPolicyCheck(t *tool) *cobra.Command {
	var o policyCheckOptions
	cmd := &cobra.Command{
		Use: "check [FOLDER|FILE]", Short: "Look for what a policy gives and is not meant to, offline",
		Long: `Reads policies and says, with file and line, what is wrong and what is often not meant:
breadth, wildcards, sudo, rules that never decide, what lets a holder get any right,
a deny that leaves another way open, paths that nothing asks for. Without an argument
it looks at ` + policyFolder + `/.

Mounts of KV version 2 are known from envrun.toml, from --kv, and by policies that
write MOUNT/data/ or MOUNT/metadata/.

Exits 1 if there is an error, with --strict also if there is a warning; notes never
count.`,
		Example: `  envrun policy check
  envrun policy check --strict policies/billing.hcl
  envrun policy check --json | jq -r .level`,
		Args: cli.MaxArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runPolicyCheck(t, o, args) },
	}
	cmd.Flags().BoolVar(&o.strict, "strict", false, "fail on a warning too")
	cmd.Flags().StringSliceVar(&o.kv, "kv", nil, "a mount of KV version 2, besides those that are known")
	return cmd
}

type policyCheckOptions struct {
	strict bool
	kv     []string
}

func newPolicyTest(t *tool) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "test [FOLDER|FILE]", Short: "Run the allow and deny lines kept beside policies, offline",
		Long: `Decides every line of NAME.tests as a server would, by the policies of the folder,
and says which rule decided where a line does not hold. A line is

  allow|deny OPERATION,… PATH [as WHO] [with NAME=TEXT|NAME:=JSON]… [wrap DURATION]
  who NAME id=… name=… group=… metadata.KEY=…     whom templates are filled with
  policies NAME…                                  of the token, for the lines that follow

Before a line of policies the token has the one policy alone that the file is beside.
Operations are create, read, update, patch, delete, list.

Exits 1 if a line does not hold, with --strict also if there is a policy or a rule
that no line asks for.`,
		Example: "  envrun policy test\n  envrun policy test --strict --json",
		Args:    cli.MaxArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return runPolicyTest(t, strict, args) },
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "fail if something is not tested")
	return cmd
}

// policies reads the folder or file that an argument names.
func (t *tool) policies(args, kv []string) (*policies.Folder, error) {
	place := policyFolder
	if len(args) > 0 {
		place = args[0]
	}
	if p, err := t.project(); err == nil {
		for _, env := range p.Envs {
			if env.Remote() {
				kv = append(kv, env.MountName())
			}
		}
	} else if none := (*project.NoProjectError)(nil); !errors.As(err, &none) {
		return nil, err
	}
	var folder *policies.Folder
	var err error
	if place == "-" {
		text, err := io.ReadAll(t.In)
		if err != nil {
			return nil, err
		}
		folder = policies.Of("policy", "stdin", string(text))
	} else {
		folder, err = policies.Read(place, kv)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, &cli.HintError{Err: fmt.Errorf("there is no %s here", place), Code: cli.CodeMissing, Hint: "policies are one file each, as " + policyFolder + "/billing.hcl; to begin with what a server has: envrun policy read NAME"}
	case err != nil:
		return nil, err
	case len(folder.Files) == 0:
		return nil, &cli.HintError{Err: fmt.Errorf("%s has no policies", place), Code: cli.CodeMissing, Hint: "they are one file each, as " + policyFolder + "/billing.hcl"}
	}
	return folder, nil
}

// usablePolicies is policies for what takes all of them, and their tests, to be right.
func (t *tool) usablePolicies(args []string) (*policies.Folder, error) {
	folder, err := t.policies(args, nil)
	if err == nil {
		err = cli.Several(folder.Errors())
	}
	return folder, err
}

func runPolicyCheck(t *tool, o policyCheckOptions, args []string) error {
	folder, err := t.policies(args, o.kv)
	if err != nil {
		return err
	}
	found := folder.Check()
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, found); err != nil {
			return err
		}
	} else {
		t.findings(found)
		t.Notef("%s: %s", counted(folder.Count()), summary(found))
	}
	for _, f := range found {
		if f.Level == policies.Error || o.strict && f.Level == policies.Warning {
			return cli.ErrShown
		}
	}
	return nil
}

// counted is "1 policy", "2 policies".
func counted(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}

// findings prints what a check found, each with what to write instead.
func (t *tool) findings(found []policies.Finding) {
	for _, f := range found {
		at := f.File
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d", at, f.Line)
		}
		what := f.What
		if f.Path != "" {
			what = fmt.Sprintf("%q %s", f.Path, what)
		}
		t.Printf("%s\n", cli.Printable(fmt.Sprintf("%s: %s: %s", at, f.Level, what)))
		if f.Why != "" {
			t.Printf("    why: %s\n", f.Why)
		}
		if f.Instead != "" {
			t.Printf("    instead: %s\n", cli.Printable(f.Instead))
		}
	}
}

// summary counts findings by their level.
func summary(found []policies.Finding) string {
	var parts []string
	for _, level := range [...]policies.Level{policies.Error, policies.Warning, policies.Note} {
		n := 0
		for _, f := range found {
			if f.Level == level {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, cli.Count(n, string(level)))
		}
	}
	if len(parts) == 0 {
		return "nothing found"
	}
	return strings.Join(parts, ", ")
}

func runPolicyTest(t *tool, strict bool, args []string) error {
	folder, err := t.usablePolicies(args)
	if err != nil {
		return err
	}
	tested, err := folder.Test(t.now())
	if err != nil {
		return err
	}
	if t.flags.json {
		if err := cli.WriteJSON(t.Out, tested); err != nil {
			return err
		}
	} else {
		t.outcomes(tested)
		t.findings(tested.Untested)
		t.Notef("%s, %d of them failed; %d not tested", cli.Count(len(tested.Outcomes), "line"), tested.Failed, len(tested.Untested))
	}
	if tested.Failed > 0 || strict && len(tested.Untested) > 0 {
		return cli.ErrShown
	}
	return nil
}

// outcomes prints the test lines that do not hold.
func (t *tool) outcomes(tested policies.Tested) {
	for _, o := range tested.Outcomes {
		if !o.Passed {
			as := ""
			if o.Who != "" {
				as = " as " + o.Who
			}
			t.Printf("%s\n", cli.Printable(fmt.Sprintf("%s:%d: failed: %s %s %s%s: %s", o.File, o.Line, o.Want, o.Op, o.Path, as, o.Decision)))
		}
	}
}

// explainPolicy is about a policy that cannot be used.
func explainPolicy(err error, r *cli.Report) bool {
	var ve *vault.Error
	if !errors.As(err, &ve) || ve.Kind != vault.KindInvalid || !strings.HasSuffix(ve.File, ".hcl") && !strings.HasSuffix(ve.File, ".tests") {
		return false
	}
	r.Code = cli.CodeConfig
	r.AddHint("what is wrong with all of them: envrun policy check")
	return true
}

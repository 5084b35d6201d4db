package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/cmd/internal/cli"
	"envrun/vault"
	"envrun/vault/filevault"

	"github.com/spf13/cobra"
)

func newVaultAdopt(t *tool) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "adopt [PATH…]", Short: "Take over secrets that stand under a retired key",
		Long: `A branch that was cut before the key of an environment was changed brings secrets
under the former key. They are not used: whoever still has that key, a former
member too, could have written them, and knows their values. adopt writes them
again under the present key. It takes somebody who holds both, and who knows that
the author was still welcome then.

Without PATH it lists what waits for it.`,
		Example: `  envrun vault adopt
  envrun vault adopt -e prod billing/stripe
  envrun vault adopt -e prod --all --yes=prod`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && all {
				return cli.Usagef("envrun vault adopt", "--all and a PATH cannot both be meant")
			}
			if len(args) == 0 && !all {
				return runAdoptList(cmd.Context(), t)
			}
			return runAdopt(cmd.Context(), t, args)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "take over all of the environment")
	cmd.ValidArgsFunction = t.completePaths
	return cmd
}

type retiredFacts struct {
	Env     vault.Env  `json:"env"`
	Path    vault.Path `json:"path"`
	Key     uint32     `json:"key"` // the retired one
	Version uint64     `json:"version"`
	By      string     `json:"by"` // as the file says
	At      time.Time  `json:"at"`
}

func runAdoptList(ctx context.Context, t *tool) error {
	vaults, err := t.vaults(ctx)
	if err != nil {
		return err
	}
	list := []retiredFacts{}
	var hints []string
	for _, v := range vaults {
		for _, env := range v.envs {
			old, err := v.NeedAdoption(ctx, env.Name)
			if err != nil {
				return err
			}
			for _, r := range old {
				list = append(list, retiredFacts{env.Name, r.Path, r.Gen, r.Version, r.By, r.At})
			}
			if len(old) == 0 {
				continue
			}
			s, err := v.Status(ctx)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(s.Envs, func(e filevault.EnvStatus) bool { return e.Env == env.Name && e.SealGen < e.Gen }) {
				hints = append(hints, fmt.Sprintf("a rotation of %s came here in part; finish it first: envrun env rotate-key %s --resume", env.Name, env.Name))
			} else {
				hints = append(hints, fmt.Sprintf("to take them over, only if who wrote them was still welcome then: envrun vault adopt -e %s %s", env.Name, paths(old)))
			}
		}
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, list)
	}
	table := cli.NewTable(t.Streams)
	for _, r := range list {
		table.Row(fmt.Sprintf("%s %s", r.Env, r.Path), fmt.Sprintf("version %d", r.Version), "by "+r.By, r.At.Format(time.DateOnly), fmt.Sprintf("under retired key %d", r.Key))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, h := range hints {
		t.Sayf("%s", h)
	}
	if len(list) == 0 {
		t.Notef("nothing stands under a retired key")
	}
	return nil
}

// paths are the arguments for some secrets, or --all for many.
func paths(old []filevault.Retired) string {
	if len(old) > 5 {
		return "--all"
	}
	var b strings.Builder
	for i, r := range old {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(string(r.Path))
	}
	return b.String()
}

func runAdopt(ctx context.Context, t *tool, args []string) error {
	s, err := t.openFileToWrite(ctx)
	if err != nil {
		return err
	}
	old, err := s.file.NeedAdoption(ctx, s.env.Name)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		if old, err = chosen(ctx, t, s, old, args); err != nil {
			return err
		}
	}
	if len(old) == 0 {
		if t.flags.json {
			return cli.WriteJSON(t.Out, []retiredFacts{})
		}
		t.Notef("nothing of that stands under a retired key in %s; nothing to do", s.env.Name)
		return nil
	}
	if err := t.allow(ctx, s.env, "was changed"); err != nil {
		return err
	}
	if err := t.confirmAdopt(ctx, s.env.Name, old); err != nil {
		return err
	}
	taken := []retiredFacts{}
	for _, r := range old {
		if err := s.file.Adopt(ctx, s.env.Name, r.Path); err != nil {
			return err
		}
		taken = append(taken, retiredFacts{s.env.Name, r.Path, r.Gen, r.Version, r.By, r.At})
		if !t.flags.json {
			t.Notef("%s %s: version %d is taken over as version %d", s.env.Name, r.Path, r.Version, r.Version+1)
		}
	}
	if t.flags.json {
		return cli.WriteJSON(t.Out, taken)
	}
	t.Sayf("Who held the retired key knows these values: if one of them has left, replace the values at their source.")
	return nil
}

// chosen are those of the list that the arguments name, which must be there.
func chosen(ctx context.Context, t *tool, s selected, old []filevault.Retired, args []string) ([]filevault.Retired, error) {
	var some []filevault.Retired
	for _, arg := range args {
		path, err := vault.ParsePath(arg)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(old, func(r filevault.Retired) bool { return r.Path == path }); i >= 0 {
			some = append(some, old[i])
			continue
		}
		there := false
		for info, err := range s.file.List(ctx, s.env.Name, path) {
			there = there || info.Path == path
			if err != nil && info.Path == path {
				return nil, err
			}
		}
		if !there {
			return nil, t.withNear(ctx, s, &vault.Error{Kind: vault.KindNotFound, Env: s.env.Name, Path: path})
		}
	}
	return some, nil
}

// confirmAdopt asks, with what it means.
func (t *tool) confirmAdopt(ctx context.Context, env vault.Env, old []filevault.Retired) error {
	if t.flags.yes != "" {
		return nil
	}
	for _, r := range old {
		t.Sayf("%s %s: version %d by %s, %s, under retired key %d", env, r.Path, r.Version, r.By, r.At.Format("2006-01-02 15:04"), r.Gen)
	}
	need := fmt.Sprintf("envrun vault adopt -e %s %s --yes", env, paths(old))
	t.Sayf("The names are what the files say. Whoever has a retired key, a former member too, can\nwrite such a version, and knows the values that are in it.")
	ok, err := t.Confirm(ctx, "Do you know that they come from somebody who was still welcome then?", need)
	if err != nil {
		return err
	}
	if !ok {
		return cli.ErrDeclined
	}
	return nil
}

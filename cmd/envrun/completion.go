package main

import (
	"strings"

	"envrun/cmd/internal/cli"
	"envrun/completions"
	"envrun/vault"

	"github.com/spf13/cobra"
)

func newCompletion(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script of bash, zsh, fish or powershell",
		Long: `Prints a completion script. ./install.sh puts them where shells look; to load one
by hand:

  bash        source <(envrun completion bash)
  zsh         source <(envrun completion zsh)
  fish        envrun completion fish | source
  powershell  envrun completion powershell | Out-String | Invoke-Expression`,
		Args:      cli.ExactArgs(1),
		ValidArgs: completions.Shells,
		RunE: func(_ *cobra.Command, args []string) error {
			text := completions.Script(args[0])
			if text == nil {
				return cli.Usagef("envrun completion", "there is a script for %s, not for %q", strings.Join(completions.Shells, ", "), args[0])
			}
			_, err := t.Out.Write(text)
			return err
		},
	}
}

// The completion functions need no key and say nothing when something is
// wrong: the shell has no place for it.

func (t *tool) completeEnvs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	p, err := t.project()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, e := range p.EnvNames() {
		names = append(names, string(e))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) completeFields(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	s, infos := t.listForCompletion(cmd)
	var names []string
	for _, info := range infos {
		for _, f := range info.Fields {
			full := string(info.Path) + "/" + string(f.Name)
			if info.Path == s.Name && !strings.Contains(typed, "/") {
				full = string(f.Name)
			}
			if strings.HasPrefix(full, typed) {
				names = append(names, full)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) completePaths(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, infos := t.listForCompletion(cmd)
	var paths []string
	for _, info := range infos {
		if strings.HasPrefix(string(info.Path), typed) {
			paths = append(paths, string(info.Path))
		}
	}
	return paths, cobra.ShellCompDirectiveNoFileComp
}

func (t *tool) listForCompletion(cmd *cobra.Command) (selected, []vault.Info) {
	s, err := t.open(cmd.Context())
	if err != nil {
		return s, nil
	}
	if s.Project == nil {
		return s, nil
	}
	var infos []vault.Info
	for info, err := range s.vault.List(cmd.Context(), s.env.Name, "") {
		if err == nil {
			infos = append(infos, info)
		}
	}
	return s, infos
}

package main

import (
	"runtime"

	"envrun/cmd/internal/cli"

	"github.com/spf13/cobra"
)

func newVersion(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cli.ExactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			if t.flags.json {
				return cli.WriteJSON(t.Out, map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			t.Printf("envrun %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

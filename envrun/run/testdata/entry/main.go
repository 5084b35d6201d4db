// Command entry is linked as envrun is, to test what a program inherits of
// ignored signals. Its first argument says how to run the others.
package main

import (
	"context"
	"fmt"
	"os"

	"envrun/envrun/environ"
	"envrun/envrun/run"
)

func main() {
	run.Begin()
	status, err := run.Run(context.Background(), run.Command{
		Argv:           os.Args[2:],
		Env:            environ.FromList(os.Environ(), ""),
		ForceExec:      os.Args[1] == "exec",
		ForceSupervise: os.Args[1] == "supervise",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	status.Exit()
}

//go:build unix

package main

import (
	"fmt"
	"io/fs"

	"envrun/cmd/internal/cli"
)

// private refuses a file that others can read.
func private(file string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 != 0 {
		return &cli.HintError{Err: fmt.Errorf("%s can be read by others than its owner", file), Code: cli.CodeConfig, Hint: "chmod 600 " + cli.Quote(file)}
	}
	return nil
}

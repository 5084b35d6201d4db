package run

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"

	"envrun/envrun/environ"
)

// find sets the file to start and its arguments.
func (p *Plan) find(c Command, env *environ.Environ) error {
	if c.Shell != "" {
		if len(c.Argv) > 0 {
			return &Error{Code: CodeFailed, Reason: ReasonUsage, Detail: "cmd.exe takes no arguments beside the command line"}
		}
		cmd, err := shell()
		if err != nil {
			return err
		}
		p.program, p.Path = cmd, cmd
		p.Argv = []string{cmd, "/d", "/s", "/c", c.Shell}
		return nil
	}
	p.program, p.Argv = c.Argv[0], c.Argv
	path, _ := env.Get("PATH")
	pathext, _ := env.Get("PATHEXT")
	file, lookErr := lookWindows(c.Argv[0], path, pathext, func(file string) bool {
		if c.Dir != "" && !filepath.IsAbs(file) {
			file = filepath.Join(c.Dir, file)
		}
		info, err := os.Stat(file)
		return err == nil && !info.IsDir()
	})
	if lookErr != nil {
		return lookErr
	}
	if c.Dir != "" && !filepath.IsAbs(file) {
		file = filepath.Join(c.Dir, file) // CreateProcess looks from our directory, not from the child's
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Err: err}
	}
	p.Path = file
	_, _, err = p.commandLine(c)
	return err
}

// commandLine returns the file that CreateProcess is given and its command line.
func (p *Plan) commandLine(c Command) (file, line string, err error) {
	switch {
	case c.Shell != "":
		return p.Path, shellLine(p.Path, c.Shell), nil
	case !isBatch(p.Path):
		return p.Path, windows.ComposeCommandLine(p.Argv), nil
	}
	cmd, err := shell()
	if err != nil {
		return "", "", err
	}
	line, lineErr := batchLine(cmd, p.program, p.Path, p.Argv[1:])
	if lineErr != nil {
		return "", "", lineErr
	}
	return cmd, line, nil
}

// shell is the path of cmd.exe, whatever ComSpec says.
func shell() (string, error) {
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return "", &Error{Code: CodeFailed, Reason: ReasonSetup, Detail: "finding cmd.exe", Err: err}
	}
	return filepath.Join(system, "cmd.exe"), nil
}

// isBatch says whether a file is run by cmd.exe.
func isBatch(file string) bool {
	file = strings.ToLower(file)
	return strings.HasSuffix(file, ".bat") || strings.HasSuffix(file, ".cmd")
}

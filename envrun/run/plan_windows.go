package run

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"

	"envrun/envrun/environ"
)

// find sets the file to start and the command line.
func (p *Plan) find(c Command, env *environ.Environ) error {
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return &Error{Code: CodeFailed, Reason: ReasonSetup, Detail: "finding cmd.exe", Err: err}
	}
	cmd := filepath.Join(system, "cmd.exe")
	if c.Shell != "" {
		if len(c.Argv) > 0 {
			return &Error{Code: CodeFailed, Reason: ReasonUsage, Detail: "cmd.exe takes no arguments beside the command line"}
		}
		p.program, p.Path = cmd, cmd
		p.cmdline = shellLine(cmd, c.Shell)
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
	if file, err = filepath.Abs(file); err != nil {
		return &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Err: err}
	}
	p.Path = file
	p.cmdline = windows.ComposeCommandLine(c.Argv)
	if isBatch(file) {
		if p.cmdline, lookErr = batchLine(cmd, p.program, file, c.Argv[1:]); lookErr != nil {
			return lookErr
		}
		p.Path = cmd
	}
	return nil
}

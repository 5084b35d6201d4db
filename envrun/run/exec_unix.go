//go:build !windows

package run

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// replace makes this process the program. It returns only an error.
//
// Everything of ours ends with execve: descriptors are opened to be closed by
// it, handlers fall back to the default, and syscall.Exec gives back the limit of
// open files that the Go runtime has raised.
func replace(p *Plan, c Command) error {
	if err := deliverInMemory(p, c); err != nil {
		return err
	}
	for i, f := range p.std {
		if err := dupOnto(f, i); err != nil {
			return &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Detail: "setting up " + streamNames[i], Err: err}
		}
	}
	if c.Dir != "" {
		if err := os.Chdir(c.Dir); err != nil {
			return dirError(p, c.Dir, err)
		}
	}
	ignoreAgain(false)
	err := syscall.Exec(p.Path, p.Argv, p.env)
	if err == unix.ENOEXEC {
		if argv, ok := asScript(p, ""); ok {
			err = syscall.Exec(shell, argv, p.env)
		}
	}
	return execError(p, "", err)
}

// dupOnto makes f descriptor fd of this process, if it is not.
func dupOnto(f *os.File, fd int) error {
	if int(f.Fd()) == fd {
		return nil
	}
	for {
		err := dup2(int(f.Fd()), fd)
		if err != unix.EINTR && err != unix.EBUSY {
			return err
		}
	}
}

func dirError(p *Plan, dir string, err error) *Error {
	return &Error{Code: CodeFailed, Reason: ReasonDir, Program: p.program, Found: dir, Err: err}
}

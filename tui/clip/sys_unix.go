//go:build unix

package clip

import (
	"os"
	"os/exec"
	"syscall"
)

const (
	hangup     = syscall.SIGHUP
	brokenPipe = syscall.SIGPIPE
)

func rootDir() string { return "/" }

// detach gives the helper a session of its own: closing the terminal does not end
// it, and Ctrl-C in it does not reach it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

const terminalFD = 3

func passTerminal(cmd *exec.Cmd, tty *os.File) { cmd.ExtraFiles = []*os.File{tty} }

// inheritedTerminal is the terminal that was passed on; nil if none was.
func inheritedTerminal() *os.File {
	var st syscall.Stat_t
	if syscall.Fstat(terminalFD, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFCHR {
		return nil
	}
	syscall.CloseOnExec(terminalFD)
	return os.NewFile(terminalFD, "terminal")
}

func openWin32() (*backend, error) { return nil, errNotWindows }

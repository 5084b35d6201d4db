package keychain

import (
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is the name of the terminal on one of our standard streams, for
// gpg-agent, which is no child of ours and cannot open /dev/tty.
func terminal() string {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TIOCGETA); err != nil {
			continue
		}
		cmd := exec.Command("/usr/bin/tty") // prints the name of its standard input
		cmd.Stdin = f
		if out, err := cmd.Output(); err == nil {
			return strings.TrimSpace(string(out))
		}
	}
	return ""
}

package keychain

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is the name of the terminal on one of our standard streams, for
// gpg-agent, which is no child of ours and cannot open /dev/tty.
func terminal() string {
	for _, fd := range []string{"0", "1", "2"} {
		name, err := os.Readlink("/proc/self/fd/" + fd)
		if err != nil || !strings.HasPrefix(name, "/dev/") {
			continue
		}
		if _, err := unix.IoctlGetTermios(int(fd[0]-'0'), unix.TCGETS); err == nil {
			return name
		}
	}
	return ""
}

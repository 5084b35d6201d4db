//go:build unix

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// waiting reports whether more input comes within a moment: a paste arrives
// faster than anybody types.
func waiting(in *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 20)
	return err == nil && n > 0
}

// drain throws away what is waiting to be read.
func drain(in *os.File) {
	buf := make([]byte, 4096)
	for waiting(in) {
		if n, err := in.Read(buf); n == 0 || err != nil {
			return
		}
	}
	clear(buf)
}

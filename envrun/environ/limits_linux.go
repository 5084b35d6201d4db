package environ

import (
	"os"

	"golang.org/x/sys/unix"
)

// SystemLimits are the limits of this process's children.
func SystemLimits() Limits {
	// 8 MiB is what Linux gives when nobody changed it.
	stack := unix.Rlimit{Cur: 8 << 20}
	_ = unix.Getrlimit(unix.RLIMIT_STACK, &stack)
	return LinuxLimits(stack.Cur, os.Getpagesize())
}

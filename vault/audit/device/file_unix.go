//go:build !windows

package device

import "syscall"

// nonblock keeps the opening of a named pipe that nobody reads from hanging.
const nonblock = syscall.O_NONBLOCK

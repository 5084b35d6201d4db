package run

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waitAny waits until the child pid has something to report, and leaves the report.
func waitAny(pid int) (int, error) {
	_, err := waitid(pid, unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED|unix.WNOWAIT)
	return pid, err
}

// hasContinued says whether the child pid was continued since it was last
// asked about, without waiting.
func hasContinued(pid int) bool {
	signo, err := waitid(pid, unix.WCONTINUED|unix.WNOHANG)
	return err == nil && signo != 0
}

func waitid(pid, options int) (signo int32, err error) {
	const pPID = 1
	for {
		var info [32]int32 // a siginfo_t, which begins with the signal, and more
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), uintptr(options), 0, 0)
		switch errno {
		case 0:
			return info[0], nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

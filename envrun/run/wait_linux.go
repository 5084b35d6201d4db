package run

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waitAny waits until a child has something to report, and leaves the report.
// The child is pid, or for process 1 any: the kernel gives it the orphans of
// the namespace.
func waitAny(pid int) (int, error) {
	kind, id := unix.P_PID, pid
	if os.Getpid() == 1 {
		kind, id = unix.P_ALL, 0
	}
	for {
		var info unix.Siginfo
		err := unix.Waitid(kind, id, &info, unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		// The number follows three ints and, on 64-bit systems, a gap.
		const at = (3*4 + unsafe.Sizeof(uintptr(0)) - 1) &^ (unsafe.Sizeof(uintptr(0)) - 1)
		return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at))), err
	}
}

// hasContinued says whether the child pid was continued since it was last
// asked about, without waiting.
func hasContinued(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WCONTINUED|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0
}

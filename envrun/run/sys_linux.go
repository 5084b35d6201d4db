package run

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETS

	bytesWaiting = unix.TIOCINQ
)

func dup2(from, to int) error { return unix.Dup3(from, to, 0) }

// endWithParent makes the kernel send the child TERM when we are killed. The
// syscall package checks for the race of our being gone before that is set.
func endWithParent(sys *syscall.SysProcAttr) { sys.Pdeathsig = unix.SIGTERM }

// noDump keeps the values in our memory out of core files and from other
// processes of this user. Programs that we start are not affected.
func noDump() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// stopSelf stops this process as the terminal would have. It returns when we
// are continued, or at once if our group is one that the kernel does not stop,
// because nobody would be there to continue it.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGTSTP)
}

// selfPath is the program that this process runs: by its name, which ps shows,
// or if that is not it any more, by what the kernel holds open.
func selfPath() (string, error) {
	const self = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return self, nil
	}
	mine, err := os.Stat(self)
	if err != nil {
		return path, nil
	}
	if info, err := os.Stat(path); err != nil || !os.SameFile(info, mine) {
		return self, nil
	}
	return path, nil
}

// A readiness says what await has seen.
type readiness struct {
	readable bool // or at its end
	woken    bool
	gone     bool // nobody reads any more what is written to out
}

// await waits until fd can be read, wake can be read or is at its end, or out
// has no reader left; all false after timeout milliseconds, -1 for never. wake and
// out may be -1.
func await(fd, wake, out, timeout int) (readiness, error) {
	fds := [3]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}, {Fd: int32(out)}}
	_, err := unix.Poll(fds[:], timeout)
	if err == unix.EINTR {
		err = nil
	}
	return readiness{
		readable: fds[0].Revents != 0,
		woken:    fds[1].Revents != 0,
		gone:     fds[2].Revents&(unix.POLLERR|unix.POLLHUP) != 0,
	}, err
}

// awaitWrite waits until fd can be written to or wake is ready.
func awaitWrite(fd, wake int) (woken bool) {
	fds := [2]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}, {Fd: int32(wake), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds[:], -1)
	return fds[1].Revents != 0
}

// canDieOf says whether Status.Exit raises a signal. With noDump all are harmless.
func canDieOf(sig syscall.Signal) bool { return true }

// A sigaction is more than the kernel's struct of that name, whose first word is
// the handler.
type sigaction [8]uintptr

// setDefault gives a signal its default action.
func setDefault(sig syscall.Signal) {
	var action sigaction // SIG_DFL
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
}

// ignored says whether a signal is ignored now. signal.Ignored forgets that when
// somebody has caught it in between.
func ignored(sig syscall.Signal) bool {
	var action sigaction
	_, _, err := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
	return err == 0 && action[0] == 1 // SIG_IGN
}

// unblock lets this thread get a signal.
func unblock(sig syscall.Signal) {
	var set unix.Sigset_t
	bits := unsafe.Sizeof(set.Val[0]) * 8
	set.Val[(uintptr(sig)-1)/bits] |= 1 << ((uintptr(sig) - 1) % bits)
	_ = unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
}

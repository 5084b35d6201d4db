package run

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA

	bytesWaiting = 0x4004667f // FIONREAD
)

func dup2(from, to int) error { return unix.Dup2(from, to) }

// endWithParent does nothing: macOS has no parent-death signal. A program that
// is supervised outlives a supervisor that is killed with SIGKILL; one behind a
// terminal of its own is ended by that terminal's keeper.
func endWithParent(*syscall.SysProcAttr) {}

// noDump keeps the values in our memory out of core files. It is called after
// the start, so that programs keep their own limit.
func noDump() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &lim) == nil {
		lim.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &lim)
	}
}

// stopSelf stops this process as the terminal would have, if our group is one that
// the kernel stops. The pause is for the signal to arrive on whichever thread.
func stopSelf() {
	_ = unix.Kill(os.Getpid(), unix.SIGTSTP)
	time.Sleep(20 * time.Millisecond)
}

func selfPath() (string, error) { return os.Executable() }

// A readiness says what await has seen.
type readiness struct {
	readable bool // or at its end
	woken    bool
	gone     bool // not known here: the next write finds out
}

// await waits until fd can be read or wake can be read or is at its end; all false
// after timeout milliseconds, -1 for never. wake may be -1. It uses select, since
// poll does not know the terminals of macOS.
func await(fd, wake, _, timeout int) (readiness, error) {
	var set unix.FdSet
	n := addFD(&set, fd, wake)
	var limit *unix.Timeval
	if timeout >= 0 {
		tv := unix.NsecToTimeval(int64(timeout) * int64(time.Millisecond))
		limit = &tv
	}
	_, err := unix.Select(n, &set, nil, nil, limit)
	if err == unix.EINTR {
		return readiness{}, nil
	}
	if err != nil {
		return readiness{}, err
	}
	return readiness{readable: set.IsSet(fd), woken: wake >= 0 && set.IsSet(wake)}, nil
}

// awaitWrite waits until fd can be written to or wake is ready.
func awaitWrite(fd, wake int) (woken bool) {
	var read, write unix.FdSet
	n := max(addFD(&write, fd), addFD(&read, wake))
	_, err := unix.Select(n, &read, &write, nil, nil)
	return err == nil && wake >= 0 && read.IsSet(wake)
}

// addFD adds the descriptors that are not -1 and returns what select wants as its
// first argument.
func addFD(set *unix.FdSet, fds ...int) int {
	n := 0
	for _, fd := range fds {
		if fd >= 0 {
			set.Set(fd)
			n = max(n, fd+1)
		}
	}
	return n
}

// canDieOf says whether Status.Exit raises a signal. Those that stand for a
// crash would make macOS report one of ours.
func canDieOf(sig syscall.Signal) bool {
	switch sig {
	case unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGKILL, unix.SIGPIPE, unix.SIGALRM, unix.SIGUSR1, unix.SIGUSR2:
		return true
	}
	return false
}

// A sigaction is more than the struct of that name, whose first word is the
// handler.
type sigaction [8]uintptr

// setDefault gives a signal its default action.
func setDefault(sig syscall.Signal) {
	var action sigaction // SIG_DFL
	_, _, _ = syscall.RawSyscall(syscall.SYS_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0)
}

// ignored says whether a signal is ignored now. signal.Ignored forgets that when
// somebody has caught it in between.
func ignored(sig syscall.Signal) bool {
	var action sigaction
	_, _, err := syscall.RawSyscall(syscall.SYS_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&action)))
	return err == 0 && action[0] == 1 // SIG_IGN
}

// unblock does nothing: a signal that is blocked here is one that whoever
// started us has blocked, and 128 + n is what is left.
func unblock(syscall.Signal) {}

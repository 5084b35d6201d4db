package keychain_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"envrun/auth/keychain"
	"envrun/auth/keychain/keychaintest"
)

func TestKernel(t *testing.T) {
	t.Parallel()
	service := keychaintest.Kernel(t)
	env := os.Environ()
	do := func(lines ...string) calls {
		return calls{Keychain: keychain.Kernel, Service: service, Do: lines}
	}

	do("get a", "delete a", "set a one", "get a", "set a two", "get a", "setbytes b", "getbytes b", "delete b", "get b").
		runs(t, env, "not found", "not found", "ok", "got one", "ok", "got two", "ok", "ok", "ok", "not found")
	// The largest that the kernel takes is more than it lets users have in all, but for root.
	most := []string{"unavailable: the user's quota of keys in the kernel is used up", "not found"}
	if os.Getuid() == 0 {
		most = []string{"ok", "ok"}
	}
	do("set big "+strings.Repeat("x", 32767), "delete big", "set big "+strings.Repeat("x", 32768)).
		runs(t, env, append(most, "error: kernel: a secret of 32768 bytes does not fit…")...)

	t.Run("another process", func(t *testing.T) {
		do("get a").runs(t, env, "got two")
	})
	t.Run("forgets in time", func(t *testing.T) {
		do("setfor c gone 1s", "gone c", "setfor c again 1h", "get c", "delete c").
			runs(t, env, "ok", "not found", "ok", "got again", "ok")
		do("set d stays", "setfor d stays 1s", "gone d").runs(t, env, "ok", "ok", "not found")
	})
	t.Run("without a controlling terminal", func(t *testing.T) {
		self, _ := os.Executable()
		cmd := exec.Command("setsid", "--wait", self)
		do("get a", "set s here", "get s", "delete s").compare(t, cmd, env, []string{"got two", "ok", "got here", "ok"})
	})
	t.Run("a new session", func(t *testing.T) {
		// Its session keyring is empty, so nothing of the user's is possessed:
		// add would work and read say "Permission denied".
		if _, err := exec.LookPath("keyctl"); err != nil {
			t.Skip("suite keychain/kernel, new session, skipped: no keyctl")
		}
		self, _ := os.Executable()
		cmd := exec.Command("keyctl", "session", "-", self)
		do("get a", "set s here", "get s", "delete s").compare(t, cmd, env,
			[]string{"got two", "ok", "got here", "ok"})
	})
	t.Run("another user", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("becoming another user takes root")
		}
		const nobody = 65534
		cmd := asUser(t, nobody)
		do("get a", "set a mine", "get a", "delete a").compare(t, cmd, []string{"PATH=" + os.Getenv("PATH")},
			[]string{"not found", "ok", "got mine", "ok"})
		do("get a").runs(t, env, "got two")
	})
	t.Run("forbidden, as in a container", func(t *testing.T) {
		c := do("get a", "set a x", "choose", "env HOME")
		c.NoKeyctl = true
		c.runs(t, []string{"HOME=/nowhere"},
			"unavailable: the kernel's keyring is closed to this process…",
			"unavailable: the kernel's keyring is closed to this process…",
			"none | …",
			`"/nowhere" true`)
	})
	do("delete a").runs(t, env, "ok")
}

// asUser is this test binary, run by another user.
func asUser(t *testing.T, uid uint32) *exec.Cmd {
	t.Helper()
	dir, err := os.MkdirTemp("", "kc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	program := filepath.Join(dir, "test")
	copied, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(copied, self); err != nil {
		t.Fatal(err)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// forbidKeyctl makes the system calls of the kernel's keyring fail with EPERM
// in all threads of this process, as the default profile of Docker does.
func forbidKeyctl() error {
	deny := unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the call's number
	numbers := []uint32{unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY}
	for i, n := range numbers {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(numbers) - i), K: n})
	}
	program = append(program,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: deny})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	if errno != 0 {
		return errno
	}
	return nil
}

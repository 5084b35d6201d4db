//go:build unix

package filevault_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"envrun/vault"
	"envrun/vault/filevault"
)

// TestOddFiles: what can be opened and is no file, what cannot be opened at
// all, and either in the place of a folder. Nothing waits for it, and no read
// leaves a descriptor behind, whatever comes of it.
func TestOddFiles(t *testing.T) {
	const secret = "envs/dev/secrets/a/b.sec"
	for _, c := range []struct {
		what, name string
		make       func(name string) error
		words      string
	}{
		{"pipe", secret, func(name string) error { return syscall.Mkfifo(name, 0o644) }, "is not a plain file"},
		{"pipe", "envs/dev/secrets/a", func(name string) error { return syscall.Mkfifo(name, 0o644) }, "is not a plain file"},
		{"socket", secret, listen, "is not a plain file"},
		{"socket", "envs/dev", listen, "is not a plain file"},
		{"file", "envs/dev/secrets", func(name string) error { return os.WriteFile(name, nil, 0o644) }, "is a file where a folder should be"},
		{"folder", secret, func(name string) error { return os.Mkdir(name, 0o755) }, "is a folder where a file should be"},
		{"link to nothing", secret, func(name string) error { return os.Symlink("nothing", name) }, "is a symbolic link"},
		{"link to itself", "envs", func(name string) error { return os.Symlink("envs", name) }, "is a symbolic link"},
	} {
		t.Run(c.what+"/"+filepath.Base(c.name), func(t *testing.T) {
			_, o := project(t, "dev")
			v := open(t, o)
			set(t, v, "dev", "a/b", "A=1")
			if err := os.RemoveAll(file(o, c.name)); err != nil {
				t.Fatal(err)
			}
			if err := c.make(file(o, c.name)); err != nil {
				t.Skip("it cannot be made here:", err)
			}
			before := descriptors()
			for range 3 {
				_, err := v.Get(t.Context(), "dev", "a/b")
				wantError(t, err, vault.KindInsecure, ".envrun/vault/"+c.name, c.words)
				findings(t, v, "dev")
			}
			if after := descriptors(); after > before {
				t.Errorf("%d descriptors are open, and were %d", after, before)
			}
		})
	}
}

// TestWritingCloses: a write goes down to the folders that it takes files from
// and puts them into, and leaves none of them open, whether it ends well or not.
func TestWritingCloses(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	write := func(value string) error {
		var changes []vault.Change
		for _, p := range []vault.Path{"a/b/c", "a/d", "e"} {
			changes = append(changes, change(p, "A="+value))
		}
		_, err := v.Apply(t.Context(), "dev", changes)
		return err
	}
	if err := write("first"); err != nil {
		t.Fatal(err)
	}
	before := descriptors()
	for _, broken := range []string{"", "create", "rename", "syncdir"} {
		filevault.SetStep(v, func(s filevault.Step) error {
			if s.Op == broken {
				return syscall.EIO
			}
			return nil
		})
		if err := write(broken); (err != nil) != (broken != "") {
			t.Errorf("with %q broken: %v", broken, err)
		}
		if after := descriptors(); after > before {
			t.Errorf("with %q broken, %d descriptors are open, and were %d", broken, after, before)
		}
	}
}

// listen makes a socket of a name that may be too long for one.
func listen(name string) error {
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	return os.Rename(filepath.Join(dir, "s"), name)
}

// descriptors is how many of the first thousand are open.
func descriptors() (n int) {
	for fd := range 1000 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil {
			n++
		}
	}
	return n
}

// becomeUser has a command run as another user.
func becomeUser(cmd *exec.Cmd, uid uint32) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}

// TestLockIsAnotherFile: the lock is the one file that is written in place, and
// is not if that is also a file of somebody's.
func TestLockIsAnotherFile(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	mine := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(mine, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file(o, ".lock")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(mine, file(o, ".lock")); err != nil {
		t.Skip("no hard links here:", err)
	}
	_, err := v.Apply(t.Context(), "dev", []vault.Change{change("a", "A=2")})
	wantError(t, err, vault.KindInsecure, ".envrun/vault/.lock", "also the name of another file")
	if text := string(read(t, mine)); text != "precious" {
		t.Errorf("the file has %q now", text)
	}
	if got := get(t, v, "dev", "a"); got != "A=1" {
		t.Error(got)
	}
}

// starve lets this process open files up to a descriptor, besides what it has.
func starve(limit int) {
	if f, err := os.Open(os.Args[0]); err == nil {
		f.Close() // has the runtime get those that it needs
	}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		panic(err)
	}
	l.Cur = uint64(limit)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		panic(err)
	}
}

package filevault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/filevault"
)

// TestNotPlain: nothing that is not a plain file or folder is followed, opened
// or written through, wherever in the vault it stands.
func TestNotPlain(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("making links takes a privilege on Windows")
	}
	const secret = "envs/dev/secrets/a/b.sec"
	for _, name := range []string{"vault.toml", "envs", "envs/dev", "envs/dev/seal", "envs/dev/keys", "envs/dev/keys/0001",
		"envs/dev/keys/0001/gen", "envs/dev/keys/0001/alice@laptop.grant", "envs/dev/secrets", "envs/dev/secrets/a", secret} {
		t.Run("link/"+name, func(t *testing.T) {
			_, o := project(t, "dev")
			set(t, open(t, o), "dev", "a/b", "A=1")
			// The link leads to the very thing, so that following it would work.
			elsewhere := filepath.Join(t.TempDir(), "x")
			if err := os.Rename(file(o, name), elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, file(o, name)); err != nil {
				t.Fatal(err)
			}
			before := map[string]string{}
			if fi, err := os.Stat(elsewhere); err == nil && fi.IsDir() {
				before = tree(t, elsewhere)
			}
			v, err := filevault.Open(t.Context(), o)
			if err == nil {
				_, err = v.Get(t.Context(), "dev", "a/b")
			}
			wantError(t, err, vault.KindInsecure, ".envrun/vault/"+name, "symbolic link")
			if v == nil {
				return
			}
			_, err = v.Apply(t.Context(), "dev", []vault.Change{change("a/b", "A=2")})
			wantKind(t, err, vault.KindInsecure)
			_, err = v.Apply(t.Context(), "dev", []vault.Change{change("a/c", "A=2"), change("a/b", "A=2")})
			wantKind(t, err, vault.KindInsecure)
			if fi, err := os.Stat(elsewhere); err == nil && fi.IsDir() {
				for name, text := range tree(t, elsewhere) {
					if before[name] != text {
						t.Errorf("%s was written through a link", name)
					}
				}
			}
		})
	}
	t.Run("folder of the vault", func(t *testing.T) {
		_, o := project(t, "dev")
		if err := os.Rename(o.Dir, o.Dir+"2"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(o.Dir+"2", o.Dir); err != nil {
			t.Fatal(err)
		}
		_, err := filevault.Open(t.Context(), o)
		wantError(t, err, vault.KindInsecure, ".envrun/vault", "symbolic link")
	})
	t.Run("lock", func(t *testing.T) {
		_, o := project(t, "dev")
		victim := filepath.Join(t.TempDir(), "victim")
		write(t, victim, []byte("keep me"))
		os.Remove(file(o, ".lock"))
		if err := os.Symlink(victim, file(o, ".lock")); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, o).Apply(t.Context(), "dev", []vault.Change{change("a", "A=2")})
		wantError(t, err, vault.KindInsecure, ".envrun/vault/.lock", "symbolic link")
		if got := string(read(t, victim)); got != "keep me" {
			t.Errorf("the lock was written through a link: %q", got)
		}
	})
	t.Run("journal", func(t *testing.T) {
		_, o := project(t, "dev")
		victim := t.TempDir()
		write(t, filepath.Join(victim, "id", "keep"), []byte("keep me"))
		if err := os.Symlink(victim, file(o, ".txn")); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, o).Apply(t.Context(), "dev", []vault.Change{change("a", "A=2"), change("b", "A=2")})
		wantError(t, err, vault.KindInsecure, ".envrun/vault/.txn", "symbolic link")
		read(t, filepath.Join(victim, "id", "keep"))
	})
	t.Run("listed", func(t *testing.T) {
		_, o := project(t, "dev")
		v := open(t, o)
		set(t, v, "dev", "a", "A=1")
		set(t, v, "dev", "c", "A=1")
		if err := os.Symlink("a.sec", file(o, "envs/dev/secrets/b.sec")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("..", file(o, "envs/dev/secrets/bb")); err != nil {
			t.Fatal(err)
		}
		var got []string
		for info, err := range v.List(t.Context(), "dev", "") {
			got = append(got, fmt.Sprint(info.Path, " ", vault.KindOf(err)))
		}
		want := []string{"a error", "b permissions too wide", "bb permissions too wide", "c error"}
		if !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
		var files []string
		for _, err := range findings(t, v, "dev") {
			if ve, ok := errors.AsType[*vault.Error](err); ok {
				files = append(files, ve.File)
			}
		}
		for _, name := range []string{"b.sec", "bb"} {
			if !slices.Contains(files, ".envrun/vault/envs/dev/secrets/"+name) {
				t.Errorf("verify does not name %s: %v", name, files)
			}
		}
	})
	t.Run("pipe", func(t *testing.T) {
		_, o := project(t, "dev")
		v := open(t, o)
		set(t, v, "dev", "a", "A=1")
		os.Remove(file(o, "envs/dev/secrets/a.sec"))
		if err := exec.Command("mkfifo", file(o, "envs/dev/secrets/a.sec")).Run(); err != nil {
			t.Skip("there is no mkfifo:", err)
		}
		_, err := v.Get(t.Context(), "dev", "a") // must not wait for a writer
		wantError(t, err, vault.KindInsecure, ".envrun/vault/envs/dev/secrets/a.sec", "plain file")
	})
	t.Run("folder for a file", func(t *testing.T) {
		_, o := project(t, "dev")
		v := open(t, o)
		if err := os.MkdirAll(file(o, "envs/dev/secrets/a.sec"), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := v.Get(t.Context(), "dev", "a")
		wantError(t, err, vault.KindInsecure, ".envrun/vault/envs/dev/secrets/a.sec", "folder where a file")
	})
}

// TestTooLarge: sizes are looked at before anything is read.
func TestTooLarge(t *testing.T) {
	for name, size := range map[string]int64{
		"vault.toml": 1 << 20, "envs/dev/seal": 64 << 20, "envs/dev/keys/0001/gen": 1 << 20,
		"envs/dev/keys/0001/alice@laptop.grant": 1 << 20, "envs/dev/secrets/a.sec": 1 << 40,
	} {
		t.Run(name, func(t *testing.T) {
			_, o := project(t, "dev")
			set(t, open(t, o), "dev", "a", "A=1")
			if err := os.Truncate(file(o, name), size); err != nil {
				t.Skip("no sparse files here:", err)
			}
			v, err := filevault.Open(t.Context(), o)
			if err == nil {
				_, err = v.Get(t.Context(), "dev", "a")
			}
			wantError(t, err, vault.KindMalformed, ".envrun/vault/"+name, "larger than")
		})
	}
}

// TestModes: what everybody can write is not trusted; what the group can is,
// since that is what a umask of 002 makes of a checkout.
func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	for _, name := range []string{"envs/dev/secrets/a.sec", "envs/dev/seal", "vault.toml", "."} {
		fi, err := os.Stat(file(o, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s is made with mode %v", name, fi.Mode())
		}
		for _, c := range []struct {
			mode os.FileMode
			ok   bool
		}{{0o020, true}, {0o002, false}} {
			if err := os.Chmod(file(o, name), fi.Mode().Perm()|c.mode); err != nil {
				t.Fatal(err)
			}
			v, err := filevault.Open(t.Context(), o)
			if err == nil {
				_, err = v.Get(t.Context(), "dev", "a")
			}
			if c.ok && err != nil {
				t.Errorf("%s with %v: %v", name, c.mode, err)
			} else if !c.ok {
				wantError(t, err, vault.KindInsecure, strings.TrimSuffix(".envrun/vault/"+name, "/."), "writable by everybody")
			}
		}
		if err := os.Chmod(file(o, name), fi.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS != "windows" && os.Geteuid() == 0 {
		t.Log("files of other users: see TestAsNobody")
	}
}

// TestAsNobody runs the tests that root cannot fail as another user.
func TestAsNobody(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() != 0 {
		t.Skip("only root can become somebody else, and nobody else needs to")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp(diskDir, "filevault-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The binary may be in a folder that is closed to others.
	bin := filepath.Join(dir, "test")
	if err := copyFile(bin, exe); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(work, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	// A vault of somebody who is neither root nor nobody.
	foreign := filepath.Join(work, "foreign")
	_, o := project(t, "dev")
	set(t, open(t, o), "dev", "a", "A=1")
	if out, err := exec.Command("cp", "-r", o.Dir, foreign).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("chown", "-R", "12345", foreign).CombinedOutput(); err != nil {
		t.Skipf("no other users here: %v: %s", err, out)
	}
	cmd := exec.Command(bin, "-test.run", "^(TestReadOnly|TestForeign|TestUnreadable|TestStateFolder|TestClosedFolder)$", "-test.v")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "TMPDIR="+work, "HOME="+work, foreignVariable+"="+foreign)
	becomeUser(cmd, nobody)
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("--- SKIP")) || !bytes.Contains(out, []byte("--- PASS: TestReadOnly")) || !bytes.Contains(out, []byte("--- PASS: TestClosedFolder")) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

const foreignVariable = "FILEVAULT_TEST_FOREIGN"

// TestForeign: a vault that belongs to another user than us and root.
func TestForeign(t *testing.T) {
	dir := os.Getenv(foreignVariable)
	if dir == "" {
		t.Skip("run by TestAsNobody")
	}
	_, err := filevault.Open(t.Context(), filevault.Options{Dir: dir})
	wantError(t, err, vault.KindInsecure, "", "belongs to another user")
}

func TestUnreadable(t *testing.T) {
	notRoot(t)
	_, o := project(t, "dev")
	set(t, open(t, o), "dev", "a", "A=1")
	name := "envs/dev/secrets/a.sec"
	if err := os.Chmod(file(o, name), 0); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, o).Get(t.Context(), "dev", "a")
	wantError(t, err, vault.KindDenied, ".envrun/vault/"+name, "permission denied")
}

// TestReadOnly: a vault that cannot be written can be read, and a write says so.
func TestReadOnly(t *testing.T) {
	notRoot(t)
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	set(t, v, "dev", "b/c", "A=1")
	for _, closed := range []string{".", "envs/dev/secrets", "envs/dev/secrets/b"} {
		before := tree(t, o.Dir)
		if err := os.Chmod(file(o, closed), 0o555); err != nil {
			t.Fatal(err)
		}
		v := open(t, o)
		both, err := v.GetMany(t.Context(), "dev", []vault.Path{"a", "b/c"})
		if err != nil || show(both[0]) != "A=1" || show(both[1]) != "A=1" {
			t.Errorf("%s: read %v, %v", closed, both, err)
		}
		for _, changes := range [][]vault.Change{
			{change("a", "A=2")}, {change("b/c", "A=2")}, {change("new/one", "A=2")},
			{change("a", "A=2"), change("b/c", "A=2")},
		} {
			if len(changes) == 1 && closed != "." && path.Dir("envs/dev/secrets/"+string(changes[0].Path)) != closed {
				continue
			}
			_, err := v.Apply(t.Context(), "dev", changes)
			wantKind(t, err, vault.KindReadOnly)
		}
		if closed == "." {
			wantKind(t, v.AddEnv(t.Context(), "prod"), vault.KindReadOnly)
			wantKind(t, v.RemoveEnv(t.Context(), "dev"), vault.KindReadOnly)
		}
		if err := os.Chmod(file(o, closed), 0o755); err != nil {
			t.Fatal(err)
		}
		after := tree(t, o.Dir)
		delete(after, ".lock")
		delete(before, ".lock")
		if !maps.Equal(before, after) {
			t.Errorf("%s: something was changed", closed)
		}
		clean(t, v, "dev")
	}
}

// TestOrder: nothing gets its name before it lasts, and no write returns before
// its name does.
func TestOrder(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	for _, changes := range [][]vault.Change{
		{change("a/b", "A=1")},
		{change("a/b", "A=2")},
		{change("a/b", "A=3"), change("c", "A=3"), {Path: "d", Was: vault.Any, Set: change("d", "A=1").Set}},
	} {
		var log []string
		filevault.SetStep(v, func(s filevault.Step) error {
			log = append(log, s.Op+" "+s.Name)
			return nil
		})
		if _, err := v.Apply(t.Context(), "dev", changes); err != nil {
			t.Fatal(err)
		}
		synced := false
		for _, line := range log {
			op, _, _ := strings.Cut(line, " ")
			switch {
			case op == "write":
				synced = false
			case op == "sync":
				synced = true
			case op == "rename" && !synced:
				t.Errorf("%s before what was written was synced:\n%s", line, strings.Join(log, "\n"))
			}
		}
		for i, line := range log {
			name, ok := strings.CutPrefix(line, "rename ")
			if ok && !strings.HasPrefix(name, ".txn/done-") && !slices.Contains(log[i:], "syncdir "+path.Dir(name)) {
				t.Errorf("the folder of %s was not synced after:\n%s", name, strings.Join(log, "\n"))
			}
		}
	}
}

// TestOrderOfKeys: a reader who finds a new key looks for its grant, and then
// reads what is under the key. So the key comes after all grants, whatever the
// names of members, and before the records and the seal.
func TestOrderOfKeys(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	for _, m := range []string{"bob", "zoe"} {
		if err := v.AddMember(t.Context(), "dev", filevault.NewMember{Member: m, Recipient: identity(t).Recipient()}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	filevault.SetStep(v, func(s filevault.Step) error {
		if s.Op == "rename" && strings.HasPrefix(s.Name, "envs/") {
			names = append(names, strings.TrimPrefix(s.Name, "envs/dev/"))
		}
		return nil
	})
	if _, err := v.RotateKey(t.Context(), "dev", filevault.RotateOptions{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"keys/0002/alice@laptop.grant", "keys/0002/bob.grant", "keys/0002/zoe.grant", "keys/0002/gen", "secrets/a.sec", "seal"}
	if !slices.Equal(names, want) {
		t.Errorf("in the order %q, want %q", names, want)
	}
}

// TestBusy: a writer waits, and says who it waits for.
func TestBusy(t *testing.T) {
	s := newStage(t, few)
	cmd := s.order("hold", s.dir).command(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	o := s.order("", s.dir).options()
	o.LockWait = 20 * time.Millisecond
	v := open(t, o)
	if got := get(t, v, "dev", "s/00"); got != "A=old B=old" {
		t.Errorf("a reader does not wait, and read %q", got)
	}
	_, err = v.Apply(t.Context(), "dev", []vault.Change{change("s/00", "A=2")})
	host, _ := os.Hostname()
	wantError(t, err, vault.KindBusy, ".envrun/vault/.lock", "held by envrun hold", fmt.Sprintf("process %d", cmd.Process.Pid), host)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Apply(ctx, "dev", []vault.Change{change("s/00", "A=2")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// The holder goes on, and then it is our turn.
	o.LockWait = time.Minute
	v = open(t, o)
	done := make(chan error)
	go func() {
		_, err := v.Apply(context.Background(), "dev", []vault.Change{change("s/01", "A=2")})
		done <- err
	}()
	in.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	clean(t, v, "dev")
}

// TestNoLocks: a file system that gives no locks is called that, and nothing is
// written without one.
func TestNoLocks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("these are errors of Unix")
	}
	_, o := project(t, "dev")
	for cause, kind := range map[error]vault.Kind{syscall.ENOLCK: vault.KindUnavailable, syscall.ENOTSUP: vault.KindUnsupported, syscall.ENOSYS: vault.KindUnsupported} {
		v := open(t, o)
		filevault.SetStep(v, func(s filevault.Step) error {
			if s.Op == "lock" {
				return cause
			}
			t.Errorf("%s %s without a lock", s.Op, s.Name)
			return nil
		})
		_, err := v.Apply(t.Context(), "dev", []vault.Change{change("a", "A=1")})
		wantError(t, err, kind, ".envrun/vault/.lock", "no locks to give")
	}
}

// TestLockRemoved: "git clean -fdX" takes the lock file from under a writer,
// which then must not write: another one may hold the new file's lock.
func TestLockRemoved(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	for _, changes := range [][]vault.Change{{change("a", "A=2")}, {change("a", "A=2"), change("b", "A=2")}} {
		filevault.SetStep(v, func(s filevault.Step) error {
			if s.Op == "create" {
				os.Remove(file(o, ".lock"))
			}
			return nil
		})
		_, err := v.Apply(t.Context(), "dev", changes)
		wantError(t, err, vault.KindBusy, "", "removed while writing")
		filevault.SetStep(v, nil)
		if got := get(t, v, "dev", "a"); got != "A=1" {
			t.Errorf("written all the same: %s", got)
		}
		clean(t, v, "dev")
	}
}

// TestNames: what has a name that no file of a vault has is reported by verify
// and read by nobody.
func TestNames(t *testing.T) {
	_, o := project(t, "dev")
	v := open(t, o)
	set(t, v, "dev", "a", "A=1")
	raw := read(t, file(o, "envs/dev/secrets/a.sec"))
	strays := []string{"envs/dev/secrets/a.sec~", "envs/dev/secrets/A.sec", "envs/dev/secrets/con.sec", "envs/dev/secrets/x/.hidden.sec",
		"envs/dev/secrets/x.sec.d/a", "envs/dev/notes.txt", "envs/dev/keys/1/gen", "envs/dev/keys/0001/readme", "envs/dev/exposed/x.txt"}
	for _, name := range strays {
		write(t, file(o, name), raw)
	}
	write(t, file(o, "envs/Dev/seal"), raw)
	write(t, file(o, "README"), raw)
	write(t, file(o, ".DS_Store"), raw)
	write(t, file(o, "envs/dev/.DS_Store"), raw)
	var listed []vault.Path
	for info, err := range v.List(t.Context(), "dev", "") {
		if err != nil {
			t.Error(err)
		}
		listed = append(listed, info.Path)
	}
	if !slices.Equal(listed, []vault.Path{"a"}) {
		t.Errorf("listed %q", listed)
	}
	if envs, err := v.Envs(t.Context()); err != nil || !slices.Equal(envs, []vault.Env{"dev"}) {
		t.Errorf("environments %q, %v", envs, err)
	}
	var found []string
	for _, err := range findings(t, v, "dev") {
		ve, _ := errors.AsType[*vault.Error](err)
		found = append(found, strings.TrimPrefix(ve.File, ".envrun/vault/"))
	}
	for _, name := range strays {
		if !slices.ContainsFunc(found, func(f string) bool { return f == name || strings.HasPrefix(name, f+"/") }) {
			t.Errorf("%s is not reported", name)
		}
	}
	s, err := v.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(strays, "README", "envs/Dev") {
		if !slices.ContainsFunc(s.Strays, func(err error) bool {
			ve, _ := errors.AsType[*vault.Error](err)
			return strings.HasPrefix(".envrun/vault/"+name, ve.File)
		}) {
			t.Errorf("status does not list %s", name)
		}
	}
	// A folder must not look like a secret's file.
	_, err = v.Apply(t.Context(), "dev", []vault.Change{change("a.sec/b", "A=1")})
	wantError(t, err, vault.KindInvalid, "", ".sec")
	if _, err = v.Get(t.Context(), "dev", "a.sec/b"); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("get: %v", err)
	}
	set(t, v, "dev", "b.sec", "A=1")
	set(t, v, "dev", "b", "A=2")
	if a, b := get(t, v, "dev", "b.sec"), get(t, v, "dev", "b"); a != "A=1" || b != "A=2" {
		t.Errorf("b.sec is %s, b is %s", a, b)
	}
}

// TestForgedJournal: a journal that came with a checkout can do what its author
// could do to the files, and nothing outside of the vault's own.
func TestForgedJournal(t *testing.T) {
	for _, commit := range []string{
		"envrun-txn v1\nmove 1 ../../evil\nend 1\n",
		"envrun-txn v1\nmove 1 vault.toml\nend 1\n",
		"envrun-txn v1\nmove 1 envs/../../../evil\nend 1\n",
		"envrun-txn v1\nmove 1 /tmp/evil\nend 1\n",
		"envrun-txn v1\nmove ../../../../vault.toml envs/dev/seal\nend 1\n",
		"envrun-txn v1\ndrop .gitattributes\nend 1\n",
		"envrun-txn v1\ndrop envs/dev\n",
		"envrun-txn v1\ndrop envs/dev\nend 2\n",
		"envrun-txn v2\nend 0\n",
		"",
	} {
		_, o := project(t, "dev")
		v := open(t, o)
		set(t, v, "dev", "a", "A=1")
		write(t, file(o, ".txn/abc/1"), []byte("evil"))
		write(t, file(o, ".txn/abc/commit"), []byte(commit))
		before := tree(t, filepath.Dir(filepath.Dir(o.Dir)))
		_, err := v.Apply(t.Context(), "dev", []vault.Change{change("a", "A=2")})
		wantError(t, err, vault.KindMalformed, ".envrun/vault/.txn/abc/commit")
		after := tree(t, filepath.Dir(filepath.Dir(o.Dir)))
		delete(before, ".envrun/vault/.lock")
		delete(after, ".envrun/vault/.lock")
		for name := range after {
			if before[name] != after[name] {
				t.Errorf("%q: %s was changed", commit, name)
			}
		}
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

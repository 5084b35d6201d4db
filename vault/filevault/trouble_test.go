package filevault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"envrun/vault"
	"envrun/vault/filevault"
)

// at moves a judge to another folder.
func (j *judge) at(t testing.TB, dir string) *judge {
	t.Helper()
	k := *j
	k.o.Dir = filepath.Join(dir, ".envrun", "vault")
	k.replica = newReplica(t, k.o.Dir)
	k.copies = true
	return &k
}

// single leaves out what is several operations.
func single(all []play) []play {
	return slices.DeleteFunc(all, func(p play) bool { return p.several })
}

// sound checks a vault that something has failed in: it is as it was or as it
// was to be, which of both is returned, and then it works as ever.
func (j *judge) sound(t testing.TB, tr *trace) (happened bool) {
	t.Helper()
	last := tr.bounds[len(tr.bounds)-1]
	v := open(t, j.o)
	if j.mend != nil {
		if err := j.mend(t.Context(), v); err != nil {
			t.Errorf("the same again: %v", err)
		}
	}
	if got := j.reading(t, v); !slices.ContainsFunc(tr.bounds, func(b *bound) bool { return b.reading == got }) {
		t.Errorf("a reader gets\n%s\nwhich is none of", got)
		for _, b := range tr.bounds {
			t.Errorf("%s", b.reading)
		}
	}
	set(t, v, j.env, j.after, "A=after")
	if got := j.verify(t, v); got != "" {
		t.Errorf("verify finds\n%s", got)
	}
	return j.reading(t, v) == last.reading
}

// TestErrorAtEveryStep fails every step of every kind of operation, once and
// from then on, with the errors that systems give. They are reported with the
// file and the cause; what was to be done is done or not, as a whole, and once
// the cause is gone the vault works and has nothing left in it.
func TestErrorAtEveryStep(t *testing.T) {
	causes := []struct {
		err  error
		kind vault.Kind
	}{
		{syscall.ENOSPC, vault.KindFull}, {syscall.EIO, vault.KindOther}, {syscall.EACCES, vault.KindReadOnly},
		{syscall.EROFS, vault.KindReadOnly}, {syscall.EMFILE, vault.KindOther},
	}
	if runtime.GOOS == "windows" {
		causes = causes[:3]
	}
	for _, p := range single(plays(t)) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			tr, j := p.record(t)
			start := tr.start.list()
			run := func(n int, stays bool) (hit bool) {
				cause := causes[(n+len(p.name))%len(causes)]
				if stays {
					cause = causes[(n+len(p.name)+1)%len(causes)]
				}
				j.prepare(t, start)
				v := open(t, j.o)
				count, where := 0, ""
				filevault.SetStep(v, func(s filevault.Step) error {
					if count++; count == n || stays && count > n {
						if where == "" {
							where = s.Op + " " + s.Name
						}
						return cause.err
					}
					return nil
				})
				err := p.do(t.Context(), v)
				if where == "" {
					return false
				}
				if err != nil {
					wantError(t, err, cause.kind, "", cause.err.Error(), ".envrun/vault")
				}
				happened := j.sound(t, tr)
				if err == nil && !happened {
					t.Error("it was acknowledged, and has not happened")
				}
				j.look(t, nil)
				if t.Failed() {
					t.Fatalf("%v at step %d, %s, stays %v", cause.err, n, where, stays)
				}
				return true
			}
			stride := 1
			if testing.Short() {
				stride = 1 + len(tr.events)/8
			}
			for n := 1; run(n, n/stride%2 == 0); n += stride {
				if thorough() {
					run(n, n%2 != 0)
				}
			}
		})
	}
}

// TestInterrupted: what a signal interrupts is done again.
func TestInterrupted(t *testing.T) {
	for _, p := range plays(t) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			tr, j := p.record(t)
			j.prepare(t, tr.start.list())
			v := open(t, j.o)
			again := map[string]int{}
			filevault.SetStep(v, func(s filevault.Step) error {
				if step := s.Op + " " + s.Name; again[step] < 3 {
					again[step]++
					return syscall.EINTR
				}
				return nil
			})
			if err := p.do(t.Context(), v); err != nil {
				t.Error(err)
			}
			if !j.sound(t, tr) || len(again) < 3 {
				t.Errorf("it has not happened, after %v", again)
			}
		})
	}
}

// TestFull: on a disk that is really full, of bytes or of files, each operation
// works or says so and leaves nothing; what is there can be read.
func TestFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	for _, p := range single(plays(t)) {
		t.Run(p.name, func(t *testing.T) {
			tr, home := p.record(t)
			for _, files := range []bool{false, true} {
				failed, worked := 0, false
				for left := 0; !worked; left++ {
					if testing.Short() && left > 0 {
						left += 3
					}
					dir := filepath.Join(disk, "v")
					j := home.at(t, dir)
					j.prepare(t, tr.start.list())
					release := full(t, disk, files, left)
					v := open(t, j.o)
					err := p.do(t.Context(), v)
					if err == nil {
						worked = true
					} else {
						failed++
						wantError(t, err, vault.KindFull, "", ".envrun/vault", "no space left on device")
						if got := j.reading(t, v); got != tr.bounds[0].reading {
							t.Errorf("a reader gets\n%s\nand not\n%s", got, tr.bounds[0].reading)
						}
						if got := j.verify(t, v); got != tr.bounds[0].findings {
							t.Errorf("verify finds\n%s\nand not\n%s", got, tr.bounds[0].findings)
						}
					}
					release()
					if happened := j.sound(t, tr); err == nil && !happened {
						t.Error("it was acknowledged, and has not happened")
					}
					os.RemoveAll(dir)
					if t.Failed() {
						t.Fatalf("%d left (files: %v): %v", left, files, err)
					}
				}
				if failed == 0 {
					t.Error("there was always room")
				}
				t.Logf("files %v: room after %d", files, failed)
			}
		})
	}
	t.Run("pins", func(t *testing.T) {
		// Where the machine keeps what it knows is full.
		o := as(t, filepath.Join(t.TempDir(), ".envrun", "vault"), "olga@laptop", identity(t))
		o.StateDir = filepath.Join(disk, "state")
		v, err := filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev"}})
		if err != nil {
			t.Fatal(err)
		}
		release := full(t, disk, true, 0)
		wantError(t, v.AddEnv(t.Context(), "prod"), vault.KindFull, "", "pins", v.ID(), "no space left on device")
		if envs, err := v.Envs(t.Context()); err != nil || len(envs) != 1 {
			t.Errorf("environments %q, %v", envs, err)
		}
		clean(t, v, "dev")
		release()
		if err := v.AddEnv(t.Context(), "prod"); err != nil {
			t.Error(err)
		}
		clean(t, v, "dev", "prod")
	})
	t.Run("init", func(t *testing.T) {
		for _, files := range []bool{false, true} {
			failed := 0
			for left := 0; ; left++ {
				dir := filepath.Join(disk, "p")
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				o := as(t, filepath.Join(dir, ".envrun", "vault"), "olga@laptop", identity(t))
				release := full(t, disk, files, left)
				_, err := filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev"}})
				if err == nil {
					clean(t, open(t, o), "dev")
					release()
					os.RemoveAll(dir)
					break
				}
				failed++
				wantKind(t, err, vault.KindFull)
				if list, _ := os.ReadDir(dir); len(list) > 0 {
					t.Errorf("an init that failed left %v", list)
				}
				release()
				os.RemoveAll(dir)
			}
			if failed == 0 {
				t.Error("there was always room")
			}
		}
	})
}

// TestReadOnlyDisk: on a disk that is mounted read-only everything says so, and
// what is there can be read.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	for _, p := range single(plays(t)) {
		t.Run(p.name, func(t *testing.T) {
			tr, j := p.record(t)
			j = j.at(t, filepath.Join(disk, "v"))
			defer os.RemoveAll(filepath.Join(disk, "v"))
			j.prepare(t, tr.start.list())
			readOnly(t, disk, true)
			v := open(t, j.o)
			wantError(t, p.do(t.Context(), v), vault.KindReadOnly, "", ".envrun/vault", "read-only file system")
			if got := j.reading(t, v); got != tr.bounds[0].reading {
				t.Errorf("a reader gets\n%s\nand not\n%s", got, tr.bounds[0].reading)
			}
			if got := j.verify(t, v); got != tr.bounds[0].findings {
				t.Errorf("verify finds\n%s", got)
			}
			readOnly(t, disk, false)
			if err := p.do(t.Context(), v); err != nil {
				t.Errorf("once it can be written: %v", err)
			}
			if !j.sound(t, tr) {
				t.Error("it has not happened")
			}
		})
	}
}

// TestClosedFolder: for a user who may not write in one of the folders, each
// operation works or says which, and changes nothing. Run by TestAsNobody.
func TestClosedFolder(t *testing.T) {
	notRoot(t)
	for _, p := range single(plays(t)) {
		t.Run(p.name, func(t *testing.T) {
			tr, j := p.record(t)
			start := tr.start.list()
			said := 0
			for _, name := range append(slices.Sorted(maps.Keys(start)), "./", lockFile+"/") {
				if !strings.HasSuffix(name, "/") {
					continue
				}
				j.prepare(t, start)
				closed := file(j.o, strings.TrimSuffix(name, "/"))
				if err := os.Chmod(closed, 0o555); errors.Is(err, fs.ErrNotExist) {
					continue
				} else if err != nil {
					t.Fatal(err)
				}
				v := open(t, j.o)
				err := p.do(t.Context(), v)
				if err != nil {
					said++
					wantError(t, err, vault.KindReadOnly, "", ".envrun/vault", "permission denied")
					if got := j.reading(t, v); got != tr.bounds[0].reading {
						t.Errorf("a reader gets\n%s\nand not\n%s", got, tr.bounds[0].reading)
					}
				}
				if err := os.Chmod(closed, 0o755); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				if happened := j.sound(t, tr); happened != (err == nil) && j.mend == nil && tr.bounds[0].reading != tr.bounds[len(tr.bounds)-1].reading {
					t.Errorf("it has happened: %v; and it said: %v", happened, err)
				}
				j.look(t, nil)
				if t.Failed() {
					t.Fatalf("with %s closed", name)
				}
			}
			if said == 0 {
				t.Error("there was nothing to say")
			}
		})
	}
}

// TestFewDescriptors: a process that may open few files says so, and what it
// had begun is finished or taken back by the next.
func TestFewDescriptors(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such limit on Windows")
	}
	s := newStage(t, few)
	for _, a := range []act{{Do: "set", Path: "new/deep", Value: "1"}, {Do: "import", Count: few, Value: "2"}, {Do: "rotate"}} {
		t.Run(a.Do, func(t *testing.T) {
			t.Parallel()
			failed := 0
			for limit := 3; ; limit++ {
				dir := s.copy(t)
				o := s.order("starve", dir)
				o.Life, o.Count = []act{a}, limit
				before := see(t, open(t, o.options()))
				out, ok := o.run(t)
				v := open(t, o.options())
				after := see(t, v)
				set(t, v, "prod", "after", "A=1")
				clean(t, v, "dev", "prod")
				if ok {
					if before == after {
						t.Errorf("limit %d: it has not happened: %s", limit, out)
					}
					break
				}
				failed++
				if !strings.Contains(out, "too many open files") || !strings.Contains(out, dir) && !strings.Contains(out, ".envrun/vault") {
					t.Errorf("limit %d: it says %s", limit, out)
				}
				if t.Failed() {
					t.Fatal(fmt.Sprint("limit ", limit))
				}
			}
			if failed < 4 {
				t.Errorf("it works with few descriptors: %d limits were too low", failed)
			}
		})
	}
}

package filevault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
	"envrun/vault/seal"
)

// The test binary runs itself as another process: an order in this variable
// says what that process is to do.
const orderVariable = "FILEVAULT_TEST_ORDER"

// diskDir is where benchmarks work.
var diskDir = os.TempDir()

// An order is what a child is told.
type order struct {
	Do       string // a name of deeds
	Dir      string
	StateDir string
	Identity string
	DieAt    int    // kill yourself before this step, counted from 1; 0: never
	Count    int    // of what is done
	Arg      string // more for some deeds
	Life     []act  // for a child that is killed at any moment
}

func TestMain(m *testing.M) {
	if text := os.Getenv(orderVariable); text != "" {
		var o order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			panic(err)
		}
		if o.Do == "textconv" { // prints nothing but its answer
			v, err := filevault.Open(context.Background(), o.options())
			if err == nil {
				var text []byte
				text, err = v.Textconv(context.Background(), os.Args[1], nil)
				os.Stdout.Write(text)
			}
			if err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}
		if err := o.obey(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println("done")
		os.Exit(0)
	}
	// Most tests work in memory where there is such a place. What a killed
	// process leaves is the same on every file system, and hundreds of them need
	// not wait for a disk.
	if dir, err := os.MkdirTemp("/dev/shm", "filevault-"); err == nil {
		defer os.RemoveAll(dir)
		diskDir = os.TempDir()
		os.Setenv("TMPDIR", dir)
	}
	m.Run()
}

func (o order) options() filevault.Options {
	id, err := agekey.Parse(o.Identity)
	if err != nil {
		panic(err)
	}
	return filevault.Options{
		Dir: o.Dir, StateDir: o.StateDir, Member: "olga@laptop", Command: "envrun " + o.Do, LockWait: time.Minute,
		Identity: func(context.Context) (*agekey.Identity, error) { return id, nil },
	}
}

// step counts steps, and kills the process at the one it is told to.
func (o order) step() (f func(filevault.Step) error, count *int) {
	n := 0
	return func(filevault.Step) error {
		if n++; n == o.DieAt {
			p, err := os.FindProcess(os.Getpid())
			if err != nil {
				return err
			}
			_ = p.Kill()
			select {}
		}
		return nil
	}, &n
}

func (o order) obey() error {
	ctx := context.Background()
	step, count := o.step()
	defer func() { fmt.Println("steps", *count) }()
	if o.Do == "init" {
		_, err := filevault.InitStep(ctx, filevault.InitOptions{Options: o.options(), Envs: []vault.Env{"dev", "prod"}}, step)
		return err
	}
	v, err := filevault.Open(ctx, o.options())
	if err != nil {
		return err
	}
	filevault.SetStep(v, step)
	switch o.Do {
	case "set":
		_, err = v.Apply(ctx, "dev", []vault.Change{change("s/00", "A=new", "B=new")})
	case "create":
		_, err = v.Apply(ctx, "dev", []vault.Change{change("new/deep/one", "A=new", "B=new")})
	case "delete":
		_, err = v.Apply(ctx, "dev", []vault.Change{{Path: "s/00", Was: vault.Any, Delete: true}})
	case "import":
		_, err = v.Apply(ctx, "dev", importOf(few))
	case "merge":
		var r filevault.MergeReport
		if r, err = v.Merge(ctx, engine.MergeOptions{}); err == nil && !r.Done() {
			err = errors.New("it is not done")
		}
	case "driver":
		a := os.Args[1:]
		if clean, why := v.DriverMerge(ctx, a[0], a[1], a[2], a[3]); !clean {
			err = why
		}
	case "seal":
		err = v.Seal(ctx, "dev")
	case "addenv":
		err = v.AddEnv(ctx, "staging")
	case "rmenv":
		err = v.RemoveEnv(ctx, "dev")
	case "rotate":
		id, _ := agekey.Parse(o.Identity)
		to, rerr := agekey.ParseRecipient(id.Recipient())
		if rerr != nil {
			return rerr
		}
		err = v.Rotate(ctx, "dev", "test", []engine.GrantTo{{Member: "olga@laptop", Recipient: id.Recipient(), Sealer: seal.AgeSealer("olga", to, nil)}})
	case "increment":
		for range o.Count {
			if err := increment(ctx, v); err != nil {
				return err
			}
		}
	case "again": // and again, with a pause of some milliseconds, until nobody listens
		over := make(chan struct{})
		go func() {
			_, _ = os.Stdin.Read(make([]byte, 1))
			close(over)
		}()
		for i := 0; ; i++ {
			select {
			case <-over:
				fmt.Println(i, "times", o.Life[0].Do)
				return nil
			case <-time.After(time.Duration(o.Count) * time.Millisecond):
			}
			a := o.Life[0]
			a.Value = strconv.Itoa(i)
			if err := a.do(ctx, v); err != nil {
				return err
			}
		}
	case "hold":
		filevault.SetStep(v, func(s filevault.Step) error {
			if s.Op != "create" {
				return nil
			}
			fmt.Println("holding")
			_, err := os.Stdin.Read(make([]byte, 1)) // until the parent lets go
			return err
		})
		_, err = v.Apply(ctx, "dev", []vault.Change{change("s/00", "A=held", "B=held")})
	case "starve":
		starve(o.Count)
		fallthrough
	case "live":
		for i, a := range o.Life {
			if err := a.do(ctx, v); err != nil {
				return fmt.Errorf("%s: %w", a.Do, err)
			}
			fmt.Println("did", i)
		}
	default:
		err = fmt.Errorf("no such deed: %s", o.Do)
	}
	return err
}

// increment adds one to a number by compare-and-swap.
func increment(ctx context.Context, v *filevault.Vault) error {
	for {
		s, err := v.Get(ctx, "dev", "counter")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimPrefix(show(s), "N="))
		if err != nil {
			return err
		}
		c := change("counter", "N="+strconv.Itoa(n+1))
		c.Was = s.Version
		_, err = v.Apply(ctx, "dev", []vault.Change{c})
		if vault.KindOf(err) != vault.KindConflict {
			return err
		}
	}
}

// text is an order as a child reads it.
func (o order) text(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// command prepares a child.
func (o order) command(t testing.TB) *exec.Cmd {
	t.Helper()
	text := o.text(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), orderVariable+"="+string(text))
	return cmd
}

// run returns what the child printed and whether it ended well.
func (o order) run(t testing.TB) (string, bool) {
	t.Helper()
	out, err := o.command(t).CombinedOutput()
	return string(out), err == nil
}

// few is how many secrets most stages have.
const few = 4

func manyPath(i int) vault.Path { return vault.Path(fmt.Sprintf("s/%02d", i)) }

// A stage is a vault that children work on copies of.
type stage struct {
	dir      string
	identity string
}

func newStage(t testing.TB, secrets int) stage {
	t.Helper()
	id := identity(t)
	s := stage{dir: t.TempDir(), identity: id.Reveal()}
	o := s.order("", s.dir).options()
	v, err := filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev", "prod"}})
	if err != nil {
		t.Fatal(err)
	}
	var changes []vault.Change
	for i := range secrets {
		changes = append(changes, change(manyPath(i), "A=old", "B=old"))
	}
	changes = append(changes, change("base", "A=base", "B=base"))
	if _, err := v.Apply(t.Context(), "dev", changes); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s stage) order(do, dir string) order {
	return order{Do: do, Dir: filepath.Join(dir, ".envrun", "vault"), StateDir: filepath.Join(dir, "state"), Identity: s.identity}
}

// copy makes a copy of the stage for one child.
func (s stage) copy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := filepath.WalkDir(s.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.dir, name)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			return os.Chmod(to, fi.Mode().Perm())
		}
		return os.WriteFile(to, read(t, name), fi.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCrash kills a process before every step of every kind of write: what
// TestReplay builds on. What was acknowledged before must be there, the write
// must have happened whole or not at all, for a reader as for the next writer,
// and nothing may be left behind.
func TestCrash(t *testing.T) {
	s := newStage(t, few)
	for _, do := range []string{"set", "create", "delete", "import", "seal", "addenv", "rmenv", "rotate"} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			dir := s.copy(t)
			out, ok := s.order(do, dir).run(t)
			var steps int
			if _, err := fmt.Sscanf(out, "steps %d", &steps); !ok || err != nil || steps == 0 {
				t.Fatalf("%s: %s", do, out)
			}
			if happened := s.check(t, do, dir); !happened {
				t.Fatalf("%s was acknowledged and has not happened", do)
			}
			stride := 1
			if testing.Short() {
				stride = 1 + steps/8
			}
			was := false
			for n := 1; n <= steps; n += stride {
				dir := s.copy(t)
				o := s.order(do, dir)
				o.DieAt = n
				if out, ok := o.run(t); ok {
					t.Fatalf("step %d of %d: the process lived: %s", n, steps, out)
				}
				happened := s.check(t, do, dir)
				if was && !happened {
					t.Errorf("step %d: it has happened at an earlier step, but not at this one", n)
				}
				was = happened
				if t.Failed() {
					t.Fatalf("at step %d of %d", n, steps)
				}
				os.RemoveAll(dir)
			}
			t.Logf("%d steps", steps)
		})
	}
}

// check looks at what a killed process left, and reports whether its write happened.
func (s stage) check(t *testing.T, do, dir string) bool {
	t.Helper()
	ctx := t.Context()
	v := open(t, s.order("", dir).options())
	if do == "rmenv" {
		set(t, v, "prod", "after", "A=1") // a reader may still see what the next writer finds removed
	}
	envs, err := v.Envs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	happened := false
	state := func(path vault.Path) string {
		got, err := v.Get(ctx, "dev", path)
		if vault.KindOf(err) == vault.KindNotFound {
			return "none"
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return "error"
		}
		return show(got)
	}
	switch do {
	case "addenv":
		happened = len(envs) == 3
	case "rmenv":
		if happened = len(envs) == 1; happened {
			// The name is free again, for a new key.
			// What was cut short is finished by the same command again.
			if err := v.RemoveEnv(ctx, "dev"); err != nil && vault.KindOf(err) != vault.KindNoEnv {
				t.Errorf("removing environment again: %v", err)
			}
			if err := v.AddEnv(ctx, "dev"); err != nil {
				t.Error(err)
			}
			set(t, v, "dev", "after", "A=1")
			clean(t, v, "dev", "prod")
			return true
		}
	case "set", "delete", "create":
		path := vault.Path("s/00")
		old, now := "A=old B=old", "A=new B=new"
		if do == "delete" {
			now = "none"
		} else if do == "create" {
			path, old = "new/deep/one", "none"
		}
		switch got := state(path); got {
		case old:
		case now:
			happened = true
		default:
			t.Errorf("%s is %q", path, got)
		}
	case "import", "rotate", "seal":
		var paths []vault.Path
		for i := range few {
			paths = append(paths, manyPath(i))
		}
		// A reader first, before a writer could mend anything.
		all, err := v.GetMany(ctx, "dev", paths)
		if err != nil {
			t.Fatal(err)
		}
		want := show(all[0])
		for _, one := range all {
			if got := show(one); got != want || got != "A=old B=old" && got != "A=new B=new" {
				t.Errorf("%s is %q and the first is %q", one.Path, got, want)
			}
		}
		st, err := v.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch do {
		case "import":
			happened = want == "A=new B=new"
		case "rotate":
			happened = st.Envs[0].Gen == 2
			if n := len(st.Envs[0].OldKey); n > 0 {
				t.Errorf("%d records are under another key than %d", n, st.Envs[0].Gen)
			}
		case "seal":
			happened = st.Envs[0].Unsealed == 0
		}
	}
	if got := state("base"); got != "A=base B=base" {
		t.Errorf("base is %q", got)
	}
	set(t, v, "dev", "after", "A=1")
	clean(t, v, envs...)
	return happened
}

// TestCrashInit kills an init before every step: no vault or a whole one, and
// the next init works and leaves nothing beside it.
func TestCrashInit(t *testing.T) {
	t.Parallel()
	s := stage{identity: identity(t).Reveal()}
	dir := t.TempDir()
	out, ok := s.order("init", dir).run(t)
	var steps int
	if _, err := fmt.Sscanf(out, "steps %d", &steps); !ok || err != nil || steps == 0 {
		t.Fatal(out)
	}
	stride := 1
	if testing.Short() {
		stride = 1 + steps/8
	}
	for n := 1; n <= steps; n += stride {
		dir := t.TempDir()
		o := s.order("init", dir)
		o.DieAt = n
		if out, ok := o.run(t); ok {
			t.Fatalf("step %d: the process lived: %s", n, out)
		}
		_, err := filevault.Open(t.Context(), o.options())
		if vault.KindOf(err) == vault.KindNoVault {
			o.DieAt = 0
			if out, ok := o.run(t); !ok {
				t.Fatalf("step %d: init after it: %s", n, out)
			}
		} else if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		v := open(t, o.options())
		set(t, v, "dev", "a", "A=1")
		clean(t, v, "dev", "prod")
		if list, err := os.ReadDir(filepath.Join(dir, ".envrun")); err != nil || len(list) != 1 {
			t.Errorf("step %d: beside the vault: %v, %v", n, list, err)
		}
	}
	t.Logf("%d steps", steps)
}

// TestWriters: four processes, fifty writes each, to one secret (filevault §3.11).
func TestWriters(t *testing.T) {
	t.Parallel()
	s := newStage(t, few)
	v := open(t, s.order("", s.dir).options())
	set(t, v, "dev", "counter", "N=0")
	const processes, writes = 4, 50
	var wg sync.WaitGroup
	for range processes {
		o := s.order("increment", s.dir)
		o.Count = writes
		wg.Go(func() {
			if out, ok := o.run(t); !ok {
				t.Errorf("writer: %s", out)
			}
		})
	}
	wg.Wait()
	if got := get(t, v, "dev", "counter"); got != fmt.Sprintf("N=%d", processes*writes) {
		t.Errorf("after %d increments: %s", processes*writes, got)
	}
	clean(t, v, "dev", "prod")
}

// TestReaders reads all the time that other processes write one secret, import
// many and rotate the key. Nothing that is read is torn, which is not of one
// write, or blended, of two; and nothing fails.
func TestReaders(t *testing.T) {
	t.Parallel()
	reads := int64(25_000)
	if testing.Short() {
		reads = 3_000
	}
	const imported = 24
	s := newStage(t, imported)
	v := open(t, s.order("", s.dir).options())
	set(t, v, "dev", "one", "A=0", "B=0")
	var paths []vault.Path
	for i := range imported {
		paths = append(paths, manyPath(i))
	}
	var stop []func()
	for i, a := range []act{{Do: "set", Path: "one"}, {Do: "import", Count: imported}, {Do: "rotate"}} {
		o := s.order("again", s.dir)
		o.Life, o.Count = []act{a}, []int{4, 25, 100}[i]
		cmd := o.command(t)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		stop = append(stop, func() {
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %s", a.Do, out.String())
			}
			t.Log(strings.TrimSpace(out.String()))
		})
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			v := open(t, s.order("", s.dir).options())
			for i := reader; n.Add(1) <= reads && !t.Failed(); i++ {
				var got []vault.Secret
				var err error
				switch i % 24 {
				case 0:
					got, err = v.GetMany(t.Context(), "dev", paths)
				case 8:
					got, err = v.GetAll(t.Context(), "dev", "s")
				case 4, 12, 16, 20:
					got, err = v.GetMany(t.Context(), "dev", []vault.Path{paths[0], paths[imported-1]})
				default:
					got = make([]vault.Secret, 1)
					got[0], err = v.Get(t.Context(), "dev", "one")
				}
				if err != nil {
					t.Errorf("read %d: %v", i, err)
					return
				}
				first := show(got[0])
				if a, b, _ := strings.Cut(first, " "); a[2:] != b[2:] {
					t.Errorf("blended: %s", first)
				}
				for _, s := range got {
					if show(s) != first {
						t.Errorf("torn: %s is %s, and %s is %s", got[0].Path, first, s.Path, show(s))
					}
				}
			}
		})
	}
	wg.Wait()
	for _, f := range stop {
		f()
	}
	clean(t, open(t, s.order("", s.dir).options()), "dev", "prod")
}

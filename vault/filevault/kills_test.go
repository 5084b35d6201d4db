package filevault_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
)

// An act is one thing that a life is made of.
type act struct {
	Do        string
	Path      vault.Path
	Count     int
	Value     string
	Member    string
	Recipient string
}

func (a act) do(ctx context.Context, v *filevault.Vault) error {
	apply := func(changes ...vault.Change) error {
		_, err := v.Apply(ctx, "dev", changes)
		return err
	}
	switch a.Do {
	case "set":
		return apply(change(a.Path, "A="+a.Value, "B="+a.Value))
	case "rm":
		return apply(del(a.Path))
	case "import":
		var changes []vault.Change
		for i := range a.Count {
			changes = append(changes, change(manyPath(i), "A="+a.Value, "B="+a.Value))
		}
		return apply(changes...)
	case "add":
		return v.AddMember(ctx, "dev", filevault.NewMember{Member: a.Member, Recipient: a.Recipient})
	case "leave":
		_, err := v.RemoveMembers(ctx, "dev", []string{a.Member}, filevault.RotateOptions{})
		return err
	case "ask":
		_, err := v.Request(ctx, "dev", filevault.Ask{Member: a.Member, Recipient: a.Recipient})
		return err
	case "approve":
		all, err := v.Requests(ctx, "dev")
		if err != nil {
			return err
		}
		return v.Approve(ctx, "dev", filevault.Approval{Member: a.Member, Code: all[0].Code})
	case "rotate":
		_, err := v.RotateKey(ctx, "dev", filevault.RotateOptions{})
		return err
	case "seal":
		return v.Seal(ctx, "dev")
	case "merge":
		r, err := v.Merge(ctx, engine.MergeOptions{})
		if err == nil && !r.Done() {
			err = fmt.Errorf("it is not done: %s", say(r))
		}
		return err
	}
	return fmt.Errorf("no such act: %s", a.Do)
}

// A world is what acts make of a vault.
type world struct {
	secrets map[vault.Path]string
	gen     uint32
	members map[string]bool // beside olga
	asks    bool            // bob does
}

func (w world) clone() world {
	w.secrets, w.members = maps.Clone(w.secrets), maps.Clone(w.members)
	return w
}

func (w *world) apply(a act) {
	switch a.Do {
	case "set":
		w.secrets[a.Path] = a.Value
	case "rm":
		delete(w.secrets, a.Path)
	case "import":
		for i := range a.Count {
			w.secrets[manyPath(i)] = a.Value
		}
	case "add":
		w.members[a.Member] = true
	case "ask":
		w.asks = true
	case "approve":
		w.members[a.Member], w.asks = true, false
	case "leave":
		delete(w.members, a.Member)
		w.gen++
	case "rotate":
		w.gen++
	}
}

func (w world) String() string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(w.secrets)) {
		fmt.Fprintf(&b, "%s A=%[2]s B=%[2]s\n", p, w.secrets[p])
	}
	fmt.Fprintf(&b, "key %d, members %q, asks %v", w.gen, slices.Sorted(maps.Keys(w.members)), w.asks)
	return b.String()
}

// see is the world as a vault has it.
func see(t *testing.T, v *filevault.Vault) string {
	t.Helper()
	var b strings.Builder
	all, err := v.GetAll(t.Context(), "dev", "")
	if err != nil {
		return err.Error()
	}
	for _, s := range all {
		fmt.Fprintf(&b, "%s %s\n", s.Path, show(s))
	}
	st, err := v.Status(t.Context())
	if err != nil {
		return err.Error()
	}
	var members []string
	for _, m := range st.Envs[0].Members {
		if m.Err != nil {
			return m.Err.Error()
		}
		if m.Member != "olga@laptop" {
			members = append(members, m.Member)
		}
	}
	slices.Sort(members)
	asks, err := v.Requests(t.Context(), "dev")
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(&b, "key %d, members %q, asks %v", st.Envs[0].Gen, members, len(asks) > 0)
	return b.String()
}

// next is an act that the world allows.
func (w world) next(rng *rand.Rand, value string, recipients map[string]string) act {
	outside := func(m string) bool { return !w.members[m] }
	var inside []string
	for _, m := range []string{"ann", "zoe"} {
		if w.members[m] {
			inside = append(inside, m)
		}
	}
	for {
		switch n := rng.IntN(20); {
		case n < 6:
			paths := []vault.Path{manyPath(0), manyPath(rng.IntN(8)), "x", "new/" + vault.Path(value), "deep/er/y"}
			return act{Do: "set", Path: paths[rng.IntN(len(paths))], Value: value}
		case n < 8 && len(w.secrets) > 4:
			all := slices.Sorted(maps.Keys(w.secrets))
			return act{Do: "rm", Path: all[rng.IntN(len(all))]}
		case n < 11:
			return act{Do: "import", Count: 2 + rng.IntN(12), Value: value}
		case n < 13:
			m := []string{"ann", "zoe"}[rng.IntN(2)]
			if outside(m) {
				return act{Do: "add", Member: m, Recipient: recipients[m]}
			}
		case n < 14 && w.asks:
			return act{Do: "approve", Member: "bob"}
		case n < 15 && outside("bob") && !w.asks:
			return act{Do: "ask", Member: "bob", Recipient: recipients["bob"]}
		case n < 16 && w.members["bob"]:
			return act{Do: "leave", Member: "bob"}
		case n < 17 && len(inside) > 0:
			return act{Do: "leave", Member: inside[rng.IntN(len(inside))]}
		case n < 18:
			return act{Do: "rotate"}
		case n >= 18:
			return act{Do: "seal"}
		}
	}
}

// kill starts a child, kills it some time after its n-th act, and returns how
// many it has acknowledged.
func (o order) kill(t *testing.T, n int, late time.Duration) (done int) {
	t.Helper()
	cmd := o.command(t)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	killed := false
	kill := func() {
		time.Sleep(late)
		_ = cmd.Process.Kill()
		killed = true
	}
	if n == 0 {
		kill()
	}
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "did ") {
			fmt.Fprintln(&said, lines.Text())
			continue
		}
		if done++; done == n && !killed {
			kill()
		}
	}
	_ = cmd.Wait()
	if s := said.String(); strings.Contains(s, "error:") || strings.Contains(s, "panic") {
		t.Fatalf("before it was killed: %s", s)
	}
	return done
}

// TestKills kills processes at any moment of a life of all that changes a
// vault, thousands of times with FILEVAULT_THOROUGH=1. A child acknowledges each
// act on a pipe. After each kill all that was acknowledged is there, of the act
// under way all or nothing, the next command works, and verify is clean.
func TestKills(t *testing.T) {
	kills := 150
	switch {
	case thorough():
		kills = 2000
	case testing.Short():
		kills = 60
	}
	const workers = 2
	seed := testSeed(t)
	for worker := range workers {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, uint64(worker)))
			recipients := map[string]string{}
			for _, m := range []string{"ann", "bob", "zoe"} {
				recipients[m] = identity(t).Recipient()
			}
			const acts = 60
			var s stage
			var w world
			inflight := map[string]int{}
			acknowledged, happened := 0, 0
			for n := range kills / workers {
				if w.gen == 0 || w.gen > 12 { // every generation stays, and is looked at
					if s.dir != "" {
						os.RemoveAll(s.dir)
					}
					s = newStage(t, few)
					w = world{secrets: map[vault.Path]string{"base": "base"}, members: map[string]bool{}, gen: 1}
					for i := range few {
						w.secrets[manyPath(i)] = "old"
					}
				}
				o := s.order("live", s.dir)
				worlds := []world{w}
				for i := range acts {
					now := worlds[i].clone()
					a := now.next(rng, fmt.Sprintf("%d-%d", n, i), recipients)
					now.apply(a)
					o.Life, worlds = append(o.Life, a), append(worlds, now)
				}
				// A start takes some milliseconds, and an act one or several.
				late := time.Duration(rng.IntN(4000)) * time.Microsecond
				target := rng.IntN(8)
				if target == 0 {
					late = time.Duration(rng.IntN(40)) * time.Millisecond
				}
				done := o.kill(t, target, late)
				acknowledged += done
				v := open(t, o.options())
				if rng.IntN(2) == 0 { // or a reader comes first
					set(t, v, "prod", "after", fmt.Sprintf("A=%d", n))
				}
				got := see(t, v)
				i := done
				if done < acts {
					inflight[o.Life[done].Do]++
					if got != worlds[i].String() {
						i++
						happened++
					}
				}
				if got != worlds[i].String() {
					t.Fatalf("kill %d, after %d acknowledged acts and during %+v:\n%s\nand not\n%s\nor\n%s", n, done, o.Life[min(done, acts-1)], got, worlds[done], worlds[i])
				}
				w = worlds[i].clone()
				set(t, v, "prod", "after", fmt.Sprintf("A=%d.", n))
				clean(t, v, "dev", "prod")
				if t.Failed() {
					t.Fatalf("kill %d, after %d acknowledged acts and during %+v", n, done, o.Life[min(done, acts-1)])
				}
			}
			t.Logf("%d acts acknowledged; killed during %v, of which %d had happened", acknowledged, inflight, happened)
		})
	}
}

// TestKillMerge kills merges at any moment; the next one does the rest.
func TestKillMerge(t *testing.T) {
	t.Parallel()
	kills := 12
	switch {
	case thorough():
		kills = 150
	case testing.Short():
		kills = 3
	}
	rng := rand.New(rand.NewPCG(testSeed(t), 99))
	s, copyOf := conflicted(t)
	done := 0
	for n := range kills {
		dir := copyOf()
		o := s.order("live", dir)
		o.Life = []act{{Do: "merge"}}
		done += o.kill(t, 0, time.Duration(rng.IntN(60))*time.Millisecond)
		f := &fork{t, dir, o.options()}
		f.merge(nobody, false)
		f.finish("s/00: A=ours B=theirs", "s/01: A=ours B=theirs", "base: A=base B=base")
		if t.Failed() {
			t.Fatalf("kill %d", n)
		}
		os.RemoveAll(dir)
	}
	t.Logf("%d of %d were done before", done, kills)
}

// conflicted is a stage in which git has found conflicts, and makes copies of it.
func conflicted(t *testing.T) (stage, func() string) {
	t.Helper()
	needGit(t)
	s := newStage(t, few)
	main := s.copy(t)
	git(t, main, "init", "-q")
	o := s.order("", main).options()
	f := &fork{t, main, o}
	write(t, main+"/.gitignore", []byte("/state/\n"))
	commit(t, main, "base")
	f.branches(
		func() { f.write(change("s/00", "A=ours"), change("s/01", "A=ours")); f.seal() },
		func() { f.write(change("s/00", "B=theirs"), change("s/01", "B=theirs")); f.seal() })
	f.conflict()
	return s, func() string {
		dir := t.TempDir()
		if out, err := exec.Command("cp", "-a", main+"/.", dir).CombinedOutput(); err != nil {
			t.Skipf("cp: %s", out)
		}
		return dir
	}
}

package filevault_test

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/filevault"
)

// What a power cut leaves of a trace, by what ALICE (Pillai et al., OSDI '14)
// found file systems to do, and a little worse than ext4 and XFS do today. What
// a sync has made last is there:
//
//   - the bytes of a file after a sync of the file, and not its name;
//   - the names in a folder, come and gone, after a sync of that folder, and
//     not those in the folders above it or below it;
//   - all of it after a sync of the file system.
//
// Of the rest any part may be there and any other not, in any order: a later
// rename without an earlier one, a name without its bytes, which are then none,
// half of them or as many zeroes. A rename is there or not, as one: file systems
// without a journal of their own, such as FAT and ext2, may leave both names or
// neither, and no vault is safe from that.

// loose are the events before the n-th that nothing has made last, in order.
func (tr *trace) loose(n int) (loose []int) {
	synced, named := map[int]bool{}, map[int]bool{}
	for i := n - 1; i >= 0; i-- {
		last := true
		switch e := tr.events[i]; e.kind {
		case didSyncAll:
			slices.Reverse(loose)
			return loose
		case didSync:
			synced[e.node] = true
		case didSyncDir:
			named[e.node] = true
		case didWrite:
			last = synced[e.node]
		case didCreate, didMkdir, didUnlink:
			last = named[e.dir]
		case didRename:
			last = named[e.dir] || named[e.old]
		}
		if !last {
			loose = append(loose, i)
		}
	}
	slices.Reverse(loose)
	return loose
}

// What there is of a file whose bytes were lost.
const (
	nothing = iota
	beginning
	zeroes
	wreckages
)

// cut is the disk after a power cut at the n-th event that loses some.
func (tr *trace) cut(n int, lost map[int]bool, wreckage int) *model {
	m := tr.start.clone()
	for i, e := range tr.events[:n] {
		switch {
		case !lost[i]:
			m.apply(e)
		case e.kind == didCreate, e.kind == didMkdir:
			m.need(e.node, e.kind == didMkdir) // what is done in it is done to nothing
		case e.kind == didWrite && wreckage == beginning:
			e.data = e.data[:len(e.data)/2]
			m.apply(e)
		case e.kind == didWrite && wreckage == zeroes:
			e.data = strings.Repeat("\x00", len(e.data))
			m.apply(e)
		}
	}
	return m
}

// A cutter chooses what power cuts lose.
type cutter struct {
	rng   *rand.Rand
	seed  maphash.Seed
	tried map[uint64]bool
	few   int // of the cuts that are not always tried, how many are at each event
}

func newCutter(seed uint64, few int) *cutter {
	return &cutter{rng: rand.New(rand.NewPCG(seed, 0)), seed: maphash.MakeSeed(), tried: map[uint64]bool{}, few: few}
}

// at yields disks after power cuts at the n-th event, none twice: with all
// lost, with all but the bytes, and some of these: with one event lost or one
// kept, with the names of some moment and no bytes, and with any of it lost.
func (c *cutter) at(tr *trace, n int, yield func(m *model, what string)) {
	loose := tr.loose(n)
	all, bytes := map[int]bool{}, map[int]bool{}
	for _, i := range loose {
		all[i] = true
		bytes[i] = tr.events[i].kind == didWrite
	}
	try := func(lost map[int]bool, wreckage int, what string) {
		m := tr.cut(n, lost, wreckage)
		if key := c.key(tr.between(n)[0], m.list()); !c.tried[key] {
			c.tried[key] = true
			yield(m, what)
		}
	}
	try(all, nothing, "all lost")
	for w := range wreckages {
		try(bytes, w, fmt.Sprintf("bytes lost, wreckage %d", w))
	}
	if len(loose) == 0 {
		return
	}
	for range c.few {
		one := loose[c.rng.IntN(len(loose))]
		lost := map[int]bool{}
		var what string
		switch c.rng.IntN(5) {
		case 0:
			lost[one] = true
			what = "one lost: " + tr.events[one].step
		case 1:
			maps.Copy(lost, all)
			delete(lost, one)
			what = "one kept: " + tr.events[one].step
		case 2:
			for _, i := range loose {
				lost[i] = i > one || bytes[i]
			}
			what = "names up to " + tr.events[one].step
		default:
			for _, i := range loose {
				if lost[i] = c.rng.IntN(2) == 0; lost[i] {
					what += "; " + tr.events[i].step
				}
			}
			what = "lost: " + strings.TrimPrefix(what, "; ")
		}
		try(lost, c.rng.IntN(wreckages), what)
	}
}

// key is of a disk and of what it may be.
func (c *cutter) key(b *bound, l listing) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	fmt.Fprintln(&h, b.at)
	for _, name := range slices.Sorted(maps.Keys(l)) {
		h.WriteString(name)
		h.WriteByte(0)
		h.WriteString(l[name])
		h.WriteByte(0)
	}
	return h.Sum64()
}

// then is a trace of what was done by a writer after a kill: the power cut that
// comes then can still lose what the dead one did.
func (tr *trace) then(n int, next *trace) *trace {
	return &trace{start: tr.start, events: append(slices.Clone(tr.events[:n]), next.events...), bounds: tr.between(n)}
}

// testSeed is what makes a test that has chosen at random choose so again.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(1)
	if text := os.Getenv("FILEVAULT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FILEVAULT_SEED=%d", seed)
	return seed
}

// TestPowerCut cuts the power at every step of every kind of operation, and
// again while the next writer recovers from that, or from a kill.
func TestPowerCut(t *testing.T) {
	large := play{name: "import of 130", secrets: 2, do: func(ctx context.Context, v *filevault.Vault) error {
		_, err := v.Apply(ctx, "dev", importOf(130)) // which syncs the file system instead of each file
		return err
	}}
	for _, p := range append(plays(t), large) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			few, twice := 5, 1
			switch {
			case thorough():
				few, twice = 100, 10
			case testing.Short():
				few, twice = 1, 0
			}
			tr, j := p.record(t)
			c := newCutter(testSeed(t), few)
			second := newCutter(1, 2)
			cuts, again := 0, 0
			for n := range len(tr.events) + 1 {
				if len(tr.events) > 200 && tr.regular(n) || testing.Short() && n%4 > 0 {
					continue
				}
				may := tr.between(n)
				c.at(tr, n, func(m *model, what string) {
					cuts++
					next := j.try(t, m, may, c.rng.IntN(2) == 0, true)
					if t.Failed() {
						t.Fatalf("power cut after %d of %d events, %s", n, len(tr.events), what)
					}
					if c.rng.IntN(10) >= twice {
						return
					}
					again += j.twice(t, second, next, may, 0, fmt.Sprintf("power cut after %d of %d events, %s, then", n, len(tr.events), what))
				})
				if c.rng.IntN(10) >= twice {
					continue
				}
				next := j.try(t, tr.after(n), may, false, false)
				again += j.twice(t, second, tr.then(n, next), may, n, fmt.Sprintf("kill after %d of %d events, then", n, len(tr.events)))
			}
			t.Logf("%d events, %d power cuts, %d more after a recovery, in %v", len(tr.events), cuts, again, time.Since(start).Round(time.Millisecond))
		})
	}
}

// twice cuts the power in what a writer did after the from-th event of a trace,
// which was to recover and to write one secret.
func (j *judge) twice(t *testing.T, c *cutter, tr *trace, may []*bound, from int, before string) (cuts int) {
	t.Helper()
	tr.bounds = may[:1]
	end := len(tr.events)
	n := from + 1 + c.rng.IntN(end-from)
	if c.rng.IntN(4) == 0 {
		n = end
	}
	written := tr.after(end).list()[j.afterFile()]
	c.at(tr, n, func(m *model, what string) {
		cuts++
		if n == end && m.list()[j.afterFile()] != written {
			t.Error("what was acknowledged is lost")
		}
		j.try(t, m, may, c.rng.IntN(2) == 0, true)
		if t.Failed() {
			for i, e := range tr.events {
				t.Logf("%d %s", i, e)
			}
			t.Fatalf("%s power cut after %d of %d events, %s", before, n, end, what)
		}
	})
	return cuts
}

// TestPowerCutInit: no vault or a whole one, and then the next init works and
// leaves nothing beside it.
func TestPowerCutInit(t *testing.T) {
	t.Parallel()
	few := 6
	if testing.Short() {
		few = 1
	}
	s := stage{dir: t.TempDir(), identity: identity(t).Reveal()}
	o := s.order("", s.dir).options()
	if err := os.Mkdir(filepath.Dir(o.Dir), 0o755); err != nil {
		t.Fatal(err)
	}
	tr := newTrace(t, filepath.Dir(o.Dir))
	v, err := filevault.InitStep(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev", "prod"}}, tr.step)
	if err != nil {
		t.Fatal(err)
	}
	pins := read(t, filepath.Join(o.StateDir, "pins", v.ID()+".toml"))

	dir := t.TempDir()
	o = s.order("", dir).options()
	if err := os.MkdirAll(filepath.Join(o.StateDir, "pins"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := newReplica(t, filepath.Dir(o.Dir))
	c := newCutter(testSeed(t), few)
	cuts, there := 0, 0
	for n := range len(tr.events) + 1 {
		c.at(tr, n, func(m *model, what string) {
			cuts++
			r.set(t, m.list())
			if err := os.WriteFile(filepath.Join(o.StateDir, "pins", v.ID()+".toml"), pins, 0o600); err != nil {
				t.Fatal(err)
			}
			v, err := filevault.Open(t.Context(), o)
			if vault.KindOf(err) == vault.KindNoVault && n < len(tr.events) {
				v, err = filevault.Init(t.Context(), filevault.InitOptions{Options: o, Envs: []vault.Env{"dev", "prod"}})
				if list, _ := os.ReadDir(r.dir); len(list) != 1 {
					t.Errorf("beside the vault: %v", list)
				}
			} else {
				there++
			}
			if err != nil {
				t.Error(err)
			} else {
				set(t, v, "dev", "a", "A=1")
				clean(t, v, "dev", "prod")
			}
			os.Remove(file(o, lockFile)) // which a replica leaves alone
			r.look(t, nil)
			if t.Failed() {
				t.Fatalf("power cut after %d of %d events, %s", n, len(tr.events), what)
			}
		})
	}
	if there == 0 || there == cuts {
		t.Errorf("of %d power cuts, %d left a vault", cuts, there)
	}
	t.Logf("%d events, %d power cuts", len(tr.events), cuts)
}

// TestPowerCutMerge: a merge that the power was cut under is done by the next one.
func TestPowerCutMerge(t *testing.T) {
	t.Parallel()
	one := 3 // of so many power cuts
	switch {
	case thorough():
		one = 1
	case testing.Short():
		one = 16
	}
	s, copyOf := conflicted(t)
	o := s.order("", copyOf()).options()
	v := open(t, o)
	tr := newTrace(t, o.Dir)
	filevault.SetStep(v, tr.step)
	if r, err := v.Merge(t.Context(), engine.MergeOptions{}); err != nil || !r.Done() {
		t.Fatalf("%v\n%s", err, say(r))
	}
	c := newCutter(testSeed(t), 4)
	cuts, all := 0, 0
	for n := range len(tr.events) + 1 {
		c.at(tr, n, func(m *model, what string) {
			if all++; all%one > 0 {
				return
			}
			cuts++
			dir := copyOf()
			f := &fork{t, dir, s.order("", dir).options()}
			if err := os.RemoveAll(f.o.Dir); err != nil {
				t.Fatal(err)
			}
			r := newReplica(t, f.o.Dir)
			r.set(t, m.list())
			f.merge(nobody, false)
			f.finish("s/00: A=ours B=theirs", "s/01: A=ours B=theirs", "base: A=base B=base")
			if t.Failed() {
				t.Fatalf("power cut after %d of %d events, %s", n, len(tr.events), what)
			}
			os.RemoveAll(dir)
		})
	}
	t.Logf("%d events, %d of %d power cuts", len(tr.events), cuts, all)
}

package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/vaulttest"
)

// TestHonestMerges is the simulation of filevault §3.8: two branches write,
// delete, seal and rotate, git puts together what it can, file by file, and
// Merge the rest. None of that is an alarm, no field that only one side changed
// is lost, and everything that sets a secret back below the seal, removes or
// resurrects it, is found; a branch that somebody without the key made of old
// versions brings none of their values up again.
func TestHonestMerges(t *testing.T) {
	vaults, rounds := 24, 100
	if testing.Short() {
		vaults = 2
	}
	var sum simulation
	for seed := range uint64(vaults) {
		s := &simulation{
			t: t, v: vaulttest.New(t, dev), rnd: rand.New(rand.NewPCG(1, seed)), past: map[vault.Path]map[string]past{}, history: history{},
		}
		for range 20 {
			s.step(s.history)
		}
		for round := range rounds {
			s.round()
			if round%5 == 4 {
				s.attack()
			}
			s.thief()
			if t.Failed() {
				t.Fatalf("in round %d of seed %d", round, seed)
			}
		}
		sum.conflicts += s.conflicts
		sum.seals += s.seals
		sum.adopted += s.adopted
		sum.editors += s.editors
		sum.thieves += s.thieves
		sum.caught += s.caught
		sum.attacks += s.attacks
	}
	if sum.caught != sum.attacks || sum.attacks < vaults*rounds {
		t.Errorf("%d of %d attacks were caught", sum.caught, sum.attacks)
	}
	t.Logf("%d merges with %d secrets and %d seals in conflict, %d adopted, %d taken in an editor; %d attacks, %d branches of a thief",
		vaults*rounds, sum.conflicts, sum.seals, sum.adopted, sum.editors, sum.attacks, sum.thieves)
}

type simulation struct {
	t    *testing.T
	v    *vaulttest.Vault
	rnd  *rand.Rand
	past map[vault.Path]map[string]past // every record that ever was, by its bytes
	n    int

	history history // what HEAD has had

	conflicts, seals, adopted, editors, thieves int
	caught, attacks                             int
}

// history is what of each secret was committed on the way to a commit.
type history map[vault.Path][][]byte

func (h history) clone() history {
	c := history{}
	for path, list := range h {
		c[path] = slices.Clone(list)
	}
	return c
}

func (h history) add(o history) {
	for path, list := range o {
		for _, raw := range list {
			if !slices.ContainsFunc(h[path], func(x []byte) bool { return string(x) == string(raw) }) {
				h[path] = append(h[path], raw)
			}
		}
	}
}

type past struct {
	version uint64
	deleted bool
}

var simPaths = []vault.Path{"a", "b", "c/d", "c/e", "f", "g", "h", "i"}

// step is one thing that a person does, and commits as a rule.
func (s *simulation) step(h history) {
	s.t.Helper()
	path := simPaths[s.rnd.IntN(len(simPaths))]
	switch k := s.rnd.IntN(10); {
	case k == 0:
		if _, err := s.v.WriteSeal(s.t.Context(), dev); err != nil {
			s.t.Fatal(err)
		}
		return
	case k == 1:
		write(s.t, s.v, dev, vault.Change{Path: path, Was: vault.Any, Delete: true})
	default:
		s.n++
		write(s.t, s.v, dev, vault.Change{Path: path, Was: vault.Any, Set: []vault.Field{set(string(rune('A'+k%4)), fmt.Sprint(s.n))}})
	}
	if s.rnd.IntN(4) > 0 {
		s.commit(h)
	}
}

func (s *simulation) commit(h history) {
	for name, raw := range s.files() {
		if strings.HasPrefix(name, "/") {
			continue
		}
		path := vault.Path(name)
		h.add(history{path: {raw}})
		info, _, err := record.ParseHeader(raw)
		if err != nil {
			s.t.Fatal(err)
		}
		if s.past[path] == nil {
			s.past[path] = map[string]past{}
		}
		s.past[path][string(raw)] = past{info.Version, info.Deleted}
	}
}

// sealFile is the seal among files; other blobs begin with a slash too.
const sealFile = "/" + engine.SealBlob

// files is what git sees.
func (s *simulation) files() map[string][]byte {
	files := map[string][]byte{}
	for name, err := range s.v.Memory.Blobs(s.t.Context(), dev, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		files["/"+name] = s.v.Memory.PeekBlob(dev, name)
	}
	for r, err := range s.v.Memory.Heads(s.t.Context(), dev, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		files[string(r.Path)] = r.Raw
	}
	return files
}

// put makes a file what it is on a branch; nil removes it.
func (s *simulation) put(name string, raw []byte) {
	switch blob, isBlob := strings.CutPrefix(name, "/"); {
	case isBlob && raw == nil:
		s.v.Memory.EraseBlob(dev, blob)
	case isBlob:
		s.v.Memory.PokeBlob(dev, blob, raw)
	case raw == nil:
		s.v.Memory.Erase(dev, vault.Path(name))
	default:
		s.v.Memory.Poke(dev, vault.Path(name), raw)
	}
}

// round is two branches and their merge.
func (s *simulation) round() {
	s.t.Helper()
	start := s.v.Memory.Snapshot()
	s.commit(s.history)
	base := s.files()
	rotates := s.rnd.IntN(20) // 0: ours, 1: theirs, else nobody
	branch := func(n int) (map[string][]byte, history) {
		h := s.history.clone()
		steps := s.rnd.IntN(6)
		at := s.rnd.IntN(steps + 1)
		for i := range steps + 1 {
			if i == at && rotates == n {
				if err := s.v.Rotate(s.t.Context(), dev, "", []engine.GrantTo{s.v.Person.Grant()}); err != nil {
					s.t.Fatal(err)
				}
			}
			if i < steps {
				s.step(h)
			}
		}
		s.commit(h)
		return s.files(), h
	}
	theirs, theirHistory := branch(1)
	s.v.Memory.Restore(start)
	ours, ourHistory := branch(0)
	s.merge(base, ours, theirs, ourHistory, theirHistory)
	ourHistory.add(theirHistory)
	s.history = ourHistory
	s.commit(s.history)
	s.clean()
}

func (s *simulation) clean() {
	s.t.Helper()
	for f := range s.v.Verify(s.t.Context(), dev) {
		if f.Err != nil {
			s.t.Fatalf("a false alarm: %v", f.Err)
		}
	}
}

// merge puts theirs to ours, which is what the store holds.
func (s *simulation) merge(base, ours, theirs map[string][]byte, ourHistory, theirHistory history) {
	s.t.Helper()
	names := map[string]bool{}
	for _, m := range []map[string][]byte{base, ours, theirs} {
		for name := range m {
			names[name] = true
		}
	}
	var (
		inputs []engine.MergeInput
		sealed *engine.SealInput
		editor = s.rnd.IntN(4) == 0
		taken  = map[vault.Path]bool{} // in an editor
	)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		same := func(a, b map[string][]byte) bool { return string(a[name]) == string(b[name]) }
		switch {
		case same(base, theirs), same(ours, theirs):
		case same(base, ours):
			s.put(name, theirs[name])
		case name == sealFile:
			s.seals++
			sealed = &engine.SealInput{Ours: ours[name], Theirs: theirs[name]}
			s.put(name, []byte("<<<<<<< ours\n"))
		case strings.HasPrefix(name, "/"):
			s.t.Fatalf("%s is in conflict", name)
		default:
			s.conflicts++
			path := vault.Path(name)
			// Theirs may be the base, which a rotation wrapped anew: to take that is
			// to set ours back, and is an alarm.
			was, _ := record.BodyHash(base[name])
			is, _ := record.BodyHash(theirs[name])
			if editor && ours[name] != nil && theirs[name] != nil && was != is && s.rnd.IntN(2) == 0 {
				s.editors++
				s.put(name, theirs[name])
				taken[path] = true
				continue
			}
			inputs = append(inputs, engine.MergeInput{
				Path: path, Base: base[name], Ours: ours[name], Theirs: theirs[name], PastOurs: ourHistory[path], PastTheirs: theirHistory[path],
			})
			s.put(name, []byte("<<<<<<< ours\n"))
		}
	}
	// What an editor took whole is behind the seal, or is not. Merge knows.
	seals := [][]byte{s.files()[sealFile]}
	if sealed != nil {
		seals = [][]byte{sealed.Ours, sealed.Theirs}
	}
	for path := range taken {
		hash, _ := record.BodyHash(theirs[string(path)])
		info, _, _ := record.ParseHeader(theirs[string(path)])
		for _, raw := range seals {
			e, ok, err := record.LookupSeal(raw, path)
			if err != nil {
				s.t.Fatal(err)
			}
			// History has the sealed version if it was committed.
			i := slices.IndexFunc(ourHistory[path], func(x []byte) bool { h, _ := record.BodyHash(x); return h == e.Hash })
			if !ok || info.Version > e.Version || hash == e.Hash {
				continue
			}
			if i < 0 {
				// It was not, and nobody can merge it: ours is taken, as the message says.
				s.put(string(path), ours[string(path)])
				inputs = append(inputs, engine.MergeInput{
					Path: path, Base: base[string(path)], Ours: ours[string(path)], Theirs: theirs[string(path)], PastOurs: ourHistory[path], PastTheirs: theirHistory[path],
				})
			} else {
				inputs = append(inputs, engine.MergeInput{
					Path: path, Ours: ourHistory[path][i], Theirs: theirs[string(path)], PastOurs: ourHistory[path], PastTheirs: theirHistory[path], Sealed: true,
				})
			}
			break
		}
	}
	res, err := s.v.Merge(s.t.Context(), dev, inputs, sealed, engine.MergeOptions{
		Adopt:  true,
		Choose: func(engine.Conflict) (engine.Side, error) { return engine.Side(1 + s.rnd.IntN(2)), nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.adopted += len(res.Adopted)
	for i, m := range res.Records {
		if m.Err != nil {
			s.t.Fatalf("%v\nsealed %v, base %s, ours %s, theirs %s; seals %q", m.Err, inputs[i].Sealed,
				say(inputs[i].Base), say(inputs[i].Ours), say(inputs[i].Theirs), lines(seals, m.Path))
		}
		if !inputs[i].Sealed {
			s.nothingLost(inputs[i])
		}
	}
	if res.SealErr != nil {
		s.t.Fatal(res.SealErr)
	}
}

// say and lines are for messages.
func say(raw []byte) string {
	info, gen, err := record.ParseHeader(raw)
	hash, _ := record.BodyHash(raw)
	if err != nil {
		return "none"
	}
	return fmt.Sprintf("%d %s key %d deleted %v", info.Version, hash, gen, info.Deleted)
}

func lines(seals [][]byte, path vault.Path) []string {
	var out []string
	for _, raw := range seals {
		e, ok, _ := record.LookupSeal(raw, path)
		out = append(out, fmt.Sprint(e, ok))
	}
	return out
}

// fields are the fields of a version, nil if it has none.
func (s *simulation) fields(path vault.Path, raw []byte) map[string]string {
	if raw == nil {
		return nil
	}
	v, _, err := s.v.OpenFile(s.t.Context(), dev, path, raw)
	if err != nil {
		s.t.Fatal(err)
	}
	fields := map[string]string{}
	for _, f := range v.Values {
		fields[string(f.Name)] = string(f.Value.Reveal())
	}
	return fields
}

// nothingLost: what only one side changed is as that side has it.
func (s *simulation) nothingLost(in engine.MergeInput) {
	s.t.Helper()
	base, ours, theirs, now := s.fields(in.Path, in.Base), s.fields(in.Path, in.Ours), s.fields(in.Path, in.Theirs), s.fields(in.Path, s.v.Memory.Peek(dev, in.Path))
	if len(ours) == 0 || len(theirs) == 0 {
		return // deleted, and asked about
	}
	for _, name := range []string{"A", "B", "C", "D"} {
		b, o, t, n := base[name], ours[name], theirs[name], now[name]
		switch {
		case o == b && n != t, t == b && n != o:
			s.t.Errorf("%s %s was %q, became %q here and %q there, and is %q", in.Path, name, b, o, t, n)
		case n != o && n != t:
			s.t.Errorf("%s %s became %q here and %q there, and is %q", in.Path, name, o, t, n)
		}
	}
}

// attack does to every sealed secret everything that the seal is to find, and
// counts how often it was tried and how often found.
func (s *simulation) attack() {
	before := s.v.Memory.Snapshot()
	sealed, err := record.ParseSeal(s.v.Memory.PeekBlob(dev, engine.SealBlob))
	if err != nil {
		s.t.Fatal(err)
	}
	try := func(path vault.Path) {
		s.attacks++
		_, err := s.v.Get(s.t.Context(), dev, path)
		if vault.KindOf(err) == vault.KindTampered {
			s.caught++
		}
		s.v.Memory.Restore(before)
	}
	for _, e := range sealed.Entries {
		if !e.Deleted {
			s.v.Memory.Erase(dev, e.Path)
			try(e.Path)
		}
		const some = 12 // of its old versions, which become many
		n := 0
		for raw, p := range s.past[e.Path] {
			if n++; n > some {
				break
			}
			hash, _ := record.BodyHash([]byte(raw))
			if p.version < e.Version || p.version == e.Version && hash != e.Hash {
				s.v.Memory.Poke(dev, e.Path, []byte(raw))
				try(e.Path)
			}
		}
	}
}

// thief merges a branch of somebody who can write to the repository and holds
// no key: one secret is an old version of itself in it, on whatever base.
func (s *simulation) thief() {
	s.t.Helper()
	path := simPaths[s.rnd.IntN(len(simPaths))]
	old := s.history[path]
	if len(old) < 3 {
		return
	}
	before := s.v.Memory.Snapshot()
	defer s.v.Memory.Restore(before)
	ours := s.files()[string(path)] // none if a rotation took the tombstone
	base, theirs := old[s.rnd.IntN(len(old))], old[s.rnd.IntN(len(old))]
	s.v.Memory.Poke(dev, path, []byte("<<<<<<< ours\n"))
	res, err := s.v.Merge(s.t.Context(), dev, []engine.MergeInput{{Path: path, Base: base, Ours: ours, Theirs: theirs, PastOurs: old, PastTheirs: [][]byte{base, theirs}}}, nil,
		engine.MergeOptions{Adopt: true, Choose: func(engine.Conflict) (engine.Side, error) { return engine.Theirs, nil }})
	if err != nil {
		s.t.Fatal(err)
	}
	s.thieves++
	if err := res.Records[0].Err; err != nil {
		if ours != nil || vault.KindOf(err) != vault.KindTampered {
			s.t.Error(err)
		}
	} else if got, want := s.fields(path, s.v.Memory.Peek(dev, path)), s.fields(path, ours); !maps.Equal(got, want) {
		s.t.Errorf("a thief made %v of %v", got, want)
	}
}

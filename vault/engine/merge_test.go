package engine_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/vaulttest"
)

// TestHonestMerges is the simulation of filevault §3.8: two branches write,
// delete and seal, and git puts them together file by file. None of that is an
// alarm, with the seal as the merge left it; and everything that sets a secret
// back below the seal, removes or resurrects it, is.
func TestHonestMerges(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	v := vaulttest.New(t, dev)
	sim := &simulation{t: t, v: v, rnd: rnd, past: map[vault.Path]map[string]past{}}
	for range 20 {
		sim.step()
	}
	var caught, attacks int
	for round := range rounds {
		base := v.Memory.Snapshot()
		files := sim.files()
		for range rnd.IntN(6) {
			sim.step()
		}
		ours, oursState := sim.files(), v.Memory.Snapshot()
		v.Memory.Restore(base)
		for range rnd.IntN(6) {
			sim.step()
		}
		theirs := sim.files()
		v.Memory.Restore(oursState)
		sim.merge(files, ours, theirs)
		for f := range v.Verify(t.Context(), dev) {
			if f.Err != nil {
				t.Fatalf("round %d: a false alarm: %v", round, f.Err)
			}
		}
		c, a := sim.attack()
		caught, attacks = caught+c, attacks+a
	}
	if caught != attacks || attacks < 10*rounds {
		t.Errorf("%d of %d attacks were caught", caught, attacks)
	}
	t.Logf("%d merges, %d attacks", rounds, attacks)
}

type simulation struct {
	t    *testing.T
	v    *vaulttest.Vault
	rnd  *rand.Rand
	past map[vault.Path]map[string]past // every record that ever was, by its bytes
	n    int
}

type past struct {
	version uint64
	deleted bool
}

var simPaths = []vault.Path{"a", "b", "c/d", "c/e", "f", "g", "h", "i"}

// step is one thing that a person does.
func (s *simulation) step() {
	s.t.Helper()
	path := simPaths[s.rnd.IntN(len(simPaths))]
	switch k := s.rnd.IntN(10); {
	case k == 0:
		if _, err := s.v.WriteSeal(s.t.Context(), dev); err != nil {
			s.t.Fatal(err)
		}
		return
	case k <= 2:
		write(s.t, s.v, dev, vault.Change{Path: path, Was: vault.Any, Delete: true})
	default:
		s.n++
		write(s.t, s.v, dev, vault.Change{Path: path, Was: vault.Any, Set: []vault.Field{set("A", fmt.Sprint(s.n))}})
	}
	s.remember(path)
}

func (s *simulation) remember(path vault.Path) {
	raw, ok := s.files()[string(path)]
	if !ok {
		return // deleted before it was there
	}
	info, _, err := record.ParseHeader(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.past[path] == nil {
		s.past[path] = map[string]past{}
	}
	s.past[path][string(raw)] = past{info.Version, info.Deleted}
}

// files is what git sees: the secrets, and the seal as "".
func (s *simulation) files() map[string][]byte {
	files := map[string][]byte{"": s.v.Memory.PeekBlob(dev, engine.SealBlob)}
	for r, err := range s.v.Memory.Heads(s.t.Context(), dev, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		files[string(r.Path)] = r.Raw
	}
	return files
}

// merge puts theirs to ours, which is what the store holds. Where both sides
// changed a secret, it writes a version over the later of both, as "vault
// merge" does; of two seals it takes one.
func (s *simulation) merge(base, ours, theirs map[string][]byte) {
	s.t.Helper()
	same := func(a, b map[string][]byte, name string) bool { return string(a[name]) == string(b[name]) }
	if !same(base, theirs, "") && (same(base, ours, "") || s.rnd.IntN(2) == 0) {
		s.v.Memory.PokeBlob(dev, engine.SealBlob, theirs[""])
	}
	sealed, err := record.ParseSeal(s.v.Memory.PeekBlob(dev, engine.SealBlob))
	if err != nil {
		s.t.Fatal(err)
	}
	lines := map[vault.Path]record.SealedEntry{}
	for _, e := range sealed.Entries {
		lines[e.Path] = e
	}
	var conflicts []vault.Path
	for _, path := range simPaths {
		name := string(path)
		if same(base, theirs, name) || same(ours, theirs, name) {
			continue
		}
		pick := theirs[name]
		if !same(base, ours, name) {
			conflicts = append(conflicts, path)
			pick = later(s.t, ours[name], theirs[name], lines[path].Hash)
		}
		s.v.Memory.Poke(dev, path, pick)
	}
	for _, path := range conflicts {
		s.n++
		write(s.t, s.v, dev, vault.Change{Path: path, Was: vault.Any, Set: []vault.Field{set("A", fmt.Sprint(s.n))}})
		s.remember(path)
	}
}

// later is the record of the higher version, of two equal ones that which is sealed.
func later(t *testing.T, a, b []byte, sealed record.Hash) []byte {
	t.Helper()
	x, _, err := record.ParseHeader(a)
	if err != nil {
		t.Fatal(err)
	}
	y, _, err := record.ParseHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	if hash, _ := record.BodyHash(b); y.Version > x.Version || y.Version == x.Version && hash == sealed {
		return b
	}
	return a
}

// attack does to every sealed secret everything that the seal is to find, and
// returns how often it was found and how often it was tried.
func (s *simulation) attack() (caught, tried int) {
	before := s.v.Memory.Snapshot()
	sealed, err := record.ParseSeal(s.v.Memory.PeekBlob(dev, engine.SealBlob))
	if err != nil {
		s.t.Fatal(err)
	}
	try := func(path vault.Path) {
		tried++
		_, err := s.v.Get(s.t.Context(), dev, path)
		if vault.KindOf(err) == vault.KindTampered {
			caught++
		}
		s.v.Memory.Restore(before)
	}
	for _, e := range sealed.Entries {
		if !e.Deleted {
			s.v.Memory.Erase(dev, e.Path)
			try(e.Path)
		}
		for raw, p := range s.past[e.Path] {
			hash, _ := record.BodyHash([]byte(raw))
			if p.version < e.Version || p.version == e.Version && hash != e.Hash {
				s.v.Memory.Poke(dev, e.Path, []byte(raw))
				try(e.Path)
			}
		}
	}
	return caught, tried
}

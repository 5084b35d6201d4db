package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/vaulttest"
)

// The attacker of this file can write every byte of the store and has no key.

const (
	dev  = vaulttest.Dev
	prod = vaulttest.Prod
)

// canary is in every value of the scene, and may be in no error.
const canary = "hunter2"

func set(name, value string) vault.Field { return vaulttest.Set(name, canary+value) }

func write(t testing.TB, v vault.Writer, env vault.Env, changes ...vault.Change) {
	t.Helper()
	if _, err := v.Apply(t.Context(), env, changes); err != nil {
		t.Fatal(err)
	}
}

// scene is an environment with a past:
//
//	app    versions 1 2 3 sealed, 4 after the seal
//	db     version 1 sealed
//	gone   1, deleted in 2, sealed
//	later  version 1, after the seal
type scene struct {
	*vaulttest.Vault
	raw   map[string][]byte // "app 3"
	seals [][]byte          // as made by CreateEnv, then by WriteSeal
}

func newScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{Vault: vaulttest.New(t), raw: map[string][]byte{}}
	keep := func(env vault.Env, path vault.Path) {
		raw := s.Memory.Peek(env, path)
		info, _, err := record.ParseHeader(raw)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s %d", path, info.Version)
		if env != dev {
			name = string(env) + " " + name
		}
		s.raw[name] = raw
	}
	for i := range 3 {
		write(t, s, dev, vault.Change{Path: "app", Was: vault.Any, Set: []vault.Field{set("A", fmt.Sprint(i)), set("B", "b"), set("C", "c")}, Note: ptr(fmt.Sprint("note ", i))})
		keep(dev, "app")
	}
	write(t, s, dev, vault.Change{Path: "db", Set: []vault.Field{set("A", "0"), set("B", "b"), set("C", "c")}})
	keep(dev, "db")
	write(t, s, dev, vault.Change{Path: "gone", Set: []vault.Field{set("A", "1")}})
	keep(dev, "gone")
	write(t, s, dev, vault.Change{Path: "gone", Was: 1, Delete: true})
	keep(dev, "gone")
	for range 3 {
		write(t, s, prod, vault.Change{Path: "app", Was: vault.Any, Set: []vault.Field{set("A", fmt.Sprint("p", len(s.raw)))}})
		keep(prod, "app")
	}
	s.seals = append(s.seals, s.Memory.PeekBlob(dev, engine.SealBlob))
	s.seal(t, dev)
	s.seals = append(s.seals, s.Memory.PeekBlob(dev, engine.SealBlob))
	write(t, s, dev, vault.Change{Path: "app", Was: 3, Set: []vault.Field{set("A", "3")}})
	keep(dev, "app")
	write(t, s, dev, vault.Change{Path: "later", Set: []vault.Field{set("A", "1")}})
	keep(dev, "later")
	for f := range s.Verify(t.Context(), dev) {
		if f.Err != nil {
			t.Fatalf("before any attack: %v", f.Err)
		}
	}
	return s
}

// reopen opens the vault in another way.
func (s *scene) reopen(options ...func(*engine.Config)) {
	s.Engine = s.Person.Engine(vaulttest.VaultID, options...)
}

func (s *scene) seal(t testing.TB, env vault.Env) uint64 {
	t.Helper()
	seq, err := s.WriteSeal(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func ptr[T any](v T) *T { return &v }

// edit replaces the one place in raw that holds old.
func edit(t testing.TB, raw []byte, old, new string) []byte {
	t.Helper()
	if n := bytes.Count(raw, []byte(old)); n != 1 {
		t.Fatalf("%q is there %d times", old, n)
	}
	return bytes.Replace(raw, []byte(old), []byte(new), 1)
}

// line is the line of raw that begins with prefix, and swap puts that of other in its place.
func line(t testing.TB, raw []byte, prefix string) string {
	t.Helper()
	for l := range strings.Lines(string(raw)) {
		if strings.HasPrefix(l, prefix) {
			return l
		}
	}
	t.Fatalf("no line %q", prefix)
	return ""
}

func swap(t testing.TB, raw, other []byte, prefix string) []byte {
	t.Helper()
	return edit(t, raw, line(t, raw, prefix), line(t, other, prefix))
}

// refused checks that a path of dev is of no use any more, in whatever way one comes to it.
func (s *scene) refused(t *testing.T, path vault.Path, kinds ...vault.Kind) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, err error) {
		t.Helper()
		for _, k := range kinds {
			if vault.KindOf(err) == k {
				if strings.Contains(err.Error(), canary) {
					t.Errorf("%s: a value is in the error", what)
				}
				if !strings.Contains(err.Error(), string(path)) {
					t.Errorf("%s: the error does not name the secret: %v", what, err)
				}
				return
			}
		}
		t.Errorf("%s: %v, want an error of kind %v", what, err, kinds)
	}
	got, err := s.Get(ctx, dev, path)
	check("Get", err)
	if len(got.Values) > 0 {
		t.Error("Get returns values beside its error")
	}
	many, err := s.GetMany(ctx, dev, []vault.Path{path, "db"})
	check("GetMany", err)
	all, err := s.GetAll(ctx, dev, "")
	check("GetAll", err)
	if many != nil || all != nil {
		t.Error("values are returned beside an error")
	}
	found := false
	for f := range s.Verify(ctx, dev) {
		if f.Path == path && f.Err != nil {
			check("Verify", f.Err)
			found = true
		}
	}
	if !found {
		t.Error("Verify finds nothing")
	}
	before := s.Memory.Snapshot()
	_, err = s.Apply(ctx, dev, []vault.Change{{Path: path, Was: vault.Any, Set: []vault.Field{set("A", "new")}}})
	check("Apply", err)
	_, err = s.Apply(ctx, dev, []vault.Change{{Path: path, Was: vault.Any, Delete: true}})
	check("Apply of a deletion", err)
	_, err = s.WriteSeal(ctx, dev)
	check("WriteSeal", err)
	err = s.Rotate(ctx, dev, "", []engine.GrantTo{s.Person.Grant()})
	check("Rotate", err)
	if !s.Memory.Snapshot().Equal(before) {
		t.Error("something was written all the same")
	}
}

// works checks that a path of dev is as good as ever.
func (s *scene) works(t *testing.T, path vault.Path) {
	t.Helper()
	if _, err := s.Get(t.Context(), dev, path); err != nil {
		t.Errorf("%s was not attacked: %v", path, err)
	}
}

func TestForgedRecords(t *testing.T) {
	// Somebody else's vault, of the same id, with the same contents, under another key.
	stranger := newScene(t)
	other := vaulttest.NewMemory()
	person := vaulttest.NewPerson(t, vaulttest.Member, other)
	elsewhere := person.Engine("v_0000000000000000")
	if err := elsewhere.CreateEnv(t.Context(), dev, []engine.GrantTo{person.Grant()}); err != nil {
		t.Fatal(err)
	}
	write(t, elsewhere, dev, vault.Change{Path: "app", Set: []vault.Field{set("A", "x")}})
	foreign := other.Peek(dev, "app")

	for _, c := range []struct {
		name  string
		kind  vault.Kind
		forge func(t *testing.T, s *scene) []byte // to be put in the place of app
	}{
		{"another path", vault.KindTampered, func(t *testing.T, s *scene) []byte { return s.raw["db 1"] }},
		{"another path, renamed", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["db 1"], "path db\n", "path app\n") }},
		{"another path of a higher version", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			return edit(t, edit(t, s.raw["db 1"], "path db\n", "path app\n"), "version 1\n", "version 9\nprev 8 00000000000000000000000000000000\n")
		}},
		{"another environment", vault.KindTampered, func(t *testing.T, s *scene) []byte { return s.raw["prod app 3"] }},
		{"another environment, renamed", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["prod app 3"], "env prod\n", "env dev\n") }},
		{"another vault", vault.KindTampered, func(t *testing.T, s *scene) []byte { return foreign }},
		{"another vault, renamed", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			return edit(t, foreign, "v_0000000000000000", vaulttest.VaultID)
		}},
		{"under a stranger's key", vault.KindTampered, func(t *testing.T, s *scene) []byte { return stranger.raw["app 4"] }},
		{"set back below the seal", vault.KindTampered, func(t *testing.T, s *scene) []byte { return s.raw["app 2"] }},
		{"set back, with a new number", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 2"], "version 2\n", "version 5\n") }},
		{"a field of the version before", vault.KindTampered, func(t *testing.T, s *scene) []byte { return swap(t, s.raw["app 4"], s.raw["app 3"], "= A ") }},
		{"a field of another secret", vault.KindTampered, func(t *testing.T, s *scene) []byte { return swap(t, s.raw["app 4"], s.raw["db 1"], "= B ") }},
		{"a field less", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			return edit(t, s.raw["app 4"], line(t, s.raw["app 4"], "= B "), "")
		}},
		{"a field renamed", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "\n= A ", "\n= AA ") }},
		{"a field said to be new", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "\n= B 1 ", "\n= B 4 ") }},
		{"fields swapped", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			raw := s.raw["app 4"]
			b, c := line(t, raw, "= B "), line(t, raw, "= C ")
			return edit(t, edit(t, raw, b, strings.Replace(c, "= C", "= B", 1)), c, strings.Replace(b, "= B", "= C", 1))
		}},
		{"header, mac and key of two versions", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			return swap(t, swap(t, s.raw["app 4"], s.raw["app 3"], "mac "), s.raw["app 3"], "key ")
		}},
		{"all but the head of another version", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			raw := s.raw["app 4"]
			for _, prefix := range []string{"= A ", "= B ", "= C ", "mac ", "key "} {
				raw = swap(t, raw, s.raw["app 3"], prefix)
			}
			return raw
		}},
		{"key of another version", vault.KindTampered, func(t *testing.T, s *scene) []byte { return swap(t, s.raw["app 4"], s.raw["app 3"], "key ") }},
		{"mac of another version", vault.KindTampered, func(t *testing.T, s *scene) []byte { return swap(t, s.raw["app 4"], s.raw["app 3"], "mac ") }},
		{"another generation", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "key 1 ", "key 2 ") }},
		{"another author", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "by alice@laptop", "by mallory") }},
		{"another time", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "at 2026", "at 2027") }},
		{"another note", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "note note 2", "note leaked") }},
		{"a tag more", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "\nnote ", "\ntags x\nnote ") }},
		{"an unknown header more", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "note 2\n", "note 2\nowner me\n") }},
		{"another former version", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["app 4"], "\nprev 3 ", "\nprev 2 ") }},
		{"made a tombstone", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			raw := s.raw["app 4"]
			for _, f := range []string{"= A ", "= B ", "= C "} {
				raw = edit(t, raw, line(t, raw, f), "")
			}
			return edit(t, raw, "\nmac ", "\ndeleted\nmac ")
		}},
		{"the tombstone of another secret", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.raw["gone 2"], "path gone", "path app") }},
		{"both sides of a merge", vault.KindUnmerged, func(t *testing.T, s *scene) []byte {
			return []byte("<<<<<<< ours\n" + string(s.raw["app 3"]) + "=======\n" + string(s.raw["app 4"]) + ">>>>>>> theirs\n")
		}},
		{"a newer format", vault.KindVersion, func(t *testing.T, s *scene) []byte {
			return edit(t, s.raw["app 4"], "envrun-secret v1", "envrun-secret v2")
		}},
		{"a header that must be understood", vault.KindVersion, func(t *testing.T, s *scene) []byte {
			return edit(t, s.raw["app 4"], "note 2\n", "note 2\n!sealed-twice yes\n")
		}},
		{"another kind of file", vault.KindMalformed, func(t *testing.T, s *scene) []byte { return s.seals[1] }},
		{"nothing", vault.KindMalformed, func(t *testing.T, s *scene) []byte { return nil }},
		{"twice", vault.KindMalformed, func(t *testing.T, s *scene) []byte { return append(bytes.Clone(s.raw["app 4"]), s.raw["app 4"]...) }},
		{"something below", vault.KindMalformed, func(t *testing.T, s *scene) []byte { return append(bytes.Clone(s.raw["app 4"]), "note 3\n"...) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.Memory.Poke(dev, "app", c.forge(t, s))
			s.refused(t, "app", c.kind)
			s.works(t, "db")
			s.works(t, "later")
		})
	}
}

func TestSwappedRecords(t *testing.T) {
	s := newScene(t)
	s.Memory.Poke(dev, "app", s.raw["db 1"])
	s.Memory.Poke(dev, "db", s.raw["app 4"])
	s.refused(t, "app", vault.KindTampered)
	_, err := s.Get(t.Context(), dev, "db")
	wantKind(t, err, vault.KindTampered)
	n := 0
	for _, err := range s.List(t.Context(), dev, "") {
		if err != nil {
			wantKind(t, err, vault.KindTampered)
			n++
		}
	}
	if n != 2 {
		t.Errorf("List finds fault with %d records", n)
	}
}

// TestEveryByte changes one byte at a time, and every line's end to what
// Windows has, which is the one change that may pass.
func TestEveryByte(t *testing.T) {
	s := newScene(t)
	raw := s.raw["app 4"]
	for i := range raw {
		for _, c := range []byte{raw[i] ^ 1, raw[i] ^ 0x20, 0, '\n', ' '} {
			if c == raw[i] {
				continue
			}
			changed := bytes.Clone(raw)
			changed[i] = c
			s.Memory.Poke(dev, "app", changed)
			if _, err := s.Get(t.Context(), dev, "app"); err == nil {
				t.Fatalf("byte %d changed from %q to %q, and nobody notices", i, raw[i], c)
			} else if strings.Contains(err.Error(), canary) {
				t.Fatal("a value is in the error")
			}
		}
	}
	s.Memory.Poke(dev, "app", bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))
	s.works(t, "app")
	for n := range raw {
		s.Memory.Poke(dev, "app", raw[:n])
		if _, err := s.Get(t.Context(), dev, "app"); err == nil {
			t.Fatalf("cut to %d bytes, and nobody notices", n)
		}
	}
}

func TestEveryByteOfTheSeal(t *testing.T) {
	s := newScene(t)
	raw := s.seals[1]
	for i := range raw {
		for _, c := range []byte{raw[i] ^ 1, '\n', ' '} {
			if c == raw[i] {
				continue
			}
			changed := bytes.Clone(raw)
			changed[i] = c
			s.Memory.PokeBlob(dev, engine.SealBlob, changed)
			if _, err := s.Get(t.Context(), dev, "later"); err == nil {
				t.Fatalf("byte %d changed from %q to %q, and nobody notices", i, raw[i], c)
			}
		}
	}
	for n := range raw {
		s.Memory.PokeBlob(dev, engine.SealBlob, raw[:n])
		if _, err := s.Get(t.Context(), dev, "later"); err == nil {
			t.Fatalf("cut to %d bytes, and nobody notices", n)
		}
	}
}

func TestRemovedAndPutBack(t *testing.T) {
	ctx := context.Background()
	t.Run("removed", func(t *testing.T) {
		s := newScene(t)
		s.Memory.Erase(dev, "app")
		s.refused(t, "app", vault.KindTampered)
		s.works(t, "db")
	})
	t.Run("put back", func(t *testing.T) {
		s := newScene(t)
		s.Memory.Poke(dev, "gone", s.raw["gone 1"])
		s.refused(t, "gone", vault.KindTampered)
		s.works(t, "db")
	})
	t.Run("tombstone removed", func(t *testing.T) {
		// It says no more than the seal, which does not forget it.
		s := newScene(t)
		s.Memory.Erase(dev, "gone")
		_, err := s.Get(ctx, dev, "gone")
		wantKind(t, err, vault.KindNotFound)
		s.seal(t, dev)
		s.Memory.Poke(dev, "gone", s.raw["gone 1"])
		s.refused(t, "gone", vault.KindTampered)
		s.Memory.Erase(dev, "gone")
		infos, err := s.Apply(ctx, dev, []vault.Change{{Path: "gone", Was: 0, Set: []vault.Field{set("A", "1")}}})
		if err != nil || infos[0].Version != 3 {
			t.Errorf("made anew as %+v, %v", infos, err)
		}
		s.works(t, "gone")
	})
	t.Run("the other of two", func(t *testing.T) {
		// Two people wrote version 2 of db; one was sealed, and a merge took the other.
		s := newScene(t)
		fork := s.Memory.Snapshot()
		write(t, s, dev, vault.Change{Path: "db", Was: 1, Set: []vault.Field{set("A", "theirs")}})
		theirs := s.Memory.Peek(dev, "db")
		s.Memory.Restore(fork)
		write(t, s, dev, vault.Change{Path: "db", Was: 1, Set: []vault.Field{set("A", "ours")}})
		s.seal(t, dev)
		s.Memory.Poke(dev, "db", theirs)
		_, err := s.Get(ctx, dev, "db")
		wantKind(t, err, vault.KindTampered)
		if !strings.Contains(fmt.Sprint(err), "two people wrote version 2") {
			t.Errorf("%v", err)
		}
	})
}

// TestWindow is what the seal does not see, as filevault §3.8 says: what
// happens between the seal and now. It closes with the next seal.
func TestWindow(t *testing.T) {
	s := newScene(t)
	before := s.Memory.Snapshot()
	s.Memory.Poke(dev, "app", s.raw["app 3"])
	s.works(t, "app")
	s.Memory.Erase(dev, "later")
	_, err := s.Get(t.Context(), dev, "later")
	wantKind(t, err, vault.KindNotFound)

	s.Memory.Restore(before)
	s.seal(t, dev)
	s.Memory.Poke(dev, "app", s.raw["app 3"])
	s.refused(t, "app", vault.KindTampered)
	s.Memory.Restore(before)
	s.seal(t, dev)
	s.Memory.Erase(dev, "later")
	s.refused(t, "later", vault.KindTampered)
}

func TestForgedSeal(t *testing.T) {
	stranger := newScene(t)
	for _, c := range []struct {
		name  string
		kind  vault.Kind
		forge func(t *testing.T, s *scene) []byte // nil removes it
	}{
		{"removed", vault.KindTampered, func(t *testing.T, s *scene) []byte { return nil }},
		{"of another environment", vault.KindTampered, func(t *testing.T, s *scene) []byte { return s.Memory.PeekBlob(prod, engine.SealBlob) }},
		{"of another environment, renamed", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			return edit(t, s.Memory.PeekBlob(prod, engine.SealBlob), "env prod\n", "env dev\n")
		}},
		{"of a stranger", vault.KindTampered, func(t *testing.T, s *scene) []byte { return stranger.seals[1] }},
		{"of another vault", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], vaulttest.VaultID, "v_0") }},
		{"a line less", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], line(t, s.seals[1], "app "), "") }},
		{"a lower version", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], "\napp 3 ", "\napp 2 ") }},
		{"not deleted", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], " deleted\n", "\n") }},
		{"a grant less", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], line(t, s.seals[1], "grant "), "") }},
		{"a grant more", vault.KindTampered, func(t *testing.T, s *scene) []byte {
			return edit(t, s.seals[1], "\ngrant ", "\ngrant a 0011223344556677\ngrant ")
		}},
		{"of another key", vault.KindTampered, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], "gen 1\n", "gen 2\n") }},
		{"of no form", vault.KindMalformed, func(t *testing.T, s *scene) []byte { return []byte("envrun-seal v1\n") }},
		{"unmerged", vault.KindUnmerged, func(t *testing.T, s *scene) []byte {
			return edit(t, s.seals[1], "\napp ", "\n<<<<<<< ours\n=======\n>>>>>>> theirs\napp ")
		}},
		{"of a newer format", vault.KindVersion, func(t *testing.T, s *scene) []byte { return edit(t, s.seals[1], "envrun-seal v1", "envrun-seal v2") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			if raw := c.forge(t, s); raw != nil {
				s.Memory.PokeBlob(dev, engine.SealBlob, raw)
			} else {
				s.Memory.EraseBlob(dev, engine.SealBlob)
			}
			before := s.Memory.Snapshot()
			ctx := t.Context()
			_, err := s.Get(ctx, dev, "db")
			wantKind(t, err, c.kind)
			if e, ok := err.(*vault.Error); !ok || e.Env != dev {
				t.Errorf("the error does not name the environment: %v", err)
			}
			_, err = s.GetAll(ctx, dev, "")
			wantKind(t, err, c.kind)
			_, err = s.Apply(ctx, dev, []vault.Change{{Path: "new", Set: []vault.Field{set("A", "1")}}})
			wantKind(t, err, c.kind)
			_, err = s.WriteSeal(ctx, dev)
			wantKind(t, err, c.kind)
			wantKind(t, s.Rotate(ctx, dev, "", []engine.GrantTo{s.Person.Grant()}), c.kind)
			_, err = s.GetVersion(ctx, dev, "app", 2)
			wantKind(t, err, c.kind)
			if !s.Memory.Snapshot().Equal(before) {
				t.Error("something was written all the same")
			}
			n := 0
			for f := range s.Verify(ctx, dev) {
				if f.Path == "" && f.Err != nil {
					n++
				}
			}
			if n == 0 {
				t.Error("Verify finds nothing")
			}
			if _, err := s.Get(ctx, prod, "app"); err != nil {
				t.Errorf("prod was not attacked: %v", err)
			}
		})
	}
}

// TestOlderSeal: an honest seal of before is one that the present dominates.
// What it does not know any more is the pin's business.
func TestOlderSeal(t *testing.T) {
	s := newScene(t)
	s.Memory.PokeBlob(dev, engine.SealBlob, s.seals[0])
	s.works(t, "app")
	s.works(t, "db")
}

func TestForgedGrants(t *testing.T) {
	s := newScene(t)
	mallory := vaulttest.NewPerson(t, "mallory", s.Memory)
	alice := s.Memory.PeekBlob(dev, engine.GrantBlob(1, vaulttest.Member))
	grant := edit(t, alice, "member alice@laptop", "member mallory")
	grant = edit(t, grant, line(t, grant, "recipient "), "recipient "+mallory.Grant().Recipient+"\n")
	s.Memory.PokeBlob(dev, engine.GrantBlob(1, "mallory"), grant)
	s.Memory.PokeBlob(dev, engine.GrantBlob(1, "bob"), alice)

	states, err := s.Grants(t.Context(), dev)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range states {
		good := g.Member == vaulttest.Member
		if good != (g.Err == nil) || good != g.Sealed {
			t.Errorf("grant of %s: sealed %v, %v", g.Member, g.Sealed, g.Err)
		}
	}
	if len(states) != 3 {
		t.Errorf("%d grants", len(states))
	}
	// It is not an attack on the others: secrets can be read, and a seal made, which leaves it out.
	s.works(t, "app")
	s.seal(t, dev)
	sealed, err := record.ParseSeal(s.Memory.PeekBlob(dev, engine.SealBlob))
	if err != nil || len(sealed.Grants) != 1 {
		t.Errorf("sealed grants: %v, %v", sealed.Grants, err)
	}
	bad := 0
	for f := range s.Verify(t.Context(), dev) {
		if f.Err != nil {
			bad++
			wantKind(t, f.Err, vault.KindTampered)
		}
	}
	if bad != 2 {
		t.Errorf("Verify finds fault with %d things", bad)
	}
}

// TestRemovedGrant: a grant is taken away by a new key and not by removing its
// file, or the next seal would put its word behind that.
func TestRemovedGrant(t *testing.T) {
	s := newScene(t)
	bob := vaulttest.NewPerson(t, "bob", s.Memory)
	if err := s.AddGrant(t.Context(), dev, bob.Grant()); err != nil {
		t.Fatal(err)
	}
	s.Memory.EraseBlob(dev, engine.GrantBlob(1, "bob"))
	s.works(t, "app")
	_, err := s.WriteSeal(t.Context(), dev)
	wantKind(t, err, vault.KindTampered)
	bad := 0
	for f := range s.Verify(t.Context(), dev) {
		if f.Err != nil {
			bad++
		}
	}
	if bad != 1 {
		t.Errorf("Verify finds fault with %d things", bad)
	}
}

func TestForgedGen(t *testing.T) {
	for name, forge := range map[string]func(*testing.T, *scene){
		"removed":        func(t *testing.T, s *scene) { s.Memory.EraseBlob(dev, engine.GenBlob(1)) },
		"another author": func(t *testing.T, s *scene) { s.editBlob(t, engine.GenBlob(1), "by alice@laptop", "by mallory") },
		"of another place": func(t *testing.T, s *scene) {
			s.Memory.PokeBlob(dev, engine.GenBlob(1), s.Memory.PeekBlob(prod, engine.GenBlob(1)))
		},
		"another fingerprint": func(t *testing.T, s *scene) {
			fp := line(t, s.Memory.PeekBlob(dev, engine.GenBlob(1)), "fp ")
			s.editBlob(t, engine.GenBlob(1), fp, line(t, s.Memory.PeekBlob(prod, engine.GenBlob(1)), "fp "))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			key, err := s.Person.Keys(vaulttest.VaultID).Generation(t.Context(), dev, 1)
			if err != nil {
				t.Fatal(err)
			}
			s.reopen(func(c *engine.Config) { c.Keys = fixedKey{key} }) // which would find it too
			forge(t, s)
			bad := 0
			for f := range s.Verify(t.Context(), dev) {
				if f.Err != nil {
					bad++
					wantKind(t, f.Err, vault.KindTampered)
				}
			}
			if bad != 1 {
				t.Errorf("Verify finds fault with %d things", bad)
			}
		})
	}
}

func (s *scene) editBlob(t *testing.T, name, old, new string) {
	t.Helper()
	s.Memory.PokeBlob(dev, name, edit(t, s.Memory.PeekBlob(dev, name), old, new))
}

// fixedKey has one key for everything.
type fixedKey struct{ key engine.EnvKey }

func (k fixedKey) Current(context.Context, vault.Env) (engine.EnvKey, error) { return k.key, nil }
func (k fixedKey) Generation(context.Context, vault.Env, uint32) (engine.EnvKey, error) {
	return k.key, nil
}

// TestForgedHistory: a forged former version does not hide the true one, and is not given out itself.
func TestForgedHistory(t *testing.T) {
	s := newScene(t)
	forged := edit(t, s.raw["app 2"], "note note 1", "note forged")
	store := &rewritten{Store: s.Memory, history: [][]byte{s.raw["app 4"], s.raw["app 3"], forged, s.raw["db 1"], []byte("not a record\n"), s.raw["app 2"], s.raw["app 1"]}}
	v := engine.New(engine.Config{Vault: vaulttest.VaultID, Store: store, Keys: s.Person.Keys(vaulttest.VaultID)})
	got, err := v.GetVersion(t.Context(), dev, "app", 2)
	if err != nil || got.Note != "note 1" {
		t.Errorf("version 2: note %q, %v", got.Note, err)
	}
	store.history = [][]byte{s.raw["app 4"], forged}
	_, err = v.GetVersion(t.Context(), dev, "app", 2)
	wantKind(t, err, vault.KindTampered)
	var good, bad int
	for _, err := range v.Versions(t.Context(), dev, "app") {
		if err == nil {
			good++
		} else {
			bad++
		}
	}
	if good != 2 || bad != 0 { // without a key nobody can tell
		t.Errorf("%d good and %d bad versions", good, bad)
	}
}

package engine_test

import (
	"errors"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/vaulttest"
)

// TestRestore: a former version comes back as a new one, above the seal and
// above every genuine version, whatever stands in its place.
func TestRestore(t *testing.T) {
	for _, c := range []struct {
		name    string
		damage  func(t *testing.T, s *scene)
		path    vault.Path
		version uint64
		want    uint64 // the version that is written; 0 for none
		value   string
	}{
		{"a former one", func(t *testing.T, s *scene) {}, "app", 1, 5, "0"},
		{"the present one", func(t *testing.T, s *scene) {}, "app", 4, 0, "3"},
		{"of what is deleted", func(t *testing.T, s *scene) {}, "gone", 1, 3, "1"},
		{"of what was set back", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", s.raw["app 1"]) }, "app", 1, 5, "0"},
		{"instead of what was set back", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", s.raw["app 1"]) }, "app", 4, 5, "3"},
		{"of what is missing", func(t *testing.T, s *scene) { s.Memory.Erase(dev, "app") }, "app", 3, 5, "2"},
		{"of what is damaged", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", s.raw["app 4"][:100]) }, "app", 2, 5, "1"},
		{"of what was put back", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "gone", s.raw["gone 1"]) }, "gone", 1, 3, "1"},
		{"of another secret's file", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "db", s.raw["app 4"]) }, "db", 1, 2, "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			// As in git, the history has what ever was.
			all := [][]byte{}
			for name, raw := range s.raw {
				if info, _, err := record.ParseHeader(raw); err == nil && info.Env == dev && info.Path == c.path {
					all = append(all, s.raw[name])
				}
			}
			c.damage(t, s)
			store := &rewritten{Store: s.Memory, history: all}
			v := engine.New(engine.Config{Vault: vaulttest.VaultID, Store: store, Keys: s.Person.Keys(vaulttest.VaultID), Member: "bob"})
			info, wrote, err := v.Restore(t.Context(), dev, c.path, c.version)
			if err != nil {
				t.Fatal(err)
			}
			if wrote != (c.want > 0) || c.want > 0 && (info.Version != c.want || info.By != "bob") {
				t.Errorf("%+v, wrote %v", info, wrote)
			}
			wantValue(t, v, dev, c.path, "A", canary+c.value)
			s.seal(t, dev)
			store.history = append(store.history, s.Memory.Peek(dev, c.path))
			if _, wrote, err := v.Restore(t.Context(), dev, c.path, info.Version); err != nil || wrote {
				t.Errorf("a second time: wrote %v, %v", wrote, err)
			}
		})
	}
}

// What of one field did not change is since when it was.
func TestRestoreSince(t *testing.T) {
	s := newScene(t)
	info, _, err := s.Restore(t.Context(), dev, "app", 2)
	if err != nil || info.Version != 5 || info.Note != "note 1" {
		t.Fatalf("%+v, %v", info, err)
	}
	for i, since := range []uint64{5, 1, 1} {
		if info.Fields[i].Since != since {
			t.Errorf("%s is since %d, want %d", info.Fields[i].Name, info.Fields[i].Since, since)
		}
	}
	r, err := record.ParseRecord(s.Memory.Peek(dev, "app"))
	if err != nil {
		t.Fatal(err)
	}
	if hash, _ := record.BodyHash(s.raw["app 4"]); r.PrevVersion != 4 || r.PrevHash != hash {
		t.Errorf("it says that it comes after %d", r.PrevVersion)
	}
}

// What somebody may still want is not written over, and nothing is brought back
// that is not genuine.
func TestRestoreRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		damage  func(t *testing.T, s *scene)
		path    vault.Path
		version uint64
		kind    vault.Kind
	}{
		{"marks of a merge", func(t *testing.T, s *scene) {
			s.Memory.Poke(dev, "app", edit(t, s.raw["app 4"], "version 4\n", "<<<<<<< HEAD\nversion 4\n"))
		}, "app", 1, vault.KindUnmerged},
		{"a newer format", func(t *testing.T, s *scene) {
			s.Memory.Poke(dev, "app", edit(t, s.raw["app 4"], "envrun-secret v1", "envrun-secret v2"))
		}, "app", 1, vault.KindVersion},
		{"under a retired key", func(t *testing.T, s *scene) {
			if err := s.Rotate(t.Context(), dev, "", []engine.GrantTo{s.Person.Grant()}); err != nil {
				t.Fatal(err)
			}
			s.Memory.Poke(dev, "app", s.raw["app 4"])
		}, "app", 1, vault.KindTampered},
		{"no such version", func(t *testing.T, s *scene) {}, "app", 9, vault.KindNotFound},
		{"no such secret", func(t *testing.T, s *scene) {}, "none", 1, vault.KindNotFound},
		{"a deletion", func(t *testing.T, s *scene) {}, "gone", 2, vault.KindInvalid},
		{"no path", func(t *testing.T, s *scene) {}, "../x", 1, vault.KindInvalid},
		{"a seal that is not genuine", func(t *testing.T, s *scene) {
			s.Memory.PokeBlob(dev, engine.SealBlob, edit(t, s.Memory.PeekBlob(dev, engine.SealBlob), "app 3 ", "app 2 "))
		}, "app", 1, vault.KindTampered},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			c.damage(t, s)
			before := s.Memory.Peek(dev, "app")
			_, wrote, err := s.Restore(t.Context(), dev, c.path, c.version)
			wantKind(t, err, c.kind)
			if wrote || string(s.Memory.Peek(dev, "app")) != string(before) {
				t.Error("it was written over")
			}
		})
	}
	s := newScene(t)
	s.Memory.FailWith(func(c vaulttest.Call) error {
		if c.Op == "commit" {
			return errors.New("no disk")
		}
		return nil
	})
	if _, wrote, err := s.Restore(t.Context(), dev, "app", 1); err == nil || wrote {
		t.Errorf("wrote %v, %v", wrote, err)
	}
}

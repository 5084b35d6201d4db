package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/seal"
	"envrun/vault/vaulttest"
)

func wantKind(t *testing.T, err error, kind vault.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %v", kind)
	} else if got := vault.KindOf(err); got != kind {
		t.Errorf("error of kind %v, want %v: %v", got, kind, err)
	}
}

func wantValue(t *testing.T, v vault.Reader, env vault.Env, path vault.Path, field vault.FieldName, want string) {
	t.Helper()
	s, err := v.Get(t.Context(), env, path)
	if err != nil {
		t.Error(err)
		return
	}
	if f, ok := s.Field(field); !ok || string(f.Value.Reveal()) != want {
		t.Errorf("%s %s %s is there %v, and is not what it should be", env, path, field, ok)
	}
}

// rewritten is a store with another history, that knows files.
type rewritten struct {
	engine.Store
	history [][]byte
}

func (r *rewritten) Versions(_ context.Context, env vault.Env, path vault.Path) iter.Seq2[engine.Record, error] {
	return func(yield func(engine.Record, error) bool) {
		for _, raw := range r.history {
			if !yield(engine.Record{Env: env, Path: path, Raw: raw}, nil) {
				return
			}
		}
	}
}

func (r *rewritten) LocateRecord(env vault.Env, path vault.Path) string {
	return fmt.Sprintf("envs/%s/secrets/%s.sec", env, path)
}

func (r *rewritten) LocateBlob(env vault.Env, name string) string {
	return fmt.Sprintf("envs/%s/%s", env, name)
}

func TestErrorsNameFiles(t *testing.T) {
	s := newScene(t)
	v := engine.New(engine.Config{Vault: vaulttest.VaultID, Store: &rewritten{Store: s.Memory}, Keys: s.Person.Keys(vaulttest.VaultID), Member: "alice"})
	s.Memory.Poke(dev, "app", edit(t, s.raw["app 4"], "version 4\n", "version four\n"))
	_, err := v.Get(t.Context(), dev, "app")
	e, ok := errors.AsType[*vault.Error](err)
	if !ok || e.Kind != vault.KindMalformed || e.File != "envs/dev/secrets/app.sec" || e.Line != 5 || e.Env != dev || e.Path != "app" {
		t.Errorf("%+v", err)
	}
	s.Memory.EraseBlob(dev, engine.SealBlob)
	_, err = v.Get(t.Context(), dev, "app")
	if e, ok := errors.AsType[*vault.Error](err); !ok || e.File != "envs/dev/seal" || e.Env != dev {
		t.Errorf("%+v", err)
	}
}

func TestSplice(t *testing.T) {
	// The record on disk is what filevault §3.3 shows.
	s := newScene(t)
	r, err := record.ParseRecord(s.raw["app 4"])
	if err != nil {
		t.Fatal(err)
	}
	before, err := record.BodyHash(s.raw["app 3"])
	if err != nil {
		t.Fatal(err)
	}
	if r.Version != 4 || r.PrevVersion != 3 || r.PrevHash != before || r.By != vaulttest.Member || r.Gen != 1 {
		t.Errorf("%+v", r)
	}
	for i, since := range []uint64{4, 1, 1} {
		if r.Fields[i].Since != since {
			t.Errorf("field %s is since %d, want %d", r.Fields[i].Name, r.Fields[i].Since, since)
		}
	}
	// A fresh data key: nothing of the version before is in it, though two values are the same.
	former, err := record.ParseRecord(s.raw["app 3"])
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Fields {
		if slices.Equal(r.Fields[i].Sealed, former.Fields[i].Sealed) {
			t.Errorf("field %s has the same ciphertext as before", r.Fields[i].Name)
		}
	}
	if slices.Equal(r.Key, former.Key) {
		t.Error("the data key is the same as before")
	}
	tomb, err := record.ParseRecord(s.raw["gone 2"])
	if err != nil || !tomb.Deleted || tomb.PrevVersion != 1 {
		t.Errorf("%+v, %v", tomb, err)
	}
}

// TestUnknownHeaders: what a later version added to a secret survives a change made by this one.
func TestUnknownHeaders(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	key, err := s.Person.Keys(vaulttest.VaultID).Current(ctx, dev)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.ParseRecord(s.raw["app 4"])
	if err != nil {
		t.Fatal(err)
	}
	dek, err := key.Key.UnwrapDEK(seal.Binding{Vault: r.Vault, Env: r.Env, Path: r.Path, Version: r.Version, Gen: r.Gen}, r.Key)
	if err != nil {
		t.Fatal(err)
	}
	r.Extra = []record.Header{{Key: "owner", Value: "team-billing"}}
	r.MAC = dek.RecordMAC(r.MACInput())
	s.Memory.Poke(dev, "app", r.Marshal())
	write(t, s, dev, vault.Change{Path: "app", Was: 4, Set: []vault.Field{set("A", "new")}})
	if next, err := record.ParseRecord(s.Memory.Peek(dev, "app")); err != nil || !slices.Equal(next.Extra, r.Extra) {
		t.Errorf("%+v, %v", next, err)
	}
}

func TestGetAll(t *testing.T) {
	s := newScene(t)
	for prefix, want := range map[vault.Path][]vault.Path{
		"":     {"app", "db", "later"},
		"app":  {"app"},
		"gone": nil,
		"none": nil,
	} {
		secrets, err := s.GetAll(t.Context(), dev, prefix)
		if err != nil {
			t.Fatal(err)
		}
		var got []vault.Path
		for _, s := range secrets {
			got = append(got, s.Path)
			if len(s.Values) == 0 || !strings.HasPrefix(string(s.Values[0].Value.Reveal()), canary) {
				t.Errorf("%s has not its values", s.Path)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("GetAll %q = %v, want %v", prefix, got, want)
		}
	}
	_, err := s.GetAll(t.Context(), "absent", "")
	wantKind(t, err, vault.KindNoEnv)
	s.Memory.Erase(dev, "db")
	if _, err := s.GetAll(t.Context(), dev, "app"); err != nil {
		t.Errorf("what is missing elsewhere: %v", err)
	}
	_, err = s.GetAll(t.Context(), dev, "db")
	wantKind(t, err, vault.KindTampered)
}

func TestWithoutKey(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	bob := vaulttest.NewPerson(t, "bob", s.Memory).Engine(vaulttest.VaultID)
	check := func(what string, err error) {
		t.Helper()
		if e, ok := errors.AsType[*vault.Error](err); !ok || e.Kind != vault.KindDenied || e.Env != dev {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := bob.Get(ctx, dev, "app")
	check("Get", err)
	_, err = bob.GetAll(ctx, dev, "")
	check("GetAll", err)
	_, err = bob.GetVersion(ctx, dev, "app", 1)
	check("GetVersion", err)
	_, err = bob.Apply(ctx, dev, []vault.Change{{Path: "new", Set: []vault.Field{set("A", "1")}}})
	check("Apply", err)
	_, err = bob.WriteSeal(ctx, dev)
	check("WriteSeal", err)
	_, err = bob.Grants(ctx, dev)
	check("Grants", err)

	var listed []vault.Path
	for info, err := range bob.List(ctx, dev, "") {
		if err != nil {
			t.Error(err)
		}
		listed = append(listed, info.Path)
	}
	if !slices.Equal(listed, []vault.Path{"app", "db", "later"}) {
		t.Errorf("listed %v", listed)
	}
	var versions []uint64
	for info, err := range bob.Versions(ctx, dev, "app") {
		if err != nil {
			t.Error(err)
		}
		versions = append(versions, info.Version)
	}
	if !slices.Equal(versions, []uint64{4, 3, 2, 1}) {
		t.Errorf("versions %v", versions)
	}
}

// TestVerifyForm is what can be found without a key.
func TestVerifyForm(t *testing.T) {
	for _, c := range []struct {
		name  string
		path  vault.Path // what is found; "" for the environment itself
		spoil func(*testing.T, *scene)
	}{
		{"nothing", "none", func(*testing.T, *scene) {}},
		{"moved", "app", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", s.raw["db 1"]) }},
		{"cut off", "app", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", s.raw["app 4"][:200]) }},
		{"set back", "app", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", s.raw["app 2"]) }},
		{"removed", "app", func(t *testing.T, s *scene) { s.Memory.Erase(dev, "app") }},
		{"put back", "gone", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "gone", s.raw["gone 1"]) }},
		{"of a retired key", "app", func(t *testing.T, s *scene) { s.Memory.Poke(dev, "app", edit(t, s.raw["app 4"], "key 1 ", "key 7 ")) }},
		{"no seal", "", func(t *testing.T, s *scene) { s.Memory.EraseBlob(dev, engine.SealBlob) }},
		{"bad seal", "", func(t *testing.T, s *scene) { s.Memory.PokeBlob(dev, engine.SealBlob, s.seals[1][:99]) }},
		{"no grant", "", func(t *testing.T, s *scene) { s.Memory.EraseBlob(dev, engine.GrantBlob(1, vaulttest.Member)) }},
		{"no gen", "", func(t *testing.T, s *scene) { s.Memory.EraseBlob(dev, engine.GenBlob(1)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			bob := vaulttest.NewPerson(t, "bob", s.Memory)
			c.spoil(t, s)
			v := engine.New(engine.Config{Vault: vaulttest.VaultID, Store: s.Memory, Keys: denied{bob.Keys(vaulttest.VaultID)}})
			var bad []vault.Path
			good := 0
			for f := range v.Verify(t.Context(), dev) {
				if f.Err != nil {
					bad = append(bad, f.Path)
				} else {
					good++
				}
			}
			want := []vault.Path{c.path}
			if c.path == "none" {
				want = nil
			}
			if !slices.Equal(bad, want) {
				t.Errorf("found fault with %q, want %q", bad, want)
			}
			if good < 3 {
				t.Errorf("found %d right", good)
			}
		})
	}
	s := newScene(t)
	for f := range s.VerifyForm(t.Context(), "absent") {
		wantKind(t, f.Err, vault.KindNoEnv)
	}
	for range s.Verify(t.Context(), dev) {
		break
	}
	for range s.VerifyForm(t.Context(), dev) {
		break
	}
}

// denied has no key at all.
type denied struct{ engine.Keys }

func (denied) Current(context.Context, vault.Env) (engine.EnvKey, error) {
	return engine.EnvKey{}, &vault.Error{Kind: vault.KindDenied}
}

func TestCreateEnv(t *testing.T) {
	v := vaulttest.New(t, dev)
	ctx := t.Context()
	alice := v.Person.Grant()
	noSealer := alice
	noSealer.Member = "Not A Member"
	for _, c := range []struct {
		name string
		env  vault.Env
		to   []engine.GrantTo
		kind vault.Kind
	}{
		{"again", dev, []engine.GrantTo{alice}, vault.KindExists},
		{"for nobody", "staging", nil, vault.KindInvalid},
		{"twice for one", "staging", []engine.GrantTo{alice, alice}, vault.KindInvalid},
		{"a bad name", "Sta ging", []engine.GrantTo{alice}, vault.KindInvalid},
		{"a bad member", "staging", []engine.GrantTo{noSealer}, vault.KindInvalid},
	} {
		before := v.Memory.Snapshot()
		if err := v.CreateEnv(ctx, c.env, c.to); vault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
		if !v.Memory.Snapshot().Equal(before) {
			t.Errorf("%s: something was written", c.name)
		}
	}
	nobody := engine.New(engine.Config{Vault: vaulttest.VaultID, Store: v.Memory, Keys: v.Person.Keys(vaulttest.VaultID)})
	wantKind(t, nobody.CreateEnv(ctx, "staging", []engine.GrantTo{alice}), vault.KindInvalid)
	_, err := nobody.Apply(ctx, dev, []vault.Change{{Path: "a", Set: []vault.Field{set("A", "1")}}})
	wantKind(t, err, vault.KindInvalid)

	bob := vaulttest.NewPerson(t, "bob", v.Memory)
	role := bob.Grant()
	role.Recipient = "" // by a sealer that is no recipient
	if err := v.CreateEnv(ctx, "staging", []engine.GrantTo{role, alice}); err != nil {
		t.Fatal(err)
	}
	write(t, v, "staging", vault.Change{Path: "a", Set: []vault.Field{set("A", "1")}})
	wantValue(t, bob.Engine(vaulttest.VaultID), "staging", "a", "A", canary+"1")
	states, err := v.Grants(ctx, "staging")
	if err != nil || len(states) != 2 {
		t.Fatal(states, err)
	}
	for _, g := range states {
		if g.Err != nil || !g.Sealed || g.By != vaulttest.Member || g.At.IsZero() || (g.Recipient == "") != (g.Member == "bob") || (g.Sealer == "") == (g.Member == "bob") {
			t.Errorf("%+v", g)
		}
	}
	if err := v.RemoveEnv(ctx, "staging"); err != nil {
		t.Fatal(err)
	}
	wantKind(t, v.RemoveEnv(ctx, "staging"), vault.KindNoEnv)
	// Another of that name is another: nothing of the first opens there.
	if err := v.CreateEnv(ctx, "staging", []engine.GrantTo{alice}); err != nil {
		t.Fatal(err)
	}
	_, err = v.Get(ctx, "staging", "a")
	wantKind(t, err, vault.KindNotFound)
}

func TestWriteSeal(t *testing.T) {
	s := newScene(t)
	last, err := record.ParseSeal(s.seals[1])
	if err != nil {
		t.Fatal(err)
	}
	hash, _ := record.BodyHash(s.seals[1])
	if last.Seq != 2 || last.PrevSeq != 1 || len(last.Entries) != 3 || len(last.Grants) != 1 || !last.Entries[2].Deleted {
		t.Errorf("%+v", last)
	}
	if seq := s.seal(t, dev); seq != 3 {
		t.Errorf("seal %d", seq)
	}
	next, err := record.ParseSeal(s.Memory.PeekBlob(dev, engine.SealBlob))
	if err != nil {
		t.Fatal(err)
	}
	if next.Seq != 3 || next.PrevSeq != 2 || next.PrevHash != hash || len(next.Entries) != 4 || next.By != vaulttest.Member {
		t.Errorf("%+v", next)
	}
	before := s.Memory.Snapshot()
	if seq := s.seal(t, dev); seq != 3 || !s.Memory.Snapshot().Equal(before) {
		t.Errorf("nothing new, and seal %d", seq)
	}
	_, err = s.WriteSeal(t.Context(), "absent")
	wantKind(t, err, vault.KindNoEnv)
}

func TestSealOnWrite(t *testing.T) {
	s := newScene(t)
	s.reopen(vaulttest.SealOnWrite)
	write(t, s, dev, vault.Change{Path: "app", Was: 4, Set: []vault.Field{set("A", "5")}}, vault.Change{Path: "db", Was: 1, Delete: true})
	sealed, err := record.ParseSeal(s.Memory.PeekBlob(dev, engine.SealBlob))
	if err != nil {
		t.Fatal(err)
	}
	versions := map[vault.Path]uint64{}
	for _, e := range sealed.Entries {
		versions[e.Path] = e.Version
	}
	// What was not written is not vouched for.
	if sealed.Seq != 3 || versions["app"] != 5 || versions["db"] != 2 || versions["gone"] != 2 || versions["later"] != 0 {
		t.Errorf("seal %d: %v", sealed.Seq, versions)
	}
	before := s.Memory.Snapshot()
	write(t, s, dev, vault.Change{Path: "app", Was: 5, Set: []vault.Field{set("A", "5")}})
	if !s.Memory.Snapshot().Equal(before) {
		t.Error("nothing changed, and something was written")
	}
	s.Memory.Poke(dev, "app", s.raw["app 4"])
	s.refused(t, "app", vault.KindTampered)
}

func TestRotate(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	bob := vaulttest.NewPerson(t, "bob", s.Memory)
	carol := vaulttest.NewPerson(t, "carol", s.Memory)
	for _, p := range []*vaulttest.Person{bob, carol} {
		if err := s.AddGrant(ctx, dev, p.Grant()); err != nil {
			t.Fatal(err)
		}
		wantValue(t, p.Engine(vaulttest.VaultID), dev, "app", "A", canary+"3")
	}
	old := map[vault.Path][]byte{}
	for _, path := range []vault.Path{"app", "db", "later"} {
		old[path] = s.Memory.Peek(dev, path)
	}
	var told []string
	if err := s.RotateTo(ctx, dev, engine.Rotation{
		Why: "bob leaves",
		To: func([]engine.GrantState) ([]engine.GrantTo, error) {
			return []engine.GrantTo{s.Person.Grant(), carol.Grant()}, nil
		},
		Each: func(i vault.Info) { told = append(told, fmt.Sprint(i.Path, " ", i.Version, " ", len(i.Fields))) },
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"app 4 3", "db 1 3", "later 1 1"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
	for path, before := range old {
		after := s.Memory.Peek(dev, path)
		if got := swap(t, after, before, "key "); string(got) != string(before) {
			t.Errorf("%s: more than its key line has changed", path)
		}
	}
	wantValue(t, s, dev, "app", "A", canary+"3")
	wantValue(t, carol.Engine(vaulttest.VaultID), dev, "app", "A", canary+"3")
	_, err := bob.Engine(vaulttest.VaultID).Get(ctx, dev, "app")
	wantKind(t, err, vault.KindDenied)
	for f := range s.Verify(ctx, dev) {
		if f.Err != nil {
			t.Error(f.Err)
		}
	}
	// The past is read with the key of the past, and versions go on.
	for version, want := range map[uint64]string{1: "0", 3: "2"} {
		got, err := s.GetVersion(ctx, dev, "app", version)
		if err != nil {
			t.Error(err)
		} else if f, _ := got.Field("A"); string(f.Value.Reveal()) != canary+want {
			t.Errorf("version %d is not what it was", version)
		}
	}
	if got, err := s.GetVersion(ctx, dev, "gone", 1); vault.KindOf(err) != vault.KindNotFound { // forgotten by the store in memory
		t.Errorf("%v, %v", got.Info, err)
	}
	infos, err := s.Apply(ctx, dev, []vault.Change{{Path: "gone", Was: 0, Set: []vault.Field{set("A", "back")}}})
	if err != nil || infos[0].Version != 3 {
		t.Errorf("%+v, %v", infos, err)
	}
	// What was written under the former key is not used, and says so.
	write(t, s, dev, vault.Change{Path: "app", Was: 4, Set: []vault.Field{set("A", "5")}})
	s.Memory.Poke(dev, "app", old["app"])
	s.refused(t, "app", vault.KindTampered)
	_, err = s.Get(ctx, dev, "app")
	if !strings.Contains(fmt.Sprint(err), "written under retired key 1 by alice@laptop on 2026-02-11") {
		t.Error(err)
	}
	gen, err := record.ParseGen(s.Memory.PeekBlob(dev, engine.GenBlob(2)))
	if err != nil || gen.After != 1 || gen.Why != "bob leaves" {
		t.Fatalf("%+v, %v", gen, err)
	}
	former, err := s.Person.Keys(vaulttest.VaultID).Generation(ctx, dev, 1)
	if err != nil || !former.Key.CheckChainMAC(gen.ChainInput(), gen.Chain) {
		t.Errorf("the new key does not chain from the old: %v", err)
	}
	wantKind(t, s.Rotate(ctx, dev, "", nil), vault.KindInvalid)
}

// TestPortions: what is walked over in portions, each read while the one before
// is opened, comes in order, with what is wrong in its place, and stops when it is told to.
func TestPortions(t *testing.T) {
	const n = 700
	v := vaulttest.New(t, dev)
	var changes []vault.Change
	var paths []vault.Path
	for i := range n {
		path := vault.Path(fmt.Sprintf("s/%03d", i))
		paths = append(paths, path)
		changes = append(changes, vault.Change{Path: path, Set: []vault.Field{set("A", fmt.Sprint(i))}})
	}
	write(t, v, dev, changes...)
	if _, err := v.WriteSeal(t.Context(), dev); err != nil {
		t.Fatal(err)
	}
	all, err := v.GetAll(t.Context(), dev, "")
	if err != nil || len(all) != n {
		t.Fatal(len(all), err)
	}
	for i, s := range all {
		if f, _ := s.Field("A"); s.Path != paths[i] || string(f.Value.Reveal()) != canary+fmt.Sprint(i) {
			t.Fatalf("number %d is %s, %q", i, s.Path, f.Value.Reveal())
		}
	}
	bad := []int{0, 255, 256, 511, 512, 699}
	for _, i := range bad {
		raw := v.Memory.Peek(dev, paths[i])
		v.Memory.Poke(dev, paths[i], bytes.Replace(raw, []byte("\nby "), []byte("\nby x"), 1))
	}
	var seen []vault.Path
	var wrong []int
	for f := range v.Verify(t.Context(), dev) {
		if f.Err != nil {
			wrong = append(wrong, len(seen))
		}
		seen = append(seen, f.Path)
	}
	if !slices.Equal(seen, paths) || !slices.Equal(wrong, bad) {
		t.Errorf("%d verified, wrong are %v, want %v", len(seen), wrong, bad)
	}
	var ve *vault.Error
	if _, err := v.GetAll(t.Context(), dev, ""); !errors.As(err, &ve) || ve.Path != paths[0] {
		t.Errorf("the first that is wrong is %s: %v", paths[0], err)
	}
	for _, stop := range []int{1, 256, 257, 600} {
		count := 0
		for range v.Verify(t.Context(), dev) {
			if count++; count == stop {
				break
			}
		}
		if count != stop {
			t.Errorf("%d came after a stop at %d", count, stop)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	count := 0
	for f := range v.Verify(ctx, dev) {
		if count++; count == 300 {
			cancel()
		}
		err = f.Err
	}
	if count >= n || !errors.Is(err, context.Canceled) {
		t.Errorf("%d came of a walk that was given up, and then %v", count, err)
	}
}

func TestAdopt(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	// A branch cut before the rotation brings a new secret, a change, and a change to what was sealed meanwhile.
	fork := s.Memory.Snapshot()
	write(t, s, dev, vault.Change{Path: "new", Set: []vault.Field{set("A", "new")}}, vault.Change{Path: "app", Was: 4, Set: []vault.Field{set("A", "5")}})
	branch := map[vault.Path][]byte{"new": s.Memory.Peek(dev, "new"), "app": s.Memory.Peek(dev, "app"), "db": s.raw["db 1"]}
	s.Memory.Restore(fork)
	write(t, s, dev, vault.Change{Path: "db", Was: 1, Set: []vault.Field{set("A", "2")}})
	if err := s.Rotate(ctx, dev, "", []engine.GrantTo{s.Person.Grant()}); err != nil {
		t.Fatal(err)
	}
	for path, raw := range branch {
		s.Memory.Poke(dev, path, raw)
		_, err := s.Get(ctx, dev, path)
		wantKind(t, err, vault.KindTampered)
	}
	for _, path := range []vault.Path{"new", "app", "new"} {
		if err := s.Adopt(ctx, dev, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	wantValue(t, s, dev, "new", "A", canary+"new")
	wantValue(t, s, dev, "app", "A", canary+"5")
	wantKind(t, s.Adopt(ctx, dev, "db"), vault.KindTampered) // the seal has version 2
	wantKind(t, s.Adopt(ctx, dev, "none"), vault.KindNotFound)
	s.Memory.Poke(dev, "new", edit(t, branch["new"], "by alice@laptop", "by mallory"))
	wantKind(t, s.Adopt(ctx, dev, "new"), vault.KindTampered)
	s.Memory.Poke(dev, "new", edit(t, branch["new"], "key 1 ", "key 3 "))
	wantKind(t, s.Adopt(ctx, dev, "new"), vault.KindTampered)
}

// TestReadersBesideRotation: a rotation replaces the key, the seal and every
// record, and a reader without a lock gets some of each. None of it is an alarm.
func TestReadersBesideRotation(t *testing.T) {
	s := newScene(t)
	s.seal(t, dev)
	ctx := t.Context()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				if _, err := s.GetMany(ctx, dev, []vault.Path{"app", "db", "later"}); err != nil {
					t.Errorf("GetMany: %v", err)
				}
				if _, err := s.GetAll(ctx, dev, ""); err != nil {
					t.Errorf("GetAll: %v", err)
				}
				for f := range s.Verify(ctx, dev) {
					if f.Path != "" && f.Err != nil {
						t.Errorf("Verify: %v", f.Err)
					}
				}
				if _, err := s.Apply(ctx, dev, []vault.Change{{Path: "later", Was: vault.Any, Set: []vault.Field{set("A", "1")}}}); err != nil {
					t.Errorf("Apply: %v", err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		if err := s.Rotate(ctx, dev, "", []engine.GrantTo{s.Person.Grant()}); err != nil {
			t.Errorf("Rotate: %v", err)
		}
	}
	close(done)
	wg.Wait()
}

// TestKeysOutsideBatches: finding a key may mean to ask a person, and nobody
// is to hold the lock while they look for their token.
func TestKeysOutsideBatches(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	inside := false
	s.Memory.FailWith(func(c vaulttest.Call) error {
		if strings.HasPrefix(c.Op, "Tx.") {
			inside = true
		} else if c.Op == "commit" {
			inside = false
		}
		return nil
	})
	s.reopen(func(c *engine.Config) {
		c.Keys = watchedKeys{c.Keys, func() {
			if inside {
				t.Error("the key is asked for inside a batch")
			}
		}}
	})
	write(t, s, dev, vault.Change{Path: "app", Was: 4, Set: []vault.Field{set("A", "5")}})
	if err := s.Rotate(ctx, dev, "", []engine.GrantTo{s.Person.Grant()}); err != nil {
		t.Fatal(err)
	}
	s.seal(t, dev)
}

type watchedKeys struct {
	engine.Keys
	look func()
}

func (k watchedKeys) Current(ctx context.Context, env vault.Env) (engine.EnvKey, error) {
	k.look()
	return k.Keys.Current(ctx, env)
}

func (k watchedKeys) Generation(ctx context.Context, env vault.Env, gen uint32) (engine.EnvKey, error) {
	k.look()
	return k.Keys.Generation(ctx, env, gen)
}

// TestTooBig: each value fits, and all of them do not.
func TestTooBig(t *testing.T) {
	v := vaulttest.New(t)
	half := func() vault.Value { return vault.NewValue(make([]byte, vault.MaxValue)) }
	_, err := v.Apply(t.Context(), dev, []vault.Change{{Path: "app", Set: []vault.Field{{Name: "A", Value: half()}, {Name: "B", Value: half()}}}})
	wantKind(t, err, vault.KindInvalid)
	if !strings.Contains(fmt.Sprint(err), "app") {
		t.Errorf("the error does not name the secret: %v", err)
	}
}

// torn is a store in which a batch came into sight half: the seal is there and
// a record is not, until somebody asks for it to settle.
type torn struct {
	engine.Store
	path    vault.Path
	former  []byte
	settled int
}

func (s *torn) Head(ctx context.Context, env vault.Env, path vault.Path) (engine.Record, error) {
	if path == s.path && s.settled == 0 {
		return engine.Record{Env: env, Path: path, Raw: s.former}, nil
	}
	return s.Store.Head(ctx, env, path)
}

func (s *torn) Settle(context.Context, vault.Env) error { s.settled++; return nil }

func TestSettles(t *testing.T) {
	s := newScene(t)
	key := func() engine.EnvKey {
		k, err := s.Person.Keys(vaulttest.VaultID).Current(t.Context(), dev)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	// The key is still the former one when the reader begins.
	former := key()
	if err := s.Rotate(t.Context(), dev, "", []engine.GrantTo{s.Person.Grant()}); err != nil {
		t.Fatal(err)
	}
	store := &torn{Store: s.Memory, path: "app", former: s.raw["app 4"]}
	s.reopen(func(c *engine.Config) {
		c.Store = store
		c.Keys = settlingKeys{c.Keys, store, former}
	})
	wantValue(t, s, dev, "app", "A", canary+"3")
	if store.settled != 1 {
		t.Errorf("asked to settle %d times", store.settled)
	}
	// What does not get better is an attack, and is not looked at for ever.
	s.Memory.Poke(dev, "app", s.raw["app 2"])
	_, err := s.Get(t.Context(), dev, "app")
	wantKind(t, err, vault.KindTampered)
	if store.settled > 3 {
		t.Errorf("asked to settle %d times", store.settled)
	}
}

type settlingKeys struct {
	engine.Keys
	store  *torn
	former engine.EnvKey
}

func (k settlingKeys) Current(ctx context.Context, env vault.Env) (engine.EnvKey, error) {
	if k.store.settled == 0 {
		return k.former, nil
	}
	return k.Keys.Current(ctx, env)
}

package engine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/record"
	"envrun/vault/vaulttest"
)

// sides are three versions of one secret, written by two people from one base.
type sides struct {
	s                  *scene
	base, ours, theirs []byte
	past               [2][][]byte // what was written on each side
}

const merged vault.Path = "merged"

// newSides runs two scripts of changes from what a third has made. A script is
// bytes; what it says does not matter as long as everything can come of it.
func newSides(t testing.TB, s *scene, base, ours, theirs []byte) sides {
	t.Helper()
	before := s.Memory.Snapshot()
	defer s.Memory.Restore(before)
	x := sides{s: s}
	run := func(script []byte) (head []byte, past [][]byte) {
		for _, b := range script {
			write(t, s, dev, scripted(b))
			if raw := peek(t, s, merged); raw != nil {
				past = append(past, raw)
			}
		}
		return peek(t, s, merged), past
	}
	x.base, _ = run(base)
	fork := s.Memory.Snapshot()
	x.ours, x.past[0] = run(ours)
	s.Memory.Restore(fork)
	x.theirs, x.past[1] = run(theirs)
	return x
}

func peek(t testing.TB, s *scene, path vault.Path) []byte {
	t.Helper()
	r, err := s.Memory.Head(t.Context(), dev, path)
	if vault.KindOf(err) == vault.KindNotFound {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return r.Raw
}

// scripted is one of 256 changes.
func scripted(b byte) vault.Change {
	c := vault.Change{Path: merged, Was: vault.Any}
	name := string(rune('A' + b>>2&3))
	value := fmt.Sprint(b >> 4)
	switch b & 3 {
	case 0, 1:
		c.Set = []vault.Field{set(name, value)}
	case 2:
		if b>>6 == 0 {
			c.Delete = true
		} else {
			c.Drop = []vault.FieldName{vault.FieldName(name)}
		}
	case 3:
		text := "n" + value
		tags := []string{"t" + value, "u" + fmt.Sprint(b>>5)}
		rotate := fmt.Sprint(1+b>>4) + "d"
		switch b >> 2 & 3 {
		case 0:
			c.Note = &text
		case 1:
			c.Tags = &tags
		case 2:
			c.Rotate = &rotate
		case 3:
			text = ""
			c.Note = &text
		}
	}
	return c
}

var errUndecided = errors.New("undecided")

// merge merges ours and theirs, swapped if so, and says what came of it.
func (x sides) merge(t testing.TB, base, ours, theirs []byte, choose func(engine.Conflict) (engine.Side, error)) (string, []byte, engine.Merged, error) {
	t.Helper()
	raw, m, err := x.s.MergeBytes(t.Context(), dev, engine.MergeInput{Path: merged, Base: base, Ours: ours, Theirs: theirs}, engine.MergeOptions{Choose: choose})
	if err != nil {
		return "", nil, m, err
	}
	return x.text(t, raw), raw, m, nil
}

// text is all that a version says, but for who, when and which.
func (x sides) text(t testing.TB, raw []byte) string {
	t.Helper()
	if raw == nil {
		return "deleted"
	}
	s, _, err := x.s.OpenFile(t.Context(), dev, merged, raw)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if s.Deleted {
		return "deleted " + s.Note
	}
	fmt.Fprintf(&b, "%q %q %q", s.Note, s.Rotate, s.Tags)
	for _, f := range s.Values {
		fmt.Fprintf(&b, " %s=%s", f.Name, f.Value.Reveal())
	}
	return b.String()
}

func fixed(s engine.Side) func(engine.Conflict) (engine.Side, error) {
	return func(engine.Conflict) (engine.Side, error) { return s, nil }
}

// FuzzThreeWay: it makes no difference who is ours; what only one side changed
// is that side's, and nobody is asked; equal sides are that side; a version is
// above both; and whoever is asked gets what they answered.
func FuzzThreeWay(f *testing.F) {
	s := newScene(f)
	f.Add([]byte{0, 4, 8}, []byte{16}, []byte{20})
	f.Add([]byte{0, 4, 8}, []byte{16, 2}, []byte{32})
	f.Add([]byte{}, []byte{16, 3, 7}, []byte{32, 19, 23})
	f.Add([]byte{0, 2}, []byte{16}, []byte{32})
	f.Add([]byte{0, 3, 7, 11}, []byte{19, 23, 27}, []byte{35, 39, 43})
	f.Add([]byte{0}, []byte{2}, []byte{2})
	f.Fuzz(func(t *testing.T, base, ours, theirs []byte) {
		if len(base)+len(ours)+len(theirs) > 24 {
			t.Skip()
		}
		x := newSides(t, s, base, ours, theirs)
		if x.ours == nil && x.theirs == nil {
			return
		}
		if x.ours == nil || x.theirs == nil {
			// A side that never wrote anything; git would not call that a conflict.
			return
		}
		var conflicts, mirrored []engine.Conflict
		ask := func(list *[]engine.Conflict, s engine.Side) func(engine.Conflict) (engine.Side, error) {
			return func(c engine.Conflict) (engine.Side, error) {
				*list = append(*list, c)
				return s, nil
			}
		}
		a, raw, m, err := x.merge(t, x.base, x.ours, x.theirs, ask(&conflicts, engine.Ours))
		if err != nil {
			t.Fatal(err)
		}
		b, _, _, err := x.merge(t, x.base, x.theirs, x.ours, ask(&mirrored, engine.Theirs))
		if err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Errorf("merged as ours and theirs: %s\nas theirs and ours: %s", a, b)
		}
		if len(conflicts) != len(mirrored) {
			t.Errorf("asked %d times, and %d the other way", len(conflicts), len(mirrored))
		}
		for _, c := range conflicts {
			text := fmt.Sprintf("%v %+v %#v", c, c, c)
			if strings.Contains(text, canary) {
				t.Errorf("a value in %s", text)
			}
		}
		info, _, err := record.ParseHeader(raw)
		if err != nil {
			t.Fatal(err)
		}
		io, _, _ := record.ParseHeader(x.ours)
		it, _, _ := record.ParseHeader(x.theirs)
		if m.Wrote && info.Version <= max(io.Version, it.Version) || !m.Wrote && info.Version != io.Version && info.Version != it.Version {
			t.Errorf("version %d of %d and %d", info.Version, io.Version, it.Version)
		}
		for _, f := range info.Fields {
			if f.Since > info.Version {
				t.Errorf("%s since %d in version %d", f.Name, f.Since, info.Version)
			}
		}
		base0, ours0, theirs0 := x.text(t, x.base), x.text(t, x.ours), x.text(t, x.theirs)
		if len(conflicts) > 0 {
			if c, _, _, err := x.merge(t, x.base, x.ours, x.theirs, nil); err == nil {
				t.Errorf("nobody was there to ask, and it came to %s", c)
			}
			if _, _, _, err := x.merge(t, x.base, x.ours, x.theirs, func(engine.Conflict) (engine.Side, error) { return 0, errUndecided }); err == nil {
				t.Error("an answer that is an error was none")
			}
		}
		switch {
		case ours0 == theirs0 && a != ours0:
			t.Errorf("both are %s, and it came to %s", ours0, a)
		case ours0 == base0 && a != theirs0, theirs0 == base0 && a != ours0:
			t.Errorf("of %s, %s and %s it came to %s", base0, ours0, theirs0, a)
		case (ours0 == theirs0 || ours0 == base0 || theirs0 == base0) && len(conflicts) > 0:
			t.Errorf("asked about %v", conflicts)
		}
		// What was merged once is merged: neither side has anything to add.
		for _, side := range [][]byte{x.ours, x.theirs} {
			if again, _, m, err := x.merge(t, x.base, raw, side, nil); err != nil || again != a || m.Wrote {
				t.Errorf("merged again: %s, %+v, %v", again, m, err)
			}
		}
	})
}

// TestMergeNoBase: where git has no base that is one, what differs is asked
// about, unless the versions themselves say what they come from.
func TestMergeNoBase(t *testing.T) {
	s := newScene(t)
	x := newSides(t, s, []byte{0, 4}, []byte{16}, []byte{20})
	text, _, _, err := x.merge(t, x.base, x.ours, x.theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	marks := []byte("<<<<<<< ours\n")
	if _, _, _, err := x.merge(t, marks, x.ours, x.theirs, nil); vault.KindOf(err) != vault.KindConflict {
		t.Errorf("no base, and %v", err)
	}
	raw, _, err := s.MergeBytes(t.Context(), dev, engine.MergeInput{Path: merged, Base: marks, Ours: x.ours, Theirs: x.theirs, PastOurs: [][]byte{x.base}}, engine.MergeOptions{})
	if err != nil || x.text(t, raw) != text {
		t.Errorf("%v", err)
	}
	// A forged base is none.
	forged := edit(t, x.base, "by alice@laptop", "by mallory")
	if _, _, _, err := x.merge(t, forged, x.ours, x.theirs, nil); vault.KindOf(err) != vault.KindConflict {
		t.Errorf("a forged base, and %v", err)
	}
	for name, in := range map[string]engine.MergeInput{
		"ours":   {Path: merged, Ours: edit(t, x.ours, "by alice@laptop", "by mallory"), Theirs: x.theirs},
		"theirs": {Path: merged, Ours: x.ours, Theirs: edit(t, x.theirs, "by alice@laptop", "by mallory")},
		"moved":  {Path: "app", Ours: s.raw["app 4"], Theirs: x.theirs},
		"none":   {Path: merged},
	} {
		if _, _, err := s.MergeBytes(t.Context(), dev, in, engine.MergeOptions{Choose: fixed(engine.Theirs)}); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMergeFaults fails every call that a merge makes of the store: the error
// comes out and nothing was written.
func TestMergeFaults(t *testing.T) {
	s := newScene(t)
	ctx := t.Context()
	fork := s.Memory.Snapshot()
	file := func(path vault.Path) []byte { return s.Memory.Peek(dev, path) }
	seal := func() []byte { return s.Memory.PeekBlob(dev, engine.SealBlob) }
	do := func(changes ...vault.Change) (app, sealed []byte) {
		write(t, s, dev, changes...)
		if _, err := s.WriteSeal(ctx, dev); err != nil {
			t.Fatal(err)
		}
		return file("app"), seal()
	}
	base := file("app")
	theirApp, theirSeal := do(vault.Change{Path: "app", Was: vault.Any, Set: []vault.Field{set("Y", "1")}})
	s.Memory.Restore(fork)
	ourApp, ourSeal := do(vault.Change{Path: "app", Was: vault.Any, Set: []vault.Field{set("X", "1")}})
	s.Memory.Poke(dev, "app", []byte("<<<<<<< ours\n"))
	s.Memory.PokeBlob(dev, engine.SealBlob, []byte("<<<<<<< ours\n"))
	inputs := []engine.MergeInput{{Path: "app", Base: base, Ours: ourApp, Theirs: theirApp}}
	sealed := &engine.SealInput{Ours: ourSeal, Theirs: theirSeal}
	before := s.Memory.Snapshot()
	for n := 1; ; n++ {
		failed := ""
		s.Memory.FailWith(func(c vaulttest.Call) error {
			if c.N != n {
				return nil
			}
			failed = fmt.Sprintf("call %d, %s %s%s", n, c.Op, c.Path, c.Blob)
			return errInjected
		})
		res, err := s.Merge(ctx, dev, inputs, sealed, engine.MergeOptions{})
		s.Memory.FailWith(nil)
		if failed == "" {
			if err != nil || res.Seal != engine.SealWritten || res.Records[0].Version != 6 {
				t.Errorf("%+v, %v", res, err)
			}
			break
		}
		told := errors.Is(err, errInjected) || slices.ContainsFunc(res.Records, func(m engine.Merged) bool { return errors.Is(m.Err, errInjected) })
		if !told {
			t.Errorf("%s failed, and the outcome is %+v, %v", failed, res, err)
		}
		if err != nil && !s.Memory.Snapshot().Equal(before) {
			t.Fatalf("%s failed, and something was written", failed)
		}
		s.Memory.Restore(before)
	}
	for f := range s.Verify(ctx, dev) {
		if f.Err != nil {
			t.Error(f.Err)
		}
	}
	wantValue(t, s, dev, "app", "X", canary+"1")
	wantValue(t, s, dev, "app", "Y", canary+"1")
}

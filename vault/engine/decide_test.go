package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/engine"
)

// forked is db as two people wrote it, each on version 1: two fields in conflict
// and one of each that is not.
func forked(t *testing.T) (*scene, engine.MergeInput) {
	t.Helper()
	s := newScene(t)
	in := engine.MergeInput{Path: "db", Base: s.raw["db 1"]}
	fork := s.Memory.Snapshot()
	write(t, s, dev, vault.Change{Path: "db", Was: 1, Set: []vault.Field{set("A", "theirs"), set("B", "theirs"), set("T", "theirs")}})
	in.Theirs = s.Memory.Peek(dev, "db")
	s.Memory.Restore(fork)
	write(t, s, dev, vault.Change{Path: "db", Was: 1, Set: []vault.Field{set("A", "ours"), set("B", "ours"), set("O", "ours")}})
	in.Ours = s.Memory.Peek(dev, "db")
	in.PastOurs, in.PastTheirs = [][]byte{in.Base, in.Ours}, [][]byte{in.Base, in.Theirs}
	return s, in
}

// Of one secret every conflict is found, whether nobody can decide or somebody
// decides a part of it, and then it stays as it is; no text of it has a value.
func TestMergeUndecided(t *testing.T) {
	for name, choose := range map[string]func(engine.Conflict) (engine.Side, error){
		"nobody": nil,
		"none":   func(engine.Conflict) (engine.Side, error) { return 0, nil },
		"some": func(c engine.Conflict) (engine.Side, error) {
			if c.Field == "A" {
				return engine.Ours, nil
			}
			return 0, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, in := forked(t)
			allowed := 0
			res, err := s.Merge(t.Context(), dev, []engine.MergeInput{in}, nil, engine.MergeOptions{Choose: choose, Allow: func(vault.Env) error { allowed++; return nil }})
			if err != nil {
				t.Fatal(err)
			}
			un, ok := errors.AsType[*engine.UndecidedError](res.Records[0].Err)
			want := 2
			if name == "some" {
				want = 1
			}
			if !ok || len(un.Conflicts) != want || vault.KindOf(res.Records[0].Err) != vault.KindConflict {
				t.Fatalf("%v", res.Records[0].Err)
			}
			if last := un.Conflicts[want-1]; last.Field != "B" || last.Path != "db" || last.Env != dev || last.Ours.By == "" {
				t.Errorf("%v", last)
			}
			if text := fmt.Sprintf("%v %+v %#v", un, un.Conflicts, un.Conflicts); strings.Contains(text, canary) {
				t.Errorf("a value in %s", text)
			}
			for _, c := range un.Conflicts {
				if strings.Contains(string(c.Ours.Value.Reveal())+string(c.Theirs.Value.Reveal()), canary) {
					t.Error("a value is not wiped")
				}
			}
			if string(s.Memory.Peek(dev, "db")) != string(in.Ours) || allowed != 0 {
				t.Errorf("something was written, or was to be: leave was asked %d times", allowed)
			}
		})
	}
	s, in := forked(t)
	_, err := s.Merge(t.Context(), dev, []engine.MergeInput{in}, nil, engine.MergeOptions{Choose: func(engine.Conflict) (engine.Side, error) { return 7, nil }})
	wantKind(t, err, vault.KindInvalid)
}

// Nothing of an environment is written without leave, which is asked for once,
// when all is decided.
func TestMergeAllow(t *testing.T) {
	errNo := errors.New("no")
	s, in := forked(t)
	var steps []string
	o := engine.MergeOptions{
		Choose: func(c engine.Conflict) (engine.Side, error) {
			steps = append(steps, string(c.Field))
			return engine.Theirs, nil
		},
		Allow: func(env vault.Env) error {
			steps = append(steps, string(env))
			return errNo
		},
	}
	if _, err := s.Merge(t.Context(), dev, []engine.MergeInput{in}, nil, o); !errors.Is(err, errNo) {
		t.Errorf("%v", err)
	}
	if got := strings.Join(steps, " "); got != "A B dev" {
		t.Errorf("asked for %s", got)
	}
	if string(s.Memory.Peek(dev, "db")) != string(in.Ours) {
		t.Error("it was written without leave")
	}
	o.Allow = nil
	if _, err := s.Merge(t.Context(), dev, []engine.MergeInput{in}, nil, o); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, dev, "db", "A", canary+"theirs")
	wantValue(t, s, dev, "db", "O", canary+"ours")
}

// A side that went back to a version which both had counts for nothing, and it
// is said which; where that is what somebody told git to do, it is done.
func TestMergeUndo(t *testing.T) {
	for _, undo := range []bool{false, true} {
		s := newScene(t)
		// app 4 is ours; theirs takes back what version 3 changed.
		in := engine.MergeInput{Path: "app", Base: s.raw["app 3"], Ours: s.raw["app 4"], Theirs: s.raw["app 2"], Undo: undo}
		in.PastOurs = [][]byte{s.raw["app 1"], s.raw["app 2"], s.raw["app 3"], s.raw["app 4"]}
		in.PastTheirs = in.PastOurs[:3]
		asked := 0
		res, err := s.Merge(t.Context(), dev, []engine.MergeInput{in}, nil, engine.MergeOptions{Choose: func(c engine.Conflict) (engine.Side, error) {
			asked++
			return engine.Theirs, nil
		}})
		if err != nil || res.Records[0].Err != nil {
			t.Fatalf("%v %+v", err, res)
		}
		r, now := res.Records[0], "3"
		if undo {
			now = "1"
		}
		wantValue(t, s, dev, "app", "A", canary+now)
		if undo && (r.SetBack != 0 || asked != 1 || r.Version != 5) || !undo && (r.SetBack != 2 || asked != 0 || r.Side != engine.Ours || r.Wrote) {
			t.Errorf("undo %v: %+v, asked %d times", undo, r, asked)
		}
	}
}

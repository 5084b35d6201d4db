package carry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"envrun/vault"
	"envrun/vault/carry"
	"envrun/vault/vaulttest"
)

const dev = vaulttest.Dev

// version is one write: "A=1 B=2", "-" for a deletion; what follows a # is the note.
func write(t *testing.T, v vault.Writer, path vault.Path, versions ...string) {
	t.Helper()
	for _, text := range versions {
		fields, note, _ := strings.Cut(text, "#")
		c := vault.Change{Path: path, Was: vault.Any, Note: &note}
		if fields == "-" {
			c.Delete = true
		} else {
			c.Replace = true
			for f := range strings.FieldsSeq(fields) {
				name, value, _ := strings.Cut(f, "=")
				c.Set = append(c.Set, vaulttest.Set(name, value))
			}
		}
		if _, err := v.Apply(t.Context(), dev, []vault.Change{c}); err != nil {
			t.Fatal(err)
		}
	}
}

// versions is a whole vault, each version written as for write.
func versions(t *testing.T, v vault.Exporter, history bool) map[vault.Path][]string {
	t.Helper()
	all, err := v.Export(t.Context(), dev, history)
	if err != nil {
		t.Fatal(err)
	}
	m := map[vault.Path][]string{}
	for _, k := range all {
		for _, s := range k.Versions {
			var fields []string
			for _, f := range s.Values {
				fields = append(fields, fmt.Sprintf("%s=%s", f.Name, f.Value.Reveal()))
			}
			text := strings.Join(fields, " ")
			if s.Deleted {
				text = "-"
			}
			if s.Note != "" {
				text += "#" + s.Note
			}
			m[k.Path] = append(m[k.Path], text)
		}
	}
	return m
}

func plan(t *testing.T, from, to vault.Exporter, o carry.Options) *carry.Plan {
	t.Helper()
	p, err := carry.Make(t.Context(), from, to, dev, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// How one secret at the target stands to that at the source, what is written then,
// and that it is the same afterwards.
func TestStates(t *testing.T) {
	list := func(s ...string) []string { return s }
	for name, c := range map[string]struct {
		o            carry.Options
		source       []string
		target       []string
		state        carry.State // "" if it is none of the plan
		write        int
		after        []string // the target's versions; nil: as they were
		otherHistory bool
	}{
		"new":                      {source: list("A=1", "A=2"), state: carry.New, write: 1, after: list("A=2")},
		"new, with history":        {o: carry.Options{History: true}, source: list("A=1", "A=2#n", "-", "A=3"), state: carry.New, write: 4, after: list("A=1", "A=2#n", "-", "A=3")},
		"a deleted one":            {source: list("A=1", "-")},
		"a deleted one's history":  {o: carry.Options{History: true}, source: list("A=1", "-#why"), state: carry.New, write: 2, after: list("A=1", "-#why")},
		"the same":                 {source: list("A=1 B=2#n"), target: list("A=1 B=2#n"), state: carry.Same},
		"the same, in fewer steps": {source: list("A=0", "A=1"), target: list("A=1"), state: carry.Same},
		"another value":            {source: list("A=1"), target: list("A=2"), state: carry.Different},
		"another field":            {source: list("A=1"), target: list("A=1 B=1"), state: carry.Different},
		"another note":             {source: list("A=1#n"), target: list("A=1#m"), state: carry.Different},
		"no note yet":              {source: list("A=1#n"), target: list("A=1"), state: carry.Behind, write: 1, after: list("A=1", "A=1#n")},
		"deleted at the target":    {source: list("A=1"), target: list("A=1", "-"), state: carry.Different},
		"replaced":                 {o: carry.Options{Replace: true}, source: list("A=1"), target: list("A=2", "-"), state: carry.Different, write: 1, after: list("A=2", "-", "A=1")},
		"left":                     {o: carry.Options{Leave: true}, source: list("A=1"), target: list("A=2"), state: carry.Different},
		"behind":                   {o: carry.Options{History: true}, source: list("A=1", "A=2", "-"), target: list("A=1"), state: carry.Behind, write: 2, after: list("A=1", "A=2", "-")},
		"behind a deletion":        {o: carry.Options{History: true}, source: list("A=1", "-", "A=2"), target: list("A=1", "-"), state: carry.Behind, write: 1, after: list("A=1", "-", "A=2")},
		"ahead":                    {o: carry.Options{History: true}, source: list("A=1"), target: list("A=1", "A=2"), state: carry.Different},
		"apart":                    {o: carry.Options{History: true}, source: list("A=1", "A=2"), target: list("A=1", "A=3"), state: carry.Different},
		"apart, replaced":          {o: carry.Options{History: true, Replace: true}, source: list("A=1", "A=2"), target: list("A=1", "A=3"), state: carry.Different, write: 1, after: list("A=1", "A=3", "A=2")},
		"apart, replaced by none":  {o: carry.Options{History: true, Replace: true}, source: list("A=1", "-"), target: list("A=3"), state: carry.Different, write: 1, after: list("A=3", "-")},
		"same end":                 {o: carry.Options{History: true}, source: list("A=1", "A=2"), target: list("A=2"), state: carry.Same, otherHistory: true},
		"came before with history": {o: carry.Options{History: true}, source: list("A=1", "A=2"), target: list("A=1", "A=2"), state: carry.Same},
		"notes of former ones":     {o: carry.Options{History: true}, source: list("A=1#a", "A=1#b", "A=2"), target: list("A=1#b"), state: carry.Behind, write: 1, after: list("A=1#b", "A=2")},
		"comes again":              {o: carry.Options{History: true}, source: list("A=1", "A=2", "A=1"), target: list("A=1"), state: carry.Behind, write: 2, after: list("A=1", "A=2", "A=1")},
		"in between":               {o: carry.Options{History: true}, source: list("A=1", "A=2", "A=3"), target: list("A=2"), state: carry.Behind, write: 1, after: list("A=2", "A=3"), otherHistory: true},
		"more than is kept":        {o: carry.Options{History: true, Keep: 2}, source: list("A=1", "A=2", "A=3"), state: carry.New, write: 2, after: list("A=2", "A=3")},
		"more than is kept, again": {o: carry.Options{History: true, Keep: 2}, source: list("A=1", "A=2", "A=3", "A=4"), target: list("A=2", "A=3"), state: carry.Behind, write: 1, after: list("A=2", "A=3", "A=4"), otherHistory: true},
		"another history":          {o: carry.Options{History: true}, source: list("A=1", "A=2"), target: list("A=3", "A=2"), state: carry.Same, otherHistory: true},
		"someone's note":           {o: carry.Options{History: true}, source: list("A=1", "A=2"), target: list("A=1#mine"), state: carry.Different},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := vaulttest.New(t), vaulttest.New(t)
			write(t, from, "app", c.source...)
			write(t, to, "app", c.target...)
			p := plan(t, from, to, c.o)
			if c.state == "" {
				if len(p.Items) != 0 {
					t.Fatalf("%+v", p.Items)
				}
				return
			}
			if len(p.Items) != 1 {
				t.Fatalf("%d items", len(p.Items))
			}
			if i := p.Items[0]; i.State != c.state || i.Write != c.write || i.OtherHistory != c.otherHistory {
				t.Fatalf("%s, %d to write, other history %v; want %s, %d", i.State, i.Write, i.OtherHistory, c.state, c.write)
			}
			before := versions(t, to, true)["app"]
			stop := c.state == carry.Different && !c.o.Replace && !c.o.Leave
			err := p.Run(t.Context(), to, nil, nil)
			if stop != (len(p.Stops()) > 0) || stop != (vault.KindOf(err) == vault.KindConflict) {
				t.Fatalf("Run: %v, with %d stops", err, len(p.Stops()))
			}
			want := c.after
			if want == nil {
				want = before
			}
			if got := versions(t, to, true)["app"]; !slices.Equal(got, want) {
				t.Fatalf("target has %q, want %q", got, want)
			}
			if c.state == carry.Different && !c.o.Replace {
				return
			}
			checked, err := p.Check(t.Context(), from, to)
			if err != nil || len(checked.Differ) > 0 || checked.Secrets != 1 {
				t.Errorf("Check: %+v, %v", checked, err)
			}
			if i := plan(t, from, to, c.o).Items[0]; i.State != carry.Same || i.Write != 0 {
				t.Errorf("again: %s, %d to write", i.State, i.Write)
			}
		})
	}
}

// failing stops after some writes, as a connection does.
type failing struct {
	vault.Writer
	left int
}

var errCut = errors.New("cut")

func (f *failing) Apply(ctx context.Context, env vault.Env, changes []vault.Change) ([]vault.Info, error) {
	if f.left == 0 {
		return nil, errCut
	}
	f.left--
	return f.Writer.Apply(ctx, env, changes)
}

// Stopped at any write, the next copy does the rest and nothing twice.
func TestResume(t *testing.T) {
	from := vaulttest.New(t)
	for n := range 7 {
		path := vault.Path("s" + strconv.Itoa(n))
		write(t, from, path, "A=1", "A=1 B=2#note", "A=2")
		if n%2 == 0 {
			write(t, from, path, "-", "B=back")
		}
	}
	o := carry.Options{History: true, Batch: 3}
	want := versions(t, from, true)
	for cut := 0; ; cut++ {
		to := vaulttest.New(t)
		err := plan(t, from, to, o).Run(t.Context(), &failing{to, cut}, nil, nil)
		if err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		p := plan(t, from, to, o)
		if stops := p.Stops(); len(stops) > 0 {
			t.Fatalf("cut after %d: %+v", cut, stops)
		}
		last := 0
		if err := p.Run(t.Context(), to, func(done int) { last = done }, nil); err != nil {
			t.Fatal(err)
		}
		if last != p.Counts().Versions {
			t.Errorf("cut after %d: said that %d are written of %d", cut, last, p.Counts().Versions)
		}
		got := versions(t, to, true)
		for path, versions := range want {
			if !slices.Equal(got[path], versions) {
				t.Fatalf("cut after %d: %s is %q, want %q", cut, path, got[path], versions)
			}
		}
		if err == nil {
			if cut < 10 {
				t.Errorf("only %d writes", cut)
			}
			return
		}
	}
}

// What somebody writes at the target between plan and write is not written over.
func TestMeanwhile(t *testing.T) {
	from, to := vaulttest.New(t), vaulttest.New(t)
	write(t, from, "app", "A=1")
	p := plan(t, from, to, carry.Options{})
	write(t, to, "app", "A=theirs")
	if err := p.Run(t.Context(), to, nil, nil); vault.KindOf(err) != vault.KindConflict {
		t.Errorf("%v", err)
	}
	if got := versions(t, to, true)["app"]; !slices.Equal(got, []string{"A=theirs"}) {
		t.Errorf("%q", got)
	}
	// And what is changed at the source afterwards shows when both are compared.
	from, to = vaulttest.New(t), vaulttest.New(t)
	write(t, from, "app", "A=1")
	p = plan(t, from, to, carry.Options{})
	if err := p.Run(t.Context(), to, nil, nil); err != nil {
		t.Fatal(err)
	}
	write(t, from, "app", "A=2")
	if c, err := p.Check(t.Context(), from, to); err != nil || !slices.Equal(c.Differ, []vault.Path{"app"}) {
		t.Errorf("%+v, %v", c, err)
	}
}

// A secret that cannot be read stops all until it is said to leave it; what only the
// target has stays.
func TestUnfit(t *testing.T) {
	from, to := vaulttest.New(t), vaulttest.New(t)
	write(t, from, "bad", "A=1")
	write(t, from, "good", "A=1", "A=2")
	write(t, to, "theirs", "A=1")
	from.Memory.Poke(dev, "bad", []byte("none of a record"))
	p := plan(t, from, to, carry.Options{History: true})
	if stops := p.Stops(); len(stops) != 1 || stops[0].Path != "bad" || stops[0].Err == nil {
		t.Fatalf("%+v", stops)
	}
	if err := p.Run(t.Context(), to, nil, nil); vault.KindOf(err) != vault.KindConflict {
		t.Errorf("%v", err)
	}
	p = plan(t, from, to, carry.Options{History: true, Leave: true})
	if err := p.Run(t.Context(), to, nil, nil); err != nil {
		t.Fatal(err)
	}
	got := versions(t, to, true)
	if len(got) != 2 || !slices.Equal(got["good"], []string{"A=1", "A=2"}) || !slices.Equal(p.Elsewhere, []vault.Path{"theirs"}) {
		t.Errorf("%q, elsewhere %v", got, p.Elsewhere)
	}
	// Without the environment there is nothing to compare with.
	if p := plan(t, from, nil, carry.Options{Leave: true}); p.Counts().Secrets != 1 {
		t.Errorf("%+v", p.Counts())
	}
}

// Versions that are gone at the source make lower numbers at the target, and no harm.
func TestMissing(t *testing.T) {
	from, to := vaulttest.New(t), vaulttest.New(t)
	write(t, from, "app", "A=1", "A=2", "A=3")
	o := carry.Options{History: true}
	some := without{from, 2}
	p := plan(t, some, to, o)
	if p.Items[0].Missing != 1 || p.Counts().Missing != 1 {
		t.Errorf("%+v", p.Counts())
	}
	if err := p.Run(t.Context(), to, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := versions(t, to, true)["app"]; !slices.Equal(got, []string{"A=1", "A=3"}) {
		t.Errorf("%q", got)
	}
	if i := plan(t, some, to, o).Items[0]; i.State != carry.Same {
		t.Errorf("again: %s", i.State)
	}
}

// without is a vault that keeps all versions but one.
type without struct {
	vault.Exporter
	version uint64
}

func (w without) Export(ctx context.Context, env vault.Env, former bool) ([]vault.Kept, error) {
	all, err := w.Exporter.Export(ctx, env, former)
	for i := range all {
		all[i].Versions = slices.DeleteFunc(all[i].Versions, func(s vault.Secret) bool { return s.Version == w.version })
	}
	return all, err
}

// Many at a time, the numbers are counted right and each version comes after the one before.
func TestParallel(t *testing.T) {
	from, to := vaulttest.New(t), vaulttest.New(t)
	for n := range 50 {
		write(t, from, vault.Path("s"+strconv.Itoa(n)), "A=1", "A=2", "A=3")
	}
	p := plan(t, from, to, carry.Options{History: true, Width: 8})
	rounds, last := 0, 0
	err := p.Run(t.Context(), to, func(done int) {
		if done != last+1 {
			t.Errorf("%d after %d", done, last)
		}
		last = done
	}, func(round int) error {
		if round != rounds || last != 50*(round+1) {
			t.Errorf("round %d after %d versions", round, last)
		}
		rounds++
		return nil
	})
	if err != nil || rounds != 3 || last != 150 {
		t.Errorf("%v after %d rounds, %d versions", err, rounds, last)
	}
	if c, err := p.Check(t.Context(), from, to); err != nil || c.Secrets != 50 || c.Versions != 150 || c.Values != 150 {
		t.Errorf("%+v, %v", c, err)
	}
}

package kit_test

import (
	"strings"
	"testing"

	"envrun/tui/kit"
)

func TestActions(t *testing.T) {
	ok := kit.Action{ID: "a", Name: "act", Help: "does it", Group: "Do", Keys: []string{"a"}}
	with := func(change func(*kit.Action)) kit.Action {
		a := ok
		change(&a)
		return a
	}
	for name, list := range map[string][]kit.Action{
		"":               {ok, with(func(a *kit.Action) { a.ID = "b" })},
		"twice":          {ok, ok},
		"needs an ID":    {with(func(a *kit.Action) { a.Help = "" })},
		"Enter or Space": {with(func(a *kit.Action) { a.Harm, a.Name, a.Keys = kit.Destroys, "act...", []string{"enter"} })},
		"on Enter":       {with(func(a *kit.Action) { a.Harm, a.Name, a.Keys = kit.Grants, "act...", []string{"x", "space"} })},
		`ends with "`:    {with(func(a *kit.Action) { a.Harm = kit.Writes })},
		"consent":        {with(func(a *kit.Action) { a.Keys = []string{"Y"} })},
	} {
		_, err := kit.NewActions(list)
		switch {
		case name == "" && err != nil:
			t.Errorf("a right table is refused: %v", err)
		case name != "" && (err == nil || !strings.Contains(err.Error(), name)):
			t.Errorf("want an error with %q, got %v", name, err)
		}
	}
}

func TestMatch(t *testing.T) {
	actions, err := kit.NewActions([]kit.Action{
		{ID: "down", Name: "down", Help: "x", Group: "g", Keys: []string{"j", "down"}},
		{ID: "lock", Name: "lock", Help: "x", Group: "g", Keys: []string{"ctrl+l"}},
		{ID: "jump", Name: "jump", Help: "x", Group: "g", Keys: []string{"j"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	offers := []kit.Offer{{ID: "down"}, {ID: "lock", Off: "not now"}}
	for _, c := range []struct {
		key     kit.Key
		want    string
		wantOff string
		nothing bool
	}{
		{key: kit.Key{Name: "j"}, want: "down"},
		{key: kit.Key{Name: "о", Base: "j"}, want: "down"}, // Cyrillic
		{key: kit.Key{Name: "ctrl+l"}, want: "lock", wantOff: "not now"},
		{key: kit.Key{Name: "x"}, nothing: true},
		{key: kit.Key{}, nothing: true},
	} {
		a, o, ok := actions.Match(offers, c.key)
		if ok == c.nothing || a.ID != c.want || o.Off != c.wantOff {
			t.Errorf("%v: %q, %q, %v", c.key, a.ID, o.Off, ok)
		}
	}
	if err := actions.Clash(offers); err != nil {
		t.Error(err)
	}
	if err := actions.Clash(append(offers, kit.Offer{ID: "jump"})); err == nil {
		t.Error("two actions on j do not clash")
	}
}

// As many hints as fit whole, and always the last ones.
func TestHints(t *testing.T) {
	hints := []kit.Hint{{"v", "reveal"}, {"y", "copy"}, {"ctrl+l", "lock"}}
	for w, want := range map[int]string{
		60: "v reveal  y copy  ctrl+l lock  ? keys",
		36: "v reveal  y copy  ? keys",
		20: "v reveal  ? keys",
		8:  "? keys",
	} {
		f := kit.NewFrame(w, 1, kit.ASCIIMarks())
		kit.DrawHints(f.Area(), 0, hints, kit.Hint{Key: "?", Name: "keys"})
		if got := strings.TrimSuffix(f.Text(), "\n"); got != want {
			t.Errorf("in %d cells: %q, want %q", w, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	columns := []kit.Column{{Title: "NAME", Width: 8, Grow: 1}, {Title: "VER", Width: 3, Right: true, Drop: 1}, {Title: "FLAG", Width: 4, Drop: 2}}
	for w, want := range map[int]string{
		40: "NAME                           VER  FLAG|name of it                      12  rot!",
		24: "NAME           VER  FLAG|name of it      12  rot!",
		18: "NAME           VER|name of it      12",
		12: "NAME|name of it",
		6:  "NAME|name..",
	} {
		f := kit.NewFrame(w, 2, kit.ASCIIMarks())
		table := kit.NewTable(w, columns...)
		table.Head(f.Area(), 0)
		for i, text := range []string{"name of it", "12", "rot!"} {
			table.Cell(f.Area(), 1, i, kit.Style{}, text)
		}
		if got := strings.ReplaceAll(strings.TrimSuffix(f.Text(), "\n"), "\n", "|"); got != want {
			t.Errorf("in %d cells:\n%q, want\n%q", w, got, want)
		}
	}
}

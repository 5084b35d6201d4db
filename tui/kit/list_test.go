package kit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"envrun/tui/kit"
)

// shown draws a list and returns its lines.
func shown(l *kit.List, w, h int) []string {
	f := kit.NewFrame(w, h, treeMarks())
	l.Draw(f.Area(), func(a kit.Area, ln kit.Line) { a.Fit(0, 0, a.W, kit.Style{}, ln.Name) })
	return strings.Split(strings.TrimRight(f.Text(), "\n"), "\n")
}

// treeMarks draw any name, and folders in ASCII.
func treeMarks() kit.Marks {
	m := kit.ASCIIMarks()
	m.ASCII = false
	return m
}

func names(l *kit.List) []string {

	var all []string
	for _, line := range shown(l, 80, 120) {
		if line != "" {
			all = append(all, strings.TrimPrefix(strings.TrimPrefix(line, "> "), "  "))
		}
	}
	return all
}

func TestFilter(t *testing.T) {
	// Sorted, as rows of one score stay in their order.
	rows := kit.Names{
		"billing/STRIPE_SECRET_KEY", "billing/STRIPE_WEBHOOK_KEY", "checkout/STRIPE_PUBLIC_KEY", "ledger/STRIPE_REPORT_TOKEN",
		"search/STRING_CACHE_SALT", "strip/A", "test/T", "x/日本語_KEY", "x/S_T_R_I_P_E",
	}
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"", rows},
		{"  ", rows},
		{"nothing", nil},
		{"strip", []string{"strip/A", "billing/STRIPE_SECRET_KEY", "billing/STRIPE_WEBHOOK_KEY", "checkout/STRIPE_PUBLIC_KEY", "ledger/STRIPE_REPORT_TOKEN", "x/S_T_R_I_P_E"}},
		{"'strip", []string{"strip/A", "billing/STRIPE_SECRET_KEY", "billing/STRIPE_WEBHOOK_KEY", "checkout/STRIPE_PUBLIC_KEY", "ledger/STRIPE_REPORT_TOKEN"}},
		{"^strip", []string{"strip/A"}},
		{"_token$", []string{"ledger/STRIPE_REPORT_TOKEN"}},
		{"^test/t$", []string{"test/T"}},
		{"strip !key", []string{"strip/A", "ledger/STRIPE_REPORT_TOKEN", "x/S_T_R_I_P_E"}},
		{"!^b !^c !key$ 'stri", []string{"strip/A", "search/STRING_CACHE_SALT", "ledger/STRIPE_REPORT_TOKEN"}},
		{"日本", []string{"x/日本語_KEY"}},
		{"ssk", []string{"billing/STRIPE_SECRET_KEY"}},
		{"' ! ^ !^", rows},
		{"bill wh", []string{"billing/STRIPE_WEBHOOK_KEY"}},
		{"env:prod strip", nil}, // no facet of that name: text
	} {
		var l kit.List
		l.Set(rows)
		if s := l.Filter(c.query); s != nil {
			t.Fatalf("%q is looked for elsewhere", c.query)
		}
		got := names(&l)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q finds\n  %s\nwant\n  %s", c.query, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}

func TestFacets(t *testing.T) {
	rows := kit.Names{"a/ONE", "b/TWO", "c/THREE"}
	by := []string{"ann", "bob", "ann"}
	l := kit.List{Facets: []string{"by"}, Facet: func(f kit.Facet, row int) bool { return strings.HasPrefix(by[row], f.Value) }}
	l.Set(rows)
	for _, c := range []struct{ query, want string }{
		{"by:ann", "a/ONE c/THREE"}, {"!by:ann", "b/TWO"}, {"by:a thr", "c/THREE"}, {"BY:bob", "b/TWO"}, {"by:", "a/ONE b/TWO c/THREE"},
	} {
		l.Filter(c.query)
		if got := strings.Join(names(&l), " "); got != c.want {
			t.Errorf("%q finds %q, want %q", c.query, got, c.want)
		}
	}
}

// Typing on narrows what was found; the answer is that of a fresh look.
func TestNarrowingFindsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	letters := []string{"s", "t", "r", "i", "p", "e", "_", "/", " ", "'", "!", "^", "$", "k", "y", "b"}
	var rows kit.Names
	for i := range 1500 {
		rows = append(rows, fmt.Sprintf("team-%02d/%s_%d/KEY_%c", i%17, []string{"stripe", "stripes", "pier", "best"}[i%4], i, 'A'+i%26))
	}
	for range 30 {
		var typed kit.List
		typed.Set(rows)
		query := ""
		for range 8 {
			query += letters[r.IntN(len(letters))]
			typed.Filter(query)
			var fresh kit.List
			fresh.Set(rows)
			fresh.Filter(query)
			if !slices.Equal(names(&typed), names(&fresh)) {
				t.Fatalf("%q typed finds something else than %q at once", query, query)
			}
			if typed.Matches() != fresh.Matches() {
				t.Fatalf("%q: %d matches typed, %d at once", query, typed.Matches(), fresh.Matches())
			}
		}
	}
}

type many int

func (n many) Len() int { return int(n) }
func (n many) Name(row int) string {
	return fmt.Sprintf("team-%02d/service-%06d/KEY", row%100, row)
}

// What ends late is dropped, in whatever order searches end.
func TestLateSearch(t *testing.T) {
	var l kit.List
	l.Set(many(250_000))
	first := l.Filter("team-01")
	if first == nil || !l.Pending() {
		t.Fatal("so many names were filtered at once")
	}
	second := l.Filter("team-02")
	if err := second.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !l.Take(second) || l.Pending() {
		t.Fatal("the newest search was not taken")
	}
	if err := first.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if l.Take(first) {
		t.Error("the older search was taken")
	}
	if got := names(&l)[0]; !strings.HasPrefix(got, "team-02") {
		t.Errorf("after a search for team-02 the first row is %s", got)
	}
	late := l.Filter("team-03")
	l.Filter("")
	_ = late.Run(context.Background())
	if l.Take(late) || l.Matches() != 250_000 {
		t.Error("a search that was given up was taken")
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	s := l.Filter("team-04")
	if err := s.Run(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled search says %v", err)
	}
	if l.Take(s) {
		t.Error("a cancelled search was taken")
	}
}

func TestCursorStaysOnItsRow(t *testing.T) {
	var l kit.List
	l.Set(kit.Names{"a", "b", "c", "d"})
	l.Move(2)
	if l.Under() != "c" {
		t.Fatalf("the cursor is on %q", l.Under())
	}
	l.Set(kit.Names{"0", "1", "a", "b", "c", "d"})
	if row, _ := l.Selected(); l.Under() != "c" || row != 4 {
		t.Errorf("after a reload it is on %q, row %d", l.Under(), row)
	}
	l.Set(kit.Names{"0", "1"})
	if row, ok := l.Selected(); !ok || row != 1 {
		t.Errorf("when its row is gone it is on row %d, %v", row, ok)
	}
	l.Set(kit.Names{})
	if _, ok := l.Selected(); ok || l.Under() != "" {
		t.Error("an empty list has a selected row")
	}
	l.Move(1)
	l.Page(-1)
}

// The cursor is on the best match while somebody types, and back on its row when
// the filter is gone.
func TestCursorAndFilter(t *testing.T) {
	var l kit.List
	l.Set(kit.Names{"a/x", "b/key", "c/monkey", "d/key"})
	l.Last()
	l.Filter("monk")
	if l.Under() != "c/monkey" {
		t.Errorf("the cursor is on %q", l.Under())
	}
	l.Filter("")
	if l.Under() != "c/monkey" || l.Matches() != 4 {
		t.Errorf("without the filter the cursor is on %q of %d", l.Under(), l.Matches())
	}
}

type growing struct{ names []string }

func (g *growing) Len() int            { return len(g.names) }
func (g *growing) Name(row int) string { return g.names[row] }

// Rows come in pages; what is typed meanwhile finds those that have come, and
// the cursor does not jump.
func TestRowsComeIn(t *testing.T) {
	g := &growing{}
	var l kit.List
	l.Set(g)
	l.Filter("key")
	for page := range 3 {
		for i := range 4 {
			g.names = append(g.names, fmt.Sprintf("p%d/KEY_%d", page, i), fmt.Sprintf("p%d/X_%d", page, i))
		}
		l.Grew()
		if page == 0 {
			l.Move(2)
		}
		if l.Matches() != 4*(page+1) || l.Under() != "p0/KEY_2" {
			t.Errorf("after page %d: %d matches, cursor on %q", page, l.Matches(), l.Under())
		}
	}
}

// What is under the mouse is what was drawn last there.
func TestZones(t *testing.T) {
	f := kit.NewFrame(40, 10, kit.ASCIIMarks())
	a := f.Area()
	var l kit.List
	l.Set(many(100))
	l.Move(50)
	l.Draw(a.Sub(10, 2, 20, 4), func(a kit.Area, ln kit.Line) { a.Fit(0, 0, a.W, kit.Style{}, ln.Name) })
	a.Sub(0, 0, 5, 1).Press("1")
	kit.DrawHints(a, 9, []kit.Hint{{Key: "enter", Name: "open"}, {Key: kit.Yes, Name: "delete"}, {Key: "page down", Name: "on"}, {Key: "a/b", Name: "x"}, {Key: "/", Name: "x"}})
	for at, want := range map[[2]int]kit.Zone{
		{10, 2}: {List: &l, Line: 47}, {29, 5}: {List: &l, Line: 50}, {9, 3}: {}, {30, 3}: {}, {15, 6}: {}, {15, 1}: {},
		{4, 0}: {Key: "1"}, {5, 0}: {}, {0, 9}: {Key: "enter"}, {9, 9}: {Key: "enter"}, {12, 9}: {}, {23, 9}: {Key: "pgdown"}, {36, 9}: {}, {-1, 9}: {}, {0, 10}: {},
	} {
		if got, ok := f.ZoneAt(at[0], at[1]); got != want || ok != (want != kit.Zone{}) {
			t.Errorf("at %v there is %v, want %v", at, got, want)
		}
	}
	f.NoZones()
	a.Sub(0, 5, 5, 1).Press("2")
	if _, ok := f.ZoneAt(10, 2); ok {
		t.Error("what was drawn before is still there")
	}
	f.Reset(40, 10)
	if _, ok := f.ZoneAt(1, 5); ok {
		t.Error("what was drawn in another picture is still there")
	}
}

func TestScrolling(t *testing.T) {
	var l kit.List
	l.Set(many(1000))
	for _, c := range []struct {
		do   func()
		want int
	}{
		{func() { l.Move(1) }, 1}, {func() { l.Page(1) }, 10}, {l.Last, 999}, {func() { l.Page(-1) }, 990},
		{func() { l.Half(-1) }, 985}, {func() { l.Move(-2000) }, 0}, {func() { l.Move(2000) }, 999}, {l.First, 0}, {func() { l.Move(l.Away(3)) }, 3},
	} {
		c.do()
		lines := shown(&l, 60, 10)
		if len(lines) != 10 {
			t.Fatalf("%d lines are drawn", len(lines))
		}
		row, _ := l.Selected()
		if row != c.want {
			t.Errorf("on row %d, want %d", row, c.want)
		}
		marked := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, ">") })
		if marked < 0 || !strings.Contains(lines[marked], many(0).Name(row)) {
			t.Errorf("row %d is not drawn as selected:\n%s", row, strings.Join(lines, "\n"))
		}
	}
	if l.Away(5000) != 996 || l.Away(-1) != -3 {
		t.Error("a line is farther away than the ends")
	}
}

func TestTree(t *testing.T) {
	var l kit.List
	l.Set(kit.Names{"a-b", "a.c", "a/one/K", "a/two/K", "a/two/L", "a0", "deep/only/one/K", "deep/only/one/L", "z"})
	l.Tree(true)
	check := func(what, want string) {
		t.Helper()
		if got := strings.Join(shown(&l, 40, 20), "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
		}
	}
	check("closed", `> a-b
  a.c
  + a/ 3
  a0
  + deep/only/one/ 2
  z`)
	l.Move(2)
	l.Open(true)
	check("one open", `  a-b
  a.c
> - a/ 3
    + one/ 1
    + two/ 2
  a0
  + deep/only/one/ 2
  z`)
	l.Move(2)
	l.Open(true)
	l.Move(2)
	check("two open", `  a-b
  a.c
  - a/ 3
    + one/ 1
    - two/ 2
      K
>     L
  a0
  + deep/only/one/ 2
  z`)
	if row, ok := l.Selected(); !ok || row != 4 || l.Under() != "a/two/L" {
		t.Errorf("the cursor is on row %d, %q", row, l.Under())
	}
	l.Open(false)
	if l.Under() != "a/two/" {
		t.Errorf("left of a row is %q, want its folder", l.Under())
	}
	if _, ok := l.Selected(); ok {
		t.Error("a folder is a row")
	}
	l.Filter("k")
	check("filtered", `  - a/ 2
    - one/ 1
>     K
    - two/ 1
      K
  - deep/only/one/ 1
    K`)
	l.Filter("")
	l.Tree(false)
	if l.Under() != "a/one/K" {
		t.Errorf("flat again, the cursor is on %q", l.Under())
	}
}

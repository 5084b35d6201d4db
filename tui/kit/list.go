package kit

import (
	"context"
	"sort"
	"strings"
)

// Rows is what a list shows. It is asked for the rows on the screen only, and
// for names as they come in; whatever is behind it may hold a hundred thousand.
type Rows interface {
	Len() int
	// Name is what a row is found and, in a tree, sorted by: unique in the list,
	// and the same after a reload, so that the cursor finds its row again.
	Name(row int) string
}

// Names are rows that are nothing but their names.
type Names []string

// Len implements Rows.
func (n Names) Len() int { return len(n) }

// Name implements Rows.
func (n Names) Name(row int) string { return n[row] }

// Up to so many names a filter answers within one key: 15 ms on a small machine.
const searchAtOnce = 200_000

// In a tree, so many matches at most are shown with their folders open.
const openMatches = 2_000

// A List shows rows with a cursor, flat or as a tree of the parts of their
// names, and filters them while somebody types. Only what is on the screen is
// looked at when it is drawn.
//
// The zero List is empty and flat.
type List struct {
	// Facets are the names before a colon that the filter knows, and Facet says
	// whether a row matches one. Set before the first Filter.
	Facets []string
	Facet  func(f Facet, row int) bool

	// Lead is how many of the first rows are shown while nothing is looked for; 0:
	// all. Not of a tree.
	Lead int

	// Alert has the cursor drawn as a warning: what is under it is protected.
	Alert bool

	rows  Rows
	index Index

	text    string // of the filter, as typed
	query   Query
	found   *found // nil: everything
	search  uint64 // number of the newest search
	pending bool   // its answer is not here yet

	tree  bool
	open  map[string]bool // folders by name that were opened, or closed where all are open
	lines []line          // of the tree; nil while flat

	cursor int
	top    int
	height int    // of the last picture, for pages
	spoken bool   // that was printed: a page is then what was not in it
	name   string // of the row or folder under the cursor
}

// A line of a tree is a row, or a folder and the rows in it.
type line struct {
	row   int32 // of a folder, its first
	count int32 // rows in the folder; 0: this is a row
	above int32 // bytes of the name that belong to the folders above
	own   int32 // of a folder: bytes of its own name, with those above
	depth int32
	open  bool
}

// Set replaces the rows; the cursor stays on the row of the same name, or near
// where it was. In a tree the rows must be sorted by name. What was typed to
// filter is looked for in the new rows; a Search is returned as Filter does.
func (l *List) Set(rows Rows) *Search { return l.SetIndexed(rows, IndexOf(rows)) }

// SetIndexed is Set with an index that was made elsewhere: for many rows that
// takes longer than a key may take.
func (l *List) SetIndexed(rows Rows, x Index) *Search {
	l.rows, l.index = rows, x
	return l.Grew()
}

// Grew takes in the rows that have been added at the end since Set.
func (l *List) Grew() *Search {
	if l.rows == nil {
		return nil
	}
	for i, n := l.index.Len(), l.rows.Len(); i < n; i++ {
		l.index.Add(l.rows.Name(i))
	}
	if l.query.Empty() {
		l.arrange(false)
		return nil
	}
	return l.look(nil, false)
}

// Filter shows only the rows that match what was typed, the best first, with the
// cursor on the best. It is done at once where that takes no time that a person
// would see; otherwise the caller runs the Search elsewhere and hands it to
// Take. An earlier search is then late, whenever it ends.
func (l *List) Filter(text string) *Search {
	if text == l.text {
		return nil
	}
	was := l.query
	l.text = text
	l.query = ParseQuery(text, l.Facets...)
	if l.query.Empty() {
		l.search++
		l.pending, l.found = false, nil
		l.arrange(false)
		return nil
	}
	var within []int32
	if l.found != nil && !l.pending && l.query.narrows(was) {
		within = l.found.rows
	}
	return l.look(within, true)
}

// look begins a search. With typed the cursor goes to the best match; without,
// the rows have changed under a filter, and it stays on its row.
func (l *List) look(within []int32, typed bool) *Search {
	l.search++
	s := &Search{number: l.search, search: search{index: l.index, query: l.query, within: within, facet: l.Facet}, typed: typed}
	n := l.index.Len()
	if within != nil {
		n = len(within)
	}
	l.pending = true
	if n > searchAtOnce {
		return s
	}
	_ = s.Run(context.Background())
	l.Take(s)
	return nil
}

// A Search is a filter that takes longer than a key may take.
type Search struct {
	number uint64
	search search
	typed  bool
	found  found
	done   bool
}

// Run looks; its error is that of the context. It touches nothing of the list
// and may run on another goroutine, unless a Facet looks at what changes.
func (s *Search) Run(ctx context.Context) (err error) {
	s.found, err = s.search.run(ctx)
	s.done = err == nil
	return err
}

// Take shows what a search has found. It is dropped, and false returned, if
// something else has been looked for in the meantime.
func (l *List) Take(s *Search) bool {
	if !s.done || s.number != l.search {
		return false
	}
	l.pending = false
	l.found = &s.found
	l.arrange(s.typed)
	return true
}

// Pending reports whether a search is under way; the rows are those before it.
func (l *List) Pending() bool { return l.pending }

// Query is what was typed last.
func (l *List) Query() string { return l.text }

// Len is the number of rows, and Matches of those that the filter leaves.
func (l *List) Len() int { return l.index.Len() }

// Matches is the number of rows that the filter leaves.
func (l *List) Matches() int {
	switch n := l.index.Len(); {
	case l.found != nil:
		return len(l.found.rows)
	case l.Lead > 0:
		return min(l.Lead, n)
	default:
		return n
	}
}

// Index is what the rows are found by, to be joined to another. What is added to
// the list later is not in it.
func (l *List) Index() Index { return l.index }

// Tree shows the rows as a tree, or flat.
func (l *List) Tree(on bool) {
	if l.tree == on {
		return
	}
	l.tree = on
	l.arrange(false)
}

// IsTree reports whether the rows are shown as a tree.
func (l *List) IsTree() bool { return l.tree }

// arrange makes the lines again, and puts the cursor on its row, or on the best
// match.
func (l *List) arrange(best bool) {
	l.lines = nil
	if l.tree {
		l.grow()
	}
	if best {
		l.cursor, l.top = 0, 0
		if l.tree {
			for i, ln := range l.lines {
				if ln.count == 0 {
					l.cursor = i
					break
				}
			}
		}
		l.note()
		return
	}
	if l.name == "" || !l.Select(l.name) {
		l.Move(0)
	}
}

// count is the number of lines.
func (l *List) count() int {
	if l.tree {
		return len(l.lines)
	}
	return l.Matches()
}

// rowAt is the row of a flat line.
func (l *List) rowAt(i int) int {
	if l.found != nil {
		return int(l.found.order[i])
	}
	return i
}

// grow makes the lines of the tree. Rows are sorted by name, so that the rows
// of a folder lie side by side and its end is found by halving.
func (l *List) grow() {
	l.lines = make([]line, 0, min(l.Matches(), 4096))
	l.branch(0, l.Matches(), 0, 0)
}

// at is the row of a place in the tree's order.
func (l *List) at(i int) int32 {
	if l.found != nil {
		return l.found.rows[i]
	}
	return int32(i)
}

func (l *List) branch(from, to, prefix, depth int) {
	for i := from; i < to; {
		row := l.at(i)
		name := l.rows.Name(int(row))
		cut := strings.IndexByte(name[prefix:], '/')
		if cut < 0 {
			l.lines = append(l.lines, line{row: row, above: int32(prefix), depth: int32(depth)})
			i++
			continue
		}
		folder := name[:prefix+cut+1]
		end := i + 1 + sort.Search(to-i-1, func(k int) bool { return !strings.HasPrefix(l.rows.Name(int(l.at(i+1+k))), folder) })
		// A folder that holds nothing but one other is shown as one with it.
		last := l.rows.Name(int(l.at(end - 1)))
		for {
			cut := strings.IndexByte(name[len(folder):], '/')
			if cut < 0 || !strings.HasPrefix(last, name[:len(folder)+cut+1]) {
				break
			}
			folder = name[:len(folder)+cut+1]
		}
		open := l.isOpen(folder)
		l.lines = append(l.lines, line{row: row, count: int32(end - i), above: int32(prefix), own: int32(len(folder)), depth: int32(depth), open: open})
		if open {
			l.branch(i, end, len(folder), depth+1)
		}
		i = end
	}
}

// isOpen: folders are closed until somebody opens them, and open while a filter
// leaves few rows, until somebody closes them.
func (l *List) isOpen(folder string) bool {
	if opened, ok := l.open[folder]; ok {
		return opened
	}
	return l.found != nil && len(l.found.rows) <= openMatches
}

// Open opens or closes the folder under the cursor. On a row it does nothing to
// open; to close, the cursor goes to the row's folder.
func (l *List) Open(open bool) {
	if !l.tree || l.cursor >= len(l.lines) {
		return
	}
	ln := l.lines[l.cursor]
	if ln.count == 0 || !open && !ln.open {
		if !open {
			for i := l.cursor - 1; i >= 0; i-- {
				if l.lines[i].count > 0 && l.lines[i].depth < ln.depth {
					l.cursor = i
					l.note()
					return
				}
			}
		}
		return
	}
	if ln.open == open {
		return
	}
	if l.open == nil {
		l.open = map[string]bool{}
	}
	l.open[l.nameAt(l.cursor)] = open
	l.arrange(false)
}

// nameAt is the name of the row of a line, or of its folder, which ends with "/".
func (l *List) nameAt(i int) string {
	if l.tree {
		ln := l.lines[i]
		name := l.rows.Name(int(ln.row))
		if ln.count > 0 {
			return name[:ln.own]
		}
		return name
	}
	return l.rows.Name(l.rowAt(i))
}

// note remembers what the cursor is on.
func (l *List) note() {
	if n := l.count(); l.cursor < n {
		l.name = l.nameAt(l.cursor)
	} else {
		l.name = ""
	}
}

// Move moves the cursor by so many lines, down if positive, to the end at most.
func (l *List) Move(by int) {
	l.cursor = max(min(l.cursor+by, l.count()-1), 0)
	l.note()
}

// Page moves the cursor by so many screens.
func (l *List) Page(by int) {
	if !l.spoken {
		l.Move(by * max(l.height-1, 1))
		return
	}
	l.top = max(min(l.top+by*l.height, l.count()-1), 0)
	l.Move(l.top - l.cursor)
}

// Half moves the cursor by so many half screens.
func (l *List) Half(by int) { l.Move(by * max(l.height/2, 1)) }

// First and Last move the cursor to the ends.
func (l *List) First() { l.Move(-l.count()) }

// Last moves the cursor to the end.
func (l *List) Last() { l.Move(l.count()) }

// Away is how far below the cursor a line is, as a Zone names it.
func (l *List) Away(line int) int { return max(min(line, l.count()-1), 0) - l.cursor }

// Select puts the cursor on the row of a name, if it is shown. In a tree its
// folders are not opened.
func (l *List) Select(name string) bool {
	n := l.count()
	// Nearly always it has not moved.
	if l.cursor < n && l.nameAt(l.cursor) == name {
		l.note()
		return true
	}
	for i := range n {
		if l.nameAt(i) == name {
			l.cursor = i
			l.note()
			return true
		}
	}
	return false
}

// Selected is the row under the cursor; ok is false if there is none, or if it
// is a folder.
func (l *List) Selected() (row int, ok bool) {
	if l.cursor >= l.count() {
		return 0, false
	}
	if !l.tree {
		return l.rowAt(l.cursor), true
	}
	ln := l.lines[l.cursor]
	return int(ln.row), ln.count == 0
}

// Under is the name of the row, or of the folder with "/" at its end, that the
// cursor is on; empty if there is nothing.
func (l *List) Under() string { return l.name }

// A Line is one line of a list that is being drawn.
type Line struct {
	Row      int    // the row; of a folder, its first
	Name     string // the name; of a folder, with "/" at its end; without the folders above it
	Depth    int
	Folder   bool
	Open     bool
	Count    int // rows in the folder
	Selected bool
	Whole    Area // the line right of the cursor's mark, with what is left of a tree's branch
}

// Draw draws the lines that the area has room for, the cursor's among them. draw
// is called for each with what is right of the cursor's mark; a folder is drawn
// here.
func (l *List) Draw(a Area, draw func(a Area, ln Line)) {
	n := l.count()
	if l.spoken = a.f.Spoken; l.spoken {
		a.H = min(a.H, PrintedRows)
		a.f.list, a.f.rows = l, map[int]drawn{}
	}
	l.height = a.H
	if !l.spoken {
		l.top = min(l.top, n-a.H)
	}
	l.top = max(min(l.top, n-1), 0)
	switch {
	case l.cursor < l.top:
		l.top = l.cursor
	case a.H > 0 && l.cursor >= l.top+a.H:
		l.top = l.cursor - a.H + 1
	}
	for y := range min(a.H, n-l.top) {
		i := l.top + y
		row := a.Sub(0, y, a.W, 1)
		a.zone(y, Zone{List: l, Line: i})
		ln := l.line(i)
		ln.Selected = i == l.cursor
		if l.spoken {
			a.f.rows[row.y] = drawn{i, ln.Selected}
		} else if ln.Selected {
			mark := a.Marks().Cursor
			if l.Alert {
				mark = "!"
			}
			row.Text(0, 0, In(Selection), mark)
		}
		ln.Whole = row.Sub(2, 0, a.W, 1)
		inner := row.Sub(2+2*ln.Depth, 0, a.W, 1)
		if ln.Folder {
			mark := a.Marks().Closed
			if ln.Open {
				mark = a.Marks().Open
			}
			x := inner.Text(0, 0, In(Dim), mark+" ")
			count := itoa(ln.Count)
			x = inner.Fit(x, 0, min(inner.W-x-len(count)-1, a.Marks().Width(ln.Name)), In(Accent), ln.Name)
			inner.Text(x+1, 0, In(Dim), count)
		} else {
			draw(inner, ln)
		}
		if ln.Selected {
			a.Paint(y, In(Selection).With(Reverse))
		}
	}
}

// Above and Below say whether there are lines before and after those drawn last.
func (l *List) Above() int { return l.top }

// Below is the number of lines after those drawn last.
func (l *List) Below() int { return max(l.count()-l.top-l.height, 0) }

func (l *List) line(i int) Line {
	if !l.tree {
		row := l.rowAt(i)
		return Line{Row: row, Name: l.rows.Name(row)}
	}
	ln := l.lines[i]
	name := l.rows.Name(int(ln.row))
	if ln.count == 0 {
		return Line{Row: int(ln.row), Name: name[ln.above:], Depth: int(ln.depth)}
	}
	return Line{Row: int(ln.row), Name: name[ln.above:ln.own], Depth: int(ln.depth), Folder: true, Open: ln.open, Count: int(ln.count)}
}

func itoa(n int) string {
	// With the thousands apart: 100,000 is read at a glance.
	var b [26]byte
	i := len(b)
	for d := 0; ; d++ {
		if d > 0 && d%3 == 0 {
			i--
			b[i] = ','
		}
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// Number writes a count with its thousands apart.
func Number(n int) string {
	if n < 0 {
		return "-" + itoa(-n)
	}
	return itoa(n)
}

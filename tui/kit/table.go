package kit

// A Column of a table.
type Column struct {
	Title string
	Width int  // cells; of a column that grows, the fewest
	Grow  int  // its share of what is left; 0: always Width
	Right bool // at the right end of its cells, as numbers are
	Drop  int  // columns with the highest number go first where there is no room; 0: never
}

// A Table is columns over a List or over any rows: it lays them out once for a
// width, and draws one row at a time.
type Table struct {
	columns []Column
	at      []int // where each begins
	wide    []int // its cells; 0: dropped
}

const columnGap = 2

// NewTable lays columns out in a width.
func NewTable(width int, columns ...Column) Table {
	t := Table{columns: columns, at: make([]int, len(columns)), wide: make([]int, len(columns))}
	dropped := 0
	for {
		need, grow := -columnGap, 0
		for i, c := range columns {
			if t.wide[i] = c.Width; t.wide[i] < 0 || dropped > 0 && c.Drop >= dropped {
				t.wide[i] = 0
				continue
			}
			need += c.Width + columnGap
			grow += c.Grow
		}
		if next := t.nextDrop(); need > width && next > 0 {
			dropped = next
			continue
		}
		left := max(width-need, 0)
		x := 0
		for i, c := range columns {
			if t.wide[i] == 0 {
				continue
			}
			if c.Grow > 0 {
				share := left * c.Grow / grow
				t.wide[i] += share
				left, grow = left-share, grow-c.Grow
			}
			t.wide[i] = max(min(t.wide[i], width-x), 0)
			t.at[i] = x
			x += t.wide[i] + columnGap
		}
		return t
	}
}

// nextDrop is the highest Drop of the columns that are still there.
func (t *Table) nextDrop() int {
	n := 0
	for i, c := range t.columns {
		if t.wide[i] > 0 {
			n = max(n, c.Drop)
		}
	}
	return n
}

// Head draws the titles in row y.
func (t Table) Head(a Area, y int) {
	a = a.Own()
	for i, c := range t.columns {
		t.Cell(a, y, i, In(Dim), c.Title)
	}
}

// Cell draws one cell of row y.
func (t Table) Cell(a Area, y, column int, st Style, text string) {
	switch w := t.wide[column]; {
	case w == 0:
	case t.columns[column].Right:
		a.FitRight(t.at[column], y, w, st, text)
	default:
		a.Fit(t.at[column], y, w, st, text)
	}
}

// Has reports whether a column has not been dropped.
func (t Table) Has(column int) bool { return t.wide[column] > 0 }

// Place is where a column begins and how many cells it has.
func (t Table) Place(column int) (x, w int) { return t.at[column], t.wide[column] }

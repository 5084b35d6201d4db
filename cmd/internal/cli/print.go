package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// WriteJSON prints v indented, with a newline. It is for facts: a vault.Value
// in v is an error, since values do not marshal.
func WriteJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON writes what Printable would not let through as JSON escapes it: a
// person may look at it, and a program gets back what it was. Such characters
// stand in strings only, and those below space are escaped already.
func escapeJSON(text []byte) []byte {
	if utf8.Valid(text) && !bytes.ContainsFunc(text, func(r rune) bool { return r >= 0x7f && !safe(r) }) {
		return text
	}
	var out []byte
	for _, r := range string(text) {
		switch {
		case r < 0x7f || safe(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// Table prints rows: in aligned columns for a person, with single tabs for a pipe.
type Table struct {
	s    Streams
	rows [][]string
}

// NewTable makes an empty table that prints to s.Out.
func NewTable(s Streams) *Table { return &Table{s: s} }

// Row adds a row. Cells are made printable, and a newline in one becomes a space.
func (t *Table) Row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.NewReplacer("\n", " ", "\t", " ").Replace(Printable(c))
	}
	t.rows = append(t.rows, cells)
}

// Flush prints the table.
func (t *Table) Flush() error {
	var b strings.Builder
	tty := IsTerminal(t.s.Out)
	var width []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			switch {
			case i == len(row)-1:
				line.WriteString(c)
			case tty:
				line.WriteString(c + strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2))
			default:
				line.WriteString(c + "\t")
			}
		}
		fmt.Fprintln(&b, strings.TrimRight(line.String(), " \t"))
	}
	_, err := io.WriteString(t.s.Out, b.String())
	return err
}

// Join is "A, B, C" of any kind of name.
func Join[S ~string](names []S) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(n))
	}
	return b.String()
}

// WriteJSONLine prints v on one line.
func WriteJSONLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escapeJSON(line), '\n'))
	return err
}

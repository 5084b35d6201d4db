package environ

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"envrun/vault"
)

// A binding is what a dotenv reader makes of one assignment.
type binding struct {
	name   string
	value  []byte
	line   int
	expand bool // its reader would put something else in place of a part of value
	bare   bool // a name without a value
}

// A problem is a place that a dotenv reader refuses or skips, or that it reads
// in a way nobody can have meant. detail never quotes the file.
type problem struct {
	line   int
	name   string // if the place is certainly the value of this name
	detail string
}

const (
	badLine     = "is no assignment, comment or empty line"
	badQuote    = "its value begins with a quote that does not end it"
	badTrailing = "text follows the closing quote"
	tooMany     = "more than 10000 variables"
	badName     = "the name may hold only letters, digits, _ . and -, and begin with a letter, a digit or _"
)

// A reading is everything that one dialect makes of a file: its bindings,
// MaxEntries at most, and the first of the problems.
type reading struct {
	bindings []binding
	problem  *problem
}

func (r *reading) bad(line int, name, detail string) {
	if r.problem == nil {
		r.problem = &problem{line, fieldName(name), detail}
	}
}

// add takes a binding whose name a vault can hold. A line that is no more than
// a name has to look like one too: anything else is likelier a piece of a value.
func (r *reading) add(b binding) {
	switch {
	case len(r.bindings) == MaxEntries:
		r.bad(b.line, "", tooMany)
	case fieldName(b.name) != "":
		r.bindings = append(r.bindings, b)
	case b.bare:
		r.bad(b.line, "", badLine)
	default:
		r.bad(b.line, "", badName)
	}
}

// last returns the binding that counts for each name with a value.
func (r *reading) last() map[string]binding {
	m := make(map[string]binding, len(r.bindings))
	for _, b := range r.bindings {
		if !b.bare {
			m[b.name] = b
		}
	}
	return m
}

// readDotenv reads text, which is valid UTF-8 without a BOM and without NUL.
func readDotenv(text []byte, d Dialect) reading {
	switch d {
	case DialectDocker:
		return readDocker(text)
	case DialectCompose:
		return readCompose(text)
	case DialectPython:
		return readPython(toLF(text))
	case DialectRuby:
		return readRuby(toLF(text))
	}
	return readNode(toLF(text))
}

// toLF writes every line end as "\n", as Node's and Ruby's libraries do by hand
// and Python does for each text file. Compose and Docker do not.
func toLF(text []byte) []byte {
	if bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n"))
}

// others are the readers that DialectAuto compares with Node's. Docker is not
// among them: it knows neither quotes nor comments after a value, so that its
// files are another format under the same name.
var others = [...]Dialect{DialectCompose, DialectRuby, DialectPython}

func importDotenv(text []byte, o ImportOptions) ([]Entry, []Note, error) {
	dialect := o.Dialect
	if dialect == DialectAuto {
		dialect = DialectNode
	}
	r := readDotenv(text, dialect)
	if p := r.problem; p != nil {
		return nil, nil, invalid(o.File, p.line, p.name, p.detail)
	}

	var entries []Entry
	var notes []Note
	last := r.last()
	for _, b := range r.bindings {
		switch {
		case b.bare:
			// The name is left out: in a file that is broken, a line that looks like
			// a name can be a piece of a value.
			notes = append(notes, Note{Kind: NoteNoValue, Line: b.line})
			continue
		case last[b.name].line != b.line:
			notes = append(notes, Note{Kind: NoteDuplicate, Line: b.line, Name: b.name})
			continue
		}
		entries = append(entries, Entry{b.name, vault.NewValue(b.value), b.line})
		if b.expand {
			notes = append(notes, Note{Kind: NoteExpansion, Line: b.line, Name: b.name})
		}
	}
	if o.Dialect == DialectAuto {
		notes = append(notes, disagreements(text, entries)...)
	}
	return entries, notes, nil
}

// disagreements says which of the values that Node's reader found others read differently.
func disagreements(text []byte, entries []Entry) []Note {
	var differ [len(others)]map[string]binding
	for i, d := range others {
		r := readDotenv(text, d)
		differ[i] = r.last()
	}
	var notes []Note
	for _, e := range entries {
		var who []Dialect
		expand := false
		for i, d := range others {
			b, ok := differ[i][e.Name]
			switch {
			case ok && b.expand:
				expand = true // said once for all of them
			case !ok || !bytes.Equal(b.value, e.Value.Reveal()):
				who = append(who, d)
			}
		}
		if expand {
			notes = append(notes, Note{Kind: NoteExpansion, Line: e.Line, Name: e.Name})
		}
		if len(who) > 0 {
			notes = append(notes, Note{Kind: NoteAmbiguous, Line: e.Line, Name: e.Name, Others: who})
		}
	}
	return notes
}

// readDocker reads as docker run --env-file does: lines of NAME=value, where
// everything behind the first "=" is the value.
func readDocker(text []byte) reading {
	const longest = 64<<10 - 1 // bytes of a line without "\n"; Docker fails on more
	var r reading
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimSuffix(string(raw), "\n")
		if len(line) > longest {
			r.bad(n, "", "is longer than 64 KiB, which Docker refuses")
			continue
		}
		line = strings.TrimSuffix(line, "\r")
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		switch {
		case name == "":
			r.bad(n, "", "has no name before the =")
		case strings.ContainsAny(name, " \t"):
			r.bad(n, "", "has a space in the name, or before the =")
		default:
			r.add(binding{name: name, value: []byte(value), line: n, bare: !ok})
		}
	}
	return r
}

// lineCounter turns offsets that only grow into line numbers.
type lineCounter struct {
	text []byte
	at   int
	line int
}

func (c *lineCounter) of(offset int) int {
	if c.line == 0 {
		c.line = 1
	}
	c.line += bytes.Count(c.text[c.at:offset], []byte("\n"))
	c.at = offset
	return c.line
}

// endOfLine is the offset of the "\n" at or after i, or of the end of text.
func endOfLine(text []byte, i int) int {
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

// skip returns the offset of the first character at or after i that is not in class.
func skip(text []byte, i int, class func(rune) bool) int {
	for i < len(text) {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		if !class(r) {
			break
		}
		i += n
	}
	return i
}

// closings yields where a value that opens with the quote at text[open] may
// close, in the order in which a backtracking matcher of (?:\\q|[^q])*q tries
// them: the first quote without a backslash before it, then, going back, those
// with one. A reader in which that is not the rule has its own loop.
func closings(text []byte, open int) []int {
	var at []int
	q := text[open]
	for i := open + 1; i < len(text); i++ {
		n := bytes.IndexByte(text[i:], q)
		if n < 0 {
			break
		}
		i += n
		at = append(at, i)
		if i == open+1 || text[i-1] != '\\' {
			break
		}
	}
	slices.Reverse(at)
	return at
}

package environ

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// lineRules are where the expressions differ with which the libraries of Node
// and Ruby find an assignment. They are the same but for these.
type lineRules struct {
	space    func(rune) bool
	nameChar func(byte) bool
	quotes   string
	breaks   string // the characters that end a line
	bareName bool   // a name alone on its line is an assignment too
}

// endOfLine is the offset of the line end at or after i, or of the end of text.
func (l lineRules) endOfLine(text []byte, i int) int {
	if n := bytes.IndexAny(text[i:], l.breaks); n >= 0 {
		return i + n
	}
	return len(text)
}

// nextLine is the offset of the line after the one that ends at or after i.
func (l lineRules) nextLine(text []byte, i int) int {
	i = l.endOfLine(text, i)
	_, n := utf8.DecodeRune(text[i:])
	return i + n
}

// A match is one assignment found by matchLine.
type match struct {
	start    int // of the name
	end      int // of the whole match
	name     []byte
	value    []byte // as written, quotes and all; nil if there is none
	valued   bool   // there was "=" or ":"
	exported bool   // there was "export"
}

// matchLine matches, at the start of a line at offset i,
//
//	\s* (export\s+)? name (\s*=\s*? | :\s+?) ('…' | "…" | [^#\n]+)? \s* (#.*)? end of line
//
// with the backtracking that these libraries' engines do: white space crosses
// lines, and a quoted value that is followed by something else is tried again
// as one without quotes.
func matchLine(text []byte, i int, l lineRules) (match, bool) {
	i = skip(text, i, l.space)
	if bytes.HasPrefix(text[i:], []byte("export")) {
		at := i + len("export")
		if next := skip(text, at, l.space); next > at {
			if m, ok := matchName(text, next, l); ok {
				m.exported = true
				return m, true
			}
		}
	}
	return matchName(text, i, l)
}

func matchName(text []byte, i int, l lineRules) (match, bool) {
	end := i
	for end < len(text) && l.nameChar(text[end]) {
		end++
	}
	if end == i {
		return match{}, false
	}
	m := match{start: i, name: text[i:end]}
	if at := skip(text, end, l.space); at < len(text) && text[at] == '=' {
		return matchValue(text, at+1, m, l), true
	}
	if end < len(text) && text[end] == ':' {
		if r, n := utf8.DecodeRune(text[end+1:]); n > 0 && l.space(r) {
			return matchValue(text, end+1+n, m, l), true
		}
	}
	if !l.bareName {
		return match{}, false
	}
	if m.end = matchTail(text, end, l); m.end < 0 {
		return match{}, false
	}
	return m, true
}

// matchValue matches the value that begins at offset i, and never fails: what
// stands before a "#" or a line end is a value, be it empty.
func matchValue(text []byte, i int, m match, l lineRules) match {
	m.valued = true
	if at := skip(text, i, l.space); at < len(text) && bytes.IndexByte([]byte(l.quotes), text[at]) >= 0 {
		for _, close := range closings(text, at) {
			if end := matchTail(text, close+1, l); end >= 0 {
				m.value, m.end = text[i:close+1], end
				return m
			}
		}
	}
	end := i
	for end < len(text) && text[end] != '#' && text[end] != '\n' {
		end++
	}
	if end > i {
		m.value = text[i:end]
	}
	m.end = matchTail(text, end, l)
	return m
}

// matchTail matches \s*(#.*)? up to the end of a line and returns its offset, or -1.
func matchTail(text []byte, i int, l lineRules) int {
	far := skip(text, i, l.space)
	if far == len(text) {
		return far
	}
	if text[far] == '#' {
		return l.endOfLine(text, far)
	}
	// Give white space back until it stops before a line end.
	if n := bytes.LastIndexAny(text[i:far], l.breaks); n >= 0 {
		return i + n
	}
	return -1
}

// readLines finds every assignment in text.
func readLines(text []byte, l lineRules, take func(*reading, match, int)) reading {
	var r reading
	lines := lineCounter{text: text}
	for i := 0; i < len(text); {
		// Over empty lines at once: white space before a name may cross them, and
		// trying again at each would take time squared.
		first := skip(text, i, l.space)
		if first == len(text) {
			break
		}
		if n := bytes.LastIndexAny(text[i:first], l.breaks); n >= 0 {
			i = l.nextLine(text, i+n)
		}
		m, ok := matchLine(text, i, l)
		if ok {
			take(&r, m, lines.of(m.start))
			i = l.nextLine(text, m.end)
			continue
		}
		end := l.endOfLine(text, i)
		if line := bytes.TrimFunc(text[i:end], l.space); len(line) > 0 && line[0] != '#' {
			n := lines.of(i)
			r.add(binding{name: bareName(line, l), line: n, bare: true})
		}
		i = l.nextLine(text, end)
	}
	return r
}

// bareName returns what is left of a trimmed line without "export" before and a
// comment behind it.
func bareName(line []byte, l lineRules) string {
	if name, _, ok := bytes.Cut(line, []byte("#")); ok {
		line = bytes.TrimRightFunc(name, l.space)
	}
	if rest, ok := bytes.CutPrefix(line, []byte("export")); ok {
		if trimmed := bytes.TrimLeftFunc(rest, l.space); len(trimmed) < len(rest) {
			line = trimmed
		}
	}
	return string(line)
}

// readNode reads as npm's dotenv 16 and 17 do. It expands nothing.
func readNode(text []byte) reading {
	l := lineRules{space: isJSSpace, nameChar: isNodeNameChar, quotes: "'\"`", breaks: "\n"}
	separators := bytes.ContainsAny(text, jsSeparators)
	if separators {
		l.breaks += jsSeparators
	}
	return readLines(text, l, func(r *reading, m match, line int) {
		name := string(m.name)
		value := bytes.TrimFunc(m.value, isJSSpace)
		quote := byte(0)
		if len(value) > 0 && bytes.IndexByte([]byte(l.quotes), value[0]) >= 0 {
			if quote = value[0]; len(value) < 2 || value[len(value)-1] != quote {
				r.bad(line, name, badQuote)
				return
			}
			value = value[1 : len(value)-1]
		} else if separators && bytes.ContainsAny(value, jsSeparators) && bytes.ContainsAny(value, l.quotes) {
			r.bad(line, name, "its value has a line separator U+2028 or U+2029 and quotes, of which Node takes some away")
			return
		}
		value = bytes.Clone(value)
		if quote == '"' {
			value = bytes.ReplaceAll(value, []byte(`\n`), []byte("\n"))
			value = bytes.ReplaceAll(value, []byte(`\r`), []byte("\r"))
		}
		r.add(binding{name: name, value: value, line: line})
	})
}

// jsSeparators end a line in JavaScript's expressions too.
const jsSeparators = "\u2028\u2029"

func isNodeNameChar(c byte) bool { return isWordChar(c) || c == '.' || c == '-' }

func isWordChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// isJSSpace is \s of JavaScript.
func isJSSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xA0, 0xFEFF, 0x2028, 0x2029:
		return true
	}
	return r > 0xA0 && unicode.Is(unicode.Zs, r)
}

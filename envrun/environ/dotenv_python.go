package environ

import (
	"bytes"
	"unicode"
)

// readPython reads as python-dotenv 1 does, which steps through the file with
// small expressions and gives a statement up at the first that does not match.
func readPython(text []byte) reading {
	var r reading
	lines := lineCounter{text: text}
	for i := 0; i < len(text); {
		if i = skip(text, i, isPythonSpace); i == len(text) {
			break
		}
		line := lines.of(i)
		b, end, why := pythonBinding(text, i)
		if i = end; why != "" {
			r.bad(line, b.name, why)
			i = endOfLine(text, end)
		} else if b.name != "" { // else it is a comment
			b.line = line
			r.add(b)
		}
	}
	return r
}

// pythonBinding reads one statement at offset i and returns the offset of the
// end of its line, or what is wrong and where.
func pythonBinding(text []byte, i int) (b binding, end int, why string) {
	if bytes.HasPrefix(text[i:], []byte("export")) {
		if at := skip(text, i+len("export"), isPythonBlank); at > i+len("export") {
			i = at
		}
	}
	b.bare = true
	switch {
	case i == len(text):
		return b, i, badLine
	case text[i] == '#':
	case text[i] == '\'':
		n := bytes.IndexByte(text[i+1:], '\'')
		if n <= 0 {
			return b, i, badLine
		}
		b.name = string(text[i+1 : i+1+n])
		i += n + 2
	default:
		at := skip(text, i, func(r rune) bool { return r != '=' && r != '#' && !isPythonSpace(r) })
		if at == i {
			return b, i, badLine
		}
		b.name = string(text[i:at])
		i = at
	}
	i = skip(text, i, isPythonBlank)
	if i < len(text) && text[i] == '=' {
		b.bare = false
		i = skip(text, i+1, isPythonBlank)
		switch {
		case i == len(text) || text[i] == '\n':
		case text[i] == '\'' || text[i] == '"':
			all := closings(text, i)
			if len(all) == 0 {
				return b, i, badQuote
			}
			b.value = pythonUnescape(text[i+1:all[0]], text[i])
			i = all[0] + 1
		default:
			at := endOfLine(text, i)
			b.value = bytes.Clone(pythonUnquoted(text[i:at]))
			i = at
		}
		b.expand = pythonExpands(b.value)
	}
	at := skip(text, i, isPythonBlank)
	if at < len(text) && text[at] == '#' {
		at = endOfLine(text, at)
	}
	switch {
	case at == len(text):
		return b, at, ""
	case text[at] == '\n':
		return b, at + 1, ""
	case b.bare:
		return binding{}, at, badLine // a word of a line is no name
	}
	return b, at, badTrailing
}

// pythonUnquoted cuts a comment, which needs white space before it, and white
// space at the end.
func pythonUnquoted(s []byte) []byte {
	for i := range s {
		if s[i] == '#' {
			if cut := bytes.TrimRightFunc(s[:i], isPythonSpace); len(cut) < i {
				s = cut
				break
			}
		}
	}
	return bytes.TrimRightFunc(s, isPythonSpace)
}

func pythonUnescape(s []byte, quote byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if c, ok := pythonEscape(s[i+1], quote); ok {
				out = append(out, c)
				i++
				continue
			}
		}
		out = append(out, s[i])
	}
	return out
}

func pythonEscape(c, quote byte) (byte, bool) {
	switch {
	case c == '\\' || c == '\'':
		return c, true
	case quote == '\'':
		return 0, false
	}
	switch c {
	case '"':
		return '"', true
	case 'a':
		return '\a', true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'v':
		return '\v', true
	}
	return 0, false
}

// pythonExpands says whether s has a ${NAME} or ${NAME:-default}, which this
// library expands in any quotes.
func pythonExpands(s []byte) bool {
	for {
		i := bytes.Index(s, []byte("${"))
		if i < 0 {
			return false
		}
		s = s[i+2:]
		n := bytes.IndexAny(s, "}:")
		if n < 0 {
			return false
		}
		if s[n] == '}' || bytes.HasPrefix(s[n:], []byte(":-")) && bytes.IndexByte(s[n:], '}') > 0 {
			return true
		}
	}
}

// isPythonSpace is \s of Python.
func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || 0x1C <= r && r <= 0x1F }

// isPythonBlank is white space within a line.
func isPythonBlank(r rune) bool { return isPythonSpace(r) && r != '\n' && r != '\r' }

package environ

import (
	"bytes"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// readCompose reads as Docker Compose v2 does, but for two things: after a line
// that it would stop at, it goes on with the next, and it refuses text behind
// a closing quote, which Compose takes for another assignment.
func readCompose(text []byte) reading {
	var r reading
	lines := lineCounter{text: text}
	for i := 0; i < len(text); {
		if i = skip(text, i, unicode.IsSpace); i == len(text) {
			break
		}
		if text[i] == '#' {
			i = endOfLine(text, i)
			continue
		}
		line := lines.of(i)
		b, end, why := composeBinding(text, i)
		b.line = line
		if i = end; why != "" {
			r.bad(line, b.name, why)
			i = endOfLine(text, end)
		} else {
			r.add(b)
		}
	}
	return r
}

// composeBinding reads one statement at offset i and returns the offset behind
// it, or what is wrong and where.
func composeBinding(text []byte, i int) (b binding, end int, why string) {
	if bytes.HasPrefix(text[i:], []byte("export")) && skip(text, i+6, isASCIISpace) > i+6 {
		i = skip(text, i+6, isComposeBlank)
	}
	at := i
name:
	for at < len(text) {
		c, n := utf8.DecodeRune(text[at:])
		switch {
		case c == '=' || c == ':' || c == '\n':
			break name
		case isComposeBlank(c), c == '_', c == '.', c == '-', c == '[', c == ']', unicode.IsLetter(c), unicode.IsNumber(c):
		default:
			return b, at, badLine
		}
		at += n
	}
	name := bytes.TrimRightFunc(text[i:at], unicode.IsSpace)
	switch {
	case bytes.IndexByte(name, ' ') >= 0:
		return b, at, badLine
	case at == len(text) || text[at] == '\n':
		if len(name) == 0 {
			return b, at, badLine
		}
		b.name, b.bare = string(name), true
		return b, at, ""
	case len(name) == 0:
		return b, at, "has no name before the ="
	}
	b.name = string(name)

	i = skip(text, at+1, isComposeBlank)
	if i == len(text) || text[i] != '\'' && text[i] != '"' {
		end = endOfLine(text, i)
		value := text[i:end]
		if n := bytes.Index(value, []byte(" #")); n >= 0 {
			value = value[:n]
		}
		b.value, b.expand = composeExpand(bytes.TrimRightFunc(value, unicode.IsSpace))
		return b, end, ""
	}

	value, end, ok := composeQuoted(text, i)
	if !ok {
		return b, i, badQuote
	}
	if text[i] == '"' {
		value, b.expand = composeExpand(composeUnescape(value))
	}
	b.value = value
	rest := skip(text, end, isComposeBlank)
	if rest < len(text) && text[rest] != '\n' && text[rest] != '#' {
		return b, rest, badTrailing
	}
	return b, rest, ""
}

// composeQuoted reads a value in the quotes that open at offset i, takes the
// backslash from quotes inside, and returns the offset behind the closing one.
func composeQuoted(text []byte, i int) (value []byte, end int, ok bool) {
	quote, escaped := text[i], false
	value = []byte{}
	for i++; i < len(text); i++ {
		c := text[i]
		switch {
		case c == quote && !escaped:
			return value, i + 1, true
		case c == quote:
			escaped = false
		case c == '\\' && !escaped:
			escaped = true
			continue
		case escaped:
			escaped = false
			value = append(value, '\\')
		}
		value = append(value, c)
	}
	return nil, i, false
}

// composeUnescape replaces the escapes of double quotes; \$ becomes $$.
func composeUnescape(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'a':
			out = append(out, '\a')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'v':
			out = append(out, '\v')
		case '"', '\\':
			out = append(out, c)
		case '$':
			out = append(out, "$$"...)
		case '0':
			// \0 with three octal digits is that character. With anything else Compose
			// loses the 0 and keeps the rest.
			digits := 0
			for digits < 3 && i+1+digits < len(s) && '0' <= s[i+1+digits] && s[i+1+digits] <= '9' {
				digits++
			}
			if n, err := strconv.ParseUint(string(s[i+1:i+1+digits]), 8, 8); err == nil && digits == 3 {
				out = utf8.AppendRune(out, rune(n))
			} else {
				out = append(append(out, '\\'), s[i+1:i+1+digits]...)
			}
			i += digits
		default:
			out = append(out, '\\', c)
		}
	}
	return out
}

// composeExpand makes $ of $$ and says whether there is a $NAME or ${ that
// Compose would replace or refuse.
func composeExpand(s []byte) (out []byte, found bool) {
	if bytes.IndexByte(s, '$') < 0 {
		return bytes.Clone(s), false
	}
	out = make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		out = append(out, s[i])
		if s[i] != '$' || i+1 == len(s) {
			continue
		}
		switch c := s[i+1]; {
		case c == '$':
			i++
		case c == '{', c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			found = true
		}
	}
	return out, found
}

// isASCIISpace is \s of Go's regular expressions.
func isASCIISpace(r rune) bool {
	return r == ' ' || r == '\t' || r == '\n' || r == '\f' || r == '\r'
}

// isComposeBlank is white space that Compose does not take for a line end.
func isComposeBlank(r rune) bool {
	switch r {
	case '\t', '\v', '\f', '\r', ' ', 0x85, 0xA0:
		return true
	}
	return false
}

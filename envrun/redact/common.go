package redact

import (
	"bytes"
	_ "embed"
	"strings"
)

// words are what is never masked by itself: words of English and of programs
// with 8 letters and more, and names and addresses that stand in everybody's
// configuration. One a line, sorted, in lower case: searched as it is, so that
// it costs nothing at start.
//
//go:embed words.txt
var words string

// common reports whether text is a common word in any case, or the URL or
// address of one, like http://localhost:3000/.
func common(text []byte) bool {
	const longest = 80
	if len(text) > longest {
		return false
	}
	var room [longest]byte
	lower := room[:len(text)]
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	text = lower
	if inWords(string(text)) {
		return true
	}
	if _, rest, ok := bytes.Cut(text, []byte("://")); ok {
		text = rest
	}
	text = bytes.TrimSuffix(text, []byte("/"))
	if host, port, ok := bytes.Cut(text, []byte(":")); ok && len(bytes.Trim(port, "0123456789")) == 0 {
		text = host
	}
	return inWords(string(text))
}

// inWords is a binary search among the lines of words.
func inWords(word string) bool {
	lo, hi := 0, len(words) // lines that start in [lo,hi) may be word
	for lo < hi {
		mid := (lo + hi) / 2
		start := strings.LastIndexByte(words[:mid], '\n') + 1
		line, _, _ := strings.Cut(words[start:], "\n")
		switch c := strings.Compare(word, line); {
		case c == 0:
			return true
		case c < 0:
			hi = start
		default:
			lo = start + len(line) + 1
		}
	}
	return false
}

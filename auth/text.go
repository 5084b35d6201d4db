package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain says whether a text has at most n bytes, at least one, and nothing in it that
// does not show as what it is (Unseen).
func Plain(s string, n int) bool {
	return s != "" && len(s) <= n && utf8.ValidString(s) && !strings.ContainsFunc(s, Unseen)
}

// Unseen says whether a character controls or formats others, or stands for bytes
// that are none.
func Unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError
}

// Short is a text of others, made fit to be shown: without what is Unseen, and cut after
// n characters.
func Short(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if Unseen(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		s = string(r[:n]) + "…"
	}
	return s
}

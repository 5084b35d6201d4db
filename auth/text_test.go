package auth_test

import (
	"strings"
	"testing"

	"envrun/auth"
)

func TestPlain(t *testing.T) {
	for s, want := range map[string]bool{
		"alice": true, "Zoë Ünal": true, "a b": true, "": false, strings.Repeat("a", 20): true, strings.Repeat("a", 21): false,
		"a\x1b[31m": false, "a\nb": false, "a\x00": false, "\u202egnp.exe": false, "a\u200bb": false, "a\xff": false, "\ufffd": false,
	} {
		if got := auth.Plain(s, 20); got != want {
			t.Errorf("Plain(%q) = %v", s, got)
		}
	}
}

func TestShort(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "ann": "ann", "a\x1b[2Jb\nc\u202ed\xff": "a[2Jbcd", "ééé": "ééé", "éééé": "ééé…", "abc\x1b": "abc",
	} {
		n := 3
		if len(text) > 8 {
			n = 100
		}
		if got := auth.Short(text, n); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

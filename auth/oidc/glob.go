package oidc

import (
	"fmt"
	"strings"
)

// How the values of a role's bound claims are compared.
const (
	MatchString   = "string"    // equal, byte for byte
	MatchGlob     = "glob"      // as Vault: * stands for any characters, / and : too
	MatchGlobPath = "glob_path" // * stops at / and :, ** does not
)

// matchGlob says whether a text is of a pattern in which * stands for any number of
// characters but those in stops and, where stops is not empty, ** for any at all.
// It takes as long as the product of the two lengths, whatever they are.
func matchGlob(pattern, text, stops string) bool {
	reach := make([]bool, len(text)+1) // [i]: what was read of the pattern matches text[:i]
	next := make([]bool, len(text)+1)
	reach[0] = true
	for p := 0; p < len(pattern); {
		if pattern[p] != '*' {
			next[0] = false
			for i := range len(text) {
				next[i+1] = reach[i] && text[i] == pattern[p]
			}
			p++
		} else {
			stop := stops
			p++
			if stops != "" && strings.HasPrefix(pattern[p:], "*") {
				stop = ""
				p++
			}
			in := false
			for i := range next {
				in = in || reach[i]
				next[i] = in
				in = in && i < len(text) && strings.IndexByte(stop, text[i]) < 0
			}
		}
		reach, next = next, reach
	}
	return reach[len(text)]
}

// lintGlob says what makes a pattern match more than its author means (auth §4.3).
func lintGlob(pattern string) error {
	head, _, wild := strings.Cut(pattern, "*")
	switch {
	case !wild, strings.HasSuffix(head, "/"), strings.HasSuffix(head, ":"):
		return nil
	case head == "":
		return fmt.Errorf("%q matches what begins with anything", pattern)
	}
	return fmt.Errorf("%q also matches %q; end what is before * with a slash or a colon", pattern, head+"-evil")
}

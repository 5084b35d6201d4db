package auth

import (
	"errors"
	"fmt"
	"io"
	"unique"
)

// A Secret is a text that gives access to whoever has it: a token, a code, what
// proves that a sign-in is one's own. It prints as a mask whatever verb is used, and
// no encoding writes it down: Reveal is the one way to its text. Two of the same text
// are equal.
type Secret struct {
	// A handle, since fmt prints an unexported field that is a Secret without asking
	// for its Format, and follows no pointer to a text.
	text unique.Handle[string]
}

// NewSecret makes one of a text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{unique.Make(text)}
}

// Reveal is its text.
func (s Secret) Reveal() string {
	if s.Empty() {
		return ""
	}
	return s.text.Value()
}

// Empty reports whether there is none.
func (s Secret) Empty() bool { return s == Secret{} }

// Format implements fmt.Formatter.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[secret]") }

// MarshalText refuses: nothing writes a secret down by accident.
func (Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("a secret is not written down")
}

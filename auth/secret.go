package auth

import (
	"errors"
	"fmt"
	"io"
)

// A Secret is a text that gives access to whoever has it: a token, a code, what
// proves that a sign-in is one's own. It prints as a mask whatever verb is used, and
// no encoding writes it down: Reveal is the one way to its text.
type Secret struct{ text string }

// NewSecret makes one of a text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal is its text.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether there is none.
func (s Secret) Empty() bool { return s.text == "" }

// Format implements fmt.Formatter.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[secret]") }

// MarshalText refuses: nothing writes a secret down by accident.
func (Secret) MarshalText() ([]byte, error) {
	return nil, errors.New("a secret is not written down")
}

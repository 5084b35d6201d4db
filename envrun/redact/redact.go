// Package redact masks known secret values in a stream of bytes: each copy of
// a value, or of one of the forms in which programs usually print it, becomes
// [NAME], and every other byte passes as it came.
//
// It is a seat belt, not a wall. It refuses to guess: it knows the values it
// was given and the forms listed at forms.go, and nothing else. What it does
// not see: a value that was compressed, encrypted, hashed, reversed, cut in
// parts shorter than a pattern, printed with colour codes or separators inside
// it (hex columns, a character per line), wrapped at a width other than those
// known, or written in another character set such as UTF-16; values of a stream that
// the caller does not send through it; and, on a terminal, the first seven
// bytes of a value that its program prints more slowly than WriterOptions.Hold
// allows.
//
// # What is replaced
//
// All occurrences of all patterns count, wherever they start. Occurrences that
// overlap make one run, which is replaced as a whole, so that no match ever
// leaves the tail of another in clear. A run bears the name of its leftmost
// pattern, the longest of those that start there, and of equal patterns the one
// whose secret was given first. Runs that touch and would bear the same name
// show it once: long values are cut into several patterns, and the number of
// parts would tell a length. A token is never read again: a secret that
// contains the text [NAME] does no harm.
package redact

import (
	"fmt"

	"envrun/vault"
)

// minPattern is the length in bytes from which a value, and any form of it, is
// masked by itself (design §8): shorter ones occur in ordinary output.
const minPattern = 8

// minForced is the length in bytes from which a value is masked when its
// secret asks for it: the shortest for which the output stays readable.
const minForced = 3

// A Secret is a value and the name that is shown in its place.
type Secret struct {
	Name  string
	Value vault.Value
	// Mask overrides the choice by length and commonness: false never masks;
	// true masks any value of at least 3 bytes, a common word too. nil decides.
	Mask *bool
}

// A Reason says why a secret is not masked, as the end of "NAME is not masked: ".
type Reason string

// The reasons of Skipped.
const (
	ReasonOff    Reason = "masking is off for it"
	ReasonEmpty  Reason = "the value is empty or blank"
	ReasonShort  Reason = "the value is shorter than 8 bytes"
	ReasonTiny   Reason = "the value is shorter than 3 bytes"
	ReasonCommon Reason = "the value is a common word"
	// ReasonLarge goes with Partly: the value is masked as it is, but it is too
	// large for all of its encodings or lines (see maxDerived).
	ReasonLarge Reason = "the value is too large to mask all of its encodings"
)

// Skipped names a secret that is not masked, or only in part.
type Skipped struct {
	Name   string
	Reason Reason
	Partly bool // the value itself is masked, some of its encodings are not
}

// A Masker masks the values it was made with. It does not change, and any
// number of goroutines and Writers may share it. It keeps its own copy of the
// values and prints as its type only.
type Masker struct {
	tokens  []string // "[NAME]" by number of secret
	skipped []Skipped
	index   *index // nil when there is nothing to mask
}

// New makes a Masker of the secrets. Their values are not used after it returns.
func New(secrets []Secret) *Masker {
	m := &Masker{tokens: make([]string, len(secrets))}
	b := newBuilder(secrets)
	for i, s := range secrets {
		m.tokens[i] = "[" + s.Name + "]"
		b.secret = uint32(i)
		if reason := b.addSecret(s); reason != "" {
			m.skipped = append(m.skipped, Skipped{s.Name, reason, reason == ReasonLarge})
		}
	}
	m.index = b.index()
	return m
}

// Skipped lists the secrets that are not masked, in the order they were given.
func (m *Masker) Skipped() []Skipped { return append([]Skipped(nil), m.skipped...) }

// Bytes returns b masked, taken as a whole stream. It returns b itself when
// nothing in it matches, and never changes it.
func (m *Masker) Bytes(b []byte) []byte {
	if m.index == nil {
		return b
	}
	c := newCursor()
	o := output{tokens: m.tokens}
	c.advance(m.index, b, true, &o)
	if len(o.dst) == 0 {
		return b
	}
	return append(o.dst, o.rest...)
}

// Format prints the type and nothing of the values.
func (m *Masker) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("redact.Masker")) }

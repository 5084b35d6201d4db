package agekey

import (
	"testing"
	"time"
)

// SetStep has f called wherever a process that changes the identity could die.
func (h *Home) SetStep(f func(string)) { h.step = f }

var ParseFacts = parseFacts

// SetPatience changes PluginPatience until the test ends, and lets plugins that
// are to end have less time for it.
func SetPatience(t testing.TB, d time.Duration) {
	was, wasGrace := patience, grace
	patience, grace = d, 100*time.Millisecond
	t.Cleanup(func() { patience, grace = was, wasGrace })
}

// StanzaError is what ReadStanza says of text that is no stanza.
type StanzaError = stanzaError

var ReadStanza, WriteStanza = readStanza, writeStanza

const MaxStanzaLine = maxStanzaLine

func (f Facts) Marshal() []byte { return f.marshal() }

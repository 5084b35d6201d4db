package agekey

import (
	"testing"
	"time"
)

// SetStep has f called wherever a process that changes the identity could die.
func (h *Home) SetStep(f func(string)) { h.step = f }

var ParseFacts = parseFacts

// SetPatience changes PluginPatience until the test ends.
func SetPatience(t testing.TB, d time.Duration) {
	was := patience
	patience = d
	t.Cleanup(func() { patience = was })
}

// StanzaError is what ReadStanza says of text that is no stanza.
type StanzaError = stanzaError

var ReadStanza, WriteStanza = readStanza, writeStanza

const MaxStanzaLine = maxStanzaLine

func (f Facts) Marshal() []byte { return f.marshal() }

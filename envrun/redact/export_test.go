package redact

// A Pattern is what a Masker looks for, for the reference of the tests.
type Pattern struct {
	Bytes  []byte
	Secret int
}

// Patterns lists them in no order that matters.
func (m *Masker) Patterns() []Pattern {
	if m.index == nil {
		return nil
	}
	var list []Pattern
	for i := range m.index.entries {
		e := &m.index.entries[i]
		list = append(list, Pattern{m.index.bytes(e), int(e.secret)})
	}
	return list
}

// Token is what is shown for a secret.
func (m *Masker) Token(secret int) string { return m.tokens[secret] }

// Words are the common words.
func Words() string { return words }

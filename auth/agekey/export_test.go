package agekey

// SetStep has f called wherever a process that changes the identity could die.
func (h *Home) SetStep(f func(string)) { h.step = f }

var ParseFacts = parseFacts

func (f Facts) Marshal() []byte { return f.marshal() }

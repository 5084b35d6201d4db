package kit

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Key is one press of a key.
type Key struct {
	Name   string // "v", "Y", "enter", "ctrl+l", "shift+tab", "space"
	Base   string // what the same key is called on an American keyboard, if the terminal says
	Text   string // what it types; empty for keys that type nothing
	Repeat bool   // it is held down, if the terminal says
}

// Harm says what an action does to others, and so what is asked before it.
type Harm uint8

// The kinds of harm.
const (
	Harmless Harm = iota
	Writes        // changes secrets
	Destroys      // removes something, or overwrites what others have
	Grants        // gives or takes access
)

// Yes is the one key that gives a Consent. No action has it.
const Yes = "Y"

// An Action is something that a person can have done. It is named once, in one
// table; keys, footer, help and palette read that.
type Action struct {
	ID    string   // "secret.reveal"
	Name  string   // "reveal": a word or two, for the footer
	Help  string   // "show the value for 15 seconds": for help and palette
	Group string   // heading in the help
	Keys  []string // the first is shown; may be empty: palette only
	Harm  Harm     // what is not harmless opens a Confirm box and does nothing itself
}

// An Offer is an action that is there now. Off says why it cannot be used at
// the moment; it is shown, and its key answers with the reason.
type Offer struct {
	ID   string
	Off  string
	Name string // instead of the action's own, in the footer: "hide" for "reveal"
}

// Actions is the table.
type Actions struct {
	list []Action
	byID map[string]int
}

// NewActions checks a table and makes it: no two actions of one name, a help
// text for each, and for whatever is not harmless a name that ends with "...",
// since it asks first, and a key that is neither Enter nor Space.
func NewActions(list []Action) (*Actions, error) {
	t := &Actions{list: list, byID: make(map[string]int, len(list))}
	for i, a := range list {
		_, twice := t.byID[a.ID]
		switch {
		case a.ID == "" || a.Name == "" || a.Help == "" || a.Group == "":
			return nil, fmt.Errorf("action %q: it needs an ID, a name, a help text and a group", a.ID)
		case twice:
			return nil, fmt.Errorf("action %q is there twice", a.ID)
		case slices.Contains(a.Keys, Yes):
			return nil, fmt.Errorf("action %q: %s gives consent and nothing else", a.ID, Yes)
		case a.Harm != Harmless && (slices.Contains(a.Keys, "enter") || slices.Contains(a.Keys, "space")):
			return nil, fmt.Errorf("action %q does harm: it cannot be on Enter or Space", a.ID)
		case a.Harm != Harmless && !strings.HasSuffix(a.Name, "..."):
			return nil, fmt.Errorf(`action %q asks before it acts: its name ends with "..."`, a.ID)
		}
		t.byID[a.ID] = i
	}
	return t, nil
}

// All are the actions in the order of the table.
func (t *Actions) All() []Action { return t.list }

// Get returns an action. An ID that is not in the table is a mistake in the
// program: it panics.
func (t *Actions) Get(id string) Action {
	i, ok := t.byID[id]
	if !ok {
		panic("no action " + id)
	}
	return t.list[i]
}

// Clash reports two actions among those offered together that have a key in common.
func (t *Actions) Clash(offers []Offer) error {
	taken := map[string]string{}
	for _, o := range offers {
		for _, k := range t.Get(o.ID).Keys {
			if other, ok := taken[k]; ok && other != o.ID {
				return fmt.Errorf("%s is the key of %s and of %s", k, other, o.ID)
			}
			taken[k] = o.ID
		}
	}
	return nil
}

// Match finds the offered action that a key means. A key that no action has is
// tried as the American keyboard names it, so that letters work on any layout.
func (t *Actions) Match(offers []Offer, k Key) (Action, Offer, bool) {
	for _, name := range [...]string{k.Name, k.Base} {
		if name == "" {
			continue
		}
		for _, o := range offers {
			if a := t.Get(o.ID); slices.Contains(a.Keys, name) {
				return a, o, true
			}
		}
	}
	return Action{}, Offer{}, false
}

// KeyLabel is how a key is written on the screen.
func KeyLabel(key string) string {
	switch key {
	case "pgup":
		return "page up"
	case "pgdown":
		return "page down"
	}
	return key
}

// A Hint is a key and what it does, as the footer shows it.
type Hint struct{ Key, Name string }

// press is the key that a click on the hint is; empty if it is none.
func (h Hint) press() string {
	switch {
	case h.Key == Yes: // consent is given with the key
		return ""
	case h.Key == "page up":
		return "pgup"
	case h.Key == "page down":
		return "pgdown"
	case len(h.Key) > 1 && strings.Contains(h.Key, "/"): // several
		return ""
	}
	return h.Key
}

// Hints are what the footer says of the offers that can be used, in their order.
func (t *Actions) Hints(offers []Offer) []Hint {
	var hints []Hint
	for _, o := range offers {
		if a := t.Get(o.ID); o.Off == "" && len(a.Keys) > 0 {
			if o.Name != "" {
				a.Name = o.Name
			}
			hints = append(hints, Hint{KeyLabel(a.Keys[0]), a.Name})
		}
	}
	return hints
}

// DrawHints writes hints into row y, as many as fit whole; the last ones, which
// say where the others are, always.
func DrawHints(a Area, y int, hints []Hint, last ...Hint) {
	a = a.Own()
	m := a.Marks()
	width := func(h Hint) int { return m.Width(h.Key) + 1 + m.Width(h.Name) + 2 }
	room := a.W + 2
	for _, h := range last {
		room -= width(h)
	}
	n := 0
	for n < len(hints) && width(hints[n]) <= room {
		room -= width(hints[n])
		n++
	}
	x := 0
	for _, h := range append(slices.Clip(hints[:n]), last...) {
		from := x
		x = a.Text(x, y, Style{Normal, Bold}, h.Key)
		x = a.Text(x+1, y, In(Dim), h.Name)
		if key := h.press(); key != "" {
			a.Sub(from, y, x-from, 1).Press(key)
		}
		x += 2
	}
}

// types reports whether a key types text, and nothing but text.
func (k Key) types() bool {
	if k.Text == "" {
		return false
	}
	for _, r := range k.Text {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return false
		}
	}
	return true
}

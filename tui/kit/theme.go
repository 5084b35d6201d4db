package kit

import "strconv"

// A Role is what a piece of text is there for; a theme says how that looks.
type Role uint8

// The roles. Normal is the terminal's own look.
const (
	Normal Role = iota
	Dim
	Accent
	Selection // of the row under the cursor, together with Reverse
	Border
	OK
	Warn
	Danger
	Protected // an environment that asks before it is changed
	Locked
	Added
	Removed
	roles
)

// Attr are the parts of a look that need no colour.
type Attr uint8

// The attributes.
const (
	Bold Attr = 1 << iota
	Faint
	Underline
	Reverse
)

// A Style is the role of a cell and what it has beside its role's look.
type Style struct {
	Role Role
	Attr Attr
}

// In is the plain style of a role.
func In(r Role) Style { return Style{Role: r} }

// With is the style with attributes added.
func (s Style) With(a Attr) Style { return Style{s.Role, s.Attr | a} }

// A look is how a role is drawn. The background is never painted: it is the
// terminal's own, so that a wrong guess of ours cannot make text unreadable.
type look struct {
	colour uint32 // 0xRRGGBB; none if zero
	attr   Attr
}

// A Theme is a look for each role. Each role that matters differs from normal
// text by an attribute or by its words too, never by colour alone.
type Theme struct {
	Name  string
	looks [roles]look

	sequences [roles][16]string
}

const reset = "\x1b[m"

func newTheme(name string, looks [roles]look) *Theme {
	t := &Theme{Name: name, looks: looks}
	for r := range t.sequences {
		for a := range t.sequences[r] {
			t.sequences[r][a] = t.build(Style{Role(r), Attr(a)})
		}
	}
	return t
}

// sequence sets a style, whatever was set before.
func (t *Theme) sequence(s Style) string { return t.sequences[s.Role][s.Attr] }

func (t *Theme) build(s Style) string {
	l := t.looks[s.Role]
	attr := l.attr | s.Attr
	if l.attr&s.Attr&Reverse != 0 {
		attr &^= Reverse // reversed twice
	}
	b := []byte("\x1b[0")
	for i, code := range [...]byte{'1', '2', '4', '7'} {
		if attr&(1<<i) != 0 {
			b = append(b, ';', code)
		}
	}
	// The row under the cursor is one bar: turned around, colours would be patches.
	if l.colour != 0 && (s.Attr&Reverse == 0 || l.attr&Reverse != 0) {
		b = append(b, ";38;2"...)
		for shift := 16; shift >= 0; shift -= 8 {
			b = append(b, ';')
			b = strconv.AppendUint(b, uint64(l.colour>>shift&0xff), 10)
		}
	}
	return string(append(b, 'm'))
}

// NewTheme returns a theme by name: "dark", "light", "contrast" or "mono"; "" and
// "auto" are the first or the second, as the terminal's background is. With
// contrast, dark says which of its two forms. ok is false for any other name.
func NewTheme(name string, dark bool) (t *Theme, ok bool) {
	switch name {
	case "", "auto":
		if dark {
			return darkTheme(), true
		}
		return lightTheme(), true
	case "dark":
		return darkTheme(), true
	case "light":
		return lightTheme(), true
	case "contrast":
		return contrastTheme(dark), true
	case "mono":
		return monoTheme(), true
	}
	return nil, false
}

func darkTheme() *Theme {
	return newTheme("dark", [roles]look{
		Dim: {colour: 0xa3abb5}, Accent: {colour: 0x7fc8ff, attr: Bold}, Selection: {}, Border: {colour: 0x9aa5b1},
		OK: {colour: 0x7ee2a0}, Warn: {colour: 0xffd166}, Danger: {colour: 0xff9b94, attr: Bold},
		Protected: {colour: 0xffb454, attr: Bold | Reverse}, Locked: {colour: 0xc9b3ff}, Added: {colour: 0x7ee2a0}, Removed: {colour: 0xff9b94},
	})
}

func lightTheme() *Theme {
	return newTheme("light", [roles]look{
		Dim: {colour: 0x57606a}, Accent: {colour: 0x004f9e, attr: Bold}, Selection: {}, Border: {colour: 0x5a6370},
		OK: {colour: 0x0b5d23}, Warn: {colour: 0x7a4a00}, Danger: {colour: 0xa1101c, attr: Bold},
		Protected: {colour: 0x8a3d00, attr: Bold | Reverse}, Locked: {colour: 0x5a32a3}, Added: {colour: 0x0b5d23}, Removed: {colour: 0xa1101c},
	})
}

func contrastTheme(dark bool) *Theme {
	if dark {
		return newTheme("contrast", [roles]look{
			Dim: {colour: 0xffffff}, Accent: {colour: 0x66ffff, attr: Bold}, Selection: {attr: Bold}, Border: {colour: 0xffffff},
			OK: {colour: 0x66ff66}, Warn: {colour: 0xffff66, attr: Bold}, Danger: {colour: 0xffb3b3, attr: Bold | Underline},
			Protected: {colour: 0xffff00, attr: Bold | Reverse}, Locked: {colour: 0xe0ccff}, Added: {colour: 0x66ff66, attr: Bold}, Removed: {colour: 0xffb3b3, attr: Bold},
		})
	}
	return newTheme("contrast", [roles]look{
		Dim: {colour: 0x101010}, Accent: {colour: 0x00307a, attr: Bold}, Selection: {attr: Bold}, Border: {colour: 0x101010},
		OK: {colour: 0x004d1a}, Warn: {colour: 0x5c2f00, attr: Bold}, Danger: {colour: 0x800010, attr: Bold | Underline},
		Protected: {colour: 0x6b2500, attr: Bold | Reverse}, Locked: {colour: 0x3d1a80}, Added: {colour: 0x004d1a, attr: Bold}, Removed: {colour: 0x800010, attr: Bold},
	})
}

func monoTheme() *Theme {
	return newTheme("mono", [roles]look{
		Accent: {attr: Bold}, Selection: {}, OK: {attr: Bold}, Warn: {attr: Underline}, Danger: {attr: Bold | Underline},
		Protected: {attr: Bold | Reverse}, Added: {attr: Bold}, Removed: {attr: Underline},
	})
}

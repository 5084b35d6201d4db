package kit

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Most combining marks that are drawn on one character; the rest are shown as marks.
const maxCombining = 4

// A scanner cuts text into glyphs: it is the single place where text that
// others wrote becomes cells. What it hands out is either a cluster that any
// terminal draws in width cells, or a mark that stands for something it must
// not be given.
type scanner struct {
	rest  string
	ascii bool // the terminal draws nothing but ASCII

	marks string // runes of a refused cluster, to be shown one by one
}

// A glyph is one cluster or one mark.
type glyph struct {
	text  string
	width int  // cells: 1 or 2; of a mark, as many as it has bytes
	mark  bool // text is our ASCII, and stands for a character that is not drawn
}

func (s *scanner) next() (glyph, bool) {
	if s.marks != "" {
		r, n := utf8.DecodeRuneInString(s.marks)
		g := markOf(r, n, s.marks[0])
		s.marks = s.marks[n:]
		return g, true
	}
	t := s.rest
	if t == "" {
		return glyph{}, false
	}
	c := t[0]
	if c < utf8.RuneSelf && (len(t) == 1 || t[1] < utf8.RuneSelf) {
		s.rest = t[1:]
		if c < ' ' || c == 0x7f {
			return markOf(rune(c), 1, c), true
		}
		return glyph{text: t[:1], width: 1}, true
	}
	r, n := utf8.DecodeRuneInString(t)
	if r == utf8.RuneError && n == 1 || hidden(r) {
		s.rest = t[n:]
		return markOf(r, n, c), true
	}
	if !s.ascii && ours(r) && (len(t) == n || t[n] < utf8.RuneSelf) {
		s.rest = t[n:]
		return glyph{text: t[:n], width: 1}, true
	}
	cluster, width := ansi.FirstGraphemeCluster(t, ansi.GraphemeWidth)
	s.rest = t[len(cluster):]
	if s.drawable(cluster, width) {
		return glyph{text: cluster, width: width}, true
	}
	// The first rune alone is drawn if it can be. What would join it must then
	// not follow it to the terminal, which might join them all the same.
	if first := t[:n]; len(cluster) > n && s.drawable(first, ansi.GraphemeWidth.StringWidth(first)) {
		s.marks = cluster[n:]
		return glyph{text: first, width: ansi.GraphemeWidth.StringWidth(first)}, true
	}
	s.marks = cluster[n:]
	return markOf(r, n, c), true
}

// ours reports whether a rune is one that every picture has many of: lines of
// boxes, masks and ellipses. They are one cell wide and join with nothing.
func ours(r rune) bool { return r >= 0x2500 && r <= 0x257f || r == 0x2022 || r == 0x2026 }

// drawable reports whether every terminal can be expected to draw the cluster in
// width cells. Terminals count either by clusters or by runes; what the two
// disagree on would shift everything to its right.
func (s *scanner) drawable(cluster string, width int) bool {
	if width < 1 || width > 2 || ansi.WcWidth.StringWidth(cluster) != width {
		return false
	}
	if !utf8.ValidString(cluster) { // the cutter may count stray bytes to what stands before them
		return false
	}
	runes := 0
	for _, r := range cluster {
		if hidden(r) || s.ascii && r >= utf8.RuneSelf {
			return false
		}
		runes++
	}
	return runes <= 1+maxCombining && !joins(cluster)
}

// joins reports whether a cluster would become one with what happens to stand in
// the cells beside it.
func joins(cluster string) bool {
	if c, _ := ansi.FirstGraphemeCluster("a"+cluster, ansi.GraphemeWidth); len(c) > 1 {
		return true
	}
	for _, next := range [...]string{"a", "\uac00", "\u0915"} { // any, Hangul, Devanagari
		if c, _ := ansi.FirstGraphemeCluster(cluster+next, ansi.GraphemeWidth); len(c) > len(cluster) {
			return true
		}
	}
	return false
}

// hidden reports whether a rune is never given to a terminal: it would move the
// cursor, turn the direction of the text, or not be seen.
func hidden(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0: // C0, DEL, C1
		return true
	case r < 0xad:
		return false
	case r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x3164, r == 0xffa0: // fillers that draw nothing
		return true
	case r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef: // variation selectors
		return true
	case r >= 0x1f1e6 && r <= 0x1f1ff, r >= 0x1f3fb && r <= 0x1f3ff: // halves of flags, skin tones: they join
		return true
	case r == 0x2028, r == 0x2029, r == 0x2800: // separators of lines; the empty Braille cell
		return true
	}
	// Format characters: zero width, bidirectional, tags, soft hyphen. What no
	// font is known to draw is not drawn either.
	return unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r) || unicode.Is(unicode.Cs, r) || !unicode.IsGraphic(r)
}

// markOf is what a rune looks like that is not drawn: ^[ for the control
// characters that have such a name, <202E> for the others, <FF> for a byte that
// is no character.
func markOf(r rune, n int, first byte) glyph {
	var text string
	switch {
	case r == utf8.RuneError && n == 1:
		text = "<" + hex(uint64(first), 2) + ">"
	case r < ' ':
		text = "^" + string(rune('@'+r))
	case r == 0x7f:
		text = "^?"
	default:
		text = "<" + hex(uint64(r), 4) + ">"
	}
	return glyph{text: text, width: len(text), mark: true}
}

func hex(n uint64, digits int) string {
	const zeros = "0000"
	s := strconv.FormatUint(n, 16)
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' {
			b[i] = c - 'a' + 'A'
		}
	}
	if len(b) < digits {
		return zeros[:digits-len(b)] + string(b)
	}
	return string(b)
}

// Width is the number of cells that text takes in a frame.
func (m Marks) Width(text string) int {
	n := 0
	for s := (scanner{rest: m.veiled(text), ascii: m.ASCII}); ; {
		g, ok := s.next()
		if !ok {
			return n
		}
		n += g.width
	}
}

// veiled is text as it may be seen.
func (m Marks) veiled(text string) string {
	if m.Veil == nil {
		return text
	}
	return m.Veil.Hide(text, m.Mask)
}

// Wrap cuts text into lines of at most width cells: at its newlines, then
// between words, and within a word that is longer than a line. It returns the
// pieces of text as they were, but for names that are hidden; a frame shows what
// is in them.
func (m Marks) Wrap(text string, width int) []string {
	if width < 1 {
		return nil
	}
	text = m.veiled(text)
	var lines []string
	for {
		line, rest, more := cutLine(text)
		lines = m.wrapLine(lines, line, width)
		if !more {
			return lines
		}
		text = rest
	}
}

func cutLine(text string) (line, rest string, more bool) {
	for i := range len(text) {
		if text[i] == '\n' {
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

func (m Marks) wrapLine(lines []string, line string, width int) []string {
	for {
		s := scanner{rest: line, ascii: m.ASCII}
		cells, word := 0, 0 // word: where the last word that may be moved begins
		cut := -1
		for at := 0; ; {
			g, ok := s.next()
			if !ok {
				break
			}
			if cells+g.width > width && cells > 0 {
				if cut = at; g.text == " " && !g.mark {
					word = at // the line ends with a word
				}
				break
			}
			cells += g.width
			at = len(line) - len(s.rest) - len(s.marks)
			if g.text == " " && !g.mark {
				word = at
			}
		}
		if cut < 0 {
			return append(lines, line)
		}
		if word > 0 {
			cut = word
		}
		end := cut
		for end > 0 && line[end-1] == ' ' {
			end--
		}
		lines = append(lines, line[:end])
		if line = line[cut:]; line != "" && line[0] == ' ' {
			line = line[1:]
		}
	}
}

// Package picture draws what a terminal shows as an SVG, for the documentation.
//
// It reads the text of a screen with its styles, as `tmux capture-pane -e` prints
// it, and writes a picture that is the same byte for byte for the same screen,
// whichever way the terminal wrote its styles down. The text in it is text: it can
// be selected, searched and read out. It refuses what it does not know: a sequence
// that is no style, a control character, a colour by a name that each terminal
// understands in its own way.
package picture

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// A window, in the units of the SVG.
const (
	cellWidth  = 8.4
	cellHeight = 18
	fontSize   = 14
	margin     = 14
	barHeight  = 30
	baseline   = 13.5 // of a line, from its top
)

// The colours of the window and of text that has none.
const (
	background = "#12161c"
	bar        = "#1f252e"
	foreground = "#e4e8ee"
)

// A style is how a cell looks.
type style struct {
	fg, bg                         string // "#rrggbb"; empty: that of the window
	bold, faint, underline, invert bool
}

// A cell is one character, with those that combine with it.
type cell struct {
	text  string
	width int
	style style
}

// SVG draws a screen of so many columns. title is what the window is called and,
// for those who do not see it, what the picture shows. The error says in which
// line there is what.
func SVG(screen, title string, columns int) ([]byte, error) {
	var lines [][]cell
	st := style{}
	for i, text := range strings.Split(strings.TrimSuffix(screen, "\n"), "\n") {
		line, err := parse(text, &st)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if w := width(line); w > columns {
			return nil, fmt.Errorf("line %d has %d cells, more than %d", i+1, w, columns)
		}
		lines = append(lines, line)
	}
	d := &drawing{classes: map[string]string{}}
	for y, line := range lines {
		d.line(y, line)
	}
	return d.document(title, columns, len(lines)), nil
}

// parse reads one line. Styles go on from line to line.
func parse(text string, st *style) (line []cell, err error) {
	for text != "" {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 || rest[end] != 'm' {
				return nil, fmt.Errorf("%.12q is no style", text)
			}
			if err := st.apply(rest[:end]); err != nil {
				return nil, err
			}
			text = rest[end+1:]
			continue
		}
		if r, _ := utf8.DecodeRuneInString(text); r == utf8.RuneError || unicode.IsControl(r) {
			return nil, fmt.Errorf("%.12q does not begin with a character that can be drawn", text)
		}
		cluster, w := ansi.FirstGraphemeCluster(text, ansi.GraphemeWidth)
		line = append(line, cell{cluster, w, *st})
		text = text[len(cluster):]
	}
	return line, nil
}

// apply changes the style by the parameters of one sequence.
func (s *style) apply(parameters string) error {
	all := strings.FieldsFunc(parameters, func(r rune) bool { return r == ';' || r == ':' })
	if len(all) == 0 {
		*s = style{}
	}
	for i := 0; i < len(all); i++ {
		n, err := strconv.Atoi(all[i])
		if err != nil {
			return fmt.Errorf("style %q: %w", parameters, err)
		}
		switch n {
		case 0:
			*s = style{}
		case 1:
			s.bold = true
		case 2:
			s.faint = true
		case 4:
			s.underline = true
		case 7:
			s.invert = true
		case 22:
			s.bold, s.faint = false, false
		case 24:
			s.underline = false
		case 27:
			s.invert = false
		case 39:
			s.fg = ""
		case 49:
			s.bg = ""
		case 38, 48:
			colour, err := rgb(all[i+1:])
			if err != nil {
				return fmt.Errorf("style %q: %w", parameters, err)
			}
			if i += 4; n == 38 {
				s.fg = colour
			} else {
				s.bg = colour
			}
		default:
			return fmt.Errorf("style %q: %d is not known", parameters, n)
		}
	}
	return nil
}

// rgb is the colour that begins with "2;R;G;B".
func rgb(p []string) (string, error) {
	if len(p) < 4 || p[0] != "2" {
		return "", fmt.Errorf("a colour that is not given by red, green and blue")
	}
	colour := "#"
	for _, part := range p[1:4] {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return "", err
		}
		colour += fmt.Sprintf("%02x", n)
	}
	return colour, nil
}

func width(line []cell) (w int) {
	for _, c := range line {
		w += c.width
	}
	return w
}

// colours are those that a style is drawn in; back is empty for the window's.
func (s style) colours() (ink, back string) {
	ink, back = s.fg, s.bg
	if ink == "" {
		ink = foreground
	}
	if s.invert {
		if back == "" {
			back = background
		}
		ink, back = back, ink
	}
	return ink, back
}

// A drawing is the parts of an SVG: what is behind the text, lines, and text.
type drawing struct {
	backs, rules, texts bytes.Buffer
	classes             map[string]string // names by declaration
	order               []string          // declarations
}

// class names a style, which is written down once.
func (d *drawing) class(declaration string) string {
	name, ok := d.classes[declaration]
	if !ok {
		name = "c" + strconv.Itoa(len(d.order))
		d.classes[declaration] = name
		d.order = append(d.order, declaration)
	}
	return name
}

// line draws a line: what is behind it, then cells of one style at a time.
func (d *drawing) line(y int, line []cell) {
	for x, rest := 0, line; len(rest) > 0; {
		// What is behind them is of one piece as far as it goes: between two there
		// would be a seam.
		_, back := rest[0].style.colours()
		n := 1
		for ; n < len(rest); n++ {
			if _, next := rest[n].style.colours(); next != back {
				break
			}
		}
		w := width(rest[:n])
		if back != "" {
			fmt.Fprintf(&d.backs, `<rect x="%s" y="%d" width="%s" height="%d" fill="%s"/>`+"\n", num(left(x)), top(y), num(float64(w)*cellWidth), cellHeight, back)
		}
		x, rest = x+w, rest[n:]
	}
	x := 0
	for len(line) > 0 {
		n := 1
		for n < len(line) && line[n].style == line[0].style {
			n++
		}
		d.run(x, y, line[:n])
		x += width(line[:n])
		line = line[n:]
	}
}

func (d *drawing) run(x, y int, run []cell) {
	st := run[0].style
	ink, _ := st.colours()
	// Words, each where it belongs: a font that is wider or narrower than ours
	// cannot shift what comes behind them.
	for i := 0; i < len(run); {
		switch strokes, ok := boxes[run[i].text]; {
		case ok:
			n := 1
			for n < len(run)-i && run[i+n].text == run[i].text && strokes.straight() {
				n++
			}
			d.rule(x, y, n, strokes, ink)
			x, i = x+n, i+n
		case strings.TrimSpace(run[i].text) == "" && !st.underline:
			x, i = x+run[i].width, i+1
		default:
			n := 1
			for ; i+n < len(run) && !isBox(run[i+n]); n++ {
				last := i+n+1 == len(run) || run[i+n+1].text == " " || isBox(run[i+n+1])
				if run[i+n].text == " " && last && !st.underline {
					break
				}
			}
			d.text(x, y, run[i:i+n], ink)
			x, i = x+width(run[i:i+n]), i+n
		}
	}
}

func (d *drawing) text(x, y int, cells []cell, ink string) {
	var text strings.Builder
	for _, c := range cells {
		text.WriteString(escape(c.text))
	}
	declaration := "fill:" + ink
	for _, more := range []struct {
		on   bool
		text string
	}{
		{cells[0].style.bold, ";font-weight:700"},
		{cells[0].style.faint, ";opacity:.7"},
		{cells[0].style.underline, ";text-decoration:underline"},
	} {
		if more.on {
			declaration += more.text
		}
	}
	fmt.Fprintf(&d.texts, `<text class="%s" x="%s" y="%s" textLength="%s">%s</text>`+"\n", d.class(declaration), num(left(x)), num(float64(top(y))+baseline), num(float64(width(cells))*cellWidth), text.String())
}

// Strokes are the arms of a character that draws boxes, from the middle of its
// cell. Drawn as lines they meet, whatever the font.
type strokes struct {
	left, right, up, down bool
	double                bool
}

func (s strokes) straight() bool { return s.left && s.right && !s.up && !s.down }

func isBox(c cell) bool {
	_, ok := boxes[c.text]
	return ok
}

var boxes = map[string]strokes{
	"─": {left: true, right: true},
	"═": {left: true, right: true, double: true},
	"│": {up: true, down: true},
	"┌": {right: true, down: true},
	"┐": {left: true, down: true},
	"└": {right: true, up: true},
	"┘": {left: true, up: true},
	"├": {right: true, up: true, down: true},
	"┤": {left: true, up: true, down: true},
	"┬": {left: true, right: true, down: true},
	"┴": {left: true, right: true, up: true},
	"┼": {left: true, right: true, up: true, down: true},
}

// rule draws n cells of one such character.
func (d *drawing) rule(x, y, n int, s strokes, ink string) {
	x0, x1 := left(x), left(x+n)
	mx, my := x0+cellWidth/2, float64(top(y))+cellHeight/2
	var path strings.Builder
	across := func(y float64) {
		from, to := mx, mx
		if s.left {
			from = x0
		}
		if s.right {
			to = x1
		}
		fmt.Fprintf(&path, "M%s %sH%s", num(from), num(y), num(to))
	}
	switch {
	case s.double:
		across(my - 2)
		across(my + 2)
	case s.left || s.right:
		across(my)
	}
	if s.up || s.down {
		from, to := my, my
		if s.up {
			from = float64(top(y))
		}
		if s.down {
			to = float64(top(y) + cellHeight)
		}
		fmt.Fprintf(&path, "M%s %sV%s", num(mx), num(from), num(to))
	}
	fmt.Fprintf(&d.rules, `<path class="%s" d="%s"/>`+"\n", d.class("stroke:"+ink), path.String())
}

func (d *drawing) document(title string, columns, rows int) []byte {
	w, h := num(2*margin+float64(columns)*cellWidth), barHeight+2*margin+rows*cellHeight
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %d" width="%s" height="%d" role="img">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, "<title>%s</title>\n", escape(title))
	fmt.Fprintf(&b, "<style>\ntext{font:%dpx \"DejaVu Sans Mono\",Menlo,Consolas,\"Liberation Mono\",monospace;white-space:pre}\npath{fill:none;stroke-width:1.2}\n", fontSize)
	for i, declaration := range d.order {
		fmt.Fprintf(&b, ".c%d{%s}\n", i, declaration)
	}
	b.WriteString("</style>\n")
	fmt.Fprintf(&b, `<rect width="%s" height="%d" rx="8" fill="%s"/>`+"\n", w, h, background)
	fmt.Fprintf(&b, `<path d="M0 %d V8 A8 8 0 0 1 8 0 H%s a8 8 0 0 1 8 8 V%d Z" style="fill:%s"/>`+"\n", barHeight, num(2*margin+float64(columns)*cellWidth-8), barHeight, bar)
	for i, colour := range []string{"#f2665c", "#f4bf4f", "#5fc454"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5.5" fill="%s"/>`+"\n", 20+18*i, barHeight/2, colour)
	}
	fmt.Fprintf(&b, `<text x="50%%" y="%d" text-anchor="middle" style="fill:#9aa5b1;font-size:13px">%s</text>`+"\n", barHeight/2+5, escape(title))
	b.Write(d.backs.Bytes())
	b.Write(d.rules.Bytes())
	b.Write(d.texts.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func left(x int) float64 { return margin + float64(x)*cellWidth }

func top(y int) int { return barHeight + margin + y*cellHeight }

// num is a length with one decimal at most.
func num(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}

// escape is text as XML has it.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(text)
}

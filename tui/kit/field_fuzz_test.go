package kit_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"envrun/tui/kit"

	"github.com/charmbracelet/x/ansi"
)

// Whatever is typed and pasted into a field, in whatever order: the field holds no
// more than it may, its cursor stands in its area, nothing but colours is drawn,
// and what was in it is gone when it is wiped.
func FuzzField(f *testing.F) {
	f.Add("e\u0301\x1b[2J\u202e日本\xff\r\n", []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, true)
	f.Add("a\nb\nc", []byte{12, 9, 9, 10, 3, 5}, false)
	keys := []string{"left", "right", "home", "end", "backspace", "delete", "ctrl+w", "ctrl+u", "ctrl+k", "up", "down", "enter"}
	dark, _ := kit.NewTheme("dark", true)
	f.Fuzz(func(t *testing.T, text string, order []byte, several bool) {
		const most = 256
		field := &kit.Field{Max: most}
		if several {
			field.Lines = 3
		}
		frame := kit.NewFrame(20, 3, kit.UTF8Marks())
		for _, o := range order[:min(len(order), 64)] {
			switch i := int(o) % (len(keys) + 2); {
			case i < len(keys):
				field.Key(kit.Key{Name: keys[i]})
			case i == len(keys):
				field.Paste(text)
			default:
				if r, n := utf8.DecodeRuneInString(text); n > 0 {
					field.Key(kit.Key{Name: string(r), Text: string(r)})
				}
			}
			if n := len(field.Bytes()); n > most {
				t.Fatalf("it holds %d bytes", n)
			}
			frame.Reset(20, 3)
			field.Draw(frame.Area(), true)
			if x, y, on := frame.Cursor(); on && (x < 0 || x >= 20 || y < 0 || y >= 3) {
				t.Fatalf("the cursor stands at %d, %d", x, y)
			}
			drawn := frame.Render(dark)
			if bare := sgr.ReplaceAllString(drawn, ""); bare != ansi.Strip(drawn) || strings.ContainsFunc(bare, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
				t.Fatalf("more than colours is drawn: %q", bare)
			}
			if x, y := field.Place(kit.UTF8Marks(), 20); x < 0 || x > 20 || y < 0 {
				t.Fatalf("the cursor of the value stands at %d, %d", x, y)
			}
		}
		held := field.Bytes()
		field.Wipe()
		if len(bytes.Trim(held, "\x00")) > 0 {
			t.Fatalf("it still holds %q", held)
		}
	})
}

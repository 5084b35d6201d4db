package kit_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"envrun/tui/kit"

	"github.com/charmbracelet/x/ansi"
)

// draw writes text into one line of a frame.
func draw(text string, w int, m kit.Marks) string {
	f := kit.NewFrame(w, 1, m)
	f.Area().Text(0, 0, kit.Style{}, text)
	return strings.TrimSuffix(f.Text(), "\n")
}

func TestTextBecomesCells(t *testing.T) {
	for _, c := range []struct{ name, in, want, ascii string }{
		{"plain", "billing/STRIPE_KEY", "billing/STRIPE_KEY", "billing/STRIPE_KEY"},
		{"empty", "", "", ""},
		{"escape", "a\x1b[2Jb", "a^[[2Jb", "a^[[2Jb"},
		{"clipboard", "\x1b]52;c;ZmFrZQ==\a", "^[]52;c;ZmFrZQ==^G", "^[]52;c;ZmFrZQ==^G"},
		{"newline and tab", "a\nb\tc\rd", "a^Jb^Ic^Md", "a^Jb^Ic^Md"},
		{"delete", "a\x7fb", "a^?b", "a^?b"},
		{"C1", "a\u009b31mb", "a<009B>31mb", "a<009B>31mb"},
		{"override", "a\u202eb\u2066c", "a<202E>b<2066>c", "a<202E>b<2066>c"},
		{"marks of direction", "\u200e\u200f\u061c", "<200E><200F><061C>", "<200E><200F><061C>"},
		{"zero width", "a\u200bb\u200cc\u2060d\ufeff", "a<200B>b<200C>c<2060>d<FEFF>", "a<200B>b<200C>c<2060>d<FEFF>"},
		{"soft hyphen", "a\u00adb", "a<00AD>b", "a<00AD>b"},
		{"tags", "a\U000e0041", "a<E0041>", "a<E0041>"},
		{"filler", "a\u3164b", "a<3164>b", "a<3164>b"},
		{"private", "\ue0b0", "<E0B0>", "<E0B0>"},
		{"separator", "a\u2028b", "a<2028>b", "a<2028>b"},
		{"not UTF-8", "a\xffb\xc3", "a<FF>b<C3>", "a<FF>b<C3>"},
		{"wide", "日本_KEY", "日本_KEY", "<65E5><672C>_KEY"},
		{"accent", "é", "é", "<00E9>"},
		{"combining", "e\u0301x", "e\u0301x", "e<0301>x"},
		{"combining on nothing", "\u0301x", "<0301>x", "<0301>x"},
		{"too many combining", "e\u0301\u0301\u0301\u0301\u0301\u0301", "e<0301><0301><0301><0301><0301><0301>", "e<0301><0301><0301><0301><0301><0301>"},
		{"emoji", "👍x", "👍x", "<1F44D>x"},
		{"skin tone", "👍🏽x", "👍<1F3FD>x", "<1F44D><1F3FD>x"},
		{"family", "👨\u200d👩x", "👨<200D><1F469>x", "<1F468><200D><1F469>x"},
		{"flag", "🇩🇪x", "<1F1E9><1F1EA>x", "<1F1E9><1F1EA>x"},
		{"presentation", "❤\ufe0fx", "❤<FE0F>x", "<2764><FE0F>x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := draw(c.in, 80, kit.UTF8Marks()); got != c.want {
				t.Errorf("%q is drawn as %q, want %q", c.in, got, c.want)
			}
			if got := draw(c.in, 80, kit.ASCIIMarks()); got != c.ascii {
				t.Errorf("%q is drawn in ASCII as %q, want %q", c.in, got, c.ascii)
			}
		})
	}
}

// What is drawn for bytes that are not made a string of is the same.
func TestBytesAreDrawnAsText(t *testing.T) {
	for _, in := range []string{"plain", "a\x1b[2J\u202eb", "日本e\u0301\xff\x00", "👨\u200d👩", strings.Repeat("e\u0301", 30), "👍🏽"} {
		f := kit.NewFrame(200, 1, kit.UTF8Marks())
		f.Area().Bytes(kit.Style{}, []byte(in), 0)
		if got, want := strings.TrimSuffix(f.Text(), "\n"), draw(in, 200, kit.UTF8Marks()); got != want {
			t.Errorf("%q: bytes are drawn as %q, text as %q", in, got, want)
		}
	}
}

func TestBytesInLines(t *testing.T) {
	f := kit.NewFrame(4, 3, kit.UTF8Marks())
	if n := f.Area().Bytes(kit.Style{}, []byte("ab\ncdefgh\n日本語"), 0); n != 5 {
		t.Errorf("it says %d lines, want 5", n)
	}
	if got := f.Text(); got != "ab\ncdef\ngh\n" {
		t.Errorf("drawn as %q", got)
	}
	f.Reset(4, 3)
	f.Area().Bytes(kit.Style{}, []byte("ab\ncdefgh\n日本語"), 2)
	if got := f.Text(); got != "gh\n日本\n語\n" {
		t.Errorf("from the third line: %q", got)
	}
	if n := f.Area().Bytes(kit.Style{}, []byte("one\n"), 0); n != 1 {
		t.Errorf("a newline at the end makes %d lines, want 1", n)
	}
}

var sgr = regexp.MustCompile(`\x1b\[[0-9;:]*m`)

// Whatever is written into a frame, only printable characters, line breaks and
// our own colours leave it, and each line is as wide as it says.
func FuzzFrame(f *testing.F) {
	f.Add("a\x1b]52;c;eA==\a\u202e👨\u200d👩 e\u0301 日本", false)
	f.Add("\u0915\u094d\u0937\u093f \u0e01\u0e33 \u1100\u1161\u11a8", true)
	dark, _ := kit.NewTheme("dark", true)
	f.Fuzz(func(t *testing.T, text string, ascii bool) {
		m := kit.UTF8Marks()
		if ascii {
			m = kit.ASCIIMarks()
		}
		const w, h = 24, 6
		frame := kit.NewFrame(w, h, m)
		a := frame.Area()
		a.Text(3, 0, kit.In(kit.Warn), text)
		a.Text(-2, 1, kit.Style{}, text)
		a.Fit(1, 2, 9, kit.Style{}, text)
		a.FitRight(1, 3, 9, kit.Style{}, text)
		a.FitEnd(1, 4, 9, kit.Style{}, text)
		a.Sub(0, 5, w, 1).Bytes(kit.In(kit.Danger), []byte(text), 0)
		a.Paint(2, kit.In(kit.Selection).With(kit.Reverse))
		drawn := frame.Render(dark)
		plain := ansi.Strip(drawn)
		if bare := sgr.ReplaceAllString(drawn, ""); bare != plain {
			t.Fatalf("%q: more than colours is drawn: %q", text, bare)
		}
		for i, line := range strings.Split(plain, "\n") {
			for _, r := range line {
				if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || ascii && r > 0x7e {
					t.Fatalf("%q: line %d is %q, with %U", text, i, line, r)
				}
			}
			if by, wc := ansi.GraphemeWidth.StringWidth(line), ansi.WcWidth.StringWidth(line); by > w || by != wc {
				t.Fatalf("%q: line %d is %q, %d wide by clusters and %d by runes", text, i, line, by, wc)
			}
		}
	})
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		in   string
		w    int
		want string
	}{
		{"abcdef", 6, "abcdef"},
		{"abcdefg", 6, "abcde…"},
		{"日本語", 6, "日本語"},
		{"日本語", 5, "日本…"},
		{"日本語", 4, "日 …"},
		{"a\x1bb", 3, "a^…"},
		{"abc", 1, "a"},
	} {
		f := kit.NewFrame(c.w, 1, kit.UTF8Marks())
		f.Area().Fit(0, 0, c.w, kit.Style{}, c.in)
		if got := strings.TrimSuffix(f.Text(), "\n"); got != c.want {
			t.Errorf("%q in %d cells is %q, want %q", c.in, c.w, got, c.want)
		}
	}
	f := kit.NewFrame(8, 1, kit.UTF8Marks())
	f.Area().FitEnd(0, 0, 8, kit.Style{}, "billing/stripe")
	if got := f.Text(); got != "…/stripe\n" {
		t.Errorf("cut at the beginning: %q", got)
	}
	f.Reset(8, 1)
	f.Area().FitRight(0, 0, 8, kit.Style{}, "日")
	if got := f.Text(); got != "      日\n" {
		t.Errorf("at the right: %q", got)
	}
}

// A wide character that something else is drawn over leaves no half behind.
func TestHalvesOfWideCharacters(t *testing.T) {
	for x, want := range []string{"x 本", " x本", "日x", "日 x"} {
		f := kit.NewFrame(4, 1, kit.UTF8Marks())
		f.Area().Text(0, 0, kit.Style{}, "日本")
		f.Area().Text(x, 0, kit.Style{}, "x")
		if got := strings.TrimSuffix(f.Text(), "\n"); got != want {
			t.Errorf("x at %d: %q, want %q", x, got, want)
		}
	}
	f := kit.NewFrame(4, 1, kit.UTF8Marks())
	f.Area().Text(1, 0, kit.Style{}, "日本語")
	if got := f.Text(); got != " 日\n" {
		t.Errorf("cut by the edge: %q", got)
	}
	f.Reset(4, 1)
	f.Area().Text(-1, 0, kit.Style{}, "日本語")
	if got := f.Text(); got != " 本\n" {
		t.Errorf("cut by the left edge: %q", got)
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		in   string
		w    int
		want string
	}{
		{"one two three", 7, "one two|three"},
		{"one two three", 8, "one two|three"},
		{"a\n\nb", 5, "a||b"},
		{"abcdefgh", 3, "abc|def|gh"},
		{"日本語日本語", 5, "日本|語日|本語"},
		{"x\x1b\x1b", 2, "x|\x1b|\x1b"},
		{"", 5, ""},
	} {
		if got := strings.Join(kit.UTF8Marks().Wrap(c.in, c.w), "|"); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.in, c.w, got, c.want)
		}
	}
}

// What a larger frame showed is not kept behind a smaller one.
func TestSmallerFrameForgets(t *testing.T) {
	f := kit.NewFrame(20, 4, kit.UTF8Marks())
	f.Area().Text(0, 3, kit.Style{}, "FAKE-value")
	f.Reset(20, 1)
	f.Reset(20, 4)
	if strings.Contains(f.Text(), "FAKE") {
		t.Error("it is still there")
	}
}

package kit_test

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"envrun/tui/kit"

	"github.com/charmbracelet/x/ansi"
)

func luminance(c uint32) float64 {
	part := func(shift uint) float64 {
		v := float64(c>>shift&0xff) / 255
		if v <= 0.03928 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*part(16) + 0.7152*part(8) + 0.0722*part(0)
}

func contrast(a, b uint32) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

var colour = regexp.MustCompile(`38;2;(\d+);(\d+);(\d+)`)

// Every role can be read on the backgrounds that terminals have; the theme with
// contrast on pure ones by far.
func TestContrast(t *testing.T) {
	for _, c := range []struct {
		name        string
		dark        bool
		backgrounds []uint32
		least       float64
	}{
		{"dark", true, []uint32{0x000000, 0x1e1e1e, 0x282c34, 0x002b36, 0x2e3440, 0x300a24}, 4.5},
		{"light", false, []uint32{0xffffff, 0xfdf6e3, 0xfafafa, 0xeff1f5}, 4.5},
		{"contrast", true, []uint32{0x000000}, 7},
		{"contrast", false, []uint32{0xffffff}, 7},
	} {
		theme, ok := kit.NewTheme(c.name, c.dark)
		if !ok {
			t.Fatal(c.name)
		}
		for role := kit.Dim; role <= kit.Removed; role++ {
			f := kit.NewFrame(1, 1, kit.UTF8Marks())
			f.Area().Text(0, 0, kit.In(role), "x")
			m := colour.FindStringSubmatch(f.Render(theme))
			if m == nil {
				continue // the terminal's own
			}
			var rgb uint32
			for _, part := range m[1:] {
				var v uint32
				fmt.Sscan(part, &v)
				rgb = rgb<<8 | v
			}
			for _, back := range c.backgrounds {
				if got := contrast(rgb, back); got < c.least {
					t.Errorf("%s: role %d (#%06x) on #%06x has a contrast of %.1f, less than %g", c.name, role, rgb, back, got, c.least)
				}
			}
		}
	}
}

// What matters is told apart without colours, and the background is never painted.
func TestThemes(t *testing.T) {
	for _, name := range []string{"", "auto", "dark", "light", "contrast", "mono"} {
		for _, dark := range []bool{true, false} {
			theme, ok := kit.NewTheme(name, dark)
			if !ok {
				t.Fatal(name)
			}
			f := kit.NewFrame(20, 1, kit.UTF8Marks())
			for role := kit.Normal; role <= kit.Removed; role++ {
				f.Area().Text(int(role), 0, kit.In(role).With(kit.Reverse), "x")
			}
			out := f.Render(theme)
			if strings.Contains(out, ";48;2;") || strings.Contains(ansi.Strip(out), "\x1b") {
				t.Errorf("%s: %q", name, out)
			}
		}
	}
	mono, _ := kit.NewTheme("mono", true)
	seen := map[string]kit.Role{}
	for _, role := range []kit.Role{kit.Normal, kit.Danger, kit.Warn, kit.Protected} {
		f := kit.NewFrame(1, 1, kit.UTF8Marks())
		f.Area().Text(0, 0, kit.In(role), "x")
		out := f.Render(mono)
		if other, ok := seen[out]; ok {
			t.Errorf("roles %d and %d look the same without colours: %q", role, other, out)
		}
		if colour.MatchString(out) {
			t.Errorf("mono has a colour: %q", out)
		}
		seen[out] = role
	}
	if _, ok := kit.NewTheme("solarized", true); ok {
		t.Error("there is a theme of any name")
	}
}

// A row that is selected keeps what was marked in it told apart.
func TestPaint(t *testing.T) {
	mono, _ := kit.NewTheme("mono", true)
	f := kit.NewFrame(4, 1, kit.UTF8Marks())
	f.Area().Text(0, 0, kit.Style{}, "a\x1bb")
	before := f.Render(mono)
	f.Area().Paint(0, kit.In(kit.Selection).With(kit.Reverse))
	after := f.Render(mono)
	if before == after || !strings.Contains(after, "\x1b[0;7ma\x1b[0m^[\x1b[0;7mb") {
		t.Errorf("%q becomes %q", before, after)
	}
}

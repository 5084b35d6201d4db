package kit_test

import (
	"strings"
	"testing"

	"envrun/tui/kit"
)

func TestVeil(t *testing.T) {
	v := kit.NewVeil("prod")
	v.Learn("billing/stripe", "STRIPE_KEY", "tls.crt", "prod/db-main", "日本語_鍵", "", "///")
	const x = "********"
	for text, want := range map[string]string{
		"":                      "",
		"nothing of it":         "nothing of it",
		"billing/stripe":        x + "/" + x,
		"billing/":              x + "/",
		"Deleted STRIPE_KEY.":   "Deleted " + x + ".",
		"Deleted tls.crt.":      "Deleted " + x + ".",
		"dev:billing/new/KEY=1": "dev:" + x + "/new/KEY=1",
		"STRIPE_KEY_OLD, \"STRIPE_KEY\", (STRIPE_KEY)": "STRIPE_KEY_OLD, \"" + x + "\", (" + x + ")",
		"db-main of prod": x + " of prod",
		"PROD":            "PROD",
		"…stripe/日本語_鍵":   "…" + x + "/" + x,
		"stripe-":         x + "-",
		"a-stripe":        "a-" + x,
		"x\xffstripe\x1b": "x\xff" + x + "\x1b",
	} {
		v.Set(true)
		got := v.Hide(text, "*")
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if again := v.Hide(got, "*"); again != got {
			t.Errorf("%q: %q is not what comes of it a second time: %q", text, got, again)
		}
		v.Set(false)
		if v.Hide(text, "*") != text {
			t.Errorf("%q is hidden without a veil", text)
		}
	}
}

// Whatever way text takes into a frame, the veil stands before it; values, which
// are drawn as bytes, and words of ours are as they are.
func TestVeilOfAFrame(t *testing.T) {
	m := kit.ASCIIMarks()
	m.Veil = kit.NewVeil()
	m.Veil.Learn("billing/stripe", "STRIPE_KEY")
	m.Veil.Set(true)
	f := kit.NewFrame(40, 20, m)
	a := f.Area()
	a.Text(0, 0, kit.Style{}, "Text STRIPE_KEY")
	a.Fit(0, 1, 8, kit.Style{}, "STRIPE_KEY")
	a.FitEnd(0, 2, 12, kit.Style{}, "billing/stripe/STRIPE_KEY")
	a.FitRight(0, 3, 30, kit.Style{}, "STRIPE_KEY")
	a.Sub(0, 4, 9, 4).Paragraph(0, kit.Style{}, "of STRIPE_KEY and billing/stripe")
	a.Sub(0, 8, 20, 3).Box(kit.Style{}, "STRIPE_KEY")
	var l kit.List
	l.Set(kit.Names{"billing/stripe/STRIPE_KEY"})
	l.Tree(true)
	l.Draw(a.Sub(0, 12, 40, 2), func(a kit.Area, ln kit.Line) { a.Fit(0, 0, a.W, kit.Style{}, ln.Name) })
	var field kit.Field
	field.Set("STRIPE_KEY")
	field.Draw(a.Sub(0, 14, 20, 1), true)
	if text := f.Text(); strings.Contains(strings.ToLower(text), "strip") || strings.Contains(text, "billing") || strings.Count(text, "********") < 6 {
		t.Errorf("a name can be read:\n%s", text)
	}
	a.Bytes(kit.Style{}, []byte("STRIPE_KEY"), 0)
	a.Own().Sub(0, 2, 40, 1).Text(0, 0, kit.Style{}, "billing")
	if text := f.Text(); !strings.HasPrefix(text, "STRIPE_KEY") || !strings.Contains(text, "\nbilling") {
		t.Errorf("a value, or a word of ours, was hidden:\n%s", text)
	}
}

package screen_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
)

// What nobody may do by accident, and what others may write.

// changesOf is all that somebody could have changed in a world: versions, who has
// access, and what was typed.
func changesOf(t *testing.T, w *tuitest.World) string {
	t.Helper()
	var all []string
	for name, v := range versions(t, w) {
		all = append(all, fmt.Sprint(name, " ", v))
	}
	slices.Sort(all)
	if g, ok := w.Config.Gate.(*tuitest.Gate); ok {
		all = append(all, g.Calls...)
	}
	return strings.Join(all, ", ")
}

// No action that does harm does any by its own key, by Enter, Space, the same key
// again, held down, any small letter, or pasted text: in no state of any screen.
func TestHarmTakesY(t *testing.T) {
	actions, err := kit.NewActions(screen.Actions())
	if err != nil {
		t.Fatal(err)
	}
	small := strings.Split("abcdefghijklmnopqrstuvwxyz", "")
	tried := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all())) {
		scenario := all()[name]
		for _, o := range scenario(t, tuitest.NewWorld(t)).Model.Offers() {
			a := actions.Get(o.ID)
			if a.Harm == kit.Harmless || o.Off != "" || testing.Short() && tried[a.ID] {
				continue
			}
			tried[a.ID] = true
			for way, keys := range map[string][]string{
				"enter": {"enter", "enter", "enter"}, "space": {"space", "space", "space"}, "the same key": {a.Keys[0], a.Keys[0], a.Keys[0]}, "small letters": small,
			} {
				w := tuitest.NewWorld(t)
				d := scenario(t, w)
				d.AllowAll() // what "v" shows is not what this is about
				before := changesOf(t, w)
				d.Press(a.Keys[0])
				for _, k := range keys {
					d.Send(tea.PasteMsg{Content: "Y"})
					held := tuitest.Key(k)
					held.IsRepeat = true
					d.Send(held)
					d.Press(k)
					if d.Quit || d.Suspended {
						break
					}
				}
				if after := changesOf(t, w); after != before {
					t.Errorf("%s: %s and then %s changes something: %s, was %s", name, a.ID, way, after, before)
				}
			}
		}
	}
	for _, a := range screen.Actions() {
		if a.Harm != kit.Harmless && !tried[a.ID] {
			t.Errorf("%s is tried nowhere", a.ID)
		}
	}
}

// Whatever keys are pressed on the screens about access, nobody is let in or put
// out, and nothing is shown, without the letter that consents.
func TestRandomKeysAboutAccess(t *testing.T) {
	pressed := strings.Fields("I w K O S R X a a x d n T W s c p i e v V y C H D j k g G tab space enter enter esc esc 1 2 3 E : ? / r q - down up pgup pgdown " +
		"ctrl+s ctrl+s ctrl+l b o 8 0 - backspace ctrl+u home end left right")
	runs := uint64(40)
	if testing.Short() {
		runs = 8
	}
	for seed := range runs {
		w := tuitest.NewWorld(t)
		g := gated(t, w)
		g.Ask(tuitest.Empty, screen.Request{Who: g.You, Reason: "mine", Key: g.Key})
		g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "gina@old")
		g.Member(tuitest.Dev, screen.Member{Name: "bob@desktop", Key: tuitest.Recipient("bob"), Since: tuitest.Start, Until: tuitest.Start.Add(-1)})
		w.Config.Share = true
		d := tuitest.New(t, w)
		r := rng(seed)
		var done []string
		for range 200 {
			switch n := r.IntN(40); {
			case n == 0:
				d.Send(tea.PasteMsg{Content: "Y\nprod\nAGE-SECRET-KEY-1FAKE\x1b[2J\u202e"})
			case n == 1:
				size := tuitest.Sizes[r.IntN(len(tuitest.Sizes))]
				d.Resize(size[0], size[1])
			default:
				k := pressed[r.IntN(len(pressed))]
				done = append(done, k)
				d.Press(k)
			}
			if d.Quit {
				break
			}
		}
		if len(g.Calls) > 0 || t.Failed() {
			t.Fatalf("seed %d: %q was done; keys %v", seed, g.Calls, done)
		}
	}
}

// hostileText is what somebody writes who wants to command a terminal, mislead
// its reader, or shift what is beside it.
const hostileText = "x\x1b]52;c;RkFLRQ==\a\x1b[2J\x1b[31m\u009b31m\u202egnp.exe\u2066\u200b\u200d\ufeff\r\b\x7f\xff\xc3日本語e\u0301👨\u200d👩\u200d👧🇩🇪\u115f\u3164\x00end"

// Nothing that others write reaches the terminal raw, wherever it comes from:
// errors of the vault and of the gate, names of members, reasons, paths of files.
// The driver looks at every picture.
func TestHostileEverywhere(t *testing.T) {
	problem := func(kind vault.Kind) error {
		return &vault.Error{Kind: kind, Op: hostileText, Env: tuitest.Dev, File: hostileText, Detail: hostileText, Err: errors.New("git: " + hostileText)}
	}
	kinds := []vault.Kind{vault.KindOther, vault.KindDenied, vault.KindUnavailable, vault.KindMalformed, vault.KindTampered, vault.KindConflict, vault.KindNotFound, vault.KindNoIdentity}
	if testing.Short() {
		kinds = kinds[:2]
	}
	for _, kind := range kinds {
		w := tuitest.NewWorld(t)
		g := gated(t, w)
		g.Member(tuitest.Dev, screen.Member{Name: hostileText, By: hostileText, Problem: hostileText, Key: screen.KeyKind{Name: hostileText, Plugin: hostileText, Recipient: hostileText}, Since: tuitest.Start})
		g.Ask(tuitest.Dev, screen.Request{Who: hostileText, Reason: hostileText, Author: hostileText, Problem: hostileText})
		g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", hostileText)
		g.ChangeCare(tuitest.Dev, func(c *screen.Care) {
			c.Journal, c.Vault, c.Dir, c.SealBy, c.Strays, c.Asking = hostileText, hostileText, hostileText, hostileText, []error{problem(kind)}, []string{hostileText}
		})
		d := tuitest.New(t, w, files(t, "a\x1b[2J\u202efile", "x", ".env", "A=1\n"))
		broken := false
		w.Vault.Memory.FailWith(func(vaulttest.Call) error {
			if broken {
				return problem(kind)
			}
			return nil
		})
		for range 2 {
			for _, size := range tuitest.Sizes {
				d.Resize(size[0], size[1])
				for _, keys := range []string{"r !", "enter v y H D", "C r", "e ctrl+t ctrl+e", "w j enter", "K c enter", "I enter", "I a", "I x", "O enter", "S", "R", "3", "n ctrl+u", "i tab", "= c enter", ": m e", "?", "E"} {
					for k := range strings.FieldsSeq(keys) {
						d.AllowAll()
						d.Press(k)
					}
					d.Press("!", "esc", "esc", "esc", "esc", "esc", "1")
				}
			}
			broken = true
			g.FailWith = func(string, vault.Env) error { return problem(kind) }
		}
		if t.Failed() {
			t.Fatalf("with errors of kind %v", kind)
		}
	}
}

// What is said of a value says no more than it may: of a short one not how long
// it is, and of what cannot be seen that it is there (R2, R23).
func TestWhatIsSaidOfAValue(t *testing.T) {
	for value, want := range map[string]string{
		"FAKE-short":                      "short, under 16 bytes, 1 line",
		"FAKE-fifteen-by":                 "short, under 16 bytes, 1 line",
		"FAKE-sixteen-byt":                "16 bytes, 1 line",
		"FAKE-ends-with-a-newline\n":      "25 bytes, 1 line, ends with newline",
		"FAKE-windows-line-1\r\nFAKE\r\n": "27 bytes, 2 lines, ends with CR and newline",
		" FAKE-begins-with-a-space":       "begins with a space",
		"FAKE-ends-with-a-space  ":        "ends with a space",
		"FAKE-zero-width-\u200b-inside":   "has characters that do not print",
		"FAKE-not-text-at-all-\xff\xfe":   "not UTF-8 text",
		"\ufeffFAKE-begins-with-a-bom":    "begins with a BOM",
	} {
		w := tuitest.NewWorld(t)
		w.Set(t, tuitest.Dev, "a/value", "VALUE", value)
		d := tuitest.New(t, w)
		d.Press("g", "enter")
		if !strings.Contains(strings.ReplaceAll(d.Text(), "\n", " "), want) {
			t.Errorf("of %q it is not said that it is %q:\n%s", value, want, d.Text())
		}
		d.Has("••••••••••••••••")
		if len(value) < 16 {
			d.Lacks(fmt.Sprintf("%d bytes, ", len(value)))
		}
	}
	// Equal values are told as equal, by a print that is another in each session
	// and never on the screen.
	prints := map[string]bool{}
	for range 2 {
		w := tuitest.NewWorld(t)
		for _, f := range []vault.FieldName{"ONE", "TWO"} {
			w.Set(t, tuitest.Dev, "a/same", f, "FAKE-the-same-in-both-4f0a")
		}
		d := tuitest.New(t, w)
		d.Press("g", "enter")
		d.Has("same as    TWO")
		prints[d.Text()] = true
	}
	if len(prints) != 1 {
		t.Error("two sessions draw the same secret in two ways: a print is on the screen")
	}
}

package tui_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
)

// revealed is the first screen with STRIPE_SECRET_KEY of dev shown.
func revealed(t *testing.T, options ...func(*tui.Config)) (*tuitest.Driver, string) {
	t.Helper()
	w := tuitest.NewWorld(t)
	value := w.Value("dev", "STRIPE_SECRET_KEY")
	d := tuitest.New(t, w, options...)
	d.Press("j")
	d.Allow(value)
	d.Press("v")
	if !tuitest.Shows(d.Text(), value) {
		t.Fatalf("it is not shown:\n%s", d.Text())
	}
	return d, value
}

// Each way to hide a value hides it, and overwrites the memory that it was in (R3).
func TestHiding(t *testing.T) {
	for name, hide := range map[string]func(d *tuitest.Driver){
		"time":           func(d *tuitest.Driver) { d.Advance(15 * time.Second) },
		"the same key":   func(d *tuitest.Driver) { d.Press("v") },
		"cursor":         func(d *tuitest.Driver) { d.Press("j") },
		"filter":         func(d *tuitest.Driver) { d.Press("/"); d.Type("redis") },
		"another screen": func(d *tuitest.Driver) { d.Press("enter") },
		"environment":    func(d *tuitest.Driver) { d.Press("2") },
		"blur":           func(d *tuitest.Driver) { d.Send(tea.BlurMsg{}) },
		"smaller window": func(d *tuitest.Driver) { d.Resize(99, 30) },
		"larger window":  func(d *tuitest.Driver) { d.Resize(120, 40) },
		"far too small":  func(d *tuitest.Driver) { d.Resize(39, 9); d.Advance(time.Second); d.Resize(100, 30) },
		"lock":           func(d *tuitest.Driver) { d.Press("ctrl+l") },
		"share mode":     func(d *tuitest.Driver) { d.Press("P") },
		"suspend":        func(d *tuitest.Driver) { d.Press("ctrl+z") },
		"interrupt":      func(d *tuitest.Driver) { d.Press("ctrl+c") },
		"quit":           func(d *tuitest.Driver) { d.Press("q") },
		"quit message":   func(d *tuitest.Driver) { d.Send(tea.QuitMsg{}) },
		"interrupt msg":  func(d *tuitest.Driver) { d.Send(tea.InterruptMsg{}) },
		"sleep":          func(d *tuitest.Driver) { d.Sleep(2 * time.Minute); d.Send(tea.FocusMsg{}) },
		"clock put back": func(d *tuitest.Driver) { d.Sleep(-time.Minute); d.Send(tea.FocusMsg{}) },
		"a click": func(d *tuitest.Driver) {
			d.Press("m")
			d.Send(tea.MouseClickMsg{X: 30, Y: 8, Button: tea.MouseLeft})
			d.Press("j")
		},
		"the value changes": func(d *tuitest.Driver) {
			d.World.Set(t, "dev", "billing/stripe", "STRIPE_WEBHOOK_KEY", "FAKE-another-value-of-it")
			d.Press("r")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, value := revealed(t)
			memory := d.Model.Slot()
			if !bytes.Equal(memory, []byte(value)) {
				t.Fatal("this is not where the value is")
			}
			hide(d)
			d.Forbid(value)
			d.Text()
			if !d.Quit && d.Model.Shown() {
				t.Error("it is still shown")
			}
			if len(bytes.Trim(memory, "\x00")) > 0 {
				t.Errorf("the memory still holds %q", memory)
			}
			if d.Quit || d.Suspended {
				if text := strings.TrimSpace(d.Left); text != "envrun" {
					t.Errorf("what is left on the screen is not empty:\n%s", text)
				}
			}
		})
	}
}

func TestCountdown(t *testing.T) {
	d, _ := revealed(t)
	d.Has("hides in 15s")
	d.Advance(11 * time.Second)
	d.Has("hides in 4s")
	d.Advance(3900 * time.Millisecond)
	d.Has("hides in 1s")
}

func TestHowLongAValueIsShown(t *testing.T) {
	for _, c := range []struct {
		show, limit time.Duration
		want        string
	}{
		{0, 0, "15s"}, {time.Second, 0, "5s"}, {time.Hour, 0, "60s"}, {30 * time.Second, 8 * time.Second, "8s"},
	} {
		d, _ := revealed(t, func(tc *tui.Config) {
			tc.Show = c.show
			tc.Envs = slices.Clone(tc.Envs)
			tc.Envs[0].Reveal = c.limit
		})
		d.Has("hides in " + c.want)
	}
}

// A value that comes when the cursor has moved on, or nobody wants it any more,
// is not shown.
func TestLateReveal(t *testing.T) {
	for name, meanwhile := range map[string]func(d *tuitest.Driver){
		"cursor":         func(d *tuitest.Driver) { d.Press("j") },
		"there and back": func(d *tuitest.Driver) { d.Press("j", "k") },
		"screen":         func(d *tuitest.Driver) { d.Press("enter") },
		"blur":           func(d *tuitest.Driver) { d.Send(tea.BlurMsg{}) },
		"lock":           func(d *tuitest.Driver) { d.Press("ctrl+l") },
		"unlocked again": func(d *tuitest.Driver) { d.Press("ctrl+l", "enter") },
		"environment":    func(d *tuitest.Driver) { d.Press("2") },
		"share mode":     func(d *tuitest.Driver) { d.Press("P") },
		"share and back": func(d *tuitest.Driver) { d.Press("P", "P") },
	} {
		t.Run(name, func(t *testing.T) {
			d := tuitest.New(t, tuitest.NewWorld(t))
			d.Press("j")
			d.Hold()
			d.Press("v")
			if !d.Model.Shown() {
				t.Fatal("nothing is under way")
			}
			meanwhile(d)
			d.Deliver() // a picture with the value fails the test
			if d.Model.Shown() {
				t.Error("the value is shown")
			}
		})
	}
}

// Who keeps account of reads is told what was done, before it is done; without
// that it is not done (R4).
func TestAudit(t *testing.T) {
	var uses []tui.Use
	var fail error
	audited := func(c *tui.Config) {
		c.Audit = func(_ context.Context, u tui.Use) error {
			uses = append(uses, u)
			return fail
		}
	}
	d, value := revealed(t, audited)
	d.Forbid(value)
	d.Press("v", "y")
	want := screen.Target{Env: "dev", Path: "billing/stripe", Field: "STRIPE_SECRET_KEY", Version: 1}
	if !slices.Equal(uses, []tui.Use{{Op: "reveal", Target: want}, {Op: "copy", Target: want}}) {
		t.Errorf("audited: %v", uses)
	}
	if d.World.Board.Holds != value {
		t.Errorf("the clipboard holds %q", d.World.Board.Holds)
	}
	fail, d.World.Board.Holds = errors.New("the trail is full"), ""
	d.Press("v")
	d.Has("! the trail is full")
	if d.Model.Shown() {
		t.Error("a value is shown that is not accounted for")
	}
	d.Press("y")
	if d.World.Board.Holds != "" {
		t.Error("a value is copied that is not accounted for")
	}
}

func TestShareMode(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t), func(c *tui.Config) { c.Share = true })
	d.Has("SHARE")
	d.Press("v", "V", "enter", "v", "esc")
	if d.Model.Shown() {
		t.Error("a value is shown")
	}
	d.Press("v")
	d.Has("share mode is on")
	d.Press("y")
	if d.World.Board.Holds == "" {
		t.Error("copying does not work")
	}
	d.Press("P")
	d.Has("SHARE, NO NAMES")
	d.Lacks("billing", "SMTP_PASSWORD")
	d.Press("v")
	if d.Model.Shown() {
		t.Error("a value is shown")
	}
	d.Press("P")
	d.Lacks("SHARE")
	d.Has("billing/smtp/SMTP_PASSWORD", "Share mode is off")
}

// Names are hidden from the first picture on, in what names come in later, and
// in what is said of them; what is found is still found.
func TestNamesAreHidden(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t), func(c *tui.Config) { c.HideNames = true })
	d.Has("SHARE, NO NAMES", "6 names")
	d.Lacks("billing", "SMTP_PASSWORD")
	d.World.Set(t, tuitest.Dev, "new/later", "LATER_KEY", "FAKE-later")
	d.Press("r", "G")
	d.Has("7 names")
	d.Lacks("later", "LATER")
	d.Press("p")
	if d.World.Board.Holds != "new/later/LATER_KEY" {
		t.Errorf("copied %q", d.World.Board.Holds)
	}
	d.Has("Copied ••••••••/••••••••/••••••••")
	d.Press(":")
	d.Type("laterkey")
	d.Lacks("LATER")
	d.Press("enter")
	d.Lacks("LATER")
	d.Press("d")
	d.Has("Delete ••••••••")
	d.Press("Y")
	d.Lacks("LATER")
	// A draft is named by nobody but the one who types it.
	d.Press("esc", "n")
	d.Type("brand/fresh")
	d.Press("enter")
	d.Has("field of ••••••••/••••••••/••••••••")
	d.Type("FRESH_KEY")
	d.Press("enter", "esc")
	d.Lacks("FRESH_KEY", "brand")
	d.Press("P")
	d.Has("brand/fresh", "FRESH_KEY")
}

// Who is told nothing remembers nothing: share mode that was asked for from
// outside is not there the next time.
func TestShareModeFromOutside(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tui.json")
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w, func(c *tui.Config) { c.StateFile, c.HideNames = file, true })
	d.Press("t", "2")
	tuitest.New(t, w, func(c *tui.Config) { c.StateFile = file }).Lacks("SHARE")
	d.Press("P", "P", "P")
	tuitest.New(t, w, func(c *tui.Config) { c.StateFile = file }).Has("SHARE, NO NAMES")
}

// On a keyboard without Latin letters a key is what is printed on the American
// one, where the terminal says; on one with other Latin letters it is its letter.
func TestOtherKeyboards(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Send(tea.KeyPressMsg{Code: 'р', Text: "р", BaseCode: 'h'}) // nothing has h outside a tree
	d.Send(tea.KeyPressMsg{Code: 'о', Text: "о", BaseCode: 'j'})
	d.Has("> billing/stripe"[:2])
	if target, _ := d.Model.Top().Target(); target.Field != "STRIPE_SECRET_KEY" {
		t.Errorf("the cursor is on %v", target)
	}
	d.Send(tea.KeyPressMsg{Code: 'd', Mod: tea.ModCtrl, BaseCode: 'l'}) // another Latin layout
	if d.Model.Locked() {
		t.Error("Ctrl-D has locked the screen")
	}
	d.Send(tea.KeyPressMsg{Code: 'd', Text: "d", BaseCode: 'q'})
	if d.Quit {
		t.Error("d has quit")
	}
	d.Press("esc")
	d.Send(tea.KeyPressMsg{Code: 'д', Mod: tea.ModCtrl, BaseCode: 'l'})
	if !d.Model.Locked() {
		t.Error("Ctrl-L does not lock the screen")
	}
	d.Press("enter")
	value := d.World.Value("dev", "STRIPE_SECRET_KEY")
	d.Send(tea.KeyboardEnhancementsMsg{Flags: 7})
	d.Allow(value)
	d.Press("g", "j")
	d.Send(tea.KeyPressMsg{Code: 'м', ShiftedCode: 'М', Mod: tea.ModShift, Text: "М", BaseCode: 'v'})
	d.Has("REVEALED")
	d.Forbid(value)
	d.Send(tea.KeyReleaseMsg{Code: 'м', Mod: tea.ModShift, BaseCode: 'v'})
	d.Lacks("REVEALED")
}

// A value is shown while V is held, where the terminal says when it is let go.
func TestPeek(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	value := d.World.Value("dev", "SMTP_PASSWORD")
	d.Send(tea.KeyboardEnhancementsMsg{Flags: 3})
	d.Allow(value)
	d.Press("V")
	d.Has("REVEALED")
	held := tuitest.Key("V")
	held.IsRepeat = true
	d.Send(held)
	d.Has("REVEALED")
	d.Forbid(value)
	d.Send(tea.KeyReleaseMsg{Code: 'v', Mod: tea.ModShift, ShiftedCode: 'V'})
	d.Lacks("REVEALED")
	// Let go before the value has come.
	d.Hold()
	d.Press("V")
	d.Send(tea.KeyReleaseMsg{Code: 'v'})
	d.Deliver()
	d.Lacks("REVEALED")
	// A terminal that does not say: as v.
	d.Send(tea.KeyboardEnhancementsMsg{Flags: 1})
	d.Allow(value)
	d.Press("V")
	d.Send(tea.KeyReleaseMsg{Code: 'v'})
	d.Has("REVEALED")
}

// Whatever keys are pressed, no value is seen that the cursor is not on.
func TestRandomKeys(t *testing.T) {
	keys := []string{"j", "k", "g", "G", "h", "l", "tab", "enter", "esc", "space", "/", "a", "s", "t", "r", "v", "V", "y", "p", "d", "Y", "1", "2", "3", "E",
		":", "?", "!", "P", "m", "q", "-", "ctrl+l", "ctrl+d", "ctrl+u", "pgup", "pgdown", "home", "end", "up", "down", "left", "right", "backspace", "ctrl+w", "f1", "x", "é"}
	w := tuitest.NewWorld(t)
	for seed := range 40 {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		var pressed []string
		d := tuitest.New(t, w)
		for range 120 {
			if d.Quit {
				d = tuitest.New(t, w)
			}
			// Only the value that the screen is about may be seen, and that only.
			d.ForbidAll()
			if target, ok := d.Model.Top().Target(); ok {
				if v, ok := w.Lookup(target.Env, string(target.Field)); ok {
					d.Allow(v)
				}
			}
			switch n := r.IntN(len(keys) + 4); {
			case n < len(keys):
				pressed = append(pressed, keys[n])
				d.Press(keys[n])
			case n == len(keys):
				d.Advance(time.Duration(r.IntN(20)) * time.Second)
			case n == len(keys)+1:
				d.Resize(30+r.IntN(90), 6+r.IntN(30))
			case n == len(keys)+2:
				d.Send(tea.PasteMsg{Content: "dY\nY\nprod\x1b[2J"})
			default:
				d.Send(tea.BlurMsg{})
			}
			if t.Failed() {
				t.Fatalf("seed %d, after %q", seed, pressed)
			}
			if c := d.Model.Crashed(); c != nil {
				t.Fatalf("seed %d, after %q: %v\n%s", seed, pressed, c, c.Stack)
			}
		}
	}
}

func TestLocking(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Advance(4*time.Minute + 59*time.Second)
	if d.Model.Locked() {
		t.Fatal("it is locked too early")
	}
	d.Press("j")
	d.Advance(4*time.Minute + 59*time.Second)
	if d.Model.Locked() {
		t.Fatal("a key does not start the time again")
	}
	d.Advance(2 * time.Second)
	d.Has("envrun is locked (5 minutes without a key)", "enter", "alice@laptop")
	d.Lacks("STRIPE", "billing", "acme")
	d.Press("j", "v", "y", "2", ":", "?", "d", "Y", "space", "esc")
	d.Has("envrun is locked")
	if d.World.Board.Holds != "" {
		t.Error("something was copied while locked")
	}
	d.Press("enter")
	d.Has("STRIPE_SECRET_KEY")
	if target, _ := d.Model.Top().Target(); target.Field != "STRIPE_SECRET_KEY" {
		t.Errorf("after unlocking the cursor is on %s", target.Field)
	}

	// A protected environment is locked sooner.
	d.Press("2")
	d.Advance(2 * time.Minute)
	d.Has("envrun is locked (2 minutes without a key)")
	d.Press("enter", "y", "ctrl+l")
	if d.World.Board.Cleared != 1 || d.World.Board.Holds != "" {
		t.Errorf("locking leaves %q on the clipboard", d.World.Board.Holds)
	}
	d.Has("Clipboard cleared.")

	// A machine that slept wakes locked, whatever comes first.
	d.Press("enter")
	for _, key := range []string{"v", "enter", "d", "q"} {
		d.Sleep(time.Hour)
		d.Press(key)
		if !d.Model.Locked() || d.Quit {
			t.Errorf("after a sleep the first key, %s, does something", key)
		}
		d.Press("enter")
	}
	d.Press("ctrl+l")
	d.Press("q")
	if !d.Quit {
		t.Error("a locked screen cannot be left")
	}
}

func TestSuspend(t *testing.T) {
	d, value := revealed(t)
	d.Forbid(value)
	d.Press("ctrl+z")
	if !d.Suspended || strings.TrimSpace(d.Left) != "envrun" {
		t.Fatalf("suspended %v, leaving\n%s", d.Suspended, d.Left)
	}
	d.Sleep(30 * time.Second)
	d.Resume()
	d.Has("STRIPE_SECRET_KEY")
	if d.Model.Locked() {
		t.Error("half a minute away locks")
	}
	d.Press("ctrl+z")
	d.Sleep(90 * time.Second)
	d.Resume()
	if !d.Model.Locked() {
		t.Error("a minute and a half away does not lock")
	}
}

// Pasted text is never keys (R20).
func TestPaste(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	before := d.Text()
	d.Send(tea.PasteMsg{Content: "j\nd\nY\r\n2q"})
	d.Has("Pasted text is ignored here.")
	d.Press("up")
	if d.Text() != before {
		t.Errorf("pasting has changed something:\n%s", d.Text())
	}
	d.Press("/")
	d.Send(tea.PasteMsg{Content: "redis\n"})
	d.Has("1 of 6", "REDIS_PASSWORD")
	d.Lacks("SMTP")
}

// deleted reports whether a field of prod is gone.
func deleted(t *testing.T, w *tuitest.World, env vault.Env, path vault.Path, field vault.FieldName) bool {
	t.Helper()
	s, err := w.Vault.Get(t.Context(), env, path)
	if vault.KindOf(err) == vault.KindNotFound {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	_, ok := s.Field(field)
	return !ok
}

// No key that is pressed by accident, or pressed again, deletes anything.
func TestDeletingIsAsked(t *testing.T) {
	w := tuitest.NewWorld(t)
	gone := func() bool { return deleted(t, w, "dev", "checkout", "REDIS_PASSWORD") }
	open := func() *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("/")
		d.Type("redis")
		d.Press("enter", "enter")
		d.Has("[REDIS_PASSWORD]")
		return d
	}
	for _, keys := range [][]string{
		{"d"}, {"d", "d"}, {"d", "enter"}, {"d", "space", "space"}, {"d", "y"}, {"d", "esc", "Y"}, {"d", "tab", "enter"}, {"d", "enter", "Y"}, {"Y"}, {"d", "d", "d", "enter", "enter"},
		{"d", "ctrl+m"}, {"d", "ctrl+s"}, {"D", "X", "ctrl+d", "Y"},
	} {
		d := open()
		d.Press(keys...)
		if gone() {
			t.Fatalf("%q deletes", keys)
		}
	}
	d := open()
	d.Press("d")
	repeat := tuitest.Key("Y")
	repeat.IsRepeat = true
	d.Send(repeat)
	d.Send(tea.PasteMsg{Content: "Y"})
	if gone() {
		t.Fatal("a key that repeats, or a paste, deletes")
	}
	d.Press("Y")
	if !gone() {
		t.Fatal("Y does not delete")
	}
	d.Has("Deleted REDIS_PASSWORD from dev.", "[STRIPE_PUBLIC_KEY]")
	d.Lacks("changed under you")
	d.Press("d", "Y")
	if _, err := w.Vault.Get(t.Context(), "dev", "checkout"); vault.KindOf(err) != vault.KindNotFound {
		t.Errorf("the last field is deleted, and the secret is %v", err)
	}
	d.Has("Deleted STRIPE_PUBLIC_KEY from dev.", "4 names")
}

// In a protected environment the name is typed first, and not pasted.
func TestDeletingWhereProtected(t *testing.T) {
	w := tuitest.NewWorld(t)
	gone := func() bool { return deleted(t, w, "prod", "checkout", "REDIS_PASSWORD") }
	open := func() *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("2", "/")
		d.Type("redis")
		d.Press("enter", "enter", "d")
		d.Has("Delete REDIS_PASSWORD from PROD?")
		return d
	}
	for _, c := range []struct {
		do func(d *tuitest.Driver)
	}{
		{func(d *tuitest.Driver) { d.Press("Y") }},
		{func(d *tuitest.Driver) { d.Press("tab", "Y") }},
		{func(d *tuitest.Driver) { d.Type("prod"); d.Press("Y") }},
		{func(d *tuitest.Driver) { d.Type("PROD"); d.Press("tab", "Y") }},
		{func(d *tuitest.Driver) { d.Type("dev"); d.Press("tab", "Y") }},
		{func(d *tuitest.Driver) { d.Send(tea.PasteMsg{Content: "prod"}); d.Press("tab", "Y") }},
		{func(d *tuitest.Driver) { d.Type("prod"); d.Press("enter", "enter") }},
		{func(d *tuitest.Driver) { d.Type("prod"); d.Press("enter", "space", "esc", "Y") }},
	} {
		d := open()
		c.do(d)
		if gone() {
			t.Fatal("it is deleted")
		}
	}
	d := open()
	d.Type("prod")
	d.Press("enter", "Y")
	if !gone() {
		t.Fatalf("it is not deleted:\n%s", d.Text())
	}
}

// scripted is a screen that does what a test says.
type scripted struct {
	do     func() screen.Effect
	draw   func()
	drafts int
}

func (s *scripted) Title() string                 { return "scripted" }
func (s *scripted) Enter() screen.Effect          { return nil }
func (s *scripted) Offers() []kit.Offer           { return []kit.Offer{{ID: screen.Reload}} }
func (s *scripted) Target() (screen.Target, bool) { return screen.Target{}, false }
func (s *scripted) Drafts() int                   { return s.drafts }
func (s *scripted) Do(string) screen.Effect       { return s.do() }
func (s *scripted) Draw(a kit.Area, _ screen.Scene) {
	if s.draw != nil {
		s.draw()
	}
}

// consent is what a box gives after the keys.
func consent(box *kit.Confirm, keys string) kit.Consent {
	for _, k := range keys {
		name := string(k)
		if k == '\t' {
			name = "tab"
		}
		box.Key(kit.Key{Name: name, Text: string(k)})
	}
	return box.Consent()
}

// Nothing is written without a fresh consent, whatever a screen asks for.
func TestWritesNeedConsent(t *testing.T) {
	plain := func() kit.Consent { return consent(&kit.Confirm{Verb: "do"}, "Y") }
	used := plain()
	used.Use()
	for _, c := range []struct {
		name    string
		env     vault.Env
		harm    kit.Harm
		consent kit.Consent
		writes  bool
	}{
		{"none", "dev", kit.Writes, kit.Consent{}, false},
		{"cancelled", "dev", kit.Writes, consent(&kit.Confirm{Verb: "do"}, "y"), false},
		{"used before", "dev", kit.Writes, used, false},
		{"no such environment", "staging", kit.Writes, plain(), false},
		{"given", "dev", kit.Writes, plain(), true},
		{"given, destroys", "dev", kit.Destroys, plain(), true},
		{"protected, writes", "prod", kit.Writes, plain(), true},
		{"protected, destroys without the name", "prod", kit.Destroys, plain(), false},
		{"protected, destroys with another name", "prod", kit.Destroys, consent(&kit.Confirm{Verb: "do", Type: "dev"}, "dev\tY"), false},
		{"protected, destroys with the name", "prod", kit.Destroys, consent(&kit.Confirm{Verb: "do", Type: "prod"}, "prod\tY"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := tuitest.New(t, tuitest.NewWorld(t))
			wrote := 0
			d.Model.Push(&scripted{do: func() screen.Effect {
				return screen.Write{Consent: c.consent, Harm: c.harm, Env: c.env, What: "testing",
					Do: func(context.Context, screen.Writing) error { wrote++; return nil }}
			}})
			d.Press("r", "r")
			if want := map[bool]int{true: 1}[c.writes]; wrote != want {
				t.Errorf("it wrote %d times, want %d:\n%s", wrote, want, d.Text())
			}
		})
	}
}

// A mistake of ours empties the screen, ends the program and says nothing of what
// was in it (R10).
func TestCrash(t *testing.T) {
	value := "FAKE-in-a-panic"
	for name, screens := range map[string]*scripted{
		"handling": {do: func() screen.Effect { panic(value) }},
		"drawing":  {draw: func() { panic(fmt.Errorf("drawing %s", value)) }},
		"a job": {do: func() screen.Effect {
			return screen.Read{Lane: "x", Do: func(context.Context, screen.Reading, func(func()) bool) error { panic(struct{ v string }{value}) }}
		}},
		"what a job shows": {do: func() screen.Effect {
			return screen.Read{Lane: "x", Do: func(_ context.Context, _ screen.Reading, show func(func()) bool) error {
				show(func() { panic(value) })
				return nil
			}}
		}},
		"the end of a job": {do: func() screen.Effect {
			return screen.Read{Lane: "x", Do: func(context.Context, screen.Reading, func(func()) bool) error { return nil }, Done: func(error) screen.Effect {
				panic(errors.New(value))
			}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d, shown := revealed(t)
			memory := d.Model.Slot()
			d.Forbid(shown)
			d.Model.Push(screens)
			d.Press("r")
			c := d.Model.Crashed()
			if c == nil {
				t.Fatal("it has not crashed")
			}
			if text := c.Error() + c.Stack; strings.Contains(text, "FAKE") || !strings.Contains(text, "tui_test.go") {
				t.Errorf("the crash says\n%s", text)
			}
			if text := strings.TrimSpace(d.Text()); text != "" && text != "envrun" {
				t.Errorf("the screen still shows\n%s", text)
			}
			if len(bytes.Trim(memory, "\x00")) > 0 {
				t.Error("the value is still in memory")
			}
			if name != "drawing" && !d.Quit {
				t.Error("it goes on")
			}
			if d.Model.Ended().Crash == nil {
				t.Error("Run would not say so")
			}
		})
	}
}

// Whoever leaves with something to lose is asked once.
func TestLeavingWithDrafts(t *testing.T) {
	s := &scripted{drafts: 2}
	open := func() *tuitest.Driver {
		d := tuitest.New(t, tuitest.NewWorld(t))
		d.Model.Push(s)
		return d
	}
	d := open()
	d.Press("ctrl+c")
	d.Has("2 changes have not been sent")
	d.Press("enter")
	if d.Quit {
		t.Fatal("Enter leaves")
	}
	d.Press("ctrl+c", "Y")
	if !d.Quit {
		t.Error("Y does not leave")
	}
	d = open()
	d.Press("ctrl+c", "ctrl+c")
	if !d.Quit {
		t.Error("asked twice it does not leave")
	}
	d = open()
	d.Press("2")
	d.Has("2 changes have not been sent")
	d.Press("esc")
	d.Lacks("PROD *protected*")
	d = open()
	d.Press("ctrl+l", "q")
	if d.Quit {
		t.Error("a locked screen with drafts is left at once")
	}
	d.Has("2 changes have not been sent")
	d.Press("q")
	if !d.Quit {
		t.Error("the same key again does not leave")
	}
}

// What is remembered is what may be, and nobody else can read it (R13).
func TestStateFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "tui.json")
	w := tuitest.NewWorld(t)
	keep := func(c *tui.Config) { c.StateFile = file }
	d := tuitest.New(t, w, keep)
	d.Press("2", "/")
	d.Type("FAKE-filter")
	d.Press("esc", "t", "P", ":")
	d.Type("theme")
	d.Press("enter")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, []string{"env", "share", "theme", "tree"}) {
		t.Errorf("it remembers %v: %s", got, text)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("it leaves %v", left)
	}
	again := tuitest.New(t, w, keep)
	again.Has("PROD *protected*", "SHARE", "+ billing/"[2:])
	// What is damaged, too long or no file is nothing.
	for _, bad := range []string{"{", `{"env":"nowhere","theme":"\u001b[31m"}`, strings.Repeat(" ", 5000) + "{}"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		tuitest.New(t, w, keep).Has("env: dev")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	tuitest.New(t, w, keep).Has("env: dev")
}

// The environment is written on every screen, in every size and without colours.
func TestProtectedIsAlwaysSeen(t *testing.T) {
	for _, size := range [][2]int{{100, 30}, {60, 20}, {40, 10}} {
		d := tuitest.New(t, tuitest.NewWorld(t), func(c *tui.Config) { c.Look = tui.Look{ASCII: true, NoColor: true}; c.Share = true })
		d.Resize(size[0], size[1])
		d.Press("2")
		for _, keys := range []string{"", "enter", "?", "esc", "d", "esc", ":"} {
			if keys != "" {
				d.Press(keys)
			}
			d.Has("PROD", "====")
		}
	}
}

// Rows of one environment that come when another is shown change nothing.
func TestLateRows(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Set(t, "dev", "only/dev", "ONLY_DEV", "FAKE-only")
	d := tuitest.New(t, w)
	d.Hold()
	d.Press("r", "2")
	d.Deliver()
	d.Has("PROD *protected*", "6 names")
	d.Lacks("ONLY_DEV")
	d.Press("1")
	d.Has("7 names", "ONLY_DEV")
}

// A write that is under way is not forgotten: a second waits, and leaving asks.
func TestWriteUnderWay(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("enter")
	d.Hold()
	d.Press("d", "Y")
	d.Press("d", "Y")
	d.Has("is not done yet")
	d.Press("q", "q")
	if d.Quit {
		t.Fatal("it leaves while something is written")
	}
	d.Has("Still deleting SMTP_PASSWORD")
	d.Deliver()
	if !deleted(t, w, "dev", "billing/smtp", "SMTP_PASSWORD") {
		t.Error("it is not deleted")
	}
	d.Has("Deleted SMTP_PASSWORD from dev.", "5 names")
}

// What somebody else has changed is not deleted unseen.
func TestConflict(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("j", "enter", "d")
	w.Set(t, "dev", "billing/stripe", "STRIPE_WEBHOOK_KEY", "FAKE-by-somebody-else")
	d.Press("Y")
	d.Has("Not deleted: billing/stripe was changed meanwhile.", "changed under you: version 2", "version 2 (current)")
	if deleted(t, w, "dev", "billing/stripe", "STRIPE_SECRET_KEY") {
		t.Error("it is deleted")
	}
}

// Answers of a kind are said in words of that kind, on the rows that there were.
func TestTroubles(t *testing.T) {
	for _, c := range []struct {
		kind vault.Kind
		want []string
	}{
		{vault.KindUnavailable, []string{"OFFLINE: nobody answers for dev", "were read"}},
		{vault.KindDenied, []string{"dev is locked for you"}},
		{vault.KindTampered, []string{"changed by somebody without its"}},
		{vault.KindOther, []string{"! Could not read dev"}},
	} {
		w := tuitest.NewWorld(t)
		d := tuitest.New(t, w)
		w.Vault.Memory.FailWith(func(vaulttest.Call) error { return &vault.Error{Kind: c.kind, Env: "dev", Detail: "for a test"} })
		d.Press("r")
		d.Has(append(c.want, "STRIPE_SECRET_KEY")...)
		w.Vault.Memory.FailWith(nil)
		d.Press("r")
		d.Lacks(c.want...)
		d.Lacks("OFFLINE")
	}
}

// An unknown key does nothing; one that is off says why; the palette shows both.
func TestKeysThatAreOff(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t), func(c *tui.Config) { c.Clipboard = nil })
	d.Press("y")
	d.Has("copy: there is no clipboard here")
	d.Press(":")
	d.Type("copy")
	d.Has("(off: there is no clipboard here)")
	d.Press("enter")
	d.Has("Not now: there is no clipboard here")
	d.Press("?", "pgdown", "pgdown", "pgdown")
	d.Has("Off now")
	d.Press("esc", "3", "v")
	d.Has("reveal: there is no name under the cursor", "No names in preview yet.")
}

// Letters work as on an American keyboard where the terminal says which key it was.
func TestOtherLayouts(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Send(tea.KeyPressMsg{Code: 'о', Text: "о", BaseCode: 'j'}) // Cyrillic o is on the key of j
	if target, _ := d.Model.Top().Target(); target.Field != "STRIPE_SECRET_KEY" {
		t.Errorf("the cursor is on %s", target.Field)
	}
}

func TestMouse(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	click := tea.MouseClickMsg{X: 30, Y: 8, Button: tea.MouseLeft}
	d.Send(click)
	if target, _ := d.Model.Top().Target(); target.Field != "SMTP_PASSWORD" {
		t.Error("the mouse is used before somebody has asked for it")
	}
	d.Press("m")
	d.Send(click)
	if target, _ := d.Model.Top().Target(); target.Field != "STRIPE_PUBLIC_KEY" {
		t.Errorf("a click selects %s:\n%s", target.Field, d.Text())
	}
	d.Send(tea.MouseWheelMsg{X: 30, Y: 8, Button: tea.MouseWheelUp})
	if target, _ := d.Model.Top().Target(); target.Field != "STRIPE_SECRET_KEY" {
		t.Errorf("the wheel selects %s", target.Field)
	}
	d.Send(tea.MouseClickMsg{X: 3, Y: 4, Button: tea.MouseLeft})
	d.Has("PROD *protected*")
	if v := d.Model.View(); v.MouseMode != tea.MouseModeCellMotion {
		t.Error("the terminal is not asked for the mouse")
	}
	d.Allow(d.World.Value("prod", "SMTP_PASSWORD"))
	d.Press("v")
	if v := d.Model.View(); v.MouseMode != tea.MouseModeNone {
		t.Error("with a value on the screen the mouse cannot select text")
	}
}

// A picture is made only when something has changed.
func TestViewIsCached(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	drawn := 0
	d.Model.Push(&scripted{draw: func() { drawn++ }})
	d.Text()
	before := drawn
	for range 10 {
		d.Text()
	}
	d.Advance(30 * time.Second) // thirty beats
	if drawn != before {
		t.Errorf("drawn %d times with nothing changed", drawn-before)
	}
}

// Names are found in the palette too, and opened; what has gone meanwhile is said.
func TestPaletteFindsNames(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Press(":")
	d.Has("one of 6 names")
	d.Lacks("│   billing/smtp")
	d.Type("stripe_wh")
	d.Has("> billing/stripe/STRIPE_WEBHOOK_KEY")
	d.Press("enter")
	if target, _ := d.Model.Top().Target(); target.Path != "billing/stripe" || target.Field != "STRIPE_WEBHOOK_KEY" {
		t.Errorf("it opens %v", target)
	}
	// From wherever one is.
	d.Press("H", ":")
	d.Type("^ledger")
	d.Press("enter")
	d.Has("ledger/db")
	// The names are those of the environment that one is at.
	d.Press("3", ":")
	d.Lacks("one of")
	d.Type("DATABASE_URL")
	d.Lacks("ledger/db")
}

// The list of names goes on while the palette is open.
func TestPaletteWhileReading(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	if _, err := d.World.Vault.Apply(t.Context(), "dev", []vault.Change{{Path: "billing/smtp", Was: vault.Any, Delete: true}}); err != nil {
		t.Fatal(err)
	}
	d.Hold()
	d.Press("r", ":")
	d.Type("smtp_pass")
	d.Deliver()
	d.Has("> billing/smtp/SMTP_PASSWORD")
	d.Press("enter")
	d.Has("is not there any more")
}

// Everything that can be done is in the palette, wherever it is offered.
func TestEveryActionCanBeReached(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("enter", ":")
	d.Type("delete")
	d.Press("enter")
	d.Has("Delete SMTP_PASSWORD from dev?")
	d.Press("esc", ":")
	d.Type("go to environment prod")
	d.Press("enter")
	d.Has("PROD *protected*")
	d.Press("E")
	d.Type("dev")
	d.Press("enter")
	d.Has("env: dev")
}

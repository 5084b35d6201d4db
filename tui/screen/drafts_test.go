package screen_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
)

// These are the screens on which secrets are changed, driven as a person does.

const (
	typed    = "FAKE-typed-7c41d9e2b8a35f06"
	stripeAt = "STRIPE_SECRET_KEY"
)

// draftWorld is a world in which a value was typed into a secret of dev: the
// driver is on the screen that edits it.
func draftWorld(t *testing.T, w *tuitest.World, options ...func(*tui.Config)) *tuitest.Driver {
	t.Helper()
	w.Canary(typed)
	d := tuitest.New(t, w, options...)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e", "enter")
	d.Type(typed)
	d.Press("esc")
	return d
}

// version is where a secret is now; 0: nowhere.
func version(t *testing.T, w *tuitest.World, env vault.Env, path vault.Path) uint64 {
	t.Helper()
	s, err := w.Vault.Get(t.Context(), env, path)
	if vault.KindOf(err) == vault.KindNotFound {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.Version
}

// holds fails the test unless a field has a value.
func holds(t *testing.T, w *tuitest.World, env vault.Env, path vault.Path, field vault.FieldName, want string) {
	t.Helper()
	s, err := w.Vault.Get(t.Context(), env, path)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := s.Field(field)
	if got := string(f.Value.Reveal()); !ok || got != want {
		t.Errorf("%s/%s is %q (there: %v), want %q", path, field, got, ok, want)
	}
}

// dee writes to a secret, as somebody else does meanwhile.
func dee(t *testing.T, w *tuitest.World, env vault.Env, c vault.Change) {
	t.Helper()
	c.Was = vault.Any
	if _, err := w.As("dee@desk").Apply(t.Context(), env, []vault.Change{c}); err != nil {
		t.Fatal(err)
	}
}

func one(w *tuitest.World, name, value string) []vault.Field {
	return []vault.Field{{Name: vault.FieldName(name), Value: vault.NewValueString(w.Canary(value))}}
}

// fail makes every read, or every write, of the store end like this.
func fail(w *tuitest.World, kind vault.Kind, writes bool) {
	w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		if writes == (c.Op == "commit") {
			return &vault.Error{Kind: kind, Env: c.Env, Path: c.Path, Detail: "no luck today"}
		}
		return nil
	})
}

// files makes a folder with files for importing.
func files(t *testing.T, pairs ...string) func(*tui.Config) {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		name := filepath.Join(dir, pairs[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(pairs[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(c *tui.Config) { c.Dir, c.Path = dir, "checkout" }
}

func TestEditAndSend(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Has("replaced", "unsent 1", "45 bytes to 27 bytes")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("typing wrote")
	}
	d.Press("down", "down", "enter") // the note
	d.Type(" 日本語")
	d.Press("enter", "n")
	d.Type("STRIPE_MODE")
	d.Press("enter")
	d.Type("FAKE-mode")
	d.Press("enter", "k", "d") // the webhook key
	d.Has("removed", "unsent 4")
	d.Press("ctrl+s")
	d.Has("Changes to dev", "4 changes", "version 1 to 2", "~ STRIPE_SECRET_KEY", "- STRIPE_WEBHOOK_KEY", "+ STRIPE_MODE", "~ note", "日本語")
	d.Press("ctrl+s")
	d.Has("Send 4 changes to dev?", "STRIPE_WEBHOOK_KEY removed", "press Y to send")
	d.Press("enter")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("Enter sent it")
	}
	d.Press("ctrl+s", "Y")
	d.Has("Sent: billing/stripe is version 2.", "based on version 2")
	d.Lacks("unsent")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
	holds(t, w, tuitest.Dev, stripe, "STRIPE_MODE", "FAKE-mode")
	s, err := w.Vault.Get(t.Context(), tuitest.Dev, stripe)
	if err != nil || len(s.Values) != 2 || s.Note != "restricted key, webhooks only 日本語" {
		t.Errorf("%d fields, note %q, %v", len(s.Values), s.Note, err)
	}
	d.Press("esc", "ctrl+c")
	if !d.Quit {
		t.Error("with nothing unsent, leaving asks")
	}
}

// A typed value is seen for as long as a read one, and longer only while
// somebody types into it.
func TestTypedIsShownByTheSlot(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	show := func() {
		t.Helper()
		d.Allow(typed)
		d.Press("v")
		d.Has(typed, "REVEALED")
	}
	hidden := func(how string) {
		t.Helper()
		d.Forbid(typed)
		if strings.Contains(d.Text(), typed) {
			t.Errorf("%s: it is still shown", how)
		}
		d.Allow(typed)
	}
	show()
	d.Advance(16 * time.Second)
	hidden("time")

	show()
	d.Press("enter") // typing goes on, and it is shown
	d.Advance(10 * time.Second)
	d.Has(typed)
	d.Press("x")
	d.Advance(10 * time.Second)
	d.Has(typed + "x")
	d.Press("backspace", "ctrl+v")
	hidden("ctrl+v")
	d.Press("ctrl+v")
	d.Has(typed)
	d.Advance(16 * time.Second)
	hidden("time while typing")
	d.Press("esc")

	for how, away := range map[string]func(){
		"blur":       func() { d.Send(tea.BlurMsg{}); d.Send(tea.FocusMsg{}) },
		"the cursor": func() { d.Press("j", "k") },
		"back":       func() { d.Press("esc", "e") },
		"review":     func() { d.Press("ctrl+s", "esc") },
		"lock":       func() { d.Press("ctrl+l", "enter") },
		"suspend":    func() { d.Press("ctrl+z"); d.Resume() },
		"share mode": func() { d.Press("P", "P", "P") },
		"smaller":    func() { d.Resize(80, 24); d.Resize(100, 30) },
		"import":     func() { d.Press("i", "esc") },
		"prod":       func() { d.Press("2", "1", "e") },
		"generate":   func() { d.Press("ctrl+g", "enter", "enter", "esc"); d.Advance(20 * time.Second) },
	} {
		show()
		away()
		hidden(how)
	}

	d.Press("P", "v")
	d.Has("share mode is on")
	hidden("share mode before")
	d.Press("enter", "ctrl+v")
	hidden("share mode while typing")
}

// Only what is at this screen at the moment is in the review's box.
func TestReviewReveals(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("ctrl+s")
	d.Press("v")
	d.Has("there is no value here")
	d.Press("j")
	d.Allow(typed)
	d.Press("v")
	d.Has(typed)
	d.Forbid(typed)
	d.Press("k")
	d.Press("j", "y")
	if w.Board.Holds != typed {
		t.Errorf("copied %q", w.Board.Holds)
	}
}

// What is typed is text, whatever keys it looks like, and so is what is pasted.
func TestTypingIsNoAction(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("enter")
	const keys = "dqY jk:/?!1 2PE"
	d.Type(keys)
	d.Press("enter", "ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed+keys)

	d = draftWorld(t, tuitest.NewWorld(t))
	before := d.Text()
	d.Send(tea.PasteMsg{Content: "d\nY\n\x13Y"}) // where nothing is typed
	d.Has("Pasted text is ignored here.")
	d.Press("j", "k")
	if d.Text() != before {
		t.Errorf("pasting into a list did something:\n%s", d.Text())
	}
	d.Press("ctrl+s", "ctrl+s")
	d.Send(tea.PasteMsg{Content: "Y\nY\n"}) // into the box that asks
	d.Has("press Y to send")
}

func TestPasteQuestion(t *testing.T) {
	for _, c := range []struct {
		text string
		keys []string
		want string // "": it is as it was
	}{
		{"FAKE-pasted", nil, "FAKE-pasted"},
		{"FAKE-pasted\n", []string{"enter"}, "FAKE-pasted"},
		{"FAKE-pasted\n", []string{"j", "enter"}, "FAKE-pasted\n"},
		{"FAKE-pasted\n", []string{"esc"}, ""},
		{"FAKE-1\nFAKE-2\n", []string{"enter"}, "FAKE-1\nFAKE-2\n"},
		{"FAKE-1\r\nFAKE-2\n", []string{"down", "enter"}, "FAKE-1\r\nFAKE-2"},
		{"FAKE-1\nFAKE-2", nil, "FAKE-1\nFAKE-2"},
	} {
		w := tuitest.NewWorld(t)
		w.Canary("FAKE-pasted")
		d := tuitest.New(t, w)
		d.Press("/")
		d.Type(stripeAt)
		d.Press("enter", "e", "enter")
		d.Send(tea.PasteMsg{Content: c.text})
		d.Press(c.keys...)
		if c.want == "" {
			d.Has("Nothing was pasted.")
			d.Press("esc")
			d.Lacks("unsent")
			continue
		}
		d.Press("esc")
		d.Press("ctrl+s", "ctrl+s", "Y")
		holds(t, w, tuitest.Dev, stripe, stripeAt, c.want)
	}
}

// Several NAME=value lines may be meant as fields.
func TestPasteVariables(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e", "enter")
	d.Send(tea.PasteMsg{Content: "FAKE_A=" + w.Canary("FAKE-first-a141f31502") + "\nSTRIPE_SECRET_KEY=" + w.Canary("FAKE-second-821ec81eed") + "\n"})
	d.Has("It reads as 2 variables.")
	d.Press("j", "j", "enter")
	d.Has("what was pasted into dev billing/stripe", "1 new, 1 changed")
	d.Press("*", "ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, "FAKE_A", "FAKE-first-a141f31502")
	holds(t, w, tuitest.Dev, stripe, stripeAt, "FAKE-second-821ec81eed")
	if v := version(t, w, tuitest.Dev, stripe); v != 2 {
		t.Errorf("it took %d writes", v-1)
	}
}

// A value of several lines is typed with Enter between.
func TestSeveralLines(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e", "enter", "ctrl+o")
	for i := range 12 {
		d.Type(fmt.Sprintf("FAKE-line-%d", i))
		d.Press("enter")
	}
	d.Has("12 lines, ends with newline")
	d.Press("ctrl+v") // the lines are none of the vault's values
	d.Has("lines 6-13 of 13", "FAKE-line-11")
	d.Press("up", "up", "home")
	d.Type("FAKE-between")
	d.Press("ctrl+o") // it has lines, and keeps them
	d.Press("esc", "ctrl+s", "ctrl+s", "Y")
	s, err := w.Vault.Get(t.Context(), tuitest.Dev, stripe)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Field(stripeAt)
	if got := string(f.Value.Reveal()); !strings.HasSuffix(got, "FAKE-line-9\nFAKE-line-10\nFAKE-betweenFAKE-line-11\n") && !strings.HasSuffix(got, "FAKE-betweenFAKE-line-10\nFAKE-line-11\n") {
		t.Errorf("%q", got)
	}
}

func TestGenerate(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e", "ctrl+g")
	d.Has("190 bits that nobody can guess")
	d.Press("backspace", "backspace")
	d.Type("7")
	d.Press("ctrl+s", "enter", "enter")
	d.Has("a number from 8 to 4096")
	d.Press("shift+tab", "backspace")
	d.Type("12")
	d.Has("few for a secret")
	d.Type("8")
	d.Press("tab", "right", "right")
	d.Has("512 bits")
	d.Press("enter")
	d.Has("128 random characters")
	d.Press("ctrl+s", "ctrl+s", "Y")
	s, err := w.Vault.Get(t.Context(), tuitest.Dev, stripe)
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Field(stripeAt)
	if v := string(f.Value.Reveal()); len(v) != 128 || strings.Trim(v, "0123456789abcdef") != "" {
		t.Errorf("%q", v)
	}
}

// A value that was typed is not thrown away by one key.
func TestTypedIsNotLostByOneKey(t *testing.T) {
	for _, key := range []string{"ctrl+x", "d", "ctrl+t"} {
		w := tuitest.NewWorld(t)
		d := draftWorld(t, w)
		d.Press(key)
		d.Has("Drop what was typed for STRIPE_SECRET_KEY?")
		d.Press("enter")
		d.Has("unsent 1")
		d.Press(key, "esc")
		d.Has("unsent 1")
		d.Press(key, "j", "enter", "space", "y")
		d.Has("unsent 1", "press Y")
		d.Press("Y")
		if key == "ctrl+x" {
			d.Lacks("unsent")
		}
		d.Lacks("27 bytes")
	}
	// Generating over it neither.
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("ctrl+g", "enter", "enter")
	d.Has("Drop what was typed")
	d.Press("enter")
	d.Has("27 bytes")
}

// Emptying a field that had a value asks.
func TestEmptied(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("enter", "ctrl+u", "esc")
	d.Has("STRIPE_SECRET_KEY is empty now")
	d.Press("enter")
	d.Lacks("unsent")
	d.Press("enter", "x", "backspace", "ctrl+s")
	d.Has("is empty now")
	d.Press("j", "enter")
	d.Has("unsent 1", "the value is empty")
	d.Press("ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, "")
}

func TestAmendAndRename(t *testing.T) {
	w := tuitest.NewWorld(t)
	var uses []string
	d := tuitest.New(t, w, func(c *tui.Config) {
		c.Audit = func(_ context.Context, use tui.Use) error {
			uses = append(uses, use.Op+" "+string(use.Target.Field))
			return nil
		}
	})
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e", "ctrl+t", "enter")
	d.Type("-amended")
	d.Press("esc", "down", "f2")
	d.Has("Another name for STRIPE_WEBHOOK_KEY")
	d.Press("ctrl+u")
	d.Type("STRIPE_SECRET_KEY")
	d.Has("there is a field of that name already")
	d.Press("ctrl+u")
	d.Type("PATH")
	d.Has("a run refuses a variable of this name")
	d.Press("ctrl+u")
	d.Type("a b")
	d.Press("enter") // no
	d.Press("ctrl+u")
	d.Type("HOOK.KEY")
	d.Has("no variable can have this name")
	d.Press("enter")
	d.Has("HOOK.KEY", "removed", "unsent 3")
	d.Press("ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")+"-amended")
	holds(t, w, tuitest.Dev, stripe, "HOOK.KEY", w.Value(tuitest.Dev, "STRIPE_WEBHOOK_KEY"))
	if got, want := strings.Join(uses, ", "), "edit STRIPE_SECRET_KEY, edit STRIPE_WEBHOOK_KEY"; got != want {
		t.Errorf("written down: %s, want %s", got, want)
	}
}

// Without an entry in the audit trail no value is taken over.
func TestAmendIsAudited(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w, func(c *tui.Config) {
		c.Audit = func(context.Context, tui.Use) error { return errors.New("the audit trail cannot be written") }
	})
	d.Press("j", "e", "ctrl+t")
	d.Has("Not read: the audit trail cannot be written")
	d.Lacks("unsent")
}

// Drafts outlive the screen, the environment, the lock, and being away.
func TestDraftsSurvive(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	for how, away := range map[string]func(){
		"back":      func() { d.Press("esc", "e") },
		"elsewhere": func() { d.Press("2", "1", "e") },
		"lock":      func() { d.Press("ctrl+l"); d.Has("kept       1 changes not sent"); d.Press("enter") },
		"idle":      func() { d.Advance(6 * time.Minute); d.Has("envrun is locked"); d.Press("enter") },
		"asleep":    func() { d.Sleep(3 * time.Hour); d.Press("x"); d.Has("envrun is locked"); d.Press("enter") },
		"suspend":   func() { d.Press("ctrl+z"); d.Resume() },
		"reload":    func() { d.Press("r") },
		"too small": func() { d.Resize(30, 8); d.Resize(100, 30) },
	} {
		away()
		if !strings.Contains(d.Text(), "45 bytes to 27 bytes") {
			t.Fatalf("%s: the draft is gone:\n%s", how, d.Text())
		}
	}
	d.Press("ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
}

// Whatever goes wrong with sending, nothing that was typed is lost, and nothing
// is half written.
func TestSendFails(t *testing.T) {
	for kind, want := range map[vault.Kind]string{
		vault.KindDenied:      "Not sent, and",
		vault.KindNoIdentity:  "Not sent, and", // the session has ended
		vault.KindUnavailable: "Not known to be sent,",
		vault.KindReadOnly:    "Not sent, and",
		vault.KindFull:        "Not sent, and",
		vault.KindBusy:        "Not sent, and",
		vault.KindTampered:    "Not sent, and",
	} {
		w := tuitest.NewWorld(t)
		d := draftWorld(t, w)
		d.Press("ctrl+s")
		fail(w, kind, true)
		d.Press("ctrl+s", "Y")
		d.Has(want, "unsent 1", "STRIPE_SECRET_KEY")
		if version(t, w, tuitest.Dev, stripe) != 1 {
			t.Errorf("%v: it was written", kind)
		}
		w.Vault.Memory.FailWith(nil)
		d.Press("ctrl+s", "Y")
		d.Has("Sent:")
		holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
	}
}

// Sending that is under way changes nothing that is typed meanwhile, and cannot
// be begun twice.
func TestSending(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("ctrl+s", "ctrl+s")
	d.Hold()
	d.Press("Y")
	d.Has("being sent")
	d.Press("ctrl+s")
	d.Has("send...: it is being sent")
	d.Press("ctrl+x", "esc", "enter", "d", "ctrl+g", "n")
	d.Has("it is being sent")
	d.Deliver()
	d.Lacks("unsent")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
}

func TestConflict(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	note := "rotated"
	dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, stripeAt, "FAKE-theirs-d7bd8d0842"), Note: &note})
	dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, "DEES", "FAKE-dees-79c3266e7e")})
	d.Press("ctrl+s")
	d.Has("billing/stripe is at version 3 by dee@desk", "Yours is based on version 1", "unsent 1")
	d.Press("ctrl+s")
	d.Has("was changed by somebody else")
	d.Press("D")
	d.Has("STRIPE_SECRET_KEY: they changed it (22 bytes); yours is changed, to", "something else", "DEES: they added it (20 bytes)", "note: they changed it")
	d.Press("enter")
	d.Has("unsent 1", "Yours is based on version 1")
	d.Press("D", "j", "j", "enter")
	d.Has("over v3", "version 3 to 4")
	d.Press("ctrl+s", "Y")
	d.Has("Sent: billing/stripe is version 4.")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
	holds(t, w, tuitest.Dev, stripe, "DEES", "FAKE-dees-79c3266e7e")
	s, err := w.Vault.Get(t.Context(), tuitest.Dev, stripe)
	if err != nil || s.Note != note {
		t.Errorf("note %q, %v", s.Note, err)
	}
}

// Somebody writes between the look and the write: that is found too.
func TestConflictAtTheLastMoment(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("ctrl+s", "ctrl+s")
	dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, "DEES", "FAKE-dees-79c3266e7e")})
	d.Press("Y")
	d.Has("Not sent, and your changes are kept: somebody else has written meanwhile", "version 2 by dee@desk")
	d.Press("D")
	d.Has("Put mine on version 2")
	d.Lacks("mine for")
	d.Press("j", "enter", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
	holds(t, w, tuitest.Dev, stripe, "DEES", "FAKE-dees-79c3266e7e")
}

func TestConflictTheirs(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, stripeAt, "FAKE-theirs-d7bd8d0842")})
	d.Press("r", "D", "j", "Y")
	d.Has("based on version 2")
	d.Lacks("unsent")
	holds(t, w, tuitest.Dev, stripe, stripeAt, "FAKE-theirs-d7bd8d0842")
}

func TestConflictDeleted(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Delete: true})
	d.Press("r")
	d.Has("billing/stripe was deleted by dee@desk", "unsent 1")
	d.Press("D")
	d.Has("Make it a new secret of mine")
	d.Press("j", "j", "enter")
	d.Has("new secret")
	d.Press("ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
}

// In a protected environment, what removes or overwrites needs its name typed.
func TestProtected(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Canary(typed)
	d := tuitest.New(t, w, func(c *tui.Config) { c.First = tuitest.Prod })
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e", "enter")
	d.Type(typed)
	d.Press("enter", "ctrl+s", "ctrl+s")
	d.Has("Send 1 change to PROD?", "press Y to send")
	d.Press("esc", "esc", "j", "d", "ctrl+s", "ctrl+s")
	d.Has("Type the environment's name (prod)", "type the name first")
	d.Press("Y", "enter", "Y", "tab")
	d.Press("Y")
	if version(t, w, tuitest.Prod, stripe) != 1 {
		t.Fatal("it was sent without the name")
	}
	d.Press("ctrl+u")
	d.Type("prod")
	d.Press("tab", "Y")
	d.Has("Sent:")
	holds(t, w, tuitest.Prod, stripe, stripeAt, typed)
}

// All drafts of an environment go in one write, or none.
func TestSendTogether(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("esc", "esc", "n")
	d.Press("ctrl+u")
	d.Type("app/new")
	d.Press("enter")
	d.Type("FRESH")
	d.Press("enter")
	d.Type("FAKE-fresh")
	d.Press("enter", "esc")
	d.Press("2", "e", "enter")
	d.Type("FAKE-prod")
	d.Press("enter", "1", "ctrl+s")
	d.Has("app/new", "new secret", "billing/stripe", "1 change to other environments")
	// Somebody makes the new one first: nothing of the other is written.
	d.Press("ctrl+s")
	dee(t, w, tuitest.Dev, vault.Change{Path: "app/new", Set: one(w, "DEES", "FAKE-dees")})
	d.Press("Y")
	d.Has("Not sent", "is there by now: version 1 by dee@desk")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("half of it was sent")
	}
	d.Press("g", "D", "j", "enter", "ctrl+s")
	d.Has("All of it is written, or nothing.")
	d.Press("Y")
	d.Has("Sent: app/new is version 2, billing/stripe is version 2.", "unsent 1")
	holds(t, w, tuitest.Dev, "app/new", "FRESH", "FAKE-fresh")
	holds(t, w, tuitest.Dev, "app/new", "DEES", "FAKE-dees")
	d.Press("ctrl+s")
	d.Has("Environments") // nothing of dev waits
}

func TestNewSecret(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Canary(typed)
	d := tuitest.New(t, w)
	d.Press("n")
	d.Has("path billing/", "There already", "billing/smtp", "and now its name")
	d.Press("enter") // that is none
	d.Has("A new secret in dev")
	d.Type("STRIPE")
	d.Press("enter")
	d.Has("A new secret in dev")
	d.Press("ctrl+u")
	d.Type("bill")
	d.Press("tab")
	d.Has("path billing/s")
	d.Press("down", "down", "up", "down")
	d.Has("billing/stripe is there already: enter changes it")
	d.Press("up", "up")
	d.Press("ctrl+u")
	d.Type("billing/stipre")
	d.Has("free", "Near to it", "billing/stripe")
	d.Press("ctrl+u")
	d.Type("app/new")
	d.Press("enter")
	d.Has("Edit app/new", "new secret", "A new field of app/new")
	d.Press("esc")
	d.Has("It has no fields so far: n adds one")
	d.Press("esc") // nothing was begun
	d.Lacks("unsent")
	d.Press("n", "ctrl+u")
	d.Type("app/new")
	d.Press("enter")
	d.Type("FRESH")
	d.Press("enter")
	d.Type(typed)
	d.Press("enter", "esc", "n", "ctrl+u")
	d.Type("app/new")
	d.Has("it was begun and not sent")
	d.Press("enter", "ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, "app/new", "FRESH", typed)

	d = tuitest.New(t, w)
	d.Press("n", "ctrl+u")
	d.Type("app/new")
	d.Press("enter")
	d.Has("app/new is there already: this changes it.", "based on version 1", "FRESH")
}

// Without a list of what is there one can go on: sending finds out.
func TestNewSecretBlind(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	fail(w, vault.KindUnavailable, false)
	d.Press("n", "ctrl+u")
	d.Type("billing/stripe")
	d.Has("OFFLINE", "it is not known yet whether it is there")
	d.Press("enter", "n")
	d.Type("FRESH")
	d.Press("enter", "enter")
	w.Vault.Memory.FailWith(nil)
	d.Press("ctrl+s")
	d.Has("billing/stripe is there by now: version 1")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Error("it was written over")
	}
}

func TestDelete(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "d")
	d.Has("Delete STRIPE_SECRET_KEY from dev?")
	d.Press("enter", "d", "space", "esc", "delete", "enter", "Y")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("it was deleted unasked")
	}
	d.Press("d", "Y")
	d.Has("Deleted STRIPE_SECRET_KEY from dev.")
	d.Press("esc", "/")
	d.Type("STRIPE_WEBHOOK")
	d.Press("enter", "d")
	d.Has("is the only field of billing/stripe")
	d.Press("Y")
	if version(t, w, tuitest.Dev, stripe) != 0 {
		t.Error("it is still there")
	}

	d = tuitest.New(t, w, func(c *tui.Config) { c.First = tuitest.Prod })
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "enter", "delete")
	d.Has("Delete billing/stripe from PROD?", "all its 2 fields.", "Type the environment's name (prod)")
	d.Type("dev")
	d.Press("tab", "Y")
	if version(t, w, tuitest.Prod, stripe) != 1 {
		t.Fatal("it was deleted with another name")
	}
	d.Press("tab", "ctrl+u")
	d.Type("prod")
	dee(t, w, tuitest.Prod, vault.Change{Path: stripe, Set: one(w, "DEES", "FAKE-dees")})
	d.Press("tab", "Y")
	d.Has("Not deleted: billing/stripe was changed meanwhile")
	d.Press("delete")
	d.Type("prod")
	d.Press("tab", "Y")
	d.Has("Deleted billing/stripe from prod.")
	if version(t, w, tuitest.Prod, stripe) != 0 {
		t.Error("it is still there")
	}
}

func TestImport(t *testing.T) {
	w := tuitest.NewWorld(t)
	text := "REDIS_PASSWORD=" + w.Canary("FAKE-redis-bd6475934c") + "\nSTRIPE_PUBLIC_KEY=" + w.Value(tuitest.Dev, "STRIPE_PUBLIC_KEY") +
		"\nADDED=" + w.Canary("FAKE-added-80ef2fc9d7") + "\nOTHER=" + w.Canary("FAKE-other-c419dff602") + "\nPATH=/FAKE/bin\n"
	d := tuitest.New(t, w, files(t, "conf/one.env", text, "conf/two.env", "A=1", "notes", "hello"))
	d.Press("i")
	d.Has("Take values into dev", "checkout", "conf/", "notes")
	d.Type("co")
	d.Press("tab")
	d.Has("conf/", "one.env")
	d.Type("on")
	d.Press("tab", "enter")
	d.Has("conf/one.env into dev checkout", "2 new, 1 changed, 1 same, 1 refused", "[x]  ADDED", "[ ]  PATH", "[ ]  REDIS_PASSWORD")
	d.Press("G", "space") // the one that is the same
	d.Has("choose: it is the same already")
	d.Press("g", "j", "space") // OTHER
	d.Press("j")
	d.Has("A run refuses a variable of this name", "decides which programs run")
	d.Press("*")
	d.Has("[x]  OTHER", "[ ]  PATH", "[x]  REDIS_PASSWORD")
	d.Press("*", "ctrl+s")
	d.Has("nothing is chosen")
	d.Press("*", "k", "space", "ctrl+s")
	d.Has("Changes to dev", "+ ADDED", "~ REDIS_PASSWORD", "2 from conf/one.env, not sent so far. The file still has them in plain text.")
	d.Lacks("OTHER", "PATH")
	if version(t, w, tuitest.Dev, "checkout") != 1 {
		t.Fatal("choosing wrote")
	}
	d.Press("ctrl+s", "Y")
	d.Has("Sent: checkout is version 2.")
	holds(t, w, tuitest.Dev, "checkout", "ADDED", "FAKE-added-80ef2fc9d7")
	holds(t, w, tuitest.Dev, "checkout", "REDIS_PASSWORD", "FAKE-redis-bd6475934c")
}

// What cannot be read says why, and what can be done.
func TestImportRefuses(t *testing.T) {
	w := tuitest.NewWorld(t)
	with := files(t, "notes", "hello", "broken.env", "A='FAKE-half-of-it", "empty.env", "# nothing\n",
		"compose.yaml", "services:\n  web:\n    environment: {A: FAKE-a}\n  db:\n    environment: {B: FAKE-b}\n", "dir/x", "")
	for _, c := range []struct{ file, want string }{
		{"nowhere.env", "nowhere.env"},
		{"dir", "is no file"},
		{"notes", "Choose its format with the arrows."},
		{"broken.env", "broken.env"},
		{"empty.env", "there is no variable in it"},
		{"compose.yaml", "Name one of them as service"},
	} {
		d := tuitest.New(t, w, with)
		d.Press("i")
		d.Type(c.file)
		d.Press("enter")
		d.Has("Nothing was read:", c.want)
		d.Lacks("FAKE", "hello")
		switch c.file {
		case "notes":
			d.Press("right", "right", "enter")
			d.Has("Nothing was read:")
		case "compose.yaml":
			d.Type("db")
			d.Press("enter")
			d.Has("[x]  B")
		}
	}
}

// Whoever leaves before the file has been read finds nothing of it.
func TestImportLate(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w, files(t, ".env", "ADDED=FAKE-added\n"))
	d.Press("i")
	d.Type(".env")
	d.Hold()
	d.Press("enter")
	d.Lacks("ADDED")
	d.Press("esc") // stops reading
	d.Press("esc") // and goes back
	d.Deliver()
	d.Has("Environments")
	d.Lacks("ADDED", "unsent")
	d.Press("i")
	d.Type(".env")
	d.Press("enter")
	d.Has("ADDED")
	d.Press("ctrl+l", "enter")
	d.Has("[x]  ADDED")
	d.Press("esc", "i")
	d.Lacks("ADDED")
}

func TestQuitAsks(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	for range 3 {
		d.Press("ctrl+c")
		d.Has("Leave?", "1 change has not been sent")
		d.Press("enter")
	}
	d.Press("esc", "esc", "q")
	d.Has("Leave?")
	d.Press("esc", "ctrl+l", "q")
	d.Has("1 change has not been sent and would be lost. The same key again")
	d.Press("enter", "e")
	d.Has("27 bytes")
	d.Resize(30, 8)
	d.Press("q")
	d.Has("has not been sent")
	d.Press("x", "q")
	if d.Quit {
		t.Fatal("it left without asking")
	}
	d.Press("q")
	if !d.Quit {
		t.Error("it did not leave")
	}
}

// Asked and locked before an answer, leaving asks again.
func TestQuitAsksAgain(t *testing.T) {
	d := draftWorld(t, tuitest.NewWorld(t))
	d.Press("ctrl+c", "ctrl+l", "ctrl+c")
	if d.Quit {
		t.Fatal("the first question counted for the second")
	}
	d.Press("enter", "ctrl+c")
	d.Has("Leave?")
	d.Press("Y")
	if !d.Quit {
		t.Error("it did not leave")
	}
}

// Nobody is shown a value, and nothing is written, whatever keys are pressed:
// in share mode, without the letter that consents.
func TestRandomKeys(t *testing.T) {
	keys := strings.Fields("j k g G h l e e e n d i v V y p u r enter enter esc esc tab shift+tab up down left right space * D E t / x q 1 2 3 backspace home end " +
		"ctrl+s ctrl+s ctrl+e ctrl+g ctrl+o ctrl+v ctrl+x ctrl+t ctrl+l ctrl+u ctrl+w ctrl+k pgup pgdown f2 A B c .env app/x")
	pastes := []string{"FAKE-p", "FAKE-p\n", "A=FAKE-1\nB=FAKE-2\n", "\x1b[2J\u202e", "x\r\ny\r\n"}
	runs := uint64(60)
	if testing.Short() {
		runs = 10
	}
	for seed := range runs {
		w := tuitest.NewWorld(t)
		for _, v := range []string{typed, "FAKE-in-the-file-01836e47b9"} {
			w.Canary(v)
		}
		d := tuitest.New(t, w, files(t, ".env", "ADDED=FAKE-in-the-file-01836e47b9\nREDIS_PASSWORD="+typed+"\n"), withEditor(edits(func(text string) string { return text + "EDITED=FAKE-edited\n" })), func(c *tui.Config) { c.Share = true })
		r := rng(seed)
		var done []string
		for range 150 {
			switch n := r.IntN(40); {
			case n == 0:
				d.Send(tea.PasteMsg{Content: pastes[r.IntN(len(pastes))]})
			case n == 1:
				size := tuitest.Sizes[r.IntN(len(tuitest.Sizes))]
				d.Resize(size[0], size[1])
			case n == 2:
				d.Advance(time.Duration(r.IntN(400)) * time.Second)
			case n < 6 && strings.Contains(d.Text(), "esc done  ctrl+v"):
				d.Type(typed[:r.IntN(len(typed))]) // into a value, not where it would be seen
			case n == 4:
				d.Resize(100, 30)
			default:
				k := keys[r.IntN(len(keys))]
				done = append(done, k)
				if len(k) > 1 && !isKey(k) {
					d.Type(k)
				} else {
					d.Press(k)
				}
			}
			if d.Quit {
				break
			}
		}
		for _, env := range []vault.Env{tuitest.Dev, tuitest.Prod} {
			for info, err := range w.Vault.List(t.Context(), env, "") {
				if err != nil || info.Version != 1 {
					t.Fatalf("seed %d: %s is at version %d, %v; keys %v", seed, info.Path, info.Version, err, done)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d: keys %v", seed, done)
		}
	}
}

// keyNames are the keys of TestRandomKeys with a name of more than a letter.
var keyNames = []string{"enter", "esc", "tab", "shift+tab", "up", "down", "left", "right", "space", "backspace", "home", "end", "pgup", "pgdown", "f2"}

func isKey(k string) bool { return strings.HasPrefix(k, "ctrl+") || slices.Contains(keyNames, k) }

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// edits is an editor that does to a text what a person would.
type edits func(text string) string

func (e edits) Edit(_ context.Context, text []byte) ([]byte, error) {
	return []byte(e(string(text))), nil
}

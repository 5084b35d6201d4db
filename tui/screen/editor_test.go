package screen_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
)

// withEditor has an editor that is known to keep no copies, so that nothing is
// asked where there is memory to put the text in.
func withEditor(e tui.Editor) func(*tui.Config) {
	return func(c *tui.Config) {
		c.Editor, c.EditorLine = e, "vim"
		c.Exec = func(command tea.ExecCommand, then tea.Msg) tea.Cmd {
			return func() tea.Msg {
				if err := command.Run(); err != nil {
					return nil
				}
				return then
			}
		}
	}
}

// openEditor opens the editor, past what is asked on systems without a place in
// memory.
func openEditor(d *tuitest.Driver) {
	d.Press("ctrl+e")
	if strings.Contains(d.Text(), "Your editor") {
		d.Press("j", "enter")
	}
}

func TestEditor(t *testing.T) {
	w := tuitest.NewWorld(t)
	var got string
	var uses []tui.Use
	d := draftWorld(t, w, withEditor(edits(func(text string) string {
		got = text
		text = strings.Replace(text, "STRIPE_WEBHOOK_KEY=", "#", 1)
		return text + "EDITED=" + w.Canary("FAKE-edited-91be55aa03") + "\n"
	})), func(c *tui.Config) {
		c.Audit = func(_ context.Context, use tui.Use) error { uses = append(uses, use); return nil }
	})
	openEditor(d)
	want := "STRIPE_SECRET_KEY=" + typed + "\nSTRIPE_WEBHOOK_KEY=" + w.Value(tuitest.Dev, "STRIPE_WEBHOOK_KEY") + "\n"
	if _, fields, _ := strings.Cut(got, "from here.\n"); fields != want {
		t.Errorf("it got %q, want %q", fields, want)
	}
	if !strings.HasPrefix(got, "# dev billing/stripe, one NAME=value a line") {
		t.Errorf("it begins with %.60q", got)
	}
	d.Has("Taken over from the editor, and not sent", "EDITED", "removed", "unsent 3")
	if len(uses) != 1 || uses[0].Op != "edit" || uses[0].Target.Path != stripe || uses[0].Target.Version != 1 {
		t.Errorf("written down: %v", uses)
	}
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("the editor wrote")
	}
	d.Press("ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
	holds(t, w, tuitest.Dev, stripe, "EDITED", "FAKE-edited-91be55aa03")
}

// An editor is handed a blank terminal, also while a value is shown; the driver
// looks. However long it took, whoever has ended it is there: nothing is locked.
func TestEditorLeavesNothing(t *testing.T) {
	w := tuitest.NewWorld(t)
	var d *tuitest.Driver
	d = draftWorld(t, w, withEditor(edits(func(text string) string {
		if left := strings.TrimSpace(d.Text()); left != "envrun" {
			t.Errorf("it was left the terminal with this on it:\n%s", left)
		}
		d.Sleep(20 * time.Minute)
		return text
	})))
	d.Allow(typed)
	d.Press("v")
	d.Has(typed)
	openEditor(d)
	d.Forbid(typed)
	d.Has("The editor changed nothing.", "27 bytes")
	d.Lacks("envrun is locked")
	d.Advance(3 * time.Minute)
	d.Lacks("envrun is locked")
	d.Advance(3 * time.Minute)
	d.Has("envrun is locked")
}

type failingEditor struct{ err error }

func (f failingEditor) Edit(context.Context, []byte) ([]byte, error) { return nil, f.err }

func TestEditorFails(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w, withEditor(failingEditor{errors.New("the editor ended with status 3")}))
	openEditor(d)
	d.Has("the editor ended with status 3", "27 bytes", "unsent 1")
	d.Press("ctrl+e")
	d.Has("the editor ended with status 3", "unsent 1")

	d = tuitest.New(t, tuitest.NewWorld(t))
	d.Press("j", "e", "ctrl+e")
	d.Has("there is no editor here")
}

// What was typed there is not lost for what is wrong with it.
func TestEditorAgain(t *testing.T) {
	w := tuitest.NewWorld(t)
	calls := 0
	d := draftWorld(t, w, withEditor(edits(func(text string) string {
		switch calls++; calls {
		case 1:
			return text + "BROKEN='" + w.Canary("FAKE-half-5502c7d1aa")
		case 2, 3, 4:
			if !strings.HasSuffix(text, "FAKE-half-5502c7d1aa") {
				t.Errorf("it begins anew with %q", text)
			}
			return text
		default:
			return text + "'\n"
		}
	})))
	openEditor(d)
	d.Has("This cannot be read", "Edit again")
	d.Press("enter")
	d.Has("This cannot be read")
	d.Press("esc")
	d.Has("It is kept: ctrl+e goes on with it.", "unsent 2")
	d.Press("ctrl+c")
	d.Has("2 changes have not been sent")
	d.Press("esc", "ctrl+e")
	d.Has("This cannot be read")
	d.Press("ctrl+l", "enter", "esc", "e", "ctrl+e") // locked, and another time on this screen
	d.Has("This cannot be read")
	d.Press("enter")
	d.Has("Taken over from the editor", "BROKEN", "unsent 2")
	if calls != 5 {
		t.Errorf("it was opened %d times", calls)
	}

	d = draftWorld(t, tuitest.NewWorld(t), withEditor(edits(func(string) string { return "" })))
	openEditor(d)
	d.Has("every line was removed")
	d.Press("j", "Y")
	d.Has("unsent 1", "27 bytes")
}

// An editor that cannot be told to keep no copies is warned of, once.
func TestEditorUnknown(t *testing.T) {
	calls := 0
	d := draftWorld(t, tuitest.NewWorld(t), withEditor(edits(func(text string) string { calls++; return text })), func(c *tui.Config) { c.EditorLine = "code --wait" })
	d.Press("ctrl+e")
	d.Has("Your editor", "Stay here", "Open code --wait")
	d.Press("enter", "ctrl+e", "esc")
	if calls != 0 {
		t.Fatal("it was opened all the same")
	}
	d.Press("ctrl+e", "j", "enter", "ctrl+e")
	if calls != 2 {
		t.Errorf("it was opened %d times", calls)
	}
}

// The values that an editor needs come late, or not at all.
func TestEditorLate(t *testing.T) {
	calls := 0
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w, withEditor(edits(func(text string) string { calls++; return text })))
	openEditor(d)
	calls = 0
	d.Hold()
	d.Press("ctrl+e", "esc") // away before they have come
	d.Deliver()
	if calls != 0 {
		t.Error("an editor opened by itself")
	}
	d.Press("e")
	w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		return &vault.Error{Kind: vault.KindDenied, Env: c.Env, Detail: "there is no grant for you"}
	})
	d.Press("ctrl+e")
	d.Has("there is no grant for you", "unsent 1")
	if calls != 0 {
		t.Error("it opened without the values")
	}
	w.Vault.Memory.FailWith(nil)

	// Without an entry in the audit trail no value leaves for an editor.
	d = draftWorld(t, tuitest.NewWorld(t), withEditor(edits(func(text string) string { calls++; return text })), func(c *tui.Config) {
		c.Audit = func(context.Context, tui.Use) error { return errors.New("the audit trail cannot be written") }
	})
	openEditor(d)
	d.Has("the audit trail cannot be written")
	if calls != 0 {
		t.Error("it opened without an entry")
	}
}

// A new secret has nothing to be read.
func TestEditorNewSecret(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w, withEditor(edits(func(text string) string { return text + "A=1\nB=2\n" })))
	d.Press("n", "ctrl+u")
	d.Type("app/new")
	d.Press("enter", "esc")
	openEditor(d)
	d.Has("unsent 2")
	d.Press("ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, "app/new", "B", "2")
}

// Keys that are held down do nothing but move and type.
func TestHeldKeys(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	held := func(name string) { k := tuitest.Key(name); k.IsRepeat = true; d.Send(k) }
	d.Press("ctrl+s")
	held("ctrl+s")
	d.Lacks("press Y")
	d.Press("ctrl+s")
	held("Y")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("a held Y sent it")
	}
	d.Press("esc", "ctrl+x")
	held("enter")
	d.Has("Keep them")
	d.Press("j")
	held("enter")
	d.Has("unsent 1")
	d.Send(tea.PasteMsg{Content: "\n\n"})
	d.Has("unsent 1", "Keep them")
}

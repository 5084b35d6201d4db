package screen_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"

	tea "charm.land/bubbletea/v2"
)

// Pictures of the screens on which secrets are changed, in all their states. Look
// at what -update writes.

// draftNote is text of the kinds that misalign tables.
const draftNote = "テスト用 e\u0301 👩\u200d💻"

// at has the driver on the screen that edits a secret of an environment.
func at(t *testing.T, w *tuitest.World, env vault.Env, options ...func(*tui.Config)) *tuitest.Driver {
	t.Helper()
	d := tuitest.New(t, w, append(options, func(c *tui.Config) { c.First = env })...)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter")
	return d
}

// drafted has some of everything changed.
func drafted(t *testing.T, w *tuitest.World, env vault.Env, options ...func(*tui.Config)) *tuitest.Driver {
	t.Helper()
	d := at(t, w, env, options...)
	d.Press("e", "enter")
	d.Type(w.Canary(typed))
	d.Press("esc", "down", "d", "n")
	d.Type("STRIPE_ACCOUNT")
	d.Press("enter")
	d.Send(tea.PasteMsg{Content: w.Canary("FAKE-account-5d0f3b7711") + "\n"})
	d.Press("down", "enter", "esc", "down", "enter", "ctrl+u")
	d.Send(tea.PasteMsg{Content: draftNote})
	d.Press("enter", "home", "g")
	return d
}

// denied has all reads of values fail, as without a grant.
func denied(w *tuitest.World) {
	w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		if strings.HasSuffix(c.Op, "Blob") {
			return &vault.Error{Kind: vault.KindDenied, Env: c.Env, Detail: "there is no grant for alice@laptop"}
		}
		return nil
	})
}

// importing has a file to take in.
func importing(t *testing.T, w *tuitest.World) func(*tui.Config) {
	return files(t, ".env", "REDIS_PASSWORD="+w.Canary("FAKE-redis-0be72f9acd")+"\nSTRIPE_PUBLIC_KEY="+w.Value(tuitest.Dev, "STRIPE_PUBLIC_KEY")+
		"\nADDED="+w.Canary("FAKE-added-33e1f0c5d2")+"\nA_NAME_THAT_IS_LONGER_THAN_MOST_OF_THEM_ARE=$HOME/x\nNODE_OPTIONS=--FAKE\nPASSED_ON\n", "notes.txt", "hello", "conf/x", "")
}

// draftPictures are the screens on which secrets are changed, in all their states.
var draftPictures = map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{
	"edit": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("e")
		return d
	},
	"edit_drafted": func(t *testing.T, w *tuitest.World) *tuitest.Driver { return drafted(t, w, tuitest.Dev) },
	"edit_prod":    func(t *testing.T, w *tuitest.World) *tuitest.Driver { return drafted(t, w, tuitest.Prod) },
	"edit_typing": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("e", "enter")
		d.Type(w.Canary(typed))
		return d
	},
	"edit_note": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("G", "k", "enter", "ctrl+u")
		d.Type("often")
		return d
	},
	"edit_paste": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("e", "enter")
		d.Send(tea.PasteMsg{Content: "A=" + w.Canary("FAKE-a-44d9bb0c1e") + "\r\nB=2\r\n"})
		return d
	},
	"edit_generate": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("e", "ctrl+g")
		return d
	},
	"edit_add": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("e", "n")
		d.Type("PATH")
		return d
	},
	"edit_lose": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+x")
		return d
	},
	"edit_empty": func(t *testing.T, w *tuitest.World) *tuitest.Driver { // a secret without a field
		d := tuitest.New(t, w)
		d.Press("n", "ctrl+u")
		d.Type("app/new")
		d.Press("enter", "esc")
		return d
	},
	"edit_first": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("n", "ctrl+u")
		d.Type("app/new")
		d.Press("enter")
		return d
	},
	"edit_loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Hold()
		d.Press("e")
		d.Advance(2 * time.Second)
		return d
	},
	"edit_offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		fail(w, vault.KindUnavailable, false)
		d.Press("r")
		return d
	},
	"edit_denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		denied(w)
		d.Press("e", "v")
		return d
	},
	"edit_error": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		fail(w, vault.KindMalformed, false)
		d.Press("r")
		return d
	},
	"edit_conflict": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, stripeAt, "FAKE-theirs-90c4aa5571")})
		d.Press("r")
		return d
	},
	"edit_resolve": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		note := draftNote
		dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, stripeAt, "FAKE-theirs-90c4aa5571"), Drop: []vault.FieldName{"STRIPE_WEBHOOK_KEY"}, Note: &note})
		d.Press("r", "D")
		return d
	},
	"edit_deleted": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Delete: true})
		d.Press("r")
		return d
	},
	"edit_locked": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+l", "q")
		return d
	},
	"edit_help": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("?")
		return d
	},
	"edit_again": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev, withEditor(edits(func(text string) string { return text + "BROKEN='FAKE" })))
		openEditor(d)
		return d
	},
	"review": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s", "down")
		return d
	},
	"review_ask": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s", "ctrl+s")
		return d
	},
	"review_ask_prod": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Prod)
		d.Press("ctrl+s", "ctrl+s")
		d.Type("pro")
		return d
	},
	"review_sending": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s", "ctrl+s")
		d.Hold()
		d.Press("Y")
		d.Advance(2 * time.Second)
		return d
	},
	"review_sent": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s", "ctrl+s", "Y")
		return d
	},
	"review_loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Hold()
		d.Press("ctrl+s")
		d.Advance(2 * time.Second)
		return d
	},
	"review_empty": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s", "ctrl+x", "down", "Y")
		return d
	},
	"review_offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		fail(w, vault.KindUnavailable, false)
		d.Press("ctrl+s")
		return d
	},
	"review_denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s")
		fail(w, vault.KindDenied, true)
		d.Press("ctrl+s", "Y")
		return d
	},
	"review_conflict": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+s", "ctrl+s")
		dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, stripeAt, "FAKE-theirs-90c4aa5571")})
		d.Press("Y")
		return d
	},
	"review_over": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		dee(t, w, tuitest.Dev, vault.Change{Path: stripe, Set: one(w, stripeAt, "FAKE-theirs-90c4aa5571")})
		d.Press("ctrl+s", "D", "down", "down", "enter")
		return d
	},
	"path": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("n")
		return d
	},
	"path_wrong": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("n")
		d.Type("Stripe Key")
		return d
	},
	"path_there": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("n", "ctrl+u")
		d.Type("billing/smtp")
		return d
	},
	"path_near": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("n", "ctrl+u")
		d.Type("biling/stripe")
		return d
	},
	"path_empty": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, func(c *tui.Config) { c.First = tuitest.Empty })
		d.Press("n")
		return d
	},
	"path_loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Hold()
		d.Press("n", "ctrl+u")
		d.Type("app/new")
		d.Advance(2 * time.Second)
		return d
	},
	"path_offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		fail(w, vault.KindUnavailable, false)
		d.Press("n", "ctrl+u")
		d.Type("app/new")
		return d
	},
	"path_denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		fail(w, vault.KindDenied, false)
		d.Press("n", "ctrl+u")
		d.Type("app/new")
		return d
	},
	"import": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		d.Press("i")
		return d
	},
	"import_loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		d.Press("i")
		d.Type(".env")
		d.Hold()
		d.Press("enter")
		d.Advance(2 * time.Second)
		return d
	},
	"import_error": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		d.Press("i")
		d.Type("notes.txt")
		d.Press("enter")
		return d
	},
	"import_offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		fail(w, vault.KindUnavailable, false)
		d.Press("i")
		d.Type(".env")
		d.Press("enter")
		return d
	},
	"import_denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		denied(w)
		d.Press("i")
		d.Type(".env")
		d.Press("enter")
		return d
	},
	"import_found": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		d.Press("i")
		d.Type(".env")
		d.Press("enter", "down")
		return d
	},
	"import_refused": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		d.Press("i")
		d.Type(".env")
		d.Press("enter", "down", "down", "space")
		return d
	},
	"import_staged": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, importing(t, w))
		d.Press("i")
		d.Type(".env")
		d.Press("enter", "*", "ctrl+s")
		return d
	},
	"delete_field": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("d")
		return d
	},
	"delete_secret_prod": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Prod)
		d.Press("esc", "delete")
		d.Type("pr")
		return d
	},
	"leave": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := drafted(t, w, tuitest.Dev)
		d.Press("ctrl+c")
		return d
	},
	"edit_shown": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := at(t, w, tuitest.Dev)
		d.Press("e", "enter", "ctrl+o")
		lines := ""
		for i := range 12 {
			lines += fmt.Sprintf("FAKE-line-%02d-\x1b[2J-\u202e-\r\n", i)
		}
		d.Send(tea.PasteMsg{Content: lines})
		d.Press("enter")
		d.Last = func() { d.Press("ctrl+v", "up", "up") }
		return d
	},
}

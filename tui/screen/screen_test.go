package screen_test

import (
	"context"
	"iter"
	"maps"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"
)

// failing has every call of the vault end with a kind of error.
func allFail(w *tuitest.World, kind vault.Kind, detail string) {
	w.Vault.Memory.FailWith(func(vaulttest.Call) error { return &vault.Error{Kind: kind, Env: "dev", Detail: detail} })
}

// all are all screens in all their states, by the name of their golden file. A
// new screen adds its own.
func all() map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	every := map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{}
	for _, some := range []map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{scenarios, historyPictures, comparePictures, draftPictures, accessPictures(), signPictures(), widePictures(), statePictures()} {
		maps.Copy(every, some)
	}
	return every
}

// scenarios are the first screens, and what the root draws.
var scenarios = map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{
	"browse": func(t *testing.T, w *tuitest.World) *tuitest.Driver { return tuitest.New(t, w) },
	"browse_protected": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, func(c *tui.Config) { c.Share = true })
		d.Press("2", "j")
		return d
	},
	"browse_revealed": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j")
		revealAtLast(d, w.Value("dev", "STRIPE_SECRET_KEY"))
		return d
	},
	"browse_filter": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("/")
		d.Type("strkey !pub")
		return d
	},
	"browse_nomatch": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("/")
		d.Type("sqlx")
		d.Press("enter")
		return d
	},
	"browse_tree": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("t", "g", "l", "j", "j", "l", "j")
		return d
	},
	"browse_empty": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("3")
		return d
	},
	"browse_loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Hold()
		d.Press("2")
		d.Advance(400 * time.Millisecond)
		return d
	},
	"browse_error": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		allFail(w, vault.KindOther, "the disk reports an error")
		return tuitest.New(t, w)
	},
	"browse_denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		allFail(w, vault.KindDenied, "no grant for alice@laptop")
		return tuitest.New(t, w)
	},
	"browse_offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Advance(3 * time.Minute)
		allFail(w, vault.KindUnavailable, "connection refused")
		d.Press("r")
		return d
	},
	"browse_wide": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		w.Config.Open = func(context.Context, vault.Env) (vault.Vault, error) { return hostile{}, nil }
		d := tuitest.New(t, w)
		d.Press("j")
		return d
	},
	"secret": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		return d
	},
	"secret_revealed": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		revealAtLast(d, w.Value("dev", "STRIPE_SECRET_KEY"))
		return d
	},
	"secret_lines": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		value := "FAKE-first line\n\tFAKE-tab \x1b[2J\x1b]52;c;RkFLRQ==\a\u202eFAKE-turned\n日本語\n" + strings.Repeat("FAKE-line of many\n", 40)
		w.Set(t, "dev", "a/lines", "LINES", value)
		d := tuitest.New(t, w)
		d.Press("g", "enter")
		revealAtLast(d, value)
		return d
	},
	"secret_delete": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter", "d")
		return d
	},
	"secret_delete_protected": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("2", "enter", "d")
		d.Type("pro")
		return d
	},
	"secret_conflict": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter", "d")
		w.Set(t, "dev", "billing/stripe", "STRIPE_WEBHOOK_KEY", "FAKE-by-somebody-else")
		d.Press("Y")
		return d
	},
	"secret_gone": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		if _, err := w.Vault.Apply(t.Context(), "dev", []vault.Change{{Path: "billing/stripe", Was: vault.Any, Delete: true}}); err != nil {
			t.Fatal(err)
		}
		d.Press("r")
		return d
	},
	"secret_denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		allFail(w, vault.KindDenied, "no grant for alice@laptop")
		d.Press("v")
		return d
	},
	"secret_offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		allFail(w, vault.KindUnavailable, "connection refused")
		d.Press("r")
		return d
	},
	"help": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w, func(c *tui.Config) { c.Clipboard = nil })
		d.Press("?")
		return d
	},
	"palette": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press(":")
		d.Type("co")
		return d
	},
	"environments": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("E")
		return d
	},
	"locked": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("y")
		d.Advance(6 * time.Minute)
		return d
	},
}

// revealAtLast shows a value in the size that it is drawn in: a new size hides it.
func revealAtLast(d *tuitest.Driver, value string) {
	d.Last = func() {
		d.Allow(value)
		for line := range strings.Lines(value) {
			d.Allow(line)
		}
		d.Press("v")
	}
}

func TestGolden(t *testing.T) {
	for name, scenario := range all() {
		t.Run(name, func(t *testing.T) { tuitest.Golden(t, name, scenario) })
	}
}

// What is offered together has no key in common, in no state of any screen.
func TestOffersDoNotClash(t *testing.T) {
	actions, err := kit.NewActions(screen.Actions())
	if err != nil {
		t.Fatal(err)
	}
	for name, scenario := range all() {
		t.Run(name, func(t *testing.T) {
			d := scenario(t, tuitest.NewWorld(t))
			if err := actions.Clash(d.Model.Offers()); err != nil {
				t.Error(err)
			}
			for _, o := range d.Model.Offers() {
				actions.Get(o.ID) // panics if it is not in the table
			}
		})
	}
}

// Every action of the table is offered somewhere, or it is no action.
func TestEveryActionIsOffered(t *testing.T) {
	offered := map[string]bool{screen.Unlock: true, screen.RunLine: true} // the second where there is a runner: TestRunACommandACommand
	for _, scenario := range all() {
		for _, o := range scenario(t, tuitest.NewWorld(t)).Model.Offers() {
			offered[o.ID] = true
		}
	}
	for _, a := range screen.Actions() {
		if !offered[a.ID] {
			t.Errorf("%s is offered nowhere", a.ID)
		}
	}
}

// No action that does harm is on one small letter alone without asking; the
// table itself refuses more (kit.NewActions).
func TestHarmIsAsked(t *testing.T) {
	for _, a := range screen.Actions() {
		if a.Harm != kit.Harmless && !strings.HasSuffix(a.Name, "...") {
			t.Errorf("%s does not say that it asks", a.ID)
		}
	}
}

// hostile is a vault in which everything that others can write is written to
// break a terminal, and names are of every width.
type hostile struct{ vault.Vault }

func (hostile) List(context.Context, vault.Env, vault.Path) iter.Seq2[vault.Info, error] {
	return func(yield func(vault.Info, error) bool) {
		for _, name := range []string{
			"PLAIN", "日本語_鍵", "e\u0301_COMBINING", "👨\u200d👩\u200d👧_FAMILY", "🇩🇪_FLAG", "\u202eEDOC_DENRUT", "\x1b]0;title\a\x1b[2J", "ไทย_ก็", "한국어", "LONG_" + strings.Repeat("長", 60),
		} {
			if !yield(vault.Info{
				Env: "dev", Path: "a", Version: 2, At: tuitest.Start.Add(-time.Hour), By: "mallory\x1b[31m@\u2066evil",
				Fields: []vault.FieldInfo{{Name: vault.FieldName(name), Since: 1}}, Tags: []string{"tag\x07"}, Note: "note \x1b]52;c;RkFLRQ==\x1b\\ 日本語\u200b!",
			}, nil) {
				return
			}
		}
	}
}

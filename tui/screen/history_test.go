package screen_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/vaulttest"
)

const stripe vault.Path = "billing/stripe"

// fake is a value no piece of which is anything else on a screen.
func fake(env vault.Env, what string) string {
	sum := sha256.Sum256([]byte(string(env) + " " + what))
	return "FAKE-" + hex.EncodeToString(sum[:16])
}

// grown is a world in which one secret has been through a few things.
func grown(t testing.TB, w *tuitest.World, env vault.Env) {
	w.Set(t, env, stripe, "STRIPE_SECRET_KEY", fake(env, "second"))
	w.Set(t, env, stripe, "STRIPE_NEW", fake(env, "new"))
	apply(t, w, env, vault.Change{Path: stripe, Was: vault.Any, Drop: []vault.FieldName{"STRIPE_WEBHOOK_KEY"}})
}

func apply(t testing.TB, w *tuitest.World, env vault.Env, c vault.Change) {
	t.Helper()
	if _, err := w.Vault.Apply(t.Context(), env, []vault.Change{c}); err != nil {
		t.Fatal(err)
	}
}

// failing has every call of one kind to one environment fail.
func failing(w *tuitest.World, env vault.Env, kind vault.Kind, ops ...string) {
	w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		for _, op := range ops {
			if c.Op == op && (env == "" || c.Env == env) {
				return &vault.Error{Kind: kind, Env: c.Env, Detail: "as the test wants it"}
			}
		}
		return nil
	})
}

func info(t testing.TB, w *tuitest.World, env vault.Env, path vault.Path) vault.Info {
	t.Helper()
	for i, err := range w.Vault.List(t.Context(), env, path) {
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	t.Fatalf("%s is not in %s", path, env)
	return vault.Info{}
}

func value(t testing.TB, w *tuitest.World, env vault.Env, path vault.Path, field vault.FieldName) string {
	t.Helper()
	s, err := w.Vault.Get(t.Context(), env, path)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := s.Field(field)
	if !ok {
		return ""
	}
	return string(f.Value.Reveal())
}

// toHistory goes to the history of billing/stripe in dev.
func toHistory(d *tuitest.Driver) { d.Press("j", "enter", "H") }

var historyPictures = map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{
	"history": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		grown(t, w, tuitest.Dev)
		d := tuitest.New(t, w)
		toHistory(d)
		d.Press("j", "j", "space", "k", "k")
		return d
	},
	"history-deleted": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		apply(t, w, tuitest.Dev, vault.Change{Path: stripe, Was: vault.Any, Delete: true})
		d.Press("r", "H")
		return d
	},
	"history-loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter")
		d.Hold()
		d.Press("H")
		d.Advance(time.Second)
		return d
	},
	"history-unsupported": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		w.Vault.Memory.HeadsOnly = true
		d := tuitest.New(t, w)
		toHistory(d)
		return d
	},
	"history-offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		grown(t, w, tuitest.Dev)
		d := tuitest.New(t, w)
		toHistory(d)
		failing(w, "", vault.KindUnavailable, "Versions")
		d.Press("r")
		return d
	},
	"history-error": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		failing(w, "", vault.KindMalformed, "Versions")
		toHistory(d)
		return d
	},
	"history-rollback": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		grown(t, w, tuitest.Dev)
		d := tuitest.New(t, w)
		toHistory(d)
		d.Press("G", "u")
		return d
	},
	"history-rollback-protected": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		grown(t, w, tuitest.Prod)
		d := tuitest.New(t, w)
		d.Press("2")
		toHistory(d)
		d.Press("G", "u")
		return d
	},
	"changes": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		grown(t, w, tuitest.Dev)
		d := tuitest.New(t, w)
		toHistory(d)
		d.Press("G", "space", "g", "D")
		return d
	},
	"changes-denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		grown(t, w, tuitest.Dev)
		d := tuitest.New(t, w)
		toHistory(d)
		failing(w, "", vault.KindDenied, "Head", "Versions")
		d.Press("D")
		return d
	},
}

// One old value is shown, through the slot, and hidden by all that hides.
func TestOldValueIsRevealedAlone(t *testing.T) {
	w := tuitest.NewWorld(t)
	old := w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w)
	toHistory(d)
	d.Press("G")
	d.Allow(old)
	d.Press("v")
	d.Has("REVEALED", old[:24], "SECRET_KEY in v1")
	d.Forbid(old)
	d.Press("k") // another version: hidden, and nothing else is shown
	d.Lacks("REVEALED", old)
	d.Allow(old)
	d.Press("j", "v")
	d.Has("REVEALED")
	d.Forbid(old)
	d.Press("tab") // another field
	d.Lacks("REVEALED")
	d.Has("STRIPE_WEBHOOK_KEY in v1")
	d.Allow(old)
	d.Press("tab", "v")
	d.Has("REVEALED")
	d.Advance(16 * time.Second)
	d.Forbid(old)
	d.Lacks("REVEALED", old[:24])
}

// A slow answer for one version must not be shown for another.
func TestOldValueThatComesLate(t *testing.T) {
	w := tuitest.NewWorld(t)
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w)
	toHistory(d)
	d.Press("G")
	d.Hold()
	d.Press("v", "k")
	d.Deliver()
	d.Lacks("REVEALED")
}

func TestRollBack(t *testing.T) {
	w := tuitest.NewWorld(t)
	old := w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w)
	toHistory(d)
	d.Press("u") // the newest is what there is
	d.Has("this is the current version")
	d.Press("G", "u", "esc")
	if got := info(t, w, tuitest.Dev, stripe).Version; got != 4 {
		t.Fatalf("version %d after the box was closed", got)
	}
	d.Press("u", "enter")
	if got := info(t, w, tuitest.Dev, stripe).Version; got != 4 {
		t.Fatalf("version %d after Enter", got)
	}
	d.Press("u", "Y")
	d.Has("Version 5 of billing/stripe is version 1 again.", "5 versions")
	if got := value(t, w, tuitest.Dev, stripe, "STRIPE_SECRET_KEY"); got != old {
		t.Error("the old value is not back")
	}
	if got := value(t, w, tuitest.Dev, stripe, "STRIPE_NEW"); got != "" {
		t.Error("a field that the old version had not is still there")
	}
	if got := value(t, w, tuitest.Dev, stripe, "STRIPE_WEBHOOK_KEY"); got == "" {
		t.Error("a field that was dropped is not back")
	}
}

func TestRollBackBringsBackWhatWasDeleted(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("j", "enter")
	apply(t, w, tuitest.Dev, vault.Change{Path: stripe, Was: vault.Any, Delete: true})
	d.Press("r", "H")
	d.Press("v")
	d.Has("there are no values in a deletion")
	d.Press("j", "u")
	d.Has("It is deleted now")
	d.Press("Y")
	d.Has("Version 3 of billing/stripe is version 1 again.")
	if value(t, w, tuitest.Dev, stripe, "STRIPE_SECRET_KEY") == "" {
		t.Error("nothing is back")
	}
	d.Press("esc")
	d.Lacks("was deleted meanwhile")
}

func TestRollBackOfWhatWasChangedMeanwhile(t *testing.T) {
	w := tuitest.NewWorld(t)
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w)
	toHistory(d)
	d.Press("G", "u")
	w.Set(t, tuitest.Dev, stripe, "STRIPE_SECRET_KEY", fake("dev", "theirs"))
	d.Press("Y")
	d.Has("Not rolled back", "5 versions")
	if got := value(t, w, tuitest.Dev, stripe, "STRIPE_SECRET_KEY"); got != fake("dev", "theirs") {
		t.Error("what somebody else wrote is gone")
	}
}

func TestRollBackInAProtectedEnvironment(t *testing.T) {
	w := tuitest.NewWorld(t)
	grown(t, w, tuitest.Prod)
	d := tuitest.New(t, w)
	d.Press("2")
	toHistory(d)
	d.Press("G", "u", "Y", "tab", "Y", "enter") // no name, no roll back
	if got := info(t, w, tuitest.Prod, stripe).Version; got != 4 {
		t.Fatalf("version %d, and no name was typed", got)
	}
	d.Press("u")
	d.Type("prod")
	d.Press("tab", "Y")
	d.Has("Version 5 of billing/stripe is version 1 again.")
}

// What is compared without values can be compared with them, and none is shown.
func TestChangesOfTwoVersions(t *testing.T) {
	w := tuitest.NewWorld(t)
	old := w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")
	grown(t, w, tuitest.Dev)
	apply(t, w, tuitest.Dev, vault.Change{Path: stripe, Was: vault.Any, Set: []vault.Field{{Name: "STRIPE_SECRET_KEY", Value: vault.NewValueString(old)}}})
	d := tuitest.New(t, w)
	toHistory(d)
	d.Press("G", "space", "g")
	d.Has("v5 against v1", "changed")
	d.Press("D")
	d.Has("as it was", "removed", "added")
	added := fake("dev", "new")
	d.Allow(added)
	d.Press("v")
	d.Has("REVEALED", "STRIPE_NEW in v5", added)
	d.Forbid(added)
	d.Press("tab", "v") // the older one has no such field
	d.Lacks("REVEALED")
	d.Has("version 1 does not have it")
}

// A vault that writes down who reads what is not read before somebody asks.
func TestChangesThatCostAReadWaitToBeAsked(t *testing.T) {
	w := tuitest.NewWorld(t)
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w, func(c *tui.Config) { c.FreeFacts = false })
	toHistory(d)
	gets := 0
	w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		if c.Op == "Head" {
			gets++
		}
		return nil
	})
	d.Press("D")
	d.Has("removed", "set")
	if gets > 0 {
		t.Errorf("%d reads that nobody asked for", gets)
	}
	d.Press("D")
	if gets == 0 {
		t.Error("nothing was read when it was asked for")
	}
}

// Lock and screen change end what history shows.
func TestHistoryIsLocked(t *testing.T) {
	w := tuitest.NewWorld(t)
	old := w.Value(tuitest.Dev, "STRIPE_SECRET_KEY")
	grown(t, w, tuitest.Dev)
	d := tuitest.New(t, w)
	toHistory(d)
	d.Press("G")
	d.Allow(old)
	d.Press("v")
	d.Forbid(old)
	d.Press("ctrl+l")
	d.Has("envrun is locked")
	d.Press("enter")
	d.Has("4 versions")
	d.Lacks("REVEALED")
}

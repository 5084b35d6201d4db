package screen_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
	"envrun/vault/engine"
	"envrun/vault/vaulttest"
)

// uneven is a world in which the environments differ in each way that there is.
func uneven(t testing.TB, w *tuitest.World) {
	for _, env := range []vault.Env{tuitest.Dev, tuitest.Prod} {
		w.Set(t, env, "checkout", "REDIS_PASSWORD", fake("", "redis"))
	}
	w.Set(t, tuitest.Dev, "checkout", "ONLY_DEV", fake("dev", "only"))
	w.Set(t, tuitest.Empty, "checkout", "REDIS_PASSWORD", fake("preview", "redis"))
	w.Set(t, tuitest.Empty, "checkout", "LEVEL", "FAKE-lvl")
}

var comparePictures = map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{
	"compare": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		uneven(t, w)
		d := tuitest.New(t, w)
		d.Press("C", "j", "j", "j", "j")
		return d
	},
	"compare-pair-all": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		uneven(t, w)
		d := tuitest.New(t, w)
		d.Press("C", ">", "f")
		return d
	},
	"compare-same": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		w.Config.Envs = w.Config.Envs[:2]
		for _, env := range []vault.Env{tuitest.Dev, tuitest.Prod} {
			for _, f := range []string{"billing/smtp/SMTP_PASSWORD", "billing/stripe/STRIPE_SECRET_KEY", "billing/stripe/STRIPE_WEBHOOK_KEY", "checkout/REDIS_PASSWORD", "checkout/STRIPE_PUBLIC_KEY", "ledger/db/DATABASE_URL"} {
				i := strings.LastIndexByte(f, '/')
				w.Set(t, env, vault.Path(f[:i]), vault.FieldName(f[i+1:]), fake("", f))
			}
		}
		d := tuitest.New(t, w)
		d.Press("C")
		return d
	},
	"compare-empty": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		w.Config.Envs = []screen.Env{{Name: tuitest.Empty}, {Name: "later"}}
		if err := w.Vault.CreateEnv(t.Context(), "later", []engine.GrantTo{w.Vault.Person.Grant()}); err != nil {
			t.Fatal(err)
		}
		d := tuitest.New(t, w)
		d.Press("C")
		return d
	},
	"compare-loading": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Hold()
		d.Press("C")
		d.Advance(time.Second)
		return d
	},
	"compare-denied": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		uneven(t, w)
		d := tuitest.New(t, w)
		failing(w, tuitest.Prod, vault.KindDenied, "Head")
		d.Press("C", "f")
		return d
	},
	"compare-offline": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		uneven(t, w)
		d := tuitest.New(t, w)
		failing(w, tuitest.Prod, vault.KindUnavailable, "Heads")
		d.Press("C", "f")
		return d
	},
	"compare-no-match": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		uneven(t, w)
		d := tuitest.New(t, w)
		d.Press("C", "/")
		d.Type("zzz")
		d.Press("enter")
		return d
	},
	"compare-names": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		uneven(t, w)
		w.Config.FreeFacts = false
		d := tuitest.New(t, w)
		d.Press("C", "f")
		return d
	},
	"copy-to": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter", "c")
		return d
	},
	"copy-protected": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter", "c", "enter")
		return d
	},
	"copy-new": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := tuitest.New(t, w)
		d.Press("j", "enter", "c", "down", "enter")
		return d
	},
}

func TestCompareSaysWhatDiffers(t *testing.T) {
	w := tuitest.NewWorld(t)
	uneven(t, w)
	d := tuitest.New(t, w)
	d.Press("C")
	d.Has("checkout/LEVEL", "only in preview", "checkout/ONLY_DEV", "only in dev", "preview differs", "missing in preview", "short")
	d.Press(">") // dev and prod
	d.Has("[differences]", "missing in PROD")
	d.Lacks("checkout/REDIS_PASSWORD", "checkout/LEVEL")
	d.Press("f")
	d.Has("[all]", "checkout/REDIS_PASSWORD", "same")
	d.Press("f")
	d.Has("[missing]", "checkout/ONLY_DEV")
	d.Lacks("billing/smtp")
	d.Press("f", "/")
	d.Type("smtp")
	d.Press("enter")
	d.Has("billing/smtp/SMTP_PASSWORD", "1 of 6")
	d.Lacks("DATABASE_URL")
	d.Press("esc")
	d.Has("DATABASE_URL")
	d.Press("v") // nothing is revealed here
	d.Lacks("REVEALED")
}

// The same name in the other environments, from where it is looked at.
func TestTheSameNameElsewhere(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("j", "enter", "=")
	d.Has("billing/stripe/STRIPE_SECRET_KEY", "missing in preview")
	d.Lacks("STRIPE_WEBHOOK_KEY", "SMTP")
	d.Press("tab", "enter") // in prod
	d.Has("PROD *protected*", "billing/stripe/STRIPE_SECRET_KEY", "version 1 (current)")
}

// Who leaves while it reads has the reading ended: not one value more is opened.
func TestCompareIsCancelledWhenLeft(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Hold() // the first report stays on its way
	d.Press("C")
	d.Press("esc", "esc")
	heads := 0
	w.Vault.Memory.FailWith(func(c vaulttest.Call) error {
		if c.Op == "Head" {
			heads++
		}
		return nil
	})
	d.Deliver()
	d.Has("6 names")
	if heads > 0 {
		t.Errorf("%d values were opened for nobody", heads)
	}
}

func TestCopyToAnotherEnvironment(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("j", "c", "down", "enter")
	d.Has("Copy STRIPE_SECRET_KEY from dev to preview?", "it is made there")
	d.Press("enter") // Enter is to cancel
	d.Press("c", "down", "enter", "Y")
	d.Has("Copied STRIPE_SECRET_KEY to preview, which has version 1 now.")
	if got := value(t, w, tuitest.Empty, stripe, "STRIPE_SECRET_KEY"); got != w.Value(tuitest.Dev, "STRIPE_SECRET_KEY") {
		t.Error("it is not there")
	}
	if got := info(t, w, tuitest.Empty, stripe); len(got.Fields) != 1 {
		t.Errorf("%d fields were copied", len(got.Fields))
	}
	d.Press("c")
	d.Type("all preview")
	d.Press("enter")
	d.Has("Copies 2 fields of billing/stripe from dev to preview.", "nothing there is replaced")
	d.Press("Y")
	if got := info(t, w, tuitest.Empty, stripe); len(got.Fields) != 2 {
		t.Errorf("%d fields are there", len(got.Fields))
	}
}

func TestCopyIntoAProtectedEnvironment(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("j", "c", "enter")
	d.Has("Replaces what PROD has for STRIPE_SECRET_KEY")
	d.Press("Y", "tab", "Y", "esc")
	if got := info(t, w, tuitest.Prod, stripe).Version; got != 1 {
		t.Fatalf("version %d, and no name was typed", got)
	}
	d.Press("c", "enter")
	d.Type("prod")
	d.Press("tab", "Y")
	d.Has("Copied STRIPE_SECRET_KEY to prod, which has version 2 now.")
}

// Out of a protected environment takes its name too.
func TestCopyOutOfAProtectedEnvironment(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("2", "j", "c", "down", "enter")
	d.Has("Type the environment's name (prod)", "can then be read by everybody")
	d.Press("tab", "Y", "esc")
	for i := range w.Vault.List(t.Context(), tuitest.Empty, "") {
		t.Fatalf("%s was copied, and no name was typed", i.Path)
	}
	d.Press("c", "down", "enter")
	d.Type("prod")
	d.Press("tab", "Y")
	d.Has("Copied STRIPE_SECRET_KEY to preview")
}

func TestCopyOverWhatWasChangedMeanwhile(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("C", ">", ">") // dev and preview
	d.Press("c", "down", "enter")
	d.Has("from dev to preview")
	w.Set(t, tuitest.Empty, "billing/smtp", "SMTP_PASSWORD", fake("preview", "theirs"))
	d.Press("Y")
	d.Has("Not copied", "was changed in preview meanwhile")
	if got := value(t, w, tuitest.Empty, "billing/smtp", "SMTP_PASSWORD"); got != fake("preview", "theirs") {
		t.Error("what somebody else wrote is gone")
	}
	d.Press("c", "down", "enter", "Y")
	d.Has("Copied SMTP_PASSWORD to preview")
	d.Lacks("billing/smtp") // it is the same now
}

// One environment alone has nothing to be compared with.
func TestOneEnvironmentAlone(t *testing.T) {
	w := tuitest.NewWorld(t)
	w.Config.Envs = w.Config.Envs[:1]
	d := tuitest.New(t, w)
	d.Press("C")
	d.Has("there is no other environment")
	d.Press("c")
	d.Has("there is no other environment")
}

func TestManyNamesAreComparedInPages(t *testing.T) {
	w := tuitest.NewWorld(t)
	for i := range 250 {
		w.Set(t, tuitest.Dev, vault.Path(fmt.Sprintf("many/s%03d", i)), "TOKEN", fake("dev", fmt.Sprint("many", i)))
	}
	d := tuitest.New(t, w)
	d.Press("C", "G")
	d.Has("256 of 256 names", "many/s249/TOKEN")
}

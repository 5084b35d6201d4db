package tui_test

import (
	"context"
	"testing"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

// eager is a screen that does what it is told, whatever anybody was asked.
type eager struct{ effect screen.Effect }

func (e *eager) Title() string                 { return "eager" }
func (e *eager) Enter() screen.Effect          { return nil }
func (e *eager) Offers() []kit.Offer           { return []kit.Offer{{ID: screen.Open}} }
func (e *eager) Do(string) screen.Effect       { return e.effect }
func (e *eager) Target() (screen.Target, bool) { return screen.Target{}, false }
func (e *eager) Draw(kit.Area, screen.Scene)   {}

// yes is a consent that somebody gave, with a name typed for it.
func yes(name string) kit.Consent {
	c := &kit.Confirm{Title: "?", Verb: "do it", Type: name}
	for _, r := range name {
		c.Key(kit.Key{Name: string(r), Text: string(r)})
	}
	if name != "" {
		c.Key(kit.Key{Name: "tab"})
	}
	c.Key(kit.Key{Name: kit.Yes, Text: kit.Yes})
	return c.Consent()
}

// Who has access is changed by the root only for a consent that counts, whatever
// a screen asks for.
func TestGrantTakesConsent(t *testing.T) {
	used := yes("")
	used.Use()
	for name, test := range map[string]struct {
		grant screen.Grant
		ok    bool
	}{
		"none":                  {screen.Grant{Harm: kit.Grants, Env: tuitest.Dev}, false},
		"used":                  {screen.Grant{Harm: kit.Grants, Env: tuitest.Dev, Consent: used}, false},
		"given":                 {screen.Grant{Harm: kit.Grants, Env: tuitest.Dev, Consent: yes("")}, true},
		"protected":             {screen.Grant{Harm: kit.Grants, Env: tuitest.Prod, Consent: yes("")}, false},
		"protected, destroys":   {screen.Grant{Harm: kit.Destroys, Env: tuitest.Prod, Consent: yes("")}, false},
		"protected, other name": {screen.Grant{Harm: kit.Grants, Env: tuitest.Prod, Consent: yes("dev")}, false},
		"protected, typed":      {screen.Grant{Harm: kit.Destroys, Env: tuitest.Prod, Consent: yes("prod")}, true},
		"protected, writes":     {screen.Grant{Harm: kit.Writes, Env: tuitest.Prod, Consent: yes("")}, true},
		"no such environment":   {screen.Grant{Harm: kit.Writes, Env: "moon", Consent: yes("")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			done := false
			g := test.grant
			g.What = "something"
			g.Do = func(context.Context, screen.Granting, func(func()) bool) error {
				done = true
				return nil
			}
			w := tuitest.NewWorld(t)
			tuitest.NewGate(t, w)
			d := tuitest.New(t, w)
			d.Model.PushScreen(&eager{g})
			d.Press("enter")
			if done != test.ok {
				t.Errorf("it was done: %v\n%s", done, d.Text())
			}
			if done {
				// What was given is good for one time.
				done = false
				if d.Press("enter"); done {
					t.Error("it was done twice")
				}
			}
		})
	}
}

// While one change is under way no other is begun, and its consent is not used up.
func TestOneChangeAtATime(t *testing.T) {
	w := tuitest.NewWorld(t)
	tuitest.NewGate(t, w)
	d := tuitest.New(t, w)
	var done []string
	grant := func(what string) screen.Grant {
		return screen.Grant{Harm: kit.Writes, Env: tuitest.Dev, Consent: yes(""), What: what,
			Do: func(context.Context, screen.Granting, func(func()) bool) error {
				done = append(done, what)
				return nil
			}}
	}
	s := &eager{grant("the first")}
	d.Model.PushScreen(s)
	d.Hold()
	d.Press("enter")
	second := grant("the second")
	s.effect = second
	d.Press("enter")
	d.Has("Not begun: the first is not done yet.")
	d.Deliver()
	if len(done) != 1 || !second.Consent.OK() {
		t.Errorf("done: %q", done)
	}
	d.Press("enter")
	if len(done) != 2 {
		t.Errorf("done: %q", done)
	}
}

// Nothing is granted where nobody can grant.
func TestGrantWithoutGate(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	d.Model.PushScreen(&eager{screen.Grant{Harm: kit.Writes, Env: tuitest.Dev, Consent: yes(""), What: "x",
		Do: func(context.Context, screen.Granting, func(func()) bool) error { t.Error("it was done"); return nil }}})
	d.Press("enter")
	d.Has("Not begun")
}

// What was waited for is opened only above the screen that waited for it.
func TestPresent(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	below := &eager{}
	below.effect = screen.Read{Lane: "x", Do: func(context.Context, screen.Reading, func(func()) bool) error { return nil },
		Done: func(error) screen.Effect {
			return screen.Present{Screen: &eager{}, Else: kit.Notice{Text: "it is there"}}
		}}
	d.Model.PushScreen(below)
	d.Hold()
	d.Press("enter", ":")
	d.Deliver()
	d.Has("commands", "it is there")
	d.Press("esc", "esc")
	d.Has("filters") // nothing was opened below the palette
}

// The requests of others are found in the palette, and opened where they are decided.
func TestPaletteFindsRequests(t *testing.T) {
	w := tuitest.NewWorld(t)
	g := tuitest.NewGate(t, w)
	g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", At: tuitest.Start})
	g.Ask(tuitest.Dev, screen.Request{Who: "erin@lab", At: tuitest.Start.Add(-1)})
	d := tuitest.New(t, w)
	d.Press(":")
	d.Type("dave")
	d.Press("enter")
	d.Has("> dave@home", "approve...")
	d.Press(":")
	d.Type("erin")
	d.Press("enter")
	d.Has("> erin@lab")
	d.Press("esc")
	d.Has("filters") // there is one inbox
}

// What fails beside the interface disturbs nobody.
func TestGateFails(t *testing.T) {
	w := tuitest.NewWorld(t)
	g := tuitest.NewGate(t, w)
	g.FailWith = func(string, vault.Env) error {
		return &vault.Error{Kind: vault.KindUnavailable, Detail: "nobody answers"}
	}
	d := tuitest.New(t, w)
	d.Press("3", "1")
	d.Has("6 names")
	d.Lacks("nobody answers", "[locked]", "inbox")
}

// A screen that locks by itself is drawn locked at once, not with the next key.
func TestIdleLockIsDrawn(t *testing.T) {
	w := tuitest.NewWorld(t)
	tuitest.NewGate(t, w)
	d := tuitest.New(t, w)
	d.Press("w")
	d.Advance(5*time.Minute + time.Second)
	d.Has("envrun is locked")
	d.Lacks("MEMBER")
}

// A job that reads cannot get at what changes access, whatever it tries.
func TestReadingCannotGrant(t *testing.T) {
	w := tuitest.NewWorld(t)
	tuitest.NewGate(t, w)
	d := tuitest.New(t, w)
	tried := false
	d.Model.PushScreen(&eager{screen.Read{Lane: "x", Do: func(_ context.Context, r screen.Reading, _ func(func()) bool) error {
		tried = true
		if _, ok := r.Access().(screen.Gate); ok {
			t.Error("what looks can grant")
		}
		if _, ok := r.Access().(screen.Granting); ok {
			t.Error("what looks can grant")
		}
		return nil
	}}})
	if d.Press("enter"); !tried {
		t.Error("it was not tried")
	}
}

package screen_test

import (
	"errors"
	"testing"
	"time"

	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"
)

// gated is a world with a gate, in which some people ask for access.
func gated(t *testing.T, w *tuitest.World) *tuitest.Gate {
	g := tuitest.NewGate(t, w)
	g.Ask(tuitest.Prod, screen.Request{Who: "carol@desk", Reason: "new laptop, the old one is wiped", Key: tuitest.Recipient("classic2"), At: tuitest.Start.Add(-26 * time.Hour), Author: "carol <carol@example.org>, 2026-11-21"})
	g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call this week", At: tuitest.Start.Add(-22 * time.Minute), Author: "dave <dave@example.org>, 2026-11-22"})
	return g
}

// calm is gated, driven, with what the scenario does.
func calm(set func(g *tuitest.Gate), keys ...string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		g := gated(t, w)
		if set != nil {
			set(g)
		}
		d := tuitest.New(t, w)
		d.Press(keys...)
		return d
	}
}

// slow keeps back every answer to the last key, for as long as it takes to say so.
func slow(set func(g *tuitest.Gate), keys ...string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	before := calm(set, keys[:len(keys)-1]...)
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		d := before(t, w)
		d.Hold()
		d.Press(keys[len(keys)-1])
		d.Advance(200 * time.Millisecond)
		return d
	}
}

// fails has every call of a name fail, from the moment that broken says.
func fails(call string, err error) func(g *tuitest.Gate) {
	return func(g *tuitest.Gate) {
		g.FailWith = func(c string, _ vault.Env) error {
			if c == call {
				return err
			}
			return nil
		}
	}
}

var (
	offline = &vault.Error{Kind: vault.KindUnavailable, Op: "asking vault.acme.example", Detail: "connection refused"}
	damaged = &vault.Error{Kind: vault.KindMalformed, File: ".envrun/vault/envs/dev/keys/0001/gen", Detail: "is not of its form"}
)

// letters presses the keys of a text.
func letters(text string) []string {
	var keys []string
	for _, r := range text {
		keys = append(keys, string(r))
	}
	return keys
}

func keys(parts ...any) []string {
	var all []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			all = append(all, p)
		case []string:
			all = append(all, p...)
		}
	}
	return all
}

// accessPictures are the screens about who can open what, in all their states.
func accessPictures() map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	asked := func(g *tuitest.Gate) {
		g.Ask(tuitest.Empty, screen.Request{Who: g.You, Reason: "webhook mismatch PAY-812", Key: g.Key})
	}
	server := func(g *tuitest.Gate) {
		g.Shut(tuitest.Empty, screen.Standing{Shut: screen.NoKey, May: "read, for up to 4h", Policy: "preview-read v3",
			Needs: []screen.Need{{Want: 1, From: "platform-oncall"}}, Ticket: "PAY-123", Wait: 6 * time.Minute, Names: -1})
	}
	policies := func(g *tuitest.Gate) {
		g.Ask(tuitest.Prod, screen.Request{Who: "ivan", Reason: "ledger import stuck", At: tuitest.Start.Add(-2 * time.Hour), Policy: "prod-read v7", Wants: "read ledger/*",
			For: 4 * time.Hour, Ticket: "PAY-840", Lapses: tuitest.Start.Add(2 * time.Hour), Needs: []screen.Need{{Have: 1, Want: 2, From: "payments-leads"}},
			Votes: []screen.Vote{{By: "cai", At: tuitest.Start.Add(-time.Hour), Yes: true, Why: "known incident"}}, Careful: []string{"first time", "wider than usual"}, Reasons: true})
	}
	odd := func(g *tuitest.Gate) {
		g.Ask(tuitest.Dev, screen.Request{Who: "日本語@デスク", Reason: "e\u0301te\u0301, 👨‍👩‍👧 and a\u202Ereversed\u202C end \x1b[2J", At: tuitest.Start.Add(-time.Hour), Author: "evil\x1b]52;c;AAAA\x07 <e@x>"})
		g.Member(tuitest.Dev, screen.Member{Name: "zoë-日本語-with-a-very-long-name@a-very-long-host.example.org", Key: tuitest.Recipient("classic"), Since: tuitest.Start})
	}
	crowd := func(g *tuitest.Gate) {
		g.Member(tuitest.Dev, screen.Member{Name: "bob@desktop", Key: tuitest.Recipient("bob"), By: "carol@desk", Since: tuitest.Start.AddDate(0, -9, 0), Until: tuitest.Start.Add(-3 * 24 * time.Hour)})
		g.Member(tuitest.Dev, screen.Member{Name: "erin@yubi", Key: screen.KeyKind{Name: "age-plugin-yubikey", Plugin: "yubikey", Recipient: "age1yubikey1qqqq"}, Since: tuitest.Start.AddDate(0, -2, 0), Pending: true})
		g.Member(tuitest.Dev, screen.Member{Name: "fred@lab", Key: tuitest.Recipient("classic"), By: "carol@desk", Since: tuitest.Start.AddDate(0, -1, 0), Until: tuitest.Start.Add(50 * time.Hour)})
		g.Member(tuitest.Dev, screen.Member{Name: "mallory@evil", Key: tuitest.Recipient("mallory"), By: "nobody", Since: tuitest.Start.AddDate(0, 0, -1), Problem: "not approved"})
		g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "gina@old", "hal@old", "ian@old")
	}
	unhappy := func(g *tuitest.Gate) {
		g.ChangeCare(tuitest.Dev, func(c *screen.Care) {
			c.Journal = "a write was interrupted after it was decided: the next command finishes it"
			c.Damaged, c.Unsealed, c.Deleted = 1, 3, 2
			c.OldKey = []vault.Path{"billing/smtp"}
			c.Strays = []error{&vault.Error{Kind: vault.KindMalformed, File: ".envrun/vault/notes.txt", Detail: "is no file of a vault, and is not read"}}
		})
	}
	some := map[string]func(*testing.T, *tuitest.World) *tuitest.Driver{
		"locked":         calm(nil, "3"),
		"locked-asked":   calm(asked, "3"),
		"locked-loading": slow(nil, "3", "r"),
		"locked-error":   calm(func(g *tuitest.Gate) { fails("Standing", damaged)(g) }, "R"),
		"locked-offline": calm(func(g *tuitest.Gate) { fails("Standing", offline)(g) }, "3", "R"),
		"locked-server":  calm(server, "3"),
		"locked-open":    letIn,
		"locked-identity": calm(func(g *tuitest.Gate) {
			g.Shut(tuitest.Dev, screen.Standing{Shut: screen.NoIdentity, Err: errors.New("you have no identity on this machine to open a vault with")})
		}),
		"locked-ended": calm(func(g *tuitest.Gate) {
			g.Shut(tuitest.Prod, screen.Standing{Shut: screen.Ended, Until: tuitest.Start.Add(-5 * time.Hour)})
		}, "2"),
		"locked-pending": calm(func(g *tuitest.Gate) { g.Shut(tuitest.Dev, screen.Standing{Shut: screen.NoGrant}) }),
		"locked-newkey":  calm(func(g *tuitest.Gate) { g.Shut(tuitest.Dev, screen.Standing{Shut: screen.NewKey}) }),
		"locked-otherkey": calm(func(g *tuitest.Gate) {
			g.Shut(tuitest.Prod, screen.Standing{Shut: screen.OtherKey, Known: "AAAA-BBBB-CCCC-DDDD", Err: errors.New("the key of prod is not the one that this machine knows")})
		}, "2"),
		"locked-trust":   calm(func(g *tuitest.Gate) { g.Shut(tuitest.Dev, screen.Standing{Shut: screen.NewKey}) }, "a"),
		"request":        calm(nil, keys("3", "R", letters("checking the webhook signature mismatch from PAY-812"))...),
		"request-box":    calm(nil, keys("3", "R", letters("checking PAY-812"), "ctrl+s")...),
		"request-server": calm(server, keys("3", "R", letters("checking"))...),
		"request-error":  calm(fails("Ask", &vault.Error{Kind: vault.KindReadOnly, Op: "writing", File: ".envrun/vault/requests", Detail: "read-only file system"}), keys("3", "R", letters("x"), "ctrl+s", "Y")...),
		"requested":      calm(nil, keys("3", "R", letters("checking PAY-812"), "ctrl+s", "Y")...),
		"inbox":          calm(nil, "I", "j"),
		"inbox-careful":  calm(nil, "I"),
		"inbox-mine":     calm(asked, "I", "tab"),
		"inbox-none":     calm(nil, "I", "tab"),
		"inbox-odd":      calm(odd, "I", "j"),
		"inbox-server":   calm(policies, "I", "j"),
		"inbox-loading":  slow(nil, "I"),
		"inbox-error":    calm(fails("Requests", damaged), "I"),
		"inbox-offline":  calm(fails("Requests", offline), "I"),
		"inbox-unreadable": calm(func(g *tuitest.Gate) {
			g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Problem: ".envrun/vault/requests/dev/dave@home.req:3: is not of its form"})
		}, "I", "j"),
		"inbox-denied": calm(func(g *tuitest.Gate) {
			g.Ask(tuitest.Empty, screen.Request{Who: "dave@home", Reason: "me too", At: tuitest.Start.Add(-48 * time.Hour)})
		}, "I"),
		"approve":         calm(nil, "I", "j", "a"),
		"approve-replace": calm(nil, keys("I", "a", letters("0000-0000-0000"))...),
		"approve-confirm": calm(nil, keys("I", "a", letters("0000-0000-0000"), "tab", letters("8h"), "tab", "space", "ctrl+s")...),
		"approve-refused": calm(nil, keys("I", "j", "a", letters("0000-0000-0000"), "ctrl+s", "Y")...),
		"approve-done":    approved(keys("tab", letters("7d"))...),
		"deny":            calm(nil, "I", "j", "x"),
		"members":         calm(crowd, "w", "j"),
		"members-odd":     calm(odd, "w", "G"),
		"members-marked":  calm(crowd, "w", "j", "space", "space", "space", "d"),
		"members-closed":  calm(nil, "3", "w"),
		"members-loading": slow(nil, "w"),
		"members-error":   calm(fails("Members", damaged), "w"),
		"members-inpart":  calm(func(g *tuitest.Gate) { g.InPart(tuitest.Dev, "3 records still at key 1 of 2") }, "w", "T"),
		"members-sweep":   calm(crowd, "w", "W"),
		"members-rotate":  calm(nil, "2", "w", "T"),
		"members-working": working,
		"member-add":      calm(nil, keys("w", "n", letters("dave@home"), "tab", letters("age1classicqqqq"))...),
		"member-add-box":  calm(nil, keys("2", "w", "n", letters("dave@home"), "tab", letters("age1classicqqqq"), "ctrl+s")...),
		"removed":         calm(nil, "w", "j", "d", "Y"),
		"rotated":         calm(nil, "w", "T", "Y"),
		"exposed":         calm(crowd, "O"),
		"exposed-none":    calm(nil, "O"),
		"exposed-loading": slow(nil, "O"),
		"exposed-error":   calm(fails("Exposed", damaged), "O"),
		"vault":           calm(nil, "K", "c"),
		"vault-care":      calm(unhappy, "K"),
		"vault-seal":      calm(unhappy, "K", "s"),
		"vault-closed":    calm(nil, "3", "K"),
		"vault-error":     calm(fails("Care", damaged), "K"),
		"vault-loading":   slow(nil, "K"),
		"vault-checking":  slow(nil, "K", "c"),
		"vault-found":     found,
		"session":         calm(nil, "S"),
		"session-none": calm(func(g *tuitest.Gate) {
			g.Sessioned.Problem = errors.New("you have no identity on this machine to open a vault with")
		}, "S"),
		"session-file": calm(func(g *tuitest.Gate) {
			g.Key = tuitest.Recipient("classic")
			g.Sessioned.Kept = "/home/alice/.config/envrun/identity"
			g.Sessioned.Made = tuitest.Start.AddDate(-1, 0, 0)
		}, "S"),
		"session-loading": slow(nil, "S"),
		"session-error":   calm(fails("Session", damaged), "S"),
		"share":           calm(nil, "P", "I"),
		"exposed-odd":     calm(oddAccess, "O", "j"),
		"vault-odd":       calm(oddAccess, "K"),
		"session-odd":     calm(oddAccess, "S"),
		"locked-odd":      calm(oddAccess, "3"),
		"request-odd":     calm(oddAccess, keys("3", "R", letters("日本語の理由 한국어"))...),
		"idle": func(t *testing.T, w *tuitest.World) *tuitest.Driver {
			d := calm(nil, "I", "j", "a")(t, w)
			d.Advance(6 * time.Minute)
			return d
		},
		"help":    calm(nil, "w", "?"),
		"palette": calm(nil, keys(":", letters("request"))...),
	}
	named := map[string]func(t *testing.T, w *tuitest.World) *tuitest.Driver{}
	for name, scenario := range some {
		named["access-"+name] = scenario
	}
	return named
}

// approved approves dave's request with the code that he reads out, and then more.
func approved(more ...string) func(t *testing.T, w *tuitest.World) *tuitest.Driver {
	return func(t *testing.T, w *tuitest.World) *tuitest.Driver {
		g := gated(t, w)
		code := g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call this week", At: tuitest.Start.Add(-22 * time.Minute)})
		d := tuitest.New(t, w)
		d.Press(keys("I", "j", "a", letters(code), more, "ctrl+s", "Y")...)
		return d
	}
}

// letIn is after somebody has let us in, and we have looked again.
func letIn(t *testing.T, w *tuitest.World) *tuitest.Driver {
	g := gated(t, w)
	d := tuitest.New(t, w)
	d.Press("3")
	g.Member(tuitest.Empty, screen.Member{Name: g.You, Key: g.Key, By: "carol@desk", Since: tuitest.Start, Until: tuitest.Start.Add(8 * time.Hour)})
	d.Press("r")
	return d
}

// working is in the middle of a new key.
func working(t *testing.T, w *tuitest.World) *tuitest.Driver {
	gated(t, w)
	d := tuitest.New(t, w)
	d.Press("w", "j", "d")
	d.Hold()
	d.Press("Y")
	for range 3 {
		d.DeliverOne()
	}
	return d
}

// found is after a check that found something.
func found(t *testing.T, w *tuitest.World) *tuitest.Driver {
	gated(t, w)
	w.Vault.Memory.Poke(tuitest.Dev, "billing/smtp", []byte("envrun-secret 1\n<<<<<<< ours\n"))
	d := tuitest.New(t, w)
	d.Press("K", "c")
	return d
}

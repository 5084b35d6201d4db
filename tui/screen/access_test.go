package screen_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"envrun/tui"
	"envrun/tui/screen"
	"envrun/tui/tuitest"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// drive is the interface over a world with a gate.
func drive(t *testing.T, options ...func(*tui.Config)) (*tuitest.Driver, *tuitest.Gate) {
	t.Helper()
	w := tuitest.NewWorld(t)
	g := gated(t, w)
	return tuitest.New(t, w, options...), g
}

func (c calls) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(c.g.Calls, want) {
		t.Errorf("what was changed: %q, want %q", c.g.Calls, want)
	}
}

type calls struct{ g *tuitest.Gate }

// noCodes fails the test if the check code of somebody else's request is on the
// screen: who approves must hear it.
func noCodes(t *testing.T, d *tuitest.Driver, g *tuitest.Gate) {
	t.Helper()
	text := d.Text()
	for _, code := range g.Codes() {
		if strings.Contains(text, code) {
			t.Errorf("the check code %s is on the screen:\n%s", code, text)
		}
	}
}

// Somebody locked out asks, is let in, and finds the environment open.
func TestFlowLockedOut(t *testing.T) {
	d, g := drive(t)
	d.Press("3")
	d.Has("preview is locked for you", "carol@desk", "[locked]")
	d.Press("R")
	d.Type("on call, Y is not yes I 3 q ?")
	d.Has("because: on call, Y is not yes I 3 q ?")
	d.Press("ctrl+s")
	d.Has("Ask for access to preview?", "[ Cancel ]")
	d.Press("enter")
	calls{g}.want(t)
	d.Press("ctrl+s", "Y")
	calls{g}.want(t, "Ask preview")
	d.Has("Your request for preview", "check code", "git switch -c", "envrun access approve alice@laptop -e preview")
	d.Press("p")
	if want := "git switch -c access-preview-alice-laptop\n"; !strings.HasPrefix(d.World.Board.Holds, want) {
		t.Errorf("the clipboard holds %q", d.World.Board.Holds)
	}
	d.Has("Copied the commands")
	d.Press("esc")
	d.Has("you asked", "X take back...")
	d.Press("esc")
	d.Has("No names in preview yet")
	d.Press("v")
	d.Lacks("REVEALED")

	// carol lets her in.
	g.Member(tuitest.Empty, screen.Member{Name: g.You, Key: g.Key, By: "carol@desk", Since: tuitest.Start})
	d.Press("3")
	d.Has("preview is open to you", "your request", "X takes it back")
	d.Lacks("[locked]", "check code")
	d.Press("X", "Y")
	d.Lacks("your request ")
	d.Press("enter")
	d.Has("No names in preview yet")
}

// A reveal in a locked environment is off, with the reason and the way out.
func TestLockedOffersNoValues(t *testing.T) {
	d, g := drive(t)
	g.Shut(tuitest.Prod, screen.Standing{Shut: screen.NoKey})
	d.Press("2", "esc")
	for _, key := range []string{"v", "V", "y"} {
		d.Press(key)
		d.Has("PROD is locked for you; R asks for access")
	}
	if d.World.Board.Holds != "" {
		t.Errorf("the clipboard holds %q", d.World.Board.Holds)
	}
	d.Press("R", "R")
	d.Has("Ask for access to PROD")
}

// An own request is taken back.
func TestTakeBack(t *testing.T) {
	d, g := drive(t)
	g.Ask(tuitest.Empty, screen.Request{Who: g.You, Reason: "x", Key: g.Key})
	d.Press("3", "X")
	d.Has("Take back your request for preview?")
	d.Press("Y")
	calls{g}.want(t, "Deny preview preview/alice@laptop ")
	d.Lacks("you asked")
	d.Has("Your request for preview is gone.")
	d.Press("!")
	d.Has("to share it: git add")
}

// The approver types what they hear: the code is nowhere on the screen, and one
// that is typed in another form is the same.
func TestFlowApprove(t *testing.T) {
	for name, write := range map[string]func(string) string{
		"as shown": func(s string) string { return s },
		"in words": func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", " ")) },
	} {
		t.Run(name, func(t *testing.T) {
			d, g := drive(t)
			code := g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call", At: tuitest.Start.Add(-time.Minute)})
			d.Press("I", "j")
			noCodes(t, d, g)
			d.Press("enter")
			noCodes(t, d, g)
			d.Press("esc", "a")
			noCodes(t, d, g)
			d.Type(write(code))
			d.Press("tab")
			d.Type("7d")
			d.Press("ctrl+s")
			d.Has("Let dave@home into dev?", "Until 2026-11-29 09:30 UTC", "honest envruns keep to that")
			for _, key := range []string{"y", "space", "a", "tab"} {
				d.Press(key)
			}
			calls{g}.want(t)
			d.Press("Y")
			calls{g}.want(t, "Approve dev dev/dave@home")
			d.Has("dave@home can open dev now.", "fingerprint", "git add .envrun/vault", "inbox 1")
			d.Press("esc")
			d.Has("[waiting 1]")
			d.Lacks("dave@home")
			d.Press("w")
			d.Has("dave@home", "in 7d")
		})
	}
}

// What keeps a decision from being made, and that then nothing is.
func TestApproveTraps(t *testing.T) {
	const wrong = "0000-0000-0000"
	open := func(t *testing.T) (*tuitest.Driver, *tuitest.Gate, string) {
		d, g := drive(t)
		code := g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call", At: tuitest.Start.Add(-time.Minute)})
		d.Press("I", "j")
		return d, g, code
	}
	stays := func(t *testing.T, g *tuitest.Gate) {
		t.Helper()
		if slices.Contains(g.MemberNames(tuitest.Dev), "dave@home") {
			t.Error("dave@home was let in")
		}
	}
	t.Run("another code", func(t *testing.T) {
		d, g, _ := open(t)
		d.Press(keys("a", letters(wrong), "ctrl+s", "Y")...)
		stays(t, g)
		d.Has("! refused", "Not approved", "the check code is not that of the request")
		noCodes(t, d, g)
		d.Press("!")
		d.Has("Details", "the check code is not that of the request")
	})
	t.Run("no code", func(t *testing.T) {
		d, g, _ := open(t)
		d.Press("a", "ctrl+s", "enter", "ctrl+s")
		d.Has("Type the code as dave@home reads it to you")
		d.Press("Y", "Y", "ctrl+s")
		calls{g}.want(t)
	})
	t.Run("half a code", func(t *testing.T) {
		d, g, code := open(t)
		d.Press(keys("a", letters(code[:9]), "ctrl+s", "Y")...)
		calls{g}.want(t)
	})
	t.Run("a bad end", func(t *testing.T) {
		d, g, code := open(t)
		d.Press(keys("a", letters(code), "tab", letters("tomorrow"), "ctrl+s", "Y")...)
		d.Has("8h, 7d")
		calls{g}.want(t)
	})
	t.Run("the request is another by now", func(t *testing.T) {
		d, g, code := open(t)
		d.Press(keys("a", letters(code), "ctrl+s")...)
		g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call", Key: tuitest.Recipient("mallory")})
		d.Press("Y")
		stays(t, g)
		d.Has("has changed since you looked", "the key is another", "changed")
		noCodes(t, d, g)
	})
	t.Run("the request is gone", func(t *testing.T) {
		d, g, code := open(t)
		d.Press(keys("a", letters(code), "ctrl+s")...)
		screenDeny(t, g, tuitest.Dev, "dave@home")
		d.Press("Y")
		stays(t, g)
		d.Has("is gone")
		d.Lacks("dave@home can open")
	})
	t.Run("protected takes its name", func(t *testing.T) {
		d, g, _ := open(t)
		d.Press("g")
		d.Has("> carol@desk")
		d.Press(keys("a", letters(wrong), "tab", "tab", "space", "ctrl+s")...)
		d.Has("Type the environment's name (prod):")
		d.Press("Y")
		d.Send(tea.PasteMsg{Content: "prod"})
		d.Press("tab", "Y")
		calls{g}.want(t)
		d.Press("tab")
		d.Press(keys("backspace", letters("prod"), "enter", "enter")...)
		calls{g}.want(t) // Enter cancels
	})
	t.Run("protected with its name", func(t *testing.T) {
		d, g, _ := open(t)
		code := g.Ask(tuitest.Prod, screen.Request{Who: "erin@lab", Reason: "new here", At: tuitest.Start.Add(-100 * time.Hour)})
		d.Press("r", "g")
		d.Press(keys("a", letters(code), "ctrl+s", letters("prod"), "tab", "Y")...)
		calls{g}.want(t, "Approve prod prod/erin@lab")
		d.Has("erin@lab can open PROD now")
	})
	t.Run("another key must be meant", func(t *testing.T) {
		d, g, _ := open(t)
		d.Press("g")
		d.Press(keys("a", letters(wrong), "ctrl+s")...)
		d.Has("They have another key, which this would replace: say so.")
		calls{g}.want(t)
	})
	t.Run("what others decide", func(t *testing.T) {
		d, g, _ := open(t)
		g.Ask(tuitest.Empty, screen.Request{Who: "zed@home", Reason: "x", At: tuitest.Start.Add(-200 * time.Hour)})
		d.Press("r", "g", "a")
		d.Has("approve...: you hold no key of preview")
		d.Has("inbox 2") // it does not wait for alice
	})
	t.Run("a plugin", func(t *testing.T) {
		d, g, _ := open(t)
		g.Ask(tuitest.Dev, screen.Request{Who: "yuri@home", Reason: "x", At: tuitest.Start.Add(-200 * time.Hour), Key: screen.KeyKind{Name: "age-plugin-yubikey", Plugin: "yubikey", Recipient: "age1yubikey1q"}})
		d.Press("r", "g", "a")
		d.Has("envrun access approve yuri@home -e dev --plugin yubikey")
		calls{g}.want(t)
	})
	t.Run("locked in between", func(t *testing.T) {
		d, g, code := open(t)
		d.Press(keys("a", letters(code), "ctrl+s", "ctrl+l", "Y", "enter", "Y")...)
		calls{g}.want(t)
		d.Has("> dave@home")
	})
	t.Run("pasted keys", func(t *testing.T) {
		d, g, code := open(t)
		d.Send(tea.PasteMsg{Content: "a" + code + "\nY"})
		d.Press("a")
		d.Send(tea.PasteMsg{Content: code + "\n\nY\n"})
		d.Press("Y", "enter", "Y")
		calls{g}.want(t)
	})
	t.Run("a held key", func(t *testing.T) {
		d, g, code := open(t)
		d.Press(keys("a", letters(code), "ctrl+s")...)
		k := tuitest.Key("Y")
		k.IsRepeat = true
		d.Send(k)
		calls{g}.want(t)
	})
}

// screenDeny is somebody else who denies.
func screenDeny(t *testing.T, g *tuitest.Gate, env vault.Env, who string) {
	t.Helper()
	all, err := g.Requests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		if q.ID == tuitest.ID(env, who) {
			if _, err := g.Granting(env).Deny(t.Context(), q.ID, q.Rev, ""); err != nil {
				t.Fatal(err)
			}
			g.Calls = nil
			return
		}
	}
	t.Fatalf("%s does not ask for %s", who, env)
}

// What others wrote is never an escape sequence on our screen, and never longer
// than it. The driver looks for that in every picture.
func TestHostileRequests(t *testing.T) {
	d, g := drive(t)
	for i, text := range []string{"\x1b]52;c;QUJD\x07", "\x1b[2J\x1b[H", "\u202Egnp.exe", strings.Repeat("x", 5000), "line\nline", "\x9b31m", "\u200B\u2066", "👨‍👩‍👧‍👦 日本語"} {
		g.Ask(tuitest.Dev, screen.Request{Who: fmt.Sprintf("w%d%s", i, text), Reason: text, Author: text, Wants: text, Careful: []string{text}, Problem: strings.Repeat(text, i%2)})
	}
	d.Press("I")
	for _, size := range tuitest.Sizes {
		d.Resize(size[0], size[1])
		d.Press("g")
		for range 10 {
			d.Press("enter", "esc", "a", "esc", "x", "esc", "j")
		}
	}
}

// Denying is one key and a consent; a policy's wants a reason too.
func TestDeny(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		d, g := drive(t)
		d.Press("I", "j", "x", "enter")
		calls{g}.want(t)
		d.Press("x", "Y")
		calls{g}.want(t, "Deny dev dev/dave@home ")
		d.Has("Denied: the request of dave@home for dev is gone.")
		d.Lacks("> dave@home")
	})
	t.Run("reason", func(t *testing.T) {
		d, g := drive(t)
		g.Ask(tuitest.Dev, screen.Request{Who: "ivan", Policy: "p", Reasons: true, At: tuitest.Start.Add(-300 * time.Hour)})
		d.Press("I", "x", "ctrl+s")
		d.Has("Say why: ivan reads it.")
		d.Press(keys(letters("not yet"), "ctrl+s")...)
		d.Has("They read: not yet")
		d.Press("Y")
		calls{g}.want(t, "Deny dev dev/ivan not yet")
	})
	t.Run("changed", func(t *testing.T) {
		d, g := drive(t)
		d.Press("I", "j", "x")
		g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "something else"})
		d.Press("Y")
		d.Has("Not denied", "has changed since you looked", "is something else")
	})
}

// Members leave: a new key, the list of what they could read, and from there to
// where each value is changed.
func TestFlowRemove(t *testing.T) {
	d, g := drive(t)
	d.Press("w", "j", "space", "k", "d")
	d.Has("Remove bob@desktop from dev?", "held by alice@laptop, carol@desk", "or nothing is done")
	d.Press("enter")
	calls{g}.want(t)
	d.Press("d", "Y")
	calls{g}.want(t, "Remove dev bob@desktop")
	d.Has("bob@desktop cannot read what is written to dev from now on.", "key          2; 4 secrets wrapped anew", "6 values in use", "git add")
	d.Press("enter")
	d.Has("6 values to replace in dev", "billing/stripe/STRIPE_SECRET_KEY")
	d.Press("j", "enter")
	d.Has("> STRIPE_SECRET_KEY", "enter type")
	d.Press("esc")
	d.Has("> billing/stripe/STRIPE_SECRET_KEY")
	d.Press("esc")
	d.Has("MEMBER", "key 2", "removed bob@desktop", "carol@desk")
	d.Lacks("    bob@desktop")
}

// Who removes themselves is told what that means; nobody can remove everybody.
func TestRemoveOneself(t *testing.T) {
	d, g := drive(t)
	d.Press("w", "d")
	d.Has("You are one of them: you cannot open dev afterwards.")
	d.Press("esc", "space", "space", "space", "d", "Y")
	d.Has("Not removed", "nobody would be left")
	if len(g.MemberNames(tuitest.Dev)) != 3 {
		t.Error(g.MemberNames(tuitest.Dev))
	}
	d.Has("key 1")
}

// In a protected environment what takes access away takes its name.
func TestProtectedTakesItsName(t *testing.T) {
	for _, key := range []string{"d", "T", "W"} {
		t.Run(key, func(t *testing.T) {
			d, g := drive(t)
			g.Member(tuitest.Prod, screen.Member{Name: "carol@desk", Key: tuitest.Recipient("carol"), Since: tuitest.Start.AddDate(0, -9, 0), Until: tuitest.Start.Add(-time.Hour)})
			d.Press("2", "w", "j", key, "Y")
			calls{g}.want(t)
			d.Press(keys("backspace", letters("prod"), "tab", "Y")...)
			if len(g.Calls) != 1 {
				t.Errorf("%q\n%s", g.Calls, d.Text())
			}
		})
	}
}

// The end of an access is made true by a sweep, and by nothing else.
func TestFlowSweep(t *testing.T) {
	d, g := drive(t)
	g.Member(tuitest.Dev, screen.Member{Name: "bob@desktop", Key: tuitest.Recipient("bob"), Since: tuitest.Start, Until: tuitest.Start.Add(10 * time.Minute)})
	d.Press("w", "W")
	d.Has("sweep...: nobody's time is over", "in 10m")
	for range 11 {
		d.Advance(time.Minute)
		d.Press("j")
	}
	d.Has("ENDED 1m", "ended and not swept: bob@desktop")
	d.Press("W")
	d.Has("The time of bob@desktop is over")
	d.Press("Y")
	calls{g}.want(t, "Sweep dev bob@desktop")
	d.Has("bob@desktop cannot read what is written to dev from now on.")
}

// Whoever does not hold the key changes nothing, and is told why.
func TestClosedChangesNothing(t *testing.T) {
	d, g := drive(t)
	d.Press("3", "w")
	d.Has("closed to you")
	for _, key := range []string{"n", "d", "T", "W"} {
		d.Press(key)
		d.Has("preview is closed to you")
	}
	d.Press("K", "s")
	d.Has("preview is closed to you")
	calls{g}.want(t)
}

// A rotation that came in part is finished before anything else.
func TestFlowFinishRotation(t *testing.T) {
	d, g := drive(t)
	g.InPart(tuitest.Dev, "3 records still at key 1 of 2")
	d.Press("w", "d")
	d.Has("remove...: a rotation came here in part")
	d.Press("T")
	d.Has("Finish the new key of dev?")
	d.Press("Y")
	calls{g}.want(t, "Rotate dev")
	d.Has("The new key of dev is finished.")
	d.Press("esc")
	d.Lacks("in part")
}

// Somebody is let in whose key was pasted.
func TestFlowAdd(t *testing.T) {
	d, g := drive(t)
	key := tuitest.Recipient("erin").Recipient
	d.Press("w", "n", "ctrl+s")
	d.Has("Who is it?")
	d.Type("erin@lab")
	d.Has("Their public key")
	d.Press("tab")
	d.Type("nonsense")
	d.Has("this is no public key")
	d.Press("ctrl+s", "Y")
	calls{g}.want(t)
	d.Press("ctrl+u")
	d.Send(tea.PasteMsg{Content: key + "\n"})
	d.Press("tab")
	d.Type("8h")
	d.Press("ctrl+s")
	d.Has("Let erin@lab into dev?", "Be sure that it is theirs", "age1pq1erinzzzzzzz..zzzzzzzend, post-quantum", "Until 2026-11-22 17:30 UTC")
	d.Press("Y")
	calls{g}.want(t, "Add dev erin@lab")
	d.Has("erin@lab can open dev now.", "Tell erin@lab")

	// The same again with another key takes more than a yes.
	d.Press("esc", "n")
	d.Type("erin@lab")
	d.Press("tab")
	d.Send(tea.PasteMsg{Content: tuitest.Recipient("erin-new").Recipient})
	d.Press("ctrl+s", "Y")
	d.Has("erin@lab has access with another key. n again")
	if m := memberOf(t, g, "erin@lab"); m.Key.Recipient != key {
		t.Error("the key was replaced")
	}
	d.Press("n", "space", "ctrl+s")
	d.Has("Replace the key of erin@lab in dev?", "lost or stolen")
	d.Press("Y")
	if m := memberOf(t, g, "erin@lab"); m.Key.Recipient == key {
		t.Error("the key was not replaced")
	}
	d.Press("esc", "n")
	d.Lacks("Replace")
}

func memberOf(t *testing.T, g *tuitest.Gate, name string) screen.Member {
	t.Helper()
	m, err := g.Members(t.Context(), tuitest.Dev)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range m.List {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("%s is no member", name)
	return screen.Member{}
}

// A private key that is put where a public one belongs is not kept, and not shown.
func TestAddPrivateKey(t *testing.T) {
	d, g := drive(t)
	secret := "AGE-SECRET-KEY-PQ-1FAKEFAKEFAKEFAKEFAKEFAKEFAKE"
	d.Press("w", "n")
	d.Type("erin@lab")
	d.Press("tab")
	for _, put := range map[string]func(){
		"pasted":  func() { d.Send(tea.PasteMsg{Content: "# created: 2026\n" + secret + "\n"}) },
		"a PEM":   func() { d.Send(tea.PasteMsg{Content: "-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret}) },
		"typed":   func() { d.Type(secret[:16]) },
		"in part": func() { d.Type("AGE-SECRET-"); d.Send(tea.PasteMsg{Content: secret[11:]}) },
	} {
		put()
		d.Lacks("FAKEFAKE")
		d.Has("That was a private key")
		d.Press("ctrl+s", "Y")
		d.Press("ctrl+u")
	}
	calls{g}.want(t)
}

// A grant that was left pending is made without a key.
func TestAddPending(t *testing.T) {
	d, g := drive(t)
	g.Member(tuitest.Dev, screen.Member{Name: "yuri@home", Pending: true, Key: screen.KeyKind{Name: "age-plugin-yubikey", Plugin: "yubikey", Recipient: "age1yubikey1q"}})
	d.Press("w", "G")
	d.Has("they hold no key yet")
	d.Press("n")
	d.Type("yuri@home")
	d.Press("ctrl+s")
	d.Has("The grant that was left pending is made now.")
	d.Press("Y")
	if memberOf(t, g, "yuri@home").Pending {
		t.Error("it still is")
	}
}

// Long work says how far it is, can be left alone, and tells who has gone on
// without taking them away from what they do.
func TestProgressAndMovingOn(t *testing.T) {
	d, g := drive(t)
	d.Press("w", "j", "d")
	d.Hold()
	d.Press("Y")
	d.DeliverOne()
	d.DeliverOne()
	d.Has("changing the key of dev: 1 of 4")
	d.Press("T")
	d.Has("new key...: changing the key of dev")
	d.Press("S")
	d.Deliver()
	d.Has("ctrl+l locks the screen now")
	d.Has("bob@desktop cannot read what is written to dev from now on.  ! says what is left to do")
	d.Press("!")
	d.Has("6 values to replace at their source", "to share it: git add")
	d.Press("esc", "esc")
	d.Has("key 2")
	d.Lacks("changing the key")
	calls{g}.want(t, "Remove dev bob@desktop")
}

// A change that fails says so, and what is shown is what is there.
func TestRotationFails(t *testing.T) {
	d, g := drive(t)
	g.FailWith = func(call string, _ vault.Env) error {
		if call == "Remove" {
			return &vault.Error{Kind: vault.KindFull, Op: "writing", Detail: "no space left on device"}
		}
		return nil
	}
	d.Press("w", "j", "d", "Y")
	d.Has("Not removed: writing: no space left on device", "key 1", "bob@desktop")
	d.Lacks("changing the key")
	d.Press("T")
	d.Has("Give dev a new key?")
}

// A key that this machine has never seen is compared by a person; one in the
// place of another they type, since the one that is there may be an attacker's.
func TestFlowTrust(t *testing.T) {
	t.Run("new", func(t *testing.T) {
		d, g := drive(t)
		g.Shut(tuitest.Dev, screen.Standing{Shut: screen.NewKey})
		d.Press("1")
		d.Has("dev is new to this machine", "7QMX-2K4D-9TRW-EV01")
		d.Lacks("locked for you")
		d.Press("R")
		d.Has("you may have access: compare its key first")
		d.Press("a", "enter")
		calls{g}.want(t)
		d.Press("a", "Y")
		calls{g}.want(t, "Trust dev 7QMX-2K4D-9TRW-EV01")
		d.Has("dev is open to you.")
	})
	t.Run("another", func(t *testing.T) {
		d, g := drive(t)
		g.Shut(tuitest.Dev, screen.Standing{Shut: screen.OtherKey, Known: "AAAA-BBBB-CCCC-DDDD"})
		d.Press("1")
		d.Has("another key than this machine knows")
		d.Lacks("7QMX-2K4D-9TRW-EV01")
		d.Press("a")
		d.Lacks("7QMX-2K4D-9TRW-EV01")
		d.Type("7QMX")
		d.Press("ctrl+s", "Y")
		calls{g}.want(t)
		d.Type("-2K4D-9TRW-EV99")
		d.Press("ctrl+s", "Y")
		d.Has("Not accepted", "another key than this machine knows")
		g.Calls = nil
		d.Press("a")
		d.Type("7qmx-2k4d-9trw-ev01")
		d.Press("ctrl+s", "Y")
		calls{g}.want(t, "Trust dev 7QMX-2K4D-9TRW-EV01")
		d.Has("dev is open to you.")
	})
}

// A check can be stopped, and counts what it has looked at.
func TestVaultCheck(t *testing.T) {
	d, g := drive(t)
	d.Press("K")
	d.Has("not checked yet")
	d.Press("c")
	d.Has("4 records right, nothing found")
	d.Hold()
	d.Press("c", "esc")
	d.Lacks("nothing found")
	d.Deliver()
	d.Has("not checked yet")
	g.ChangeCare(tuitest.Dev, func(c *screen.Care) { c.Unsealed = 2 })
	d.Press("r", "s")
	d.Has("Seal dev?", "2 changes")
	d.Press("Y")
	calls{g}.want(t, "Seal dev")
	d.Has("dev is sealed.", "13, 2026-11-22 by alice@laptop; all of it")
	d.Press("s")
	d.Has("seal...: all of it is sealed")
}

// The places can be gone to from anywhere, and going to one again goes back to it.
func TestPlaces(t *testing.T) {
	d, g := drive(t)
	g.Expose(tuitest.Dev, "ledger/db", "DATABASE_URL", "gina@old")
	for range 3 {
		d.Press("I", "w", "O", "K", "S")
	}
	for _, want := range []string{"ctrl+l locks", "not checked yet", "1 value to replace", "MEMBER", "waiting 2", "filters"} {
		d.Has(want)
		d.Press("esc")
	}
	// In another environment they are about that one.
	d.Press("w", "2", "w")
	d.Has("ci-github")
}

// Without anything to be known of access, nothing of it is there.
func TestNoGate(t *testing.T) {
	d := tuitest.New(t, tuitest.NewWorld(t))
	before := d.Text()
	d.Press("I", "w", "O", "K", "S", "R")
	if d.Text() != before {
		t.Error(d.Text())
	}
	d.Press("?")
	d.Lacks("who asks for access")
}

// A lock that is found out late takes nobody away from what they do.
func TestLateLock(t *testing.T) {
	d, _ := drive(t)
	d.Hold()
	d.Press("3", "/")
	d.Type("abc")
	d.Deliver()
	d.Has("/abc", "preview is locked for you. R asks for access.", "[locked]")
	d.Press("esc")
	d.Has("No names in preview yet")
}

// The requests are counted again while somebody looks, and not while nobody does;
// a new one moves nothing.
func TestInboxCounts(t *testing.T) {
	d, g := drive(t)
	d.Press("I", "j")
	g.Ask(tuitest.Dev, screen.Request{Who: "aaron@home", Reason: "me", At: tuitest.Start.Add(-1000 * time.Hour)})
	d.Advance(20 * time.Second)
	d.Has("inbox 3", "1 new: r", "> dave@home")
	d.Lacks("aaron")
	d.Press("r")
	d.Has("> dave@home", "aaron@home", "[waiting 3]")
	d.Lacks("new: r")

	counted := 0
	g.FailWith = func(call string, _ vault.Env) error {
		if call == "Asking" {
			counted++
		}
		return nil
	}
	d.Send(tea.BlurMsg{})
	d.Advance(2 * time.Minute)
	if counted > 0 {
		t.Error("the requests were read while nobody looked")
	}
	d.Send(tea.FocusMsg{})
	if counted == 0 {
		t.Error("the requests were not read when somebody looked again")
	}
	counted = 0
	d.Press("ctrl+l")
	d.Advance(2 * time.Minute)
	if counted > 0 {
		t.Error("the requests were read behind the lock")
	}
}

// What is typed as a reason survives the lock, and is not lost by leaving.
func TestReasonSurvivesTheLock(t *testing.T) {
	d, g := drive(t)
	d.Press("3", "R")
	d.Type("a reason")
	d.Advance(6 * time.Minute)
	d.Has("envrun is locked", "1 changes not sent")
	d.Press("enter")
	d.Has("because: a reason")
	d.Press("ctrl+c")
	d.Has("Leave?")
	d.Press("esc")
	d.Press("ctrl+s", "Y")
	calls{g}.want(t, "Ask preview")
	d.Press("ctrl+c")
	if !d.Quit {
		t.Error("there was nothing to be asked about")
	}
}

// A reason is one line, whatever is pasted.
func TestPastedReason(t *testing.T) {
	d, g := drive(t)
	d.Press("3", "R")
	d.Send(tea.PasteMsg{Content: "first line\r\nsecond\n\nY\n"})
	d.Has("because: first line second Y")
	d.Press("enter")
	calls{g}.want(t)
}

// Share mode hides values and nothing that a decision needs.
func TestAccessInShareMode(t *testing.T) {
	d, g := drive(t, func(c *tui.Config) { c.Share = true })
	code := g.Ask(tuitest.Dev, screen.Request{Who: "dave@home", Reason: "on call", At: tuitest.Start.Add(-time.Minute)})
	d.Press(keys("I", "j", "a", letters(code), "ctrl+s", "Y")...)
	calls{g}.want(t, "Approve dev dev/dave@home")
	d.Has("SHARE", "dave@home can open dev now.")
	d.Press("w", "j", "d", "Y", "enter", "enter", "v")
	d.Lacks("REVEALED")
}

// Where there is no room nothing is asked and nothing answered.
func TestTooSmallDecidesNothing(t *testing.T) {
	d, g := drive(t)
	d.Press("w", "j", "d")
	d.Resize(39, 9)
	d.Press("Y", "Y")
	calls{g}.want(t)
	d.Resize(40, 10)
	d.Press("Y")
	calls{g}.want(t) // there is more to read
	d.Press("pgdown", "pgdown", "pgdown", "Y")
	calls{g}.want(t, "Remove dev bob@desktop")
}

// What is to be replaced is a key away from being typed, and leaves the list when
// it is sent.
func TestExposedIsReplaced(t *testing.T) {
	const typed = "FAKE-replaced-5d1c0a77e2"
	d, g := drive(t)
	d.World.Canary(typed)
	g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "gina@old")
	g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_WEBHOOK_KEY", "gina@old")
	d.Press("O", "j")
	d.Has("2 values to replace", "> billing/stripe/STRIPE_WEBHOOK_KEY", "enter replace")
	d.Press("enter")
	d.Has("> STRIPE_WEBHOOK_KEY", "enter type")
	d.Press("enter")
	d.Type(typed)
	d.Press("enter", "ctrl+s", "ctrl+s", "Y")
	if s, err := d.World.Vault.Get(t.Context(), "dev", "billing/stripe"); err != nil || s.Version != 2 {
		t.Errorf("version %d, %v", s.Version, err)
	} else if f, _ := s.Field("STRIPE_WEBHOOK_KEY"); string(f.Value.Reveal()) != typed {
		t.Errorf("it is %q", f.Value.Reveal())
	}
}

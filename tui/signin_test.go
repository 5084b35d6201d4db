package tui_test

import (
	"context"
	"errors"
	"math/rand/v2"
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

// served is the interface over a server that alice is signed in to.
func served(t *testing.T, options ...func(*tui.Config)) (*tuitest.Driver, *tuitest.SignIns) {
	t.Helper()
	w := tuitest.NewWorld(t)
	s := tuitest.NewSignIns(t, w)
	return tuitest.New(t, w, options...), s
}

// called waits until a sign-in that was called off has left nothing, which takes
// less than a second.
func called(t *testing.T, s *tuitest.SignIns) {
	t.Helper()
	select {
	case <-s.Left:
	case <-time.After(time.Minute):
		t.Fatal("a sign-in goes on that was called off")
	}
}

// A person at work is told that their session has ended, signs in with one key, and
// goes on where they were.
func TestSessionEndsWhileWorking(t *testing.T) {
	d, s := served(t)
	d.Press("/")
	d.Type("stripe")
	d.Press("enter", "j")
	before := d.Text()
	d.Has("alice@acme.example 8h", "> …ling/stripe/STRIPE_SECRET_KEY")
	s.Out(screen.Lapsed)
	d.Press("r")
	d.Has("Your session at vault.acme.example has ended", "ctrl+r sign in", "NOT SIGNED IN", "> …ling/stripe/STRIPE_SECRET_KEY")
	d.Press("v")
	if d.Model.Shown() {
		t.Error("a value is shown without a session")
	}
	d.Has("! Your session at vault.acme.example has ended")
	d.Press("ctrl+r")
	s.Visit(d, screen.Visit{Opened: true})
	s.End(d, s.In(), nil)
	d.Has("Signed in to vault.acme.example as alice@acme.example.")
	d.Lacks("NOT SIGNED IN", "has ended")
	if d.Model.Shown() {
		t.Error("a value is shown that nobody has asked for any more")
	}
	d.Press("k", "j") // the notice is gone
	if now := d.Text(); now != before {
		t.Errorf("it is not as it was:\n%s\nbefore:\n%s", now, before)
	}
}

// What is typed is kept, is refused, and is asked about again: nothing is written
// by itself.
func TestSessionEndsWhileWriting(t *testing.T) {
	const value = "FAKE-typed-while-signed-in"
	start := func(t *testing.T) (*tuitest.Driver, *tuitest.SignIns) {
		d, s := served(t)
		d.World.Canary(value)
		d.Press("j", "e", "enter")
		d.Type(value[:10])
		s.Out(screen.Lapsed)
		d.Type(value[10:])
		d.Press("enter", "ctrl+s", "ctrl+s", "Y")
		d.Has("Not sent, and your changes are kept", "unsent 1", "NOT SIGNED IN")
		return d, s
	}
	signIn := func(d *tuitest.Driver, s *tuitest.SignIns) {
		d.Press("ctrl+r")
		s.Visit(d, screen.Visit{Opened: true})
		s.End(d, s.In(), nil)
	}
	written := func(t *testing.T, d *tuitest.Driver) bool {
		t.Helper()
		got, err := d.World.Vault.Get(t.Context(), tuitest.Dev, "billing/stripe")
		if err != nil {
			t.Fatal(err)
		}
		f, _ := got.Field("STRIPE_SECRET_KEY")
		return string(f.Value.Reveal()) == value
	}
	t.Run("and sends again", func(t *testing.T) {
		d, s := start(t)
		signIn(d, s)
		if written(t, d) {
			t.Fatal("it was written by itself")
		}
		d.Has("Send 1 change to dev?", "Not done before: sending changes")
		d.Press("Y")
		d.Advance(time.Second) // whoever was typing has not answered
		d.Press("Y")
		d.Has("Sent: billing/stripe is version 2.")
		if !written(t, d) {
			t.Error("it was not written")
		}
	})
	t.Run("and does not", func(t *testing.T) {
		d, s := start(t)
		signIn(d, s)
		d.Advance(time.Second)
		d.Press("esc")
		d.Has("unsent 1")
		if written(t, d) {
			t.Error("it was written all the same")
		}
	})
	t.Run("and goes on meanwhile", func(t *testing.T) {
		d, s := start(t)
		d.Press("esc", "ctrl+r")
		s.Visit(d, screen.Visit{Opened: true})
		s.End(d, s.In(), nil)
		d.Lacks("Send 1 change to dev?")
		d.Has("Not done before: sending changes", "unsent 1")
	})
	t.Run("behind a lock", func(t *testing.T) {
		d, s := start(t)
		d.Press("ctrl+r")
		s.Visit(d, screen.Visit{Opened: true})
		d.Press("ctrl+l")
		s.End(d, s.In(), nil)
		d.Has("envrun is locked", "1 changes not sent")
		d.Lacks("billing")
		d.Press("enter")
		d.Has("Send 1 change to dev?")
		if written(t, d) {
			t.Error("it was written by itself")
		}
	})
}

// While something is typed, one key signs in, and what was typed is still there.
func TestSignInWhileTyping(t *testing.T) {
	d, s := served(t, func(c *tui.Config) { c.Envs = c.Envs[:1] })
	d.Press("n")
	d.Type("ci/tok")
	s.Out(screen.Lapsed)
	d.Press("ctrl+r")
	s.Code(d)
	d.Has("code  WDJB-MJHT")
	s.End(d, s.In(), nil)
	d.Type("en")
	d.Has("ci/token")
}

// Each way begins anew, after all of the one before is gone.
func TestOtherWays(t *testing.T) {
	d, s := served(t)
	s.Out(screen.SignedOut)
	d.Press("ctrl+r")
	s.Visit(d, screen.Visit{Off: "there is no browser here"})
	d.Has("No browser was opened: there is no browser here.", "5m left, waiting for the browser")
	d.Press("d")
	called(t, s)
	s.Code(d)
	d.Has("code  WDJB-MJHT", "open  https://id.acme.example/device")
	d.Press("d") // it is that already
	d.Press("y")
	if d.World.Board.Holds != tuitest.DeviceURL {
		t.Errorf("the clipboard holds %q", d.World.Board.Holds)
	}
	d.Press("p")
	called(t, s)
	s.Visit(d, screen.Visit{})
	d.Has("then paste the address it ends at", "address:")
	long := "http://127.0.0.1:41873/callback?state=x&code=" + strings.Repeat("FAKE", 3000)
	d.Send(tea.PasteMsg{Content: long + "\r\n"})
	d.Lacks("FAKEFAKE")
	d.Press("enter")
	d.Await()
	d.Has("that is not the address")
	d.Send(tea.PasteMsg{Content: strings.Repeat("x", 70<<10)})
	d.Has("no address is")
	d.Press("esc")
	called(t, s)
	d.Has("Not signed in: it was cancelled, and nothing of it is left.")
	if !slices.Equal(s.Pasted, []string{long}) {
		t.Errorf("pasted were %d texts", len(s.Pasted))
	}
	if want := []screen.How{screen.AsFits, screen.ByDevice, screen.ByPaste}; !slices.Equal(s.Hows, want) {
		t.Errorf("the ways were %v", s.Hows)
	}
	d.Press("ctrl+r")
	s.Visit(d, screen.Visit{Opened: true})
	s.End(d, s.In(), nil)
	d.Has("Signed in to", "STRIPE_SECRET_KEY")
}

// Ctrl-C in the box calls the sign-in off, and does not leave; the next one does.
func TestInterruptedSignIn(t *testing.T) {
	d, s := served(t)
	d.Press("ctrl+r")
	s.Code(d)
	d.Press("ctrl+c")
	called(t, s)
	if d.Quit {
		t.Fatal("it leaves")
	}
	d.Lacks("WDJB")
	d.Press("ctrl+r", "esc", "ctrl+r", "ctrl+c", "ctrl+r") // some of them never begin
	s.Code(d)
	d.Press("ctrl+c")
	called(t, s)
	d.Press("ctrl+c")
	if !d.Quit {
		t.Error("it does not leave")
	}
}

// A sign-in begins when nothing is left of any before it, also of one that takes its
// time to end while others after it were called off.
func TestOneSignInAtATime(t *testing.T) {
	d, s := served(t)
	began, left := make(chan int, 8), make(chan struct{})
	s.Run = func(ctx context.Context, _ vault.Env, _ screen.How, _ screen.Person) (screen.Signed, error) {
		n := len(s.Hows)
		began <- n
		<-ctx.Done()
		if n == 1 {
			<-left
		}
		s.Left <- struct{}{}
		return screen.Signed{}, ctx.Err()
	}
	d.Press("ctrl+r")
	if n := <-began; n != 1 {
		t.Fatalf("sign-in %d began first", n)
	}
	d.Press("esc", "ctrl+r", "esc", "ctrl+r", "esc", "ctrl+r")
	select {
	case n := <-began:
		t.Fatalf("sign-in %d began beside the first", n)
	case <-time.After(100 * time.Millisecond): // too short finds less and never fails
	}
	close(left)
	called(t, s)
	select {
	case <-began:
	case <-time.After(time.Minute):
		t.Fatal("the last sign-in does not begin")
	}
	d.Press("ctrl+c")
	called(t, s)
}

// Leaving ends a sign-in that is under way.
func TestLeavingEndsASignIn(t *testing.T) {
	d, s := served(t)
	d.Press("ctrl+r")
	s.Visit(d, screen.Visit{Opened: true})
	d.Send(tea.QuitMsg{})
	d.Model.Close()
	called(t, s)
}

// A lock hides a sign-in and does not end it.
func TestLockHidesASignIn(t *testing.T) {
	d, s := served(t, func(c *tui.Config) { c.Idle = time.Minute })
	s.Out(screen.SignedOut)
	d.Press("r", "ctrl+r")
	s.Step(d, func(p screen.Person) {
		p.Code(screen.Code{Code: tuitest.SignInCode, URL: tuitest.DeviceURL, Until: tuitest.Start.Add(15 * time.Minute)})
	})
	d.Advance(61 * time.Second)
	d.Has("envrun is locked")
	d.Lacks("WDJB", "id.acme")
	s.Step(d, func(p screen.Person) { p.Note("the issuer does not answer, trying again") })
	d.Lacks("issuer")
	d.Press("enter")
	d.Has("code  WDJB-MJHT", "14m left, the issuer does not answer, trying again")
	d.Press("ctrl+l")
	s.End(d, s.In(), nil)
	d.Lacks("WDJB")
	d.Press("enter")
	d.Has("STRIPE_SECRET_KEY", "alice@acme.example 8h")
	d.Lacks("WDJB", "NOT SIGNED IN")
	if len(s.Left) > 0 {
		t.Error("it was called off")
	}
}

// The end of a session is said before it comes, and when it has come.
func TestSessionEndIsSaid(t *testing.T) {
	d, s := served(t, func(c *tui.Config) { c.Idle = 24 * time.Hour })
	s.Is.Ends = tuitest.Start.Add(10 * time.Minute)
	d.Press("S", "esc")
	d.Has("alice@acme.example 10m")
	d.Lacks("Your session")
	d.Advance(5*time.Minute + time.Second)
	d.Has("Your session at vault.acme.example ends in 5m: ctrl+r signs in again, and nothing is lost.", "alice@acme.example 5m")
	d.Advance(4*time.Minute + 30*time.Second)
	d.Has("ends in 29s")
	d.Resize(60, 20)
	d.Has("Session ends in 29s: ctrl+r signs in again.")
	d.Resize(100, 30)
	d.Advance(time.Minute)
	d.Has("Your session at vault.acme.example has ended: ctrl+r signs in", "NOT SIGNED IN")

	// One that another envrun goes on with is not said to end.
	d, s = served(t)
	s.Is.Ends = tuitest.Start.Add(4 * time.Minute)
	d.Press("S", "esc")
	d.Has("ends in 4m")
	s.Is.Ends = tuitest.Start.Add(time.Hour)
	d.Advance(40 * time.Second)
	d.Lacks("ends in")
	d.Has("alice@acme.example 60m")
}

// A sign-in that is refused says so and can begin again.
func TestRefusedSignIn(t *testing.T) {
	d, s := served(t)
	s.Out(screen.SignedOut)
	d.Press("ctrl+r")
	s.Code(d)
	s.End(d, screen.Signed{}, errors.New("the code was refused\x1b[2J"))
	d.Has("! Not signed in: the code was refused^[[2J")
	d.Lacks("WDJB")
	d.Press("!", "esc", "ctrl+r")
	s.Visit(d, screen.Visit{Opened: true})
	s.End(d, s.In(), nil)
	d.Has("Signed in to")
}

// Out of a session, and into another account.
func TestSignOutAndOtherAccount(t *testing.T) {
	d, s := served(t)
	s.Is.Accounts = append(s.Is.Accounts, screen.Account{ID: "a2", Label: "admin@acme.example"})
	d.Press("S", "a", "down", "enter")
	d.Has("Another account is used now.")
	if s.Used != "a2" {
		t.Errorf("used is %q", s.Used)
	}
	d.Press("a", "down", "down", "enter")
	s.Visit(d, screen.Visit{Opened: true})
	d.Press("esc")
	called(t, s)
	d.Press("Q", "enter")
	if s.Outs != 0 {
		t.Fatal("signed out without a yes")
	}
	d.Press("Q", "Y")
	d.Has("Signed out of vault.acme.example", "the token was revoked at vault.acme.example", "NOT SIGNED IN")
	d.Press("esc", "Q")
	d.Has("sign out...: nobody is signed in")
}

// What an environment wants beyond a session is said there, and the sign-in is for
// that environment.
func TestNewerSignIn(t *testing.T) {
	d, s := served(t)
	d.Press("2")
	s.Stale(tuitest.Prod)
	d.Press("r")
	d.Has("PROD wants a sign-in that is not older than 15m: ctrl+r signs in", "alice@acme.example 8h")
	d.Press("ctrl+r")
	s.Visit(d, screen.Visit{Opened: true})
	s.End(d, s.In(), nil)
	d.Has("Signed in to")
	d.Lacks("wants a sign-in")
}

// Names are hidden from who watches, and what a sign-in says stays readable.
func TestSignInInShareMode(t *testing.T) {
	d, s := served(t, func(c *tui.Config) { c.Share = true })
	s.Out(screen.SignedOut)
	d.Press("ctrl+r")
	s.Code(d)
	d.Lacks(tuitest.SignInCode)
	d.Press("P")
	d.Lacks(tuitest.SignInCode)
	d.Press("P")
	d.Has(tuitest.SignInCode)
	d.Press("P")
	d.Lacks(tuitest.SignInCode)
}

// A read that goes again says that somebody has signed in elsewhere.
func TestSignedInElsewhere(t *testing.T) {
	d, s := served(t)
	s.Out(screen.Lapsed)
	d.Press("r")
	d.Has("NOT SIGNED IN")
	s.In()
	d.Press("r")
	d.Lacks("NOT SIGNED IN", "has ended")
}

// Where the server gives nothing there is nothing to ask for a key, and no value.
func TestNotReachable(t *testing.T) {
	d, s := served(t)
	s.Is.Envs[1].Reach = screen.ReachNone
	d.Press("2")
	d.Has("[locked]")
	for _, key := range []string{"v", "V", "y"} {
		d.Press(key)
		d.Has("PROD is not reachable for you; S says what is")
	}
	d.Press("E")
	d.Has("read, write", "L no access")
	d.Press("esc", "S")
	d.Has("L not reachable: your policies say nothing of it")
}

// Another envrun that signs in is noticed.
func TestSignedInByAnother(t *testing.T) {
	d, s := served(t)
	s.Out(screen.Lapsed)
	d.Press("r")
	d.Has("NOT SIGNED IN")
	d.Advance(40 * time.Second)
	d.Has("NOT SIGNED IN")
	s.In()
	d.Advance(40 * time.Second)
	d.Has("Signed in to vault.acme.example as alice@acme.example.")
	d.Lacks("NOT SIGNED IN", "has ended", "may be old")
}

// somethingElse is one of what can happen while people sign in, end sessions and
// lock, as chosen by n and m.
func somethingElse(d *tuitest.Driver, s *tuitest.SignIns, n, m int) (what string) {
	keys := []string{"j", "enter", "esc", "tab", "S", "Q", "Y", "a", "b", "d", "p", "y", "P", "r", "e", "n", "x", "1", "2", "E", ":", "?", "v", "/", "q", "ctrl+r", "ctrl+r", "ctrl+r", "ctrl+c", "ctrl+l", "ctrl+s", "ctrl+z", "!"}
	switch n %= len(keys) + 10; {
	case n < len(keys):
		d.Press(keys[n])
		return keys[n]
	case n == len(keys):
		d.Advance(time.Duration(m%90) * time.Second)
		return "time"
	case n == len(keys)+1:
		d.Resize(30+m%90, 6+m%30)
		return "size"
	case n == len(keys)+2:
		d.Send(tea.PasteMsg{Content: "http://127.0.0.1:1/callback?code=FAKEcode\x1b[2J"})
		return "paste"
	case n == len(keys)+3:
		s.Out([]screen.SignState{screen.SignedOut, screen.Lapsed, screen.Refused}[m%3])
		return "out"
	case n == len(keys)+4:
		s.Stale(tuitest.Prod)
		return "stale"
	case n == len(keys)+5:
		s.In()
		return "in"
	case !d.Model.SigningIn():
		return ""
	case n == len(keys)+6:
		s.Visit(d, screen.Visit{Opened: m%2 == 0})
		return "visit"
	case n == len(keys)+7:
		s.Code(d)
		return "code"
	case n == len(keys)+8:
		s.End(d, s.In(), nil)
		return "signed in"
	}
	s.End(d, screen.Signed{}, errors.New("no"))
	return "refused"
}

// anything does what order says, and checks what holds after all of it: nothing has
// crashed, and a lock leaves no code and no address on the screen.
func anything(t *testing.T, order func() (n, m int, more bool)) {
	d, s := served(t)
	d.AllowAll()
	var did []string
	for n, m, more := order(); more; n, m, more = order() {
		if d.Quit {
			d, s = served(t)
			d.AllowAll()
		}
		if d.Suspended {
			d.Resume()
		}
		did = append(did, somethingElse(d, s, n, m))
		text := d.Text()
		for _, secret := range []string{"FAKEstate", tuitest.SignInCode} {
			if tuitest.Shows(text, secret) && (d.Model.Locked() || !d.Model.SigningIn()) {
				t.Errorf("%q is on the screen:\n%s", secret, text)
			}
		}
		if c := d.Model.Crashed(); c != nil {
			t.Fatalf("after %q: %v\n%s", did, c, c.Stack)
		}
		if t.Failed() {
			t.Fatalf("after %q", did)
		}
	}
}

func TestSignInAtRandom(t *testing.T) {
	for seed := range uint64(25) {
		r, left := rand.New(rand.NewPCG(seed, 11)), 150
		anything(t, func() (n, m int, more bool) {
			left--
			return r.IntN(1000), r.IntN(1000), left >= 0
		})
	}
}

func FuzzSignIn(f *testing.F) {
	f.Add([]byte{25, 0, 39, 0, 29, 0, 41, 0, 1, 0})
	f.Add([]byte{14, 0, 1, 0, 16, 0, 36, 1, 30, 0, 30, 0, 6, 0, 25, 0, 39, 0, 41, 0, 6, 0})
	f.Fuzz(func(t *testing.T, order []byte) {
		if len(order) > 400 {
			return
		}
		anything(t, func() (n, m int, more bool) {
			if len(order) < 2 {
				return 0, 0, false
			}
			n, m = int(order[0]), int(order[1])
			order = order[2:]
			return n, m, true
		})
	})
}

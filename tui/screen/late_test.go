package screen_test

import (
	"strings"
	"testing"
	"time"

	"envrun/tui/screen"
	"envrun/tui/tuitest"
)

// What comes late changes nothing that somebody has done or agreed to meanwhile.

// Nothing is sent but what was shown: a value that comes into a draft while it is
// asked about is not agreed to.
func TestSendIsWhatWasShown(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("down")
	d.Hold()
	d.Press("ctrl+t") // the present value of another field, which takes its time
	d.Press("ctrl+s")
	d.Press("ctrl+s")
	d.Has("Send 1 change to dev?")
	for d.Held() > 0 { // it comes
		d.DeliverOne()
	}
	d.Press("Y")
	d.Deliver()
	d.Has("is not what was shown any more")
	if version(t, w, tuitest.Dev, stripe) != 1 {
		t.Fatal("it was sent")
	}
	d.Press("ctrl+s")
	d.Has("Send 2 changes to dev?")
	d.Press("Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
}

// What was typed into a field while its present value was on its way stays.
func TestLateAmend(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("/")
	d.Type(stripeAt)
	d.Press("enter", "e")
	d.Hold()
	d.Press("ctrl+t", "enter")
	d.Type(w.Canary(typed))
	d.Deliver()
	d.Has("its value came too late")
	d.Press("esc", "ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
}

// After sending, the screen below takes nothing in before it knows what is there
// now: it would be lost with the draft that was sent.
func TestTypingAfterSending(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := draftWorld(t, w)
	d.Press("ctrl+s", "ctrl+s")
	d.Hold()
	d.Press("Y")
	for strings.Contains(d.Text(), "Changes to dev") {
		d.DeliverOne()
	}
	d.Has("was based on version 1") // and what is there now is still on its way
	d.Press("enter")
	d.Has("what is there now has not been read yet")
	d.Type("zz")
	d.Press("d", "n", "ctrl+g")
	d.Deliver()
	d.Has("based on version 2")
	d.Lacks("unsent")
	d.Press("enter")
	d.Type(w.Canary(typed))
	d.Press("esc", "ctrl+s", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, stripe, stripeAt, typed)
}

// What was typed for a field is not replaced by what a file has for it without a
// word.
func TestImportOverWhatWasTyped(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w, files(t, ".env", "REDIS_PASSWORD="+w.Canary("FAKE-in-the-file-01836e47b9")+"\n"))
	d.Press("/")
	d.Type("REDIS")
	d.Press("enter", "e", "enter")
	d.Type(w.Canary(typed))
	d.Press("esc", "esc", "i")
	d.Type(".env")
	d.Press("enter", "space", "ctrl+s")
	d.Has("Drop what was typed for REDIS_PASSWORD?")
	d.Press("enter")
	d.Has("REDIS_PASSWORD", "Your draft has a value for it")
	d.Press("ctrl+s", "j", "Y", "ctrl+s", "Y")
	holds(t, w, tuitest.Dev, "checkout", "REDIS_PASSWORD", "FAKE-in-the-file-01836e47b9")
}

// A path that was gone on with is not, once another is typed.
func TestLatePath(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w)
	d.Press("n", "ctrl+u")
	d.Type("billing/stripe")
	d.Hold()
	d.Press("enter")
	d.Press("backspace", "x")
	d.Deliver()
	d.Has("A new secret in dev", "billing/stripx")
	d.Lacks("STRIPE_SECRET_KEY")
}

// What is to be replaced is opened only while the cursor is on it.
func TestLateExposure(t *testing.T) {
	d, g := drive(t)
	g.Expose(tuitest.Dev, "billing/smtp", "SMTP_PASSWORD", "gina@old")
	g.Expose(tuitest.Dev, "billing/stripe", "STRIPE_SECRET_KEY", "gina@old")
	d.Press("O")
	d.Hold()
	d.Press("enter", "j")
	d.Deliver()
	d.Has("2 values to replace in dev")
}

// A file that was being read, and a check that was under way, when the screen was
// locked, go on afterwards.
func TestReadingGoesOnAfterTheLock(t *testing.T) {
	w := tuitest.NewWorld(t)
	d := tuitest.New(t, w, files(t, ".env", "ADDED=FAKE-added\n"))
	d.Press("i")
	d.Type(".env")
	d.Hold()
	d.Press("enter", "ctrl+l")
	d.Deliver()
	d.Press("enter")
	d.Has("[x]  ADDED")

	d, _ = drive(t)
	d.Press("K")
	d.Hold()
	d.Press("c", "ctrl+l")
	d.Deliver()
	d.Press("enter")
	d.Has("records right, nothing found")
}

// A sweep removes those who were shown, and nobody whose time has ended since.
func TestSweepIsWhatWasShown(t *testing.T) {
	d, g := drive(t)
	for name, after := range map[string]time.Duration{"bob@desktop": time.Second, "erin@lab": time.Minute} {
		g.Member(tuitest.Dev, screen.Member{Name: name, Key: tuitest.Recipient(name), Since: tuitest.Start, Until: tuitest.Start.Add(after)})
	}
	d.Advance(2 * time.Second)
	d.Press("w", "W")
	d.Has("The time of bob@desktop is over")
	d.Advance(90 * time.Second)
	d.Press("Y")
	calls{g}.want(t, "Sweep dev bob@desktop")
	d.Press("esc")
	d.Has("erin@lab", "ENDED")
}

// A reason that was typed is not lost by going back.
func TestReasonIsNotLostByOneKey(t *testing.T) {
	d, _ := drive(t)
	d.Press("3", "R")
	d.Type("why")
	d.Press("esc")
	d.Has("Leave?", "press Y to go back")
	d.Press("enter")
	d.Has("because: why")
	d.Press("esc", "Y")
	d.Lacks("because: why")
	d.Press("R", "esc")
	d.Lacks("Leave?") // nothing was typed
}

// Whoever is removed is named in full, whatever room the box's title has.
func TestWhoeverIsRemovedIsNamed(t *testing.T) {
	d, g := drive(t)
	const long = "zoe-with-a-name-as-long-as-two-that-differ-at-their-ends-only@a-very-long-host-of-theirs.example.org"
	for _, name := range []string{long + "1", long + "2"} {
		g.Member(tuitest.Dev, screen.Member{Name: name, Key: tuitest.Recipient(name), Since: tuitest.Start})
	}
	d.Press("w", "G", "d")
	d.Has("Remove "+long[:40], "example.org2 from dev?")
}

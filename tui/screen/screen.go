// Package screen holds the screens of the terminal interface: plain structs that
// say which actions they offer, return what should happen as effects, and draw
// themselves into a rectangle.
//
// They do no I/O, start no goroutine, know no clock and hold no value: a screen
// asks for a job and gets facts, it asks for a value to be revealed and gets
// room to be drawn in. The root in package tui does what they ask for, or
// refuses.
package screen

import (
	"context"
	"iter"
	"time"

	"envrun/tui/draft"
	"envrun/tui/kit"
	"envrun/vault"
)

// A Screen is one place of the interface. The root calls its methods one at a
// time; none of them may block.
type Screen interface {
	// Title says where we are, in a few words; no value.
	Title() string

	// Enter is called when the screen comes to the top, the first time and again
	// when what was above it is gone.
	Enter() Effect

	// Offers are the actions that are there now, the most useful first: the footer
	// shows as many as fit. One that cannot be used says why.
	Offers() []kit.Offer

	// Do does an action that is offered and not off.
	Do(action string) Effect

	// Target is the value that the screen is about at the moment, if there is one.
	// When it changes, a value that is shown is hidden.
	Target() (Target, bool)

	// Draw draws the screen. It must draw the same when it is called again.
	Draw(a kit.Area, s Scene)
}

// A Typist is a screen in which something can be typed.
type Typist interface {
	// Input takes the keys that type; nil when nothing has the focus. While there
	// is one, a key that types text means no action.
	Input() Input
	// Typed is called after the input has taken a key or pasted text.
	Typed() Effect
	// Asks says what is to be typed, for whoever cannot see where the cursor is.
	// An input that is a form says it itself.
	Asks() string
}

// Input is what takes keys: a kit.Field, a kit.Form.
type Input interface {
	Key(k kit.Key) bool
	Paste(text string) bool
}

// A Drafter is a screen that holds changes that have not been sent, other than
// those in Project.Drafts.
type Drafter interface {
	Drafts() int
}

// A Leaver is a screen that is told when it is gone for good.
type Leaver interface {
	Leave()
}

// A Placed is a screen that one goes to from anywhere: the action that goes
// there, and the environment that it is about, if it is about one.
type Placed interface {
	Place() (action string, env vault.Env)
}

// Target names one value.
type Target struct {
	Env     vault.Env
	Path    vault.Path
	Field   vault.FieldName
	Version uint64 // 0: the current one
	Typed   bool   // not what the vault has, but what was typed for it and not sent
}

// Project is what all screens know. It is the root's, and changes between two
// keys only.
type Project struct {
	Name string
	Envs []Env
	Tree bool // this person likes lists as trees

	// Explain says what went wrong, and what to do about it, which may be empty.
	Explain func(err error) (what, next string)

	// FreeFacts says that Reading.Facts costs nothing and is written down nowhere.
	FreeFacts bool

	// Injects says that Reading.Injected knows what commands get.
	Injects bool

	// Drafts are the changes that were made and not sent.
	Drafts *draft.Set

	// Path is the secret that files are taken into unless another is named; it may
	// be empty. Editor is the person's own; empty: there is none.
	Path   vault.Path
	Editor string

	// Gate reads what people type about who can open what, and is there only if
	// something can be known of that (Reading.Access). Standings is what has been
	// found of the environments that were gone to, Waiting the number of requests
	// that wait for the one who works here.
	Gate      Typed
	Standings map[vault.Env]Standing
	Waiting   int

	// Server is what the server of an environment is known by, Signed what is known
	// of who is signed in there, and Wants whether an error means that somebody has to
	// sign in. Server is nil where no environment is on one.
	Server func(env vault.Env) string
	Signed map[string]Signed
	Wants  func(err error) (Want, bool)
}

// alone is why nothing can be done with another environment: off, or that there
// is none.
func (p *Project) alone(off string) string {
	if off == "" && len(p.Envs) < 2 {
		return "there is no other environment"
	}
	return off
}

// Env is an environment by its name.
func (p *Project) Env(name vault.Env) (Env, bool) {
	for _, e := range p.Envs {
		if e.Name == name {
			return e, true
		}
	}
	return Env{Name: name}, false
}

// Env is an environment as the interface knows it.
type Env struct {
	Name      vault.Env
	Protected bool          // marked on every screen; what destroys asks for its name
	Reveal    time.Duration // how long a value may be shown there; 0: as elsewhere
}

// Facts are what may be said of a value without showing it.
type Facts = draft.Facts

// Reading is what a job may read. It has no method that returns a value.
type Reading interface {
	// List yields every secret of an environment, as vault.Reader does.
	List(ctx context.Context, env vault.Env) iter.Seq2[vault.Info, error]
	// Info is the current version of one secret. KindNotFound if there is none.
	Info(ctx context.Context, env vault.Env, path vault.Path) (vault.Info, error)
	// Versions yields the versions of one secret, newest first, as vault.Historian
	// does. KindUnsupported where none are kept.
	Versions(ctx context.Context, env vault.Env, path vault.Path) iter.Seq2[vault.Info, error]
	// Facts opens one version of a secret (0: the current one), counts, and
	// forgets it. A server may log that as a read.
	Facts(ctx context.Context, env vault.Env, path vault.Path, version uint64) ([]Facts, error)
	// Injected says what commands get of one secret, sorted by field and variable.
	// A field that is not in it is given to no command. No value is read for it.
	Injected(ctx context.Context, env vault.Env, path vault.Path) ([]Injection, error)
	// Verify checks what is stored, as vault.Verifier does. Nothing where a vault
	// cannot.
	Verify(ctx context.Context, env vault.Env) iter.Seq[vault.Finding]
	// Access is who can open what; nil where Project.Gate is. Signing is who is signed
	// in, and is not called where Project.Server is nil.
	Access() Access
	Signing
	// Load reads one value for a draft to work on. Where account is kept of reads,
	// it is one.
	Load(ctx context.Context, t Target) (*draft.Batch, error)
	// Near returns a few of the paths that are near to what was typed, nearest first.
	Near(typed string, among []vault.Path) []vault.Path
	// Complete yields the paths of files that begin as typed; folders end with "/".
	Complete(ctx context.Context, typed string) ([]string, error)
	// Import reads a file with values, and compares it with a secret. The caller
	// wipes it.
	Import(ctx context.Context, from Source, env vault.Env, path vault.Path) (*draft.Import, error)
}

// Source is where an Import comes from.
type Source struct {
	File    string        // its path; for pasted text what to call it
	Pasted  *draft.Pasted // the text itself; nil: it is in the file
	Format  string        // one of draft.Formats; empty: by its name and how it begins
	Service string        // of a compose file; the name of a Kubernetes object
}

// Writing is what a job may do that a person consented to, in one environment.
type Writing interface {
	Reading
	// Apply makes all changes or none: vault.Writer.
	Apply(ctx context.Context, changes []vault.Change) ([]vault.Info, error)
	// Restore makes an earlier version the newest, with a version of its own, if
	// the newest is still was.
	Restore(ctx context.Context, path vault.Path, version, was uint64) (vault.Info, error)
	// CopyFrom copies fields of a secret of another environment here, all of them
	// if none is named. The values pass from vault to vault.
	CopyFrom(ctx context.Context, from vault.Env, path vault.Path, fields []vault.FieldName, was uint64) (vault.Info, error)
	// AddEnv and RemoveEnv are vault.EnvKeeper; KindUnsupported where it is none.
	AddEnv(ctx context.Context) error
	RemoveEnv(ctx context.Context) error
}

// An Effect is what a screen wants done. nil is nothing.
type Effect interface{ effect() }

// All are several effects, in order.
type All []Effect

// Push opens a screen above this one; Pop goes back; Replace opens one in its place.
type Push struct{ Screen Screen }

// Present opens a screen that was waited for, above the one that asked. If that
// one is not on top any more, or something is over it, nothing is opened, and Else
// is said: nobody is taken away from what they are doing.
type Present struct {
	Screen Screen
	Else   kit.Notice
}

// Pop goes back to the screen below.
type Pop struct{}

// Replace opens a screen in the place of this one.
type Replace struct{ Screen Screen }

// Switch goes to the first screen of an environment.
type Switch struct{ Env vault.Env }

// Say shows a notice.
type Say struct{ kit.Notice }

// Ask opens a dialog. Then, which may be nil, is called when it is done. One that
// follows from a job is not opened for somebody who has done something else
// meanwhile: they are told, and are not taken away from that.
type Ask struct {
	Dialog kit.Dialog
	Then   func() Effect
}

// Reveal shows the value that the screen is about, for a while; Hide hides it.
type Reveal struct{}

// PeekAt shows it while the key is held, where the terminal tells when a key is
// let go; elsewhere it is Reveal.
type PeekAt struct{}

// Hide hides what is revealed.
type Hide struct{}

// Remember has how this person likes lists kept until the next start.
type Remember struct{ Tree bool }

// Copy copies the value that the screen is about to the clipboard, for a while.
type Copy struct{}

// CopyName copies text that is no secret: a path.
type CopyName struct{ Text string }

// CopyAs copies text that is no secret and too long to be named by itself.
type CopyAs struct{ Text, As string }

// A Read is a job that reads. It runs beside the interface, and only while it is
// wanted: another job in its lane, another screen or Esc end it, and whatever it
// still has to say is then dropped.
type Read struct {
	Lane string        // of this screen
	What string        // "reading prod", for the status line; empty: not mentioned
	For  time.Duration // at most; 0: 10 seconds

	// Do runs on a goroutine of its own and must not touch the screen: what
	// changes the screen it hands to show, which has it run between two keys and
	// returns when it has, or reports false when nobody wants it any more. Rows go in pages of a
	// thousand or more, not one by one.
	Do func(ctx context.Context, r Reading, show func(change func()) bool) error

	// Done is called between two keys when Do has returned; it may be nil.
	Done func(err error) Effect
}

// A Write is a job that changes something. Without a fresh Consent from a Confirm
// box it is refused, and so it is without the environment's name typed if it
// destroys something in a protected one. Moving on does not end it.
type Write struct {
	Consent kit.Consent
	Harm    kit.Harm
	Env     vault.Env
	What    string // "deleting STRIPE_KEY"
	Do      func(ctx context.Context, w Writing) error
	Done    func(err error) Effect // also when the screen is gone; it may be nil
}

// A Send sends drafts of one environment, all or none, in one compare-and-swap
// write. Consent is as in Write. Until it is done they cannot be changed; drafts
// that were sent are gone, those that could not be are as they were.
type Send struct {
	Consent kit.Consent
	Drafts  []*draft.Draft
	Done    func(infos []vault.Info, err error) Effect // also when the screen is gone; it may be nil
}

// EditText hands a draft to the person's own editor, as text in memory, and
// makes it what the editor leaves. Then is called when something was changed.
type EditText struct {
	Draft *draft.Draft
	Then  func() Effect
}

// Stop ends the job of a lane of this screen.
type Stop struct{ Lane string }

func (All) effect()      {}
func (Push) effect()     {}
func (Present) effect()  {}
func (Pop) effect()      {}
func (Replace) effect()  {}
func (Switch) effect()   {}
func (Say) effect()      {}
func (Ask) effect()      {}
func (Reveal) effect()   {}
func (PeekAt) effect()   {}
func (Hide) effect()     {}
func (Remember) effect() {}
func (Copy) effect()     {}
func (CopyName) effect() {}
func (CopyAs) effect()   {}
func (Read) effect()     {}
func (Write) effect()    {}
func (Stop) effect()     {}
func (Send) effect()     {}
func (EditText) effect() {}

// A Scene is what a screen may look at while it draws.
type Scene struct {
	Now    time.Time
	Size   kit.Size
	Share  bool // somebody is watching: what can be left out is
	Values Values
	Lanes  Lanes
}

// Values draws values: the only way one gets into a picture.
type Values interface {
	// Draw draws the mask, or the value itself while it is revealed, from line skip
	// of it on, and returns the number of its lines; 1 for the mask.
	Draw(a kit.Area, t Target, skip int) int
	// Shown is what is known of a value while it is revealed, and for how long it
	// still is.
	Shown(t Target) (f Facts, left time.Duration, ok bool)
}

// Lanes says what is under way.
type Lanes interface {
	// Busy is the job in a lane of the screen that is drawn; its Since is zero if
	// there is none.
	Busy(lane string) kit.Busy
}

// Confirmation is the box that asks before something is done to an environment:
// with its name to be typed where NeedsName says so.
func Confirmation(env Env, harm kit.Harm, title, verb string, facts ...string) *kit.Confirm {
	c := &kit.Confirm{Title: title, Verb: verb, Facts: facts, Role: kit.Border}
	if harm == kit.Destroys {
		c.Role = kit.Danger
	}
	if env.Protected {
		c.Role = kit.Protected
	}
	if NeedsName(env, harm) {
		c.Type, c.What = string(env.Name), "the environment's name"
	}
	return c
}

package screen

import (
	"context"
	"errors"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Access is what a job may learn of who can open what. It holds no value and no
// private key. What it says of an environment that the one who works here cannot
// open is what the vault says of itself, and nobody has checked it.
//
// Errors are *vault.Error; what Project.Explain says of them is what is shown.
// Each method may be slow, and may be called again at any time.
type Access interface {
	// Session is who works here, with what, and what that opens.
	Session(ctx context.Context) (Session, error)
	// Standing is what the one who works here can do in one environment. That it
	// is closed is no error. It may be asked of every environment that is gone
	// to: where it is open it costs no more than opening it.
	Standing(ctx context.Context, env vault.Env) (Standing, error)
	// Requests are those of all environments of the project that nobody has decided
	// yet, one's own among them, the oldest first. One that cannot be read is there
	// with its Problem.
	Requests(ctx context.Context) ([]Request, error)
	// Asking is which requests there are, and is asked every few seconds: it asks
	// nobody for anything and opens nothing. Only ID, Env, Who, Mine and Others are
	// set, Others as far as is known.
	Asking(ctx context.Context) ([]Request, error)
	// Members are who can open an environment, by name. No secret is looked at.
	Members(ctx context.Context, env vault.Env) (Members, error)
	// Exposed is what former members could read and has not been replaced since, by
	// path and field.
	Exposed(ctx context.Context, env vault.Env) ([]Exposed, error)
	// Care is the state of what is stored of an environment. Whether each record of
	// it is right says Reading.Verify.
	Care(ctx context.Context, env vault.Env) (Care, error)
}

// Granting is what a job may do about who can open an environment, after a
// person has consented to it (Grant). Each change is made whole or not at all,
// and is refused if what it is about is not any more what was shown.
//
// step is told how much of long work is done; it may be nil.
type Granting interface {
	// Ask asks for access for the one who works here. The same request again is
	// left as it is. KindExists if they have it. The reason is one line that
	// everybody can read.
	Ask(ctx context.Context, reason, ticket string) (Request, error)
	// Approve decides for a request: KindNotFound if it is gone, KindConflict if it
	// is not the one that was shown, KindDenied if the check code is not its own or
	// the one who works here may not decide.
	Approve(ctx context.Context, a Approval) (Outcome, error)
	// Deny decides against it, and takes back one's own. KindNotFound and
	// KindConflict as Approve. A reason is refused as KindInvalid where it goes
	// nowhere.
	Deny(ctx context.Context, id, rev, reason string) (Outcome, error)
	// Add lets somebody in whose public key is known. KindExists, with
	// ErrOtherKey if they are in with another key that Replace would take away.
	Add(ctx context.Context, m NewMember) (Outcome, error)
	// Remove takes access away from members: a new key, which everybody else holds.
	Remove(ctx context.Context, members []string, step func(done, total int)) (Outcome, error)
	// Rotate makes a new key that the same members hold, or finishes a rotation
	// that came here in part.
	Rotate(ctx context.Context, step func(done, total int)) (Outcome, error)
	// Sweep is Remove of members whose time is over: those that were shown, and
	// nobody else's. KindConflict if the time of one of them is not over.
	Sweep(ctx context.Context, members []string, step func(done, total int)) (Outcome, error)
	// Seal moves the checkpoint to what is there now, after checking all of it.
	Seal(ctx context.Context) (Outcome, error)
	// Trust has this machine take the key that the environment has now, if that has
	// this fingerprint.
	Trust(ctx context.Context, fingerprint string) error
}

// A Gate is all of it, as the root is given it.
type Gate interface {
	Access
	Typed
	// Granting changes one environment.
	Granting(env vault.Env) Granting
}

// Typed reads what people type about access. It is called with each key.
type Typed interface {
	// Until reads when access is to end as people write it: "8h", "7d",
	// "2026-12-31"; zero of nothing.
	Until(text string) (time.Time, error)
	// Recipient reads a public key as people paste it, and says of which kind it is.
	Recipient(text string) (KeyKind, error)
}

// ErrOtherKey is a cause of Granting.Add's KindExists: the member has a key, and
// it is another one.
var ErrOtherKey = errors.New("they have access with another key")

// Key is the key of an environment.
type Key struct {
	Gen         uint32
	Fingerprint string // as people compare it: "7QMX-2K4D-9TRW-XB5N"
	By, Why     string
	At          time.Time
}

// KeyKind is a kind of public key.
type KeyKind struct {
	Name        string // "post-quantum", "classic", "ssh-ed25519"
	PostQuantum bool
	Plugin      string // the program that wrapping something for it takes; empty: none
	Recipient   string // the public key itself
}

// Shut says why an environment is closed.
type Shut uint8

// The reasons. NotShut is none.
const (
	NotShut    Shut = iota
	NoKey           // nobody has let them in
	NoIdentity      // there is nothing on this machine to open it with
	Ended           // their time is over
	NoGrant         // the grant waits for somebody who has a plugin
	NewKey          // this machine has never seen its key: somebody must compare it
	OtherKey        // the key is not the one that this machine knows
	Broken          // Standing.Err says it
)

// Standing is what the one who works here can do in an environment.
type Standing struct {
	Env    vault.Env
	Shut   Shut
	Err    error     // what kept it from being opened; nil if it is open
	Member string    // who they are there, or would ask as; empty: not known
	Until  time.Time // when the access ended, or will; zero: it is not limited, or not known

	// What can be seen of it all the same; not set where it is open.
	Names    int      // of secrets; -1: not even their number
	Deciders []string // who can let somebody in
	Claimed  bool     // nobody has checked that they can
	Key      Key      // as the vault has it now
	Known    string   // the fingerprint that this machine knows, where it is another

	Asked *Request // their own request that nobody has decided yet

	// Of a server with policies; zero where anybody who can open it decides.
	May    string        // "read, for up to 4h"
	Policy string        // that says so
	Needs  []Need        // who must agree
	Ticket string        // of which form: "PAY-123"; empty: none is needed
	Wait   time.Duration // how long others waited
}

// Open reports whether the environment can be opened.
func (s Standing) Open() bool { return s.Shut == NotShut }

// A Need is who must agree to a request: so many of a group.
type Need struct {
	Have, Want int
	From       string // "platform-oncall"
}

// A Vote is one of several decisions about a request.
type Vote struct {
	By  string
	At  time.Time
	Yes bool
	Why string
}

// Request is somebody who asks for access. In a vault of files anybody can have
// written it who can write to the repository: who it is from shows in the check
// code, which the one who decides must hear from them and type. So Code is there
// on one's own request only: what is not on the screen is not copied from it.
type Request struct {
	ID       string // of this request, and of no other
	Rev      string // of what it says now: a decision is about that
	Env      vault.Env
	Who      string
	Mine     bool // it is from the one who works here
	At       time.Time
	Reason   string
	Author   string // who brought it here, as git has it: a name that anybody can claim
	Claimed  bool   // Who and Author are claims
	Key      KeyKind
	Replaces bool   // they have access with another key, which this would replace
	Code     string // the check code, of one's own
	Coded    bool   // who approves types the check code
	Others   bool   // it is for others to decide: the one who works here cannot open the environment
	Off      string // why the one who works here cannot approve it; empty: they can
	Problem  string // it cannot be read, and why
	File     string // where it is; empty: nowhere in a file
	Steps    []Step // of one's own: how it gets to who decides

	// Of a server with policies.
	Wants   string        // "read billing/*"; empty: all of the environment
	For     time.Duration // 0: until somebody ends it
	Ticket  string
	Policy  string
	Lapses  time.Time // when nobody can approve it any more
	Needs   []Need
	Votes   []Vote
	Careful []string // what is unusual about it: "first time", "no ticket"
	Reasons bool     // Deny takes a reason, and needs it
}

// Approval is a decision for a request.
type Approval struct {
	ID, Rev string    // what was decided about
	Code    string    // the check code as it was heard
	Until   time.Time // when the access is to end; zero: it does not
	Replace bool      // the key that they have
}

// NewMember is somebody who is to be let in.
type NewMember struct {
	Name      string
	Recipient string // their public key, as they gave it; empty: the one that is pending
	Until     time.Time
	Replace   bool
}

// Member is somebody who can open an environment, or is to.
type Member struct {
	Name     string
	You      bool
	Key      KeyKind
	By       string    // who let them in
	Since    time.Time // when they first held a key of it
	Until    time.Time // when their access is to end; zero: it does not
	Pipeline bool      // nobody, but a pipeline with a key in a string
	Pending  bool      // they hold no key yet: it takes Key.Plugin to make the grant
	Problem  string    // why the grant does not count
}

// Members are who can open an environment.
type Members struct {
	Key    Key
	Closed error // why one cannot open it: then all of this is what its files say of themselves
	List   []Member
}

// Exposed is a field that somebody could read who may not any more, and that has
// had no new value since.
type Exposed struct {
	Path  vault.Path
	Field vault.FieldName
	Who   []string
	At    time.Time // when the last of them was removed
}

// Care is the state of what is stored of an environment.
type Care struct {
	Vault, Dir string
	Journal    string // what is to be said of a write that was interrupted; empty: none was
	Strays     []error
	Key        Key
	Pinned     uint32 // the generation of the key that this machine knows; 0: none
	Closed     error  // why one cannot open it
	Classic    int    // members whose key is not post-quantum
	Members    int
	Secrets    int
	Deleted    int
	Damaged    int
	OldKey     []vault.Path // under a former key
	InPart     string       // a rotation came here in part, and what of it is missing
	SealSeq    uint64
	SealBy     string
	SealAt     time.Time
	Unsealed   int // changes since
	Exposed    int // fields that are to be replaced
	Asking     []string
}

// Session is who works here.
type Session struct {
	Member  string // empty: the key does not say
	Key     KeyKind
	Kept    string    // where the private key is: "the file /home/…"
	Guarded bool      // it is not readable as it lies there
	Made    time.Time // zero: not known
	Ends    time.Time // of a sign-in; zero: it does not end
	Problem error     // there is no identity, or it cannot be used
	State   string    // where this machine keeps what it knows; empty: nowhere
	Envs    []SessionEnv
}

// SessionEnv is what a session opens of one environment.
type SessionEnv struct {
	Standing
	Pinned uint32 // the generation that this machine knows; 0: none
}

// A Step is something that is left to be done, and the command that does it.
type Step struct {
	Text    string // "to share it"
	Command string // ready to paste; empty: it is done elsewhere
}

// Outcome is what a change came to.
type Outcome struct {
	Member  string    // who was let in
	Until   time.Time // until then
	Key     Key       // that the environment has now
	Rotated bool      // the key is new
	Holders []string  // of the new key
	Removed []string
	Secrets int // wrapped anew
	Pending []Member
	Exposed []Exposed // by those who were removed
	Left    []vault.Path
	Steps   []Step
}

// A Grant is a job that changes who can open an environment. It takes a fresh
// Consent as a Write does; in a protected environment whatever gives access or
// takes it takes the environment's name, typed. Moving on does not end it.
type Grant struct {
	Consent kit.Consent
	Harm    kit.Harm
	Env     vault.Env
	What    string        // "letting bob@desktop into prod"
	For     time.Duration // at most; 0: 30 seconds

	// Do is as of a Read: what changes the screen it hands to show.
	Do   func(ctx context.Context, g Granting, show func(change func()) bool) error
	Done func(err error) Effect // also when the screen is gone; it may be nil
}

func (Grant) effect() {}

// NeedsName says whether the name of an environment must be typed before harm is
// done to it.
func NeedsName(env Env, harm kit.Harm) bool {
	return env.Protected && (harm == kit.Destroys || harm == kit.Grants)
}

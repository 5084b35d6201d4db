package screen

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// SignIns is how the one who works here is signed in to the servers that
// environments are on. It holds sessions and shows none: no token, code or key
// comes out of it.
//
// Errors are *vault.Error where a server or the way to it is at fault; what
// Project.Explain says of them is what is shown. Server and Wants ask nobody and
// return at once; the others may be slow.
type SignIns interface {
	Signing
	// Server is what the server of an environment is known by: environments with the
	// same one share a session. Empty: it is on none.
	Server(env vault.Env) string
	// Wants says whether an error means that somebody has to sign in, and where.
	Wants(err error) (Want, bool)
	// SignIn signs in to the server of an environment and keeps the session. Called
	// off it returns at once, and leaves nothing.
	SignIn(ctx context.Context, env vault.Env, how How, p Person) (Signed, error)
	// SignOut revokes the session that is used at the server of an environment, deletes
	// it here, and says what became of each part of it. The error says that it is
	// still here.
	SignOut(ctx context.Context, env vault.Env) ([]Ending, error)
	// Use has another account that is signed in used at the server of an environment.
	Use(ctx context.Context, env vault.Env, account string) error
}

// Signing is the part of SignIns that looks.
type Signing interface {
	// Signed is who is signed in at the server of an environment, and what they may
	// reach there. With ask the server says; else it is what is known on this machine.
	// That nobody is signed in is no error.
	Signed(ctx context.Context, env vault.Env, ask bool) (Signed, error)
}

// How is a way to sign in.
type How uint8

// The ways. AsFits is that which fits where we are.
const (
	AsFits    How = iota
	ByBrowser     // in a browser on this machine
	ByDevice      // with a code, on any device
	ByPaste       // in any browser, from which the last address is pasted here
)

// Person is who a sign-in talks with. Its methods do not wait for the person, and
// may be called from any goroutine.
type Person interface {
	Visit(v Visit)         // shown before anything is waited for
	Code(c Code)           // the same, of a device code
	Pasted() <-chan string // what the person pastes: the address that the browser ended at
	Note(text string)      // what is waited for
}

// A Visit is an address that the person opens in a browser, or that was opened for
// them.
type Visit struct {
	URL    string
	Until  time.Time // when it is not waited for any more
	Opened bool
	Off    string // why it was not opened; empty: it was, or nobody tried
}

// A Code is what the person types on another device.
type Code struct {
	Code  string
	URL   string // where
	Host  string // this machine, as the person knows it
	Until time.Time
}

// SignState says how it stands with a sign-in.
type SignState uint8

// The states. What a session that is there is about to become shows its Ends.
const (
	SignedIn  SignState = iota
	SignedOut           // nobody has signed in from here
	Lapsed              // the server does not take the session any more
	Refused             // the issuer refused to go on with it: somebody has to sign in again
	Away                // the server could not be asked, and what is said is what was known
	NotFresh            // it is there, and this environment wants a newer or a stronger one
)

// A Want says that somebody has to sign in, and where.
type Want struct {
	Server  string // as SignIns.Server
	Address string // of the server
	Env     vault.Env
	State   SignState
	Within  time.Duration // of NotFresh: how long ago one may have signed in; 0: how one signs in is what matters
}

// Host is a server as it is written in a sentence.
func Host(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return address
}

// Short says it where there is little room.
func (w Want) Short(p *Project) string {
	switch w.State {
	case SignedOut:
		return "Not signed in"
	case Refused:
		return "Sign in again"
	case NotFresh:
		env, _ := p.Env(w.Env)
		return label(env) + " wants a newer sign-in"
	default:
		return "Session ended"
	}
}

// Text says what is wanted.
func (w Want) Text(p *Project) string {
	switch at := Host(w.Address); w.State {
	case SignedOut:
		return "You are not signed in to " + at
	case Refused:
		return "You have to sign in to " + at + " again"
	case NotFresh:
		env, _ := p.Env(w.Env)
		if w.Within > 0 {
			return label(env) + " wants a sign-in that is not older than " + span(w.Within)
		}
		return label(env) + " wants a stronger sign-in"
	default:
		return "Your session at " + at + " has ended"
	}
}

// Remaining is how much time is left, in one unit, rounded up.
func Remaining(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", (d+time.Second-1)/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", (d+time.Minute-1)/time.Minute)
	}
	return span(d)
}

// EndingSoon is how long before its end a session that does not go on by itself is
// said to end.
const EndingSoon = 5 * time.Minute

// Signed is how somebody is signed in to a server.
type Signed struct {
	Address   string
	Namespace string
	State     SignState
	Why       error // of Refused and Away

	Label    string // for people: an e-mail address, a name
	Subject  string // as the issuer knows them
	Role     string
	Policies []string
	By       string // how: "in a browser, at id.acme.example", "the token in VAULT_TOKEN"
	Kept     string // where the session is: "the kernel's keyring"; empty: nowhere here
	Fixed    string // why signing in or out changes nothing here; empty: it does

	Ends    time.Time // of the session; zero: it does not end, or is not known
	Renewed bool      // it goes on by itself, until Limit
	Limit   time.Time // zero: not known

	Envs     []Reached // of the project, on this server
	Accounts []Account // that are signed in here
}

// An Account is one that is signed in on this machine.
type Account struct {
	ID    string
	Label string
	Role  string
	Used  bool // at present
}

// Reach is how far somebody comes into an environment.
type Reach uint8

// How far. It is what the server says.
const (
	ReachUnknown Reach = iota
	ReachNone
	ReachNames // what there is, and no value
	ReachRead
	ReachWrite
)

// Reached is what is known of one environment.
type Reached struct {
	Env   vault.Env
	Reach Reach
	Fresh bool          // only after a newer or stronger sign-in
	In    time.Duration // not older than that; 0: however old
}

// words say how far somebody comes.
func (r Reached) words() (kit.Style, string) {
	if r.Fresh {
		text := "needs a stronger sign-in first (ctrl+r there)"
		if r.In > 0 {
			text = "needs a sign-in of the last " + span(r.In) + " (ctrl+r there)"
		}
		return kit.In(kit.Warn), text
	}
	switch r.Reach {
	case ReachNone:
		return kit.In(kit.Locked), "L not reachable: your policies say nothing of it"
	case ReachNames:
		return kit.In(kit.Locked), "names, and no value"
	case ReachRead:
		return kit.In(kit.OK), "read"
	case ReachWrite:
		return kit.In(kit.OK), "read and write"
	}
	return kit.In(kit.Dim), "not known"
}

// Brief is the same in a word or two, for a list of environments; empty: nothing is
// known.
func (r Reached) Brief() string {
	switch {
	case r.Fresh:
		return "sign in first"
	case r.Reach == ReachNone:
		return "L no access"
	case r.Reach == ReachNames:
		return "names only"
	case r.Reach == ReachRead:
		return "read"
	case r.Reach == ReachWrite:
		return "read, write"
	}
	return ""
}

// In is what is known of an environment.
func (s Signed) In(env vault.Env) (Reached, bool) {
	for _, r := range s.Envs {
		if r.Env == env {
			return r, true
		}
	}
	return Reached{}, false
}

// An Ending is what became of one part of a session that was ended.
type Ending struct {
	Text  string // "the token was revoked at vault.acme.example"
	Stays bool   // it is still valid
}

// SignIn opens the box in which somebody signs in to the server of an environment.
type SignIn struct {
	Env vault.Env
	How How
}

// SignOut ends the session at the server of an environment. Consent is as in Write.
type SignOut struct {
	Consent kit.Consent
	Env     vault.Env
	Done    func(ends []Ending, err error) Effect
}

// UseAccount has another account used at the server of an environment.
type UseAccount struct {
	Env     vault.Env
	Account string
}

func (SignIn) effect()     {}
func (SignOut) effect()    {}
func (UseAccount) effect() {}

// Shut reports whether an environment is known to be closed to who works here.
func (p *Project) Shut(env vault.Env) bool {
	if r, ok := p.Reached(env); ok {
		return r.Reach == ReachNone
	}
	s, known := p.Standings[env]
	return known && !s.Open()
}

// Reached is how far one comes into an environment that is on a server, as that says.
func (p *Project) Reached(env vault.Env) (Reached, bool) {
	if p.Server == nil || p.Server(env) == "" {
		return Reached{}, false
	}
	return p.Signed[p.Server(env)].In(env)
}

// servers are the first environments of each server, in the order of the project.
func (p *Project) servers() []vault.Env {
	if p.Server == nil {
		return nil
	}
	var all []vault.Env
	seen := map[string]bool{}
	for _, e := range p.Envs {
		if s := p.Server(e.Name); s != "" && !seen[s] {
			seen[s] = true
			all = append(all, e.Name)
		}
	}
	return all
}

// signIn opens the box for the server that the screen is at.
func (m *Me) signIn() Effect { return SignIn{Env: m.envs[m.on]} }

// signed is what is known of the server that the screen is at.
func (m *Me) signed() (Signed, bool) {
	if len(m.envs) == 0 {
		return Signed{}, false
	}
	s, ok := m.project.Signed[m.project.Server(m.envs[m.on])]
	return s, ok
}

// looking asks each server who is signed in there.
func (m *Me) looking(ctx context.Context, r Reading, show func(func()) bool) error {
	for _, env := range m.envs {
		is, err := r.Signed(ctx, env, true)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			is.State, is.Why = Away, err
		}
		if !show(func() { m.project.Note(env, is) }) {
			return context.Canceled
		}
	}
	return nil
}

// Note takes in what is known of the server of an environment. What was known before
// stays of one that is away, and of how far somebody comes where it was not asked.
func (p *Project) Note(env vault.Env, is Signed) {
	at := p.Server(env)
	was, known := p.Signed[at]
	switch {
	case known && is.State == Away:
		was.State, was.Why = Away, is.Why
		is = was
	case len(is.Envs) == 0 && is.Subject == was.Subject && is.Role == was.Role:
		is.Envs = was.Envs // the server was not asked
	}
	p.Signed[at] = is
}

// signOffers are what can be done about the server that the screen is at.
func (m *Me) signOffers() []kit.Offer {
	is, known := m.signed()
	wait := ""
	if !known {
		wait = "it is not known yet who is signed in"
	}
	in, out := kit.Offer{ID: DoSignIn, Off: is.Fixed}, kit.Offer{ID: DoSignOut, Off: or(wait, is.Fixed)}
	if is.State == SignedOut && known {
		out.Off = or(out.Off, "nobody is signed in")
	}
	other := kit.Offer{ID: OtherAccount, Off: or(wait, is.Fixed)}
	if len(is.Accounts) == 0 {
		other.Off = or(other.Off, "no account is signed in here")
	}
	offers := []kit.Offer{in, out, other}
	if len(m.envs) > 1 {
		offers = append(offers, kit.Offer{ID: Next})
	}
	return offers
}

// signOut asks before a session is ended, and says what became of it.
func (m *Me) signOut() Effect {
	is, _ := m.signed()
	env := m.envs[m.on]
	at := Host(is.Address)
	facts := []string{
		"The session is revoked at " + at + " and, where it goes on by itself, at the issuer; it is deleted on this machine.",
		"Your sign-in in the browser stays, and so does what commands have been given already.",
	}
	box := &kit.Confirm{Title: "Sign out of " + at + with(" as ", is.Label) + "?", Verb: "sign out", Facts: facts, Role: kit.Border}
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		return SignOut{Consent: box.Consent(), Env: env, Done: func(ends []Ending, err error) Effect {
			if err != nil {
				return All{said(m.project, "Not signed out", err), m.Enter()}
			}
			var t sheetOf
			stays := 0
			for _, e := range ends {
				st := kit.In(kit.OK)
				if e.Stays {
					st = kit.In(kit.Warn)
					stays++
				}
				t.line(st, e.Text)
			}
			text := "Signed out of " + at + "."
			n := kit.Notice{Role: kit.OK, Text: text}
			if stays > 0 {
				n = kit.Notice{Role: kit.Warn, Text: text + " Something of it stays valid."}
			}
			return All{Say{n}, m.Enter(), t.sheet("Signed out of " + at)}
		}}
	}}
}

// with is text behind a word; without text nothing.
func with(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// otherAccount is the list of those that are signed in.
func (m *Me) otherAccount() Effect {
	is, _ := m.signed()
	env := m.envs[m.on]
	var names kit.Names
	for _, a := range is.Accounts {
		name := a.Label
		if a.Role != "" {
			name += ", role " + a.Role
		}
		if a.Used {
			name += " (used now)"
		}
		names = append(names, name)
	}
	names = append(names, "sign in with another account")
	pick := kit.NewPick("Account at "+Host(is.Address), names, nil)
	return Ask{Dialog: pick, Then: func() Effect {
		row, ok := pick.Taken()
		switch {
		case !ok:
			return nil
		case row == len(is.Accounts):
			return SignIn{Env: env}
		}
		return UseAccount{Env: env, Account: is.Accounts[row].ID}
	}}
}

// serverLines say how it stands with one server.
func (m *Me) serverLines(t *sheetOf, i int, s Scene) {
	env := m.envs[i]
	key := m.project.Server(env)
	is, known := m.project.Signed[key]
	var names []string
	for _, e := range m.project.Envs {
		if m.project.Server(e.Name) == key {
			names = append(names, label(e))
		}
	}
	mark := ""
	if len(m.envs) > 1 && i == m.on {
		mark = "> "
	}
	if !known {
		t.line(kit.In(kit.Dim), mark+"The server of "+join(names, 5)+" is being asked.")
		return
	}
	head, st := "Signed in to "+is.Address, kit.Style{Role: kit.OK, Attr: kit.Bold}
	next := ""
	switch want := (Want{Address: is.Address, Env: env, State: is.State}); {
	case is.State == Away:
		what, n := m.project.Explain(is.Why)
		head, st, next = "OFFLINE: "+what, kit.Style{Role: kit.Warn, Attr: kit.Bold}, n
		if vault.KindOf(is.Why) != vault.KindUnavailable {
			head, st = "! "+what, kit.Style{Role: kit.Danger, Attr: kit.Bold}
		}
	case is.State == SignedOut:
		head, st = "L "+want.Text(m.project)+".", kit.Style{Role: kit.Locked, Attr: kit.Bold}
		next = "ctrl+r signs in: in your browser, or with a code on another device."
	case is.State == Refused, is.State == Lapsed, s.over(is):
		want.State = is.State
		if want.State == SignedIn {
			want.State = Lapsed
		}
		head, st = "! "+want.Text(m.project)+".", kit.Style{Role: kit.Danger, Attr: kit.Bold}
		next = "ctrl+r signs in again; what you typed is kept."
		if is.Why != nil {
			what, _ := m.project.Explain(is.Why)
			next = what + ". " + next
		}
	}
	t.line(st, mark+head)
	if is.Fixed != "" {
		next = is.Fixed
	}
	t.line(kit.In(kit.Dim), next)
	if is.State != SignedOut {
		if is.Label != "" || is.Subject != "" {
			t.in("you are", kit.Style{Attr: kit.Bold}, or(is.Label, is.Subject))
		}
		if is.Label != "" && is.Subject != is.Label {
			t.say("subject", is.Subject)
		}
		t.say("signed in", is.By)
		t.say("kept in", is.Kept)
		st, text := s.session(is)
		t.in("session", st, text)
		t.say("role", is.Role)
		t.say("policies", strings.Join(is.Policies, ", "))
		t.say("namespace", is.Namespace)
	}
	others := 0
	for _, a := range is.Accounts {
		if !a.Used {
			others++
		}
	}
	if others > 0 {
		t.say("accounts", count(others, "other account")+" signed in here: a chooses")
	}
	for _, r := range is.Envs {
		e, _ := m.project.Env(r.Env)
		st, text := r.words()
		switch {
		case is.State == SignedOut:
			st, text = kit.In(kit.Dim), "not reachable before you sign in"
		case is.State == Lapsed, is.State == Refused, s.over(is):
			st, text = kit.In(kit.Dim), "not reachable before you sign in again"
		}
		t.in(label(e), st, text)
	}
}

// over reports whether a session is past its end.
func (s Scene) over(is Signed) bool {
	return is.State == SignedIn && !is.Renewed && !is.Ends.IsZero() && !is.Ends.After(s.Now)
}

// session says for how long somebody stays signed in.
func (s Scene) session(is Signed) (kit.Style, string) {
	limit := ""
	if !is.Limit.IsZero() {
		limit = ", until " + clock(s.Now, is.Limit) + " at the latest"
	}
	left := is.Ends.Sub(s.Now)
	switch {
	case is.State != SignedIn && (is.State != Away || is.By == ""):
		return kit.Style{}, ""
	case is.Renewed:
		return kit.Style{}, "goes on by itself" + limit
	case is.Ends.IsZero():
		return kit.In(kit.Warn), "does not end by itself"
	case left <= 0:
		return kit.In(kit.Danger), "ended " + clock(s.Now, is.Ends)
	case left < EndingSoon && is.Fixed == "":
		return kit.Style{Role: kit.Warn, Attr: kit.Bold}, "ends in " + Remaining(left) + ": ctrl+r signs in again, and nothing is lost"
	}
	return kit.Style{}, "until " + clock(s.Now, is.Ends) + ", in " + span(left) + limit
}

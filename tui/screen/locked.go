package screen

import (
	"context"
	"fmt"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Locked is an environment that the one who works here cannot open: why, who
// can let them in, what can be seen all the same, and what to do next.
type Locked struct {
	project *Project
	env     Env
	page    page
	known   bool // standing has been read
	is      Standing
	trouble *trouble
	at      time.Time
	now     time.Time
}

// NewLocked is the screen of a locked environment.
func NewLocked(p *Project, e Env) *Locked {
	l := &Locked{project: p, env: e}
	l.is, l.known = p.Standings[e.Name]
	return l
}

// Title implements Screen.
func (l *Locked) Title() string { return "access to " + string(l.env.Name) }

// Place implements Placed.
func (l *Locked) Place() (string, vault.Env) { return AskAccess, l.env.Name }

// Enter implements Screen.
func (l *Locked) Enter() Effect { return l.load() }

func (l *Locked) load() Effect {
	return readStanding(l.project, l.env.Name, func(is Standing, err error) {
		if err != nil {
			t := newTrouble(l.project, err)
			if l.known {
				t.at = l.at
			}
			l.trouble = t
			return
		}
		l.trouble, l.is, l.known, l.at = nil, is, true, l.now
	})
}

// readStanding looks what the one who works here can do in an environment, and
// keeps it for the others who ask.
func readStanding(p *Project, env vault.Env, done func(is Standing, err error)) Effect {
	var is Standing
	return Read{
		Lane: "standing", What: "looking who can open " + string(env),
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			is, err = r.Access().Standing(ctx, env)
			return err
		},
		Done: func(err error) Effect {
			if err == nil {
				p.Standings[env] = is
			}
			done(is, err)
			return nil
		},
	}
}

// Offers implements Screen.
func (l *Locked) Offers() []kit.Offer {
	var offers []kit.Offer
	add := func(id, off string) { offers = append(offers, kit.Offer{ID: id, Off: off}) }
	if l.is.Shut == NewKey || l.is.Shut == OtherKey {
		add(TrustKey, "")
	}
	add(AskAccess, l.cannotAsk())
	if l.is.Open() || l.is.Asked != nil {
		add(Open, "")
	}
	if l.is.Asked != nil {
		add(TakeBack, "")
	}
	add(Reload, "")
	return append(offers, moves()...)
}

// cannotAsk is why nothing can be asked for; empty if it can.
func (l *Locked) cannotAsk() string {
	switch {
	case !l.known:
		return "it is not known yet whether it is locked"
	case l.is.Open():
		return "it is open to you"
	case l.is.Shut == NoIdentity:
		return "you have no identity to ask for"
	case l.is.Shut == NewKey, l.is.Shut == OtherKey:
		return "you may have access: compare its key first"
	case l.is.Shut == NoGrant:
		return "you are let in, and your grant is still to be made"
	case l.is.Shut == Broken:
		return "it cannot be read"
	}
	return ""
}

// Do implements Screen.
func (l *Locked) Do(action string) Effect {
	if l.page.move(action) {
		return nil
	}
	switch action {
	case AskAccess:
		return Push{NewAsking(l.project, l.env)}
	case Open:
		if !l.is.Open() {
			return Push{newAsked(l.project, l.env, *l.is.Asked)}
		}
		return Pop{}
	case TakeBack:
		return takeBack(l.project, l.env, *l.is.Asked, l.load, l.load)
	case TrustKey:
		return l.askTrust()
	case Reload:
		return l.load()
	}
	return nil
}

// askTrust asks whether the key of the environment is the right one. Of one that
// is new here a person says so; of one in the place of another they type what
// they were told, since the one on the screen may be an attacker's.
func (l *Locked) askTrust() Effect {
	print := l.is.Key.Fingerprint
	env := l.env.Name
	trust := func(print string) Effect {
		box := Confirmation(l.env, kit.Grants, "Take this key for "+label(l.env)+"?", "accept it",
			"This machine then opens "+label(l.env)+" with the key "+print+" and takes what its holders write for genuine.",
			"Somebody who works with "+label(l.env)+" must have told you this fingerprint, and not through the repository.")
		return Ask{Dialog: box, Then: func() Effect {
			if !box.Consent().OK() {
				return nil
			}
			return Grant{
				Consent: box.Consent(), Harm: kit.Grants, Env: env, What: "accepting the key of " + string(env),
				Do: func(ctx context.Context, g Granting, _ func(func()) bool) error { return g.Trust(ctx, print) },
				Done: func(err error) Effect {
					if err != nil {
						return All{said(l.project, "Not accepted", err), l.load()}
					}
					return All{Say{kit.Notice{Role: kit.OK, Text: "This machine knows the key of " + string(env) + " now."}}, l.load()}
				},
			}
		}}
	}
	if l.is.Shut != OtherKey {
		return trust(print)
	}
	typed := &kit.Field{Max: 64}
	form := &kit.Prompt{Title: "The fingerprint, as a member of " + label(l.env) + " told you", Send: "go on",
		Form: kit.Form{Items: []kit.Item{{Label: "Fingerprint", Input: typed}}},
		Check: func() string {
			if len(letters(typed.Text())) < len(letters(print)) {
				return "type it as they read it to you: " + kit.Number(len(letters(print))) + " characters"
			}
			return ""
		}}
	return Ask{Dialog: form, Then: func() Effect {
		if !form.OK() {
			return nil
		}
		return trust(strings.ToUpper(strings.TrimSpace(typed.Text())))
	}}
}

// letters is a code without what people put between its parts.
func letters(s string) string { return strings.NewReplacer("-", "", " ", "").Replace(s) }

// takeBack asks before one's own request is removed. gone is called when it is,
// and again, which may be nil, when it could not be.
func takeBack(p *Project, e Env, q Request, gone, again func() Effect) Effect {
	box := Confirmation(e, kit.Writes, "Take back your request for "+label(e)+"?", "take it back", "Nobody can approve it then. You can ask again.")
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var out Outcome
		return Grant{
			Consent: box.Consent(), Harm: kit.Writes, Env: e.Name, What: "taking back the request for " + string(e.Name),
			Do: func(ctx context.Context, g Granting, _ func(func()) bool) (err error) {
				out, err = g.Deny(ctx, q.ID, q.Rev, "")
				return err
			},
			Done: func(err error) Effect {
				if err != nil && vault.KindOf(err) != vault.KindNotFound {
					if again == nil {
						return said(p, "Not taken back", err)
					}
					return All{said(p, "Not taken back", err), again()}
				}
				return All{told(kit.OK, "Your request for "+string(e.Name)+" is gone.", out.Steps), gone()}
			},
		}
	}}
}

// told is what has been done, with the steps that are left in its details.
func told(role kit.Role, text string, steps []Step) Say { return Say{notice(role, text, steps)} }

func notice(role kit.Role, text string, steps []Step) kit.Notice {
	n := kit.Notice{Role: role, Text: text}
	for _, s := range steps {
		n.Details += "\n" + s.Text
		if s.Command != "" {
			n.Details += ": " + s.Command
		}
	}
	if n.Details != "" {
		n.Details, n.Sticky = text+n.Details, true
		n.Text += "  ! says what is left to do"
	}
	return n
}

// Target implements Screen.
func (l *Locked) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (l *Locked) Draw(a kit.Area, s Scene) {
	l.now = s.Now
	in := a
	if s.Size != kit.Small {
		in = a.Inset(2, 1)
	}
	if l.trouble != nil {
		y := l.trouble.draw(in, l.env, s.Now)
		_, in = in.Top(y + 1)
	}
	if !l.known {
		if s.Lanes.Busy("standing").Shown(s.Now) {
			in.Text(0, 0, kit.In(kit.Dim), "Looking who can open "+label(l.env)+" "+in.Marks().Ellipsis)
		}
		return
	}
	l.page.draw(in, l.lines(s))
}

func (l *Locked) lines(s Scene) []kit.SheetLine {
	var t sheetOf
	t.line(l.heading())
	if s.Size != kit.Small {
		t.gap()
	}
	l.why(&t, s.Now)
	switch q := l.is.Asked; {
	case q == nil:
	case l.is.Open():
		t.say("your request", "is still there: X takes it back")
	default:
		t.say("you asked", ago(s.Now, q.At)+" ago, and nobody has decided yet"+needs(q.Needs))
		if q.Code != "" {
			t.in("check code", kit.Style{Attr: kit.Bold}, q.Code)
			t.say("", "read it to whoever approves, by phone or in person")
		}
		if !q.Lapses.IsZero() {
			t.say("lapses", "in "+in(s.Now, q.Lapses))
		}
	}
	switch {
	case l.is.Open():
	case l.cannotAsk() != "":
		t.say("who can open it", deciders(l.is))
	default:
		t.say("you may ask for", l.may())
		t.say("who decides", deciders(l.is))
		t.say("ticket", l.is.Ticket)
		if l.is.Wait > 0 {
			t.say("usual wait", span(l.is.Wait))
		}
	}
	switch {
	case l.is.Open():
		t.say("enter", "goes to its names")
	case l.is.Names > 0:
		t.say("can be seen", count(l.is.Names, "secret")+" by name, who changed them and when; no value (esc)")
	case l.is.Names < 0:
		t.say("can be seen", "nothing of it")
	default:
		t.say("can be seen", "that it has no secrets")
	}
	return t
}

func (l *Locked) heading() (kit.Style, string) {
	st := kit.Style{Role: kit.Locked, Attr: kit.Bold}
	switch l.is.Shut {
	case NotShut:
		return kit.Style{Role: kit.OK, Attr: kit.Bold}, label(l.env) + " is open to you."
	case OtherKey:
		return kit.Style{Role: kit.Danger, Attr: kit.Bold}, "! " + label(l.env) + " has another key than this machine knows. Nothing of it is used."
	case NewKey:
		return st, "L " + label(l.env) + " is new to this machine."
	case Broken:
		return kit.Style{Role: kit.Danger, Attr: kit.Bold}, "! " + label(l.env) + " cannot be opened."
	}
	return st, "L " + label(l.env) + " is locked for you."
}

// why says what keeps it closed, and what to do about that.
func (l *Locked) why(t *sheetOf, now time.Time) {
	k := l.is.Key
	switch l.is.Shut {
	case NotShut:
		if l.is.Member != "" {
			t.say("you are", l.is.Member)
		}
		if !l.is.Until.IsZero() {
			t.say("until", clock(now, l.is.Until)+", in "+in(now, l.is.Until))
		}
	case NoKey:
		t.say("why", "nobody has let you in"+as(l.is.Member)+" yet")
	case Ended:
		t.say("why", "your access"+as(l.is.Member)+" ended "+clock(now, l.is.Until)+", "+ago(now, l.is.Until)+" ago. Ask again.")
	case NoGrant:
		t.say("why", "you are let in, and your grant is still to be made by somebody who has the program that your key takes")
	case NewKey:
		t.in("fingerprint", kit.Style{Attr: kit.Bold}, k.Fingerprint)
		t.say("made", made(k, now)+", as it says of itself")
		t.say("next", "compare the fingerprint with somebody who works with "+label(l.env)+", not through the repository. a accepts it.")
	case OtherKey:
		t.say("known here", l.is.Known)
		t.say("made", made(k, now)+", as it says of itself")
		t.say("next", "ask somebody who works with "+label(l.env)+" for the fingerprint of its key, not through the repository; a, then type it. If nobody made a new key, somebody has put one there.")
		l.explain(t)
	default:
		l.explain(t)
	}
}

func (l *Locked) explain(t *sheetOf) {
	if l.is.Err == nil {
		return
	}
	what, next := l.project.Explain(l.is.Err)
	t.say("why", what)
	t.say("next", next)
}

func as(member string) string {
	if member == "" {
		return ""
	}
	return " as " + member
}

// made says who made a key.
func made(k Key, now time.Time) string {
	text := day(now, k.At) + " by " + k.By
	if k.Why != "" {
		text += " (" + k.Why + ")"
	}
	return text
}

func (l *Locked) may() string {
	if l.is.May == "" {
		return "its key: all secrets of it, to read and to write"
	}
	if l.is.Policy != "" {
		return l.is.May + ", by policy " + l.is.Policy
	}
	return l.is.May
}

// deciders says who can let somebody in.
func deciders(is Standing) string {
	if len(is.Needs) > 0 {
		var all []string
		for _, n := range is.Needs {
			all = append(all, fmt.Sprintf("%d of %s", n.Want, n.From))
		}
		return strings.Join(all, " and ")
	}
	switch len(is.Deciders) {
	case 0:
		return "nobody that can be seen here"
	case 1:
		return is.Deciders[0] + claimed(is.Claimed)
	}
	return "any one of " + join(is.Deciders, 5) + claimed(is.Claimed)
}

func claimed(is bool) string {
	if is {
		return ", as its files say"
	}
	return ""
}

// needs says how many have agreed of those who must.
func needs(all []Need) string {
	text := ""
	for _, n := range all {
		text += fmt.Sprintf(", %d of %d", n.Have, n.Want)
		if n.From != "" {
			text += " from " + n.From
		}
	}
	return text
}

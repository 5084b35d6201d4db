package screen

import (
	"context"
	"strings"

	"envrun/tui/kit"
	"envrun/vault"
)

// reasonMax is what a reason may have in bytes: one line for people.
const reasonMax = 400

// Asking is the form in which somebody asks for access: why, what will be written
// where everybody can read it, and who decides.
type Asking struct {
	project *Project
	env     Env
	known   bool
	is      Standing
	trouble *trouble
	form    kit.Form
	reason  line
	ticket  line
	page    page
	sent    bool
	refused string // why it was not written
}

// A line is a field for one line, whatever is pasted.
type line struct{ kit.Field }

// Paste implements kit.Input.
func (l *line) Paste(text string) bool { return l.Field.Paste(strings.Join(strings.Fields(text), " ")) }

// NewAsking is the form to ask for access to an environment.
func NewAsking(p *Project, e Env) *Asking {
	f := &Asking{project: p, env: e}
	f.reason.Max, f.ticket.Max = reasonMax, 64
	f.is, f.known = p.Standings[e.Name]
	f.fields()
	return f
}

// fields makes the form for what is asked of who asks.
func (f *Asking) fields() {
	f.form.Items = []kit.Item{{Label: "Why", Input: &f.reason}}
	if f.is.Ticket != "" {
		f.form.Items = append(f.form.Items, kit.Item{Label: "Ticket", Input: &f.ticket, Note: "like " + f.is.Ticket, Role: kit.Dim})
	}
}

// Title implements Screen.
func (f *Asking) Title() string { return "ask for access to " + string(f.env.Name) }

// Place implements Placed.
func (f *Asking) Place() (string, vault.Env) { return AskAccess, f.env.Name }

// Drafts implements Drafter.
func (f *Asking) Drafts() int {
	if f.sent || f.reason.Empty() && f.ticket.Empty() {
		return 0
	}
	return 1
}

// Enter implements Screen.
func (f *Asking) Enter() Effect {
	return readStanding(f.project, f.env.Name, func(is Standing, err error) {
		if err != nil {
			f.trouble = newTrouble(f.project, err)
			return
		}
		f.trouble, f.is, f.known = nil, is, true
		f.fields()
	})
}

// Input implements Typist.
func (f *Asking) Input() Input { return &f.form }

// Typed implements Typist.
func (f *Asking) Typed() Effect {
	f.refused = ""
	return nil
}

// Asks implements Typist.
func (f *Asking) Asks() string { return "" }

// Offers implements Screen.
func (f *Asking) Offers() []kit.Offer {
	return []kit.Offer{{ID: SendRequest, Off: f.cannot()}, {ID: PageDown}, {ID: PageUp}}
}

// cannot is why the request cannot be sent as it is.
func (f *Asking) cannot() string {
	switch {
	case !f.known:
		return "it is not known yet whether it is locked"
	case f.is.Open():
		return "it is open to you"
	case f.is.Shut == NoIdentity:
		return "you have no identity to ask for"
	case f.is.Ticket != "" && f.ticket.Empty():
		return "a ticket is needed"
	case f.is.Policy != "" && f.reason.Empty():
		return "a reason is needed"
	}
	return ""
}

// Do implements Screen.
func (f *Asking) Do(action string) Effect {
	if f.page.move(action) {
		return nil
	}
	if action == SendRequest {
		return f.ask()
	}
	return nil
}

func (f *Asking) ask() Effect {
	env, reason, ticket := f.env.Name, f.reason.Text(), f.ticket.Text()
	facts := []string{"Writes a request" + as(f.is.Member) + " with your public key"}
	if reason == "" {
		facts[0] += " and no reason."
	} else {
		facts[0] += " and the reason: " + reason
	}
	facts = append(facts, "Whoever can read the repository can read it. It reaches who decides when you send it there.")
	if f.is.Policy != "" {
		facts[1] = "Who decides reads it: " + deciders(f.is) + "."
	}
	box := Confirmation(f.env, kit.Writes, "Ask for access to "+label(f.env)+"?", "ask", facts...)
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var q Request
		return Grant{
			Consent: box.Consent(), Harm: kit.Writes, Env: env, What: "asking for access to " + string(env),
			Do: func(ctx context.Context, g Granting, _ func(func()) bool) (err error) {
				q, err = g.Ask(ctx, reason, ticket)
				return err
			},
			Done: func(err error) Effect {
				if vault.KindOf(err) == vault.KindExists {
					f.refused = "You have access to " + label(f.env) + " already."
					return All{said(f.project, "Not asked", err), f.Enter()}
				}
				if err != nil {
					f.refused, _ = f.project.Explain(err)
					return said(f.project, "Not asked", err)
				}
				f.sent = true
				return All{Replace{newAsked(f.project, f.env, q)}, Say{kit.Notice{Role: kit.OK, Text: "Asked for access to " + string(env) + "."}}}
			},
		}
	}}
}

// Target implements Screen.
func (f *Asking) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (f *Asking) Draw(a kit.Area, s Scene) {
	in := a
	if s.Size != kit.Small {
		in = a.Inset(2, 0)
	}
	in.Fit(0, 0, in.W, kit.Style{Attr: kit.Bold}, "Ask for access to "+label(f.env))
	_, in = in.Top(1)
	if s.Size != kit.Small {
		_, in = in.Top(1)
	}
	if f.trouble != nil {
		y := f.trouble.draw(in, f.env, s.Now)
		_, in = in.Top(y + 1)
	}
	y := f.form.Draw(in)
	_, in = in.Top(y)
	if s.Size != kit.Small {
		_, in = in.Top(1)
	}
	f.page.draw(in, f.lines(s, in.Marks()))
}

func (f *Asking) lines(s Scene, m kit.Marks) []kit.SheetLine {
	var t sheetOf
	if f.refused != "" {
		t.in("refused", kit.Style{Role: kit.Danger, Attr: kit.Bold}, f.refused)
	}
	if !f.known {
		if s.Lanes.Busy("standing").Shown(s.Now) {
			t.in("", kit.In(kit.Dim), "Looking who can open "+label(f.env)+" "+m.Ellipsis)
		}
		return t
	}
	if off := f.cannot(); off != "" {
		t.in("not yet", kit.In(kit.Warn), off)
	}
	you := f.is.Member
	if you == "" {
		you = "you"
	}
	t.say("you are", f.is.Member)
	t.say("who decides", deciders(f.is))
	if f.is.Policy != "" {
		t.say("you may get", f.is.May+", by policy "+f.is.Policy)
	} else {
		t.say("written", "your name, your public key, the reason and the time, in clear: whoever can read the repository can read them")
		t.say("afterwards", "a check code, which you read to whoever decides, and the commands that send the request")
	}
	reason := f.reason.Text()
	if reason == "" {
		reason = "(no reason given)"
	}
	t.gap()
	t.line(kit.In(kit.Dim), "Who decides will read:")
	t.line(kit.Style{}, "  "+you+" asks for access to "+string(f.env.Name))
	t.line(kit.Style{}, "  because: "+reason)
	return t
}

// Asked is a request of one's own: its check code, and how it gets to who decides.
type Asked struct {
	project *Project
	env     Env
	q       Request
	page    page
}

func newAsked(p *Project, e Env, q Request) *Asked { return &Asked{project: p, env: e, q: q} }

// Title implements Screen.
func (k *Asked) Title() string { return "your request for " + string(k.env.Name) }

// Enter implements Screen.
func (k *Asked) Enter() Effect { return nil }

// Offers implements Screen.
func (k *Asked) Offers() []kit.Offer {
	off := ""
	if commands(k.q.Steps) == "" {
		off = "there is nothing left to be done"
	}
	return append([]kit.Offer{{ID: CopySteps, Off: off}, {ID: TakeBack}}, moves()...)
}

// Do implements Screen.
func (k *Asked) Do(action string) Effect {
	if k.page.move(action) {
		return nil
	}
	switch action {
	case CopySteps:
		return CopyAs{Text: commands(k.q.Steps), As: "the commands"}
	case TakeBack:
		return takeBack(k.project, k.env, k.q, func() Effect { return Pop{} }, nil)
	}
	return nil
}

// Target implements Screen.
func (k *Asked) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (k *Asked) Draw(a kit.Area, s Scene) {
	in := a
	if s.Size != kit.Small {
		in = a.Inset(2, 1)
	}
	q := k.q
	var t sheetOf
	t.line(kit.Style{Attr: kit.Bold}, "Your request for "+label(k.env))
	if q.Code != "" {
		t.in("check code", kit.Style{Role: kit.Accent, Attr: kit.Bold}, q.Code)
		t.say("", "Read it to whoever approves, by phone or in person: it shows that the request is yours.")
	}
	t.say("asked", ago(s.Now, q.At)+" ago as "+q.Who+needs(q.Needs))
	t.say("why", q.Reason)
	t.say("file", q.File)
	if len(q.Steps) > 0 {
		t.gap()
		t.steps(q.Steps)
	}
	k.page.draw(in, t)
}

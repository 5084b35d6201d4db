package screen

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Inbox is who asks for access: what they want and why, what is known of who
// they are, and the decision. The check code of somebody else's request is not
// here: who approves types what they hear.
type Inbox struct {
	project *Project
	list    kit.List
	mine    bool // one's own are shown, not those of others
	all     []Request
	shown   requests
	page    page

	read    bool
	at      string // the request to begin with, by ID; empty once it has been shown
	since   time.Time
	trouble *trouble
	refused map[string]string // by ID: why it could not be decided
	changed map[string]string // by ID: what has changed since it was looked at
	scene   Scene             // of the last picture
}

type requests []Request

// Len implements kit.Rows.
func (r requests) Len() int { return len(r) }

// Name implements kit.Rows.
func (r requests) Name(row int) string { return r[row].ID }

// NewInbox is the requests of all environments.
func NewInbox(p *Project) *Inbox {
	return &Inbox{project: p, refused: map[string]string{}, changed: map[string]string{}}
}

// At begins with one request.
func (b *Inbox) At(id string) { b.at = id }

// Title implements Screen.
func (b *Inbox) Title() string { return "requests" }

// Place implements Placed.
func (b *Inbox) Place() (string, vault.Env) { return GoInbox, "" }

// Enter implements Screen.
func (b *Inbox) Enter() Effect { return b.load() }

func (b *Inbox) load() Effect {
	var all []Request
	return Read{
		Lane: "requests", What: "reading the requests",
		Do: func(ctx context.Context, r Reading, _ func(func()) bool) (err error) {
			all, err = r.Access().Requests(ctx)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				t := newTrouble(b.project, err)
				if b.read {
					t.at = b.since
				}
				b.trouble = t
				return nil
			}
			b.trouble, b.read, b.since = nil, true, b.scene.Now
			for _, q := range all {
				if i := slices.IndexFunc(b.all, func(was Request) bool { return was.ID == q.ID }); i >= 0 && b.all[i].Rev != q.Rev {
					b.changed[q.ID] = unlike(b.all[i], q)
					delete(b.refused, q.ID)
				}
			}
			b.all = all
			b.project.Waiting = Waiting(all)
			if i := slices.IndexFunc(all, func(q Request) bool { return q.ID == b.at }); i >= 0 {
				b.mine = all[i].Mine
			}
			b.show()
			if b.at != "" {
				b.list.Select(b.at)
				b.at = ""
			}
			return nil
		},
	}
}

// Waiting is how many requests the one who works here can decide.
func Waiting(all []Request) int {
	n := 0
	for _, q := range all {
		if !q.Mine && !q.Others {
			n++
		}
	}
	return n
}

// unlike says what is not as it was.
func unlike(was, is Request) string {
	var all []string
	add := func(what, from, to string) {
		if from != to {
			all = append(all, what+" was "+or(from, "none")+", is "+or(to, "none"))
		}
	}
	add("why", was.Reason, is.Reason)
	add("what they want", was.Wants, is.Wants)
	if was.Key.Recipient != is.Key.Recipient {
		all = append(all, "the key is another")
	}
	if was.For != is.For {
		add("for how long", limit(was), limit(is))
	}
	if len(all) == 0 {
		return "it was written again"
	}
	return strings.Join(all, "; ")
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// limit is for how long somebody asks.
func limit(q Request) string {
	if q.For == 0 {
		return "no end"
	}
	return span(q.For)
}

// show puts the requests of the open half into the list.
func (b *Inbox) show() {
	b.shown = nil
	for _, q := range b.all {
		if q.Mine == b.mine {
			b.shown = append(b.shown, q)
		}
	}
	b.list.Set(b.shown)
}

func (b *Inbox) selected() (Request, bool) {
	row, ok := b.list.Selected()
	if !ok || row >= len(b.shown) {
		return Request{}, false
	}
	return b.shown[row], true
}

// Offers implements Screen.
func (b *Inbox) Offers() []kit.Offer {
	q, ok := b.selected()
	none := ""
	if !ok {
		none = "there is no request under the cursor"
	}
	var offers []kit.Offer
	if b.mine {
		offers = append(offers, kit.Offer{ID: Open, Off: none}, kit.Offer{ID: TakeBack, Off: none})
	} else {
		approve, deny := none, none
		if ok && q.Off != "" {
			approve = q.Off
		}
		if ok && q.Problem != "" {
			approve = "it cannot be read"
		}
		offers = append(offers, kit.Offer{ID: Approve, Off: approve}, kit.Offer{ID: Deny, Off: deny}, kit.Offer{ID: Open, Off: none})
	}
	offers = append(offers, kit.Offer{ID: Next}, kit.Offer{ID: Reload})
	return append(offers, moves()...)
}

// Do implements Screen.
func (b *Inbox) Do(action string) Effect {
	if move(&b.list, action) {
		return nil
	}
	q, ok := b.selected()
	switch action {
	case Next:
		b.mine = !b.mine
		b.show()
		b.list.First()
	case Reload:
		return b.load()
	}
	if !ok {
		return nil
	}
	e, _ := b.project.Env(q.Env)
	switch action {
	case Open:
		if b.mine && q.Problem == "" {
			return Push{newAsked(b.project, e, q)}
		}
		return b.facts(q, b.scene).sheet(q.Who + " asks for " + label(e))
	case TakeBack:
		return takeBack(b.project, e, q, b.load, b.load)
	case Approve:
		return b.approve(q, e, "", "")
	case Deny:
		return b.deny(q, e)
	}
	return nil
}

// approve asks what the decision is about, and then whether it is meant.
func (b *Inbox) approve(q Request, e Env, wrong, until string) Effect {
	code := &kit.Field{Max: 64}
	end := &kit.Field{Max: 32}
	end.Set(until)
	replace := &kit.Checks{Options: []string{"the key that they have"}, On: make([]bool, 1)}
	form := &kit.Prompt{Title: "Approve " + q.Who + " for " + label(e), Send: "go on"}
	if q.Coded {
		form.Form.Items = append(form.Form.Items, kit.Item{Label: "Check code", Input: code})
	}
	form.Form.Items = append(form.Form.Items, kit.Item{Label: "Until", Input: end, Note: "8h 7d 2026-12-31", Role: kit.Dim})
	if q.Replaces {
		form.Form.Items = append(form.Form.Items, kit.Item{Label: "Replace", Input: replace, Note: "space", Role: kit.Dim})
	}
	form.Check = func() string {
		_, err := b.project.Gate.Until(end.Text())
		switch {
		case q.Coded && len(letters(code.Text())) < codeLength && wrong != "" && code.Empty():
			return wrong
		case q.Coded && len(letters(code.Text())) < codeLength:
			return "Type the code as " + q.Who + " reads it to you, by phone or in person."
		case err != nil:
			what, _ := b.project.Explain(err)
			return what
		case q.Replaces && !replace.On[0]:
			return "They have another key, which this would replace: say so."
		}
		return ""
	}
	return Ask{Dialog: form, Then: func() Effect {
		if !form.OK() {
			return nil
		}
		t, err := b.project.Gate.Until(end.Text())
		if err != nil {
			return nil
		}
		return b.confirm(q, e, Approval{ID: q.ID, Rev: q.Rev, Code: code.Text(), Until: t, Replace: q.Replaces && replace.On[0]}, end.Text())
	}}
}

// codeLength is how many letters and digits a check code has.
const codeLength = 12

func (b *Inbox) confirm(q Request, e Env, a Approval, until string) Effect {
	facts := []string{q.Who + " gets the key of " + label(e) + ": every secret of it, to read and to write."}
	if q.Wants != "" {
		facts[0] = q.Who + " may " + q.Wants + " in " + label(e) + "."
	}
	switch {
	case !a.Until.IsZero() && q.Wants == "":
		facts = append(facts, "Until "+clock(b.scene.Now, a.Until)+": honest envruns keep to that. It is made true by a sweep, which changes the key; until then they hold it.")
	case !a.Until.IsZero():
		facts = append(facts, "Until "+clock(b.scene.Now, a.Until)+".")
	case q.Wants == "":
		facts = append(facts, "Without an end: until somebody removes them.")
	default:
		facts = append(facts, "For "+limit(q)+".")
	}
	if a.Replace {
		facts = append(facts, "The key that they have now is replaced. If it was lost or stolen, give "+label(e)+" a new key afterwards (T).")
	}
	if !q.Key.PostQuantum && q.Key.Name != "" {
		facts = append(facts, "Their key is "+q.Key.Name+": what it opens today may be opened by others when there are quantum computers.")
	}
	box := Confirmation(e, kit.Grants, "Let "+q.Who+" into "+label(e)+"?", "approve", facts...)
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var out Outcome
		return Grant{
			Consent: box.Consent(), Harm: kit.Grants, Env: e.Name, What: "letting " + q.Who + " into " + string(e.Name),
			Do: func(ctx context.Context, g Granting, _ func(func()) bool) (err error) {
				out, err = g.Approve(ctx, a)
				return err
			},
			Done: func(err error) Effect {
				if err == nil {
					delete(b.refused, q.ID)
					return All{b.load(), outcome(b.project, e, q.Who+" can open "+label(e)+" now", out)}
				}
				return b.failed(q, "Not approved", err)
			},
		}
	}}
}

// failed says why a decision was not made, where the facts are too.
func (b *Inbox) failed(q Request, what string, err error) Effect {
	switch vault.KindOf(err) {
	case vault.KindNotFound:
		return All{Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: what + ": the request of " + q.Who + " is gone. Somebody else decided, or they took it back."}}, b.load()}
	case vault.KindConflict:
		return All{Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: what + ": the request of " + q.Who + " has changed since you looked. Look at it again."}}, b.load()}
	}
	text, next := b.project.Explain(err)
	if next != "" {
		text += "\n" + next
	}
	b.refused[q.ID] = text
	return All{said(b.project, what, err), b.load()}
}

func (b *Inbox) deny(q Request, e Env) Effect {
	if !q.Reasons {
		return b.refuse(q, e, "")
	}
	why := &line{kit.Field{Max: reasonMax}}
	form := &kit.Prompt{Title: "Deny " + q.Who + " for " + label(e), Send: "go on",
		Form: kit.Form{Items: []kit.Item{{Label: "Why", Input: why}}},
		Check: func() string {
			if why.Empty() {
				return "Say why: " + q.Who + " reads it."
			}
			return ""
		}}
	return Ask{Dialog: form, Then: func() Effect {
		if !form.OK() {
			return nil
		}
		return b.refuse(q, e, why.Text())
	}}
}

func (b *Inbox) refuse(q Request, e Env, why string) Effect {
	facts := []string{"The request is removed. " + q.Who + " can ask again."}
	if why != "" {
		facts = append(facts, "They read: "+why)
	}
	box := Confirmation(e, kit.Writes, "Deny "+q.Who+" access to "+label(e)+"?", "deny", facts...)
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var out Outcome
		return Grant{
			Consent: box.Consent(), Harm: kit.Writes, Env: e.Name, What: "denying " + q.Who,
			Do: func(ctx context.Context, g Granting, _ func(func()) bool) (err error) {
				out, err = g.Deny(ctx, q.ID, q.Rev, why)
				return err
			},
			Done: func(err error) Effect {
				if err != nil {
					return b.failed(q, "Not denied", err)
				}
				return All{told(kit.OK, "Denied: the request of "+q.Who+" for "+string(e.Name)+" is gone.", out.Steps), b.load()}
			},
		}
	}}
}

// Target implements Screen.
func (b *Inbox) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (b *Inbox) Draw(a kit.Area, s Scene) {
	b.scene = s
	b.drawTabs(a.Sub(0, 0, a.W, 1))
	_, in := a.Top(1)
	if b.trouble != nil {
		y := b.trouble.draw(in.Inset(1, 0), Env{Name: "the requests"}, s.Now)
		_, in = in.Top(y)
	}
	switch {
	case !b.read:
		if b.trouble == nil && s.Lanes.Busy("requests").Shown(s.Now) {
			in.Text(2, 1, kit.In(kit.Dim), "Reading the requests "+in.Marks().Ellipsis)
		}
		return
	case len(b.shown) == 0 && b.mine:
		in.Inset(2, 1).Paragraph(0, kit.Style{}, "You ask for nothing. R on a locked environment asks for access.")
		return
	case len(b.shown) == 0:
		in.Inset(2, 1).Paragraph(0, kit.Style{}, "Nobody asks for access. A request reaches you with git: pull, then r.")
		return
	}
	if s.Size == kit.Small {
		list, foot := in.Bottom(2)
		b.drawRows(list, s)
		b.drawBrief(foot)
		return
	}
	rows := min(len(b.shown)+1, max(in.H/3, 4))
	list, rest := in.Top(rows)
	b.drawRows(list, s)
	rest.Rule(0, kit.In(kit.Border))
	_, rest = rest.Top(1)
	if q, ok := b.selected(); ok {
		b.page.top = 0
		b.page.draw(rest.Inset(1, 0), b.facts(q, s))
	}
}

func (b *Inbox) drawTabs(a kit.Area) {
	mine := 0
	for _, q := range b.all {
		if q.Mine {
			mine++
		}
	}
	m, x := a.Marks(), 0
	names := []string{"waiting", "mine"}
	if b.read {
		names = []string{fmt.Sprintf("waiting %d", len(b.all)-mine), fmt.Sprintf("mine %d", mine)}
	}
	for i, name := range names {
		if (i == 1) == b.mine {
			x = a.Text(x, 0, kit.Style{Attr: kit.Bold}, m.BracketOn+name+m.BracketX) + 1
			continue
		}
		x = a.Text(x+1, 0, kit.In(kit.Dim), name) + 2
	}
	if n := b.project.Waiting - Waiting(b.all); b.read && n > 0 {
		text := fmt.Sprintf("%d new: r", n)
		a.FitRight(x, 0, a.W-x, kit.Style{Role: kit.Warn, Attr: kit.Bold}, text)
	}
}

func (b *Inbox) drawRows(a kit.Area, s Scene) {
	has := func(f func(Request) bool) int {
		if slices.ContainsFunc(b.shown, f) {
			return 0
		}
		return -1
	}
	fors := has(func(q Request) bool { return q.For > 0 })
	votes := has(func(q Request) bool { return len(q.Needs) > 0 })
	width := func(off, w int) int {
		if off < 0 {
			return -1
		}
		return w
	}
	columns := []kit.Column{
		{Title: "WHO", Width: 12, Grow: 2}, {Title: "WANTS", Width: 10, Grow: 1},
		{Title: "FOR", Width: width(fors, 6), Drop: 3}, {Title: "AGE", Width: 4, Right: true},
		{Title: "NEEDS", Width: width(votes, 5), Drop: 2}, {Title: "CAREFUL", Width: 12, Grow: 1, Drop: 1},
	}
	rows := a
	t := kit.NewTable(a.W-2, columns...)
	if s.Size != kit.Small {
		var head kit.Area
		head, rows = a.Top(1)
		t.Head(head.Sub(2, 0, head.W-2, 1), 0)
	}
	b.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		q := b.shown[ln.Row]
		e, _ := b.project.Env(q.Env)
		t.Cell(a, 0, 0, kit.Style{}, q.Who)
		wants := kit.Style{}
		if e.Protected {
			wants = kit.Style{Role: kit.Warn, Attr: kit.Bold}
		}
		t.Cell(a, 0, 1, wants, strings.TrimSpace(label(e)+" "+q.Wants))
		if q.For > 0 {
			t.Cell(a, 0, 2, kit.Style{}, span(q.For))
		}
		t.Cell(a, 0, 3, kit.In(kit.Dim), ago(s.Now, q.At))
		if len(q.Needs) > 0 {
			have, want := 0, 0
			for _, n := range q.Needs {
				have, want = have+n.Have, want+n.Want
			}
			t.Cell(a, 0, 4, kit.Style{}, fmt.Sprintf("%d/%d", have, want))
		}
		st, text := b.flag(q)
		t.Cell(a, 0, 5, st, text)
	})
}

// flag is the one thing to be careful about in a row.
func (b *Inbox) flag(q Request) (kit.Style, string) {
	switch {
	case q.Problem != "":
		return kit.In(kit.Danger), "unreadable"
	case b.refused[q.ID] != "":
		return kit.In(kit.Danger), "refused"
	case b.changed[q.ID] != "":
		return kit.In(kit.Warn), "changed"
	case q.Replaces:
		return kit.In(kit.Warn), "other key!"
	case len(q.Careful) > 0:
		return kit.In(kit.Warn), q.Careful[0]
	case q.Key.Plugin != "":
		return kit.In(kit.Warn), "plugin"
	case q.Key.Name != "" && !q.Key.PostQuantum:
		return kit.In(kit.Dim), "classic"
	}
	return kit.Style{}, ""
}

// drawBrief is the request under the cursor in two lines.
func (b *Inbox) drawBrief(a kit.Area) {
	q, ok := b.selected()
	if !ok {
		return
	}
	if text := b.refused[q.ID]; text != "" {
		a.Fit(0, 0, a.W, kit.Style{Role: kit.Danger, Attr: kit.Bold}, "! "+text)
	} else {
		a.Fit(0, 0, a.W, kit.Style{}, "why "+or(q.Reason, "none given"))
	}
	st, flag := b.flag(q)
	text := q.Key.Name
	if flag != "" && flag != q.Key.Name {
		text = flag + ", " + text
	}
	a.Fit(0, 1, a.W, st, strings.TrimSuffix(text, ", "))
}

// facts are all that is known of a request, and what is not known of it.
func (b *Inbox) facts(q Request, s Scene) sheetOf {
	var t sheetOf
	e, _ := b.project.Env(q.Env)
	if text := b.refused[q.ID]; text != "" {
		t.in("! refused", kit.Style{Role: kit.Danger, Attr: kit.Bold}, text)
	}
	if text := b.changed[q.ID]; text != "" {
		t.in("! changed", kit.Style{Role: kit.Warn, Attr: kit.Bold}, text)
	}
	t.in("who", kit.Style{Attr: kit.Bold}, q.Who)
	wants := q.Wants
	if wants == "" {
		wants = "its key: all secrets, to read and to write"
	}
	t.say("wants", label(e)+": "+wants)
	if q.Problem != "" {
		t.in("problem", kit.In(kit.Danger), q.Problem)
		t.say("file", q.File)
		return t
	}
	if q.For > 0 {
		t.say("for", span(q.For))
	}
	t.say("why", or(q.Reason, "none given"))
	t.say("ticket", q.Ticket)
	t.say("when", clock(s.Now, q.At)+", "+ago(s.Now, q.At)+" ago")
	if !q.Lapses.IsZero() {
		t.say("lapses", "in "+in(s.Now, q.Lapses))
	}
	if q.Claimed {
		t.say("committed by", or(q.Author, "nobody: it is not committed")+" (a name that anybody can claim)")
	}
	key := q.Key.Name
	if q.Key.Plugin != "" {
		key = "of age-plugin-" + q.Key.Plugin + ", a program that would get the key of " + label(e)
	} else if key != "" && !q.Key.PostQuantum {
		key += ", not post-quantum"
	}
	t.say("their key", key)
	t.say("policy", q.Policy)
	for _, n := range q.Needs {
		t.say("needs", strings.TrimPrefix(needs([]Need{n}), ", "))
	}
	for _, v := range q.Votes {
		word := "approved"
		if !v.Yes {
			word = "denied"
		}
		t.say("decided", strings.TrimSuffix(v.By+" "+word+" "+ago(s.Now, v.At)+" ago: "+v.Why, ": "))
	}
	if q.Replaces {
		t.in("careful", kit.Style{Role: kit.Warn, Attr: kit.Bold}, q.Who+" has access with another key, which this would replace. Ask them whether the other is lost.")
	}
	for _, c := range q.Careful {
		t.in("careful", kit.In(kit.Warn), c)
	}
	switch {
	case q.Mine:
	case q.Off != "":
		t.in("approve", kit.In(kit.Warn), "off: "+q.Off)
	case q.Coded:
		t.in("approve", kit.In(kit.Dim), "a, then type the check code as "+q.Who+" reads it to you, by phone or in person")
	}
	return t
}

package screen

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Crew is who can open an environment: since when, until when, with what kind of
// key, and what is wrong with it. From here access is given and taken away.
type Crew struct {
	project *Project
	env     Env
	list    kit.List
	is      Members
	stored  Care // what is stored, if it has been counted
	counted bool
	marked  map[string]bool
	read    bool
	at      time.Time
	trouble *trouble
	work    work
	refused *NewMember // who has another key, which Replace would take away
	scene   Scene      // of the last picture
}

type crew []Member

// Len implements kit.Rows.
func (c crew) Len() int { return len(c) }

// Name implements kit.Rows.
func (c crew) Name(row int) string { return c[row].Name }

// work is long work that is under way, and how much of it is done.
type work struct {
	what        string // empty: none
	done, total int
}

// step makes what a job tells of its work into what is shown of it: each percent,
// and not each step.
func (w *work) step(show func(func()) bool) func(done, total int) {
	last := -1
	return func(done, total int) {
		if total < 1 || done*100/total == last {
			return
		}
		last = done * 100 / total
		show(func() { w.done, w.total = done, total })
	}
}

// draw says how much is done, in one row.
func (w work) draw(a kit.Area) {
	text := w.what
	if w.total > 0 {
		text += ": " + kit.Number(w.done) + " of " + kit.Number(w.total)
	}
	x := a.Text(0, 0, kit.Style{Role: kit.Accent, Attr: kit.Bold}, text) + 1
	if room := min(a.W-x-2, 40); w.total > 0 && room > 4 {
		full := room * w.done / w.total
		a.Text(x, 0, kit.In(kit.Dim), "["+strings.Repeat("=", full)+strings.Repeat(" ", room-full)+"]")
	}
}

// rotationFor is how long making a new key may take: it grows with the secrets.
const rotationFor = 10 * time.Minute

// NewMembers is the members of an environment.
func NewMembers(p *Project, e Env) *Crew {
	return &Crew{project: p, env: e, marked: map[string]bool{}}
}

// Title implements Screen.
func (c *Crew) Title() string { return "who can open " + string(c.env.Name) }

// Place implements Placed.
func (c *Crew) Place() (string, vault.Env) { return GoMembers, c.env.Name }

// Enter implements Screen.
func (c *Crew) Enter() Effect { return c.load() }

func (c *Crew) load() Effect {
	env := c.env.Name
	return Read{
		Lane: "members", What: "reading who can open " + string(env), For: 30 * time.Second,
		Do: func(ctx context.Context, r Reading, show func(func()) bool) error {
			is, err := r.Access().Members(ctx, env)
			if err != nil || !show(func() { c.take(is) }) {
				return err
			}
			// The rest is known from the secrets, of which there may be many.
			stored, err := r.Access().Care(ctx, env)
			if err == nil {
				show(func() { c.stored, c.counted = stored, true })
			}
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				t := newTrouble(c.project, err)
				if c.read {
					t.at = c.at
				}
				c.trouble = t
				return nil
			}
			c.trouble = nil
			return nil
		},
	}
}

// take shows who is there now.
func (c *Crew) take(is Members) {
	c.is, c.read, c.at = is, true, c.scene.Now
	for name := range c.marked {
		if !slices.ContainsFunc(is.List, func(m Member) bool { return m.Name == name }) {
			delete(c.marked, name)
		}
	}
	c.list.Set(crew(is.List))
}

func (c *Crew) selected() (Member, bool) {
	row, ok := c.list.Selected()
	if !ok || row >= len(c.is.List) {
		return Member{}, false
	}
	return c.is.List[row], true
}

// leaving are those who are marked, or else the one under the cursor.
func (c *Crew) leaving() []string {
	var names []string
	for _, m := range c.is.List {
		if c.marked[m.Name] {
			names = append(names, m.Name)
		}
	}
	if m, ok := c.selected(); ok && len(names) == 0 {
		names = append(names, m.Name)
	}
	return names
}

// ended are those whose time is over.
func (c *Crew) ended() []string {
	var names []string
	for _, m := range c.is.List {
		if m.Problem == "" && over(m, c.scene.Now) {
			names = append(names, m.Name)
		}
	}
	return names
}

func over(m Member, now time.Time) bool { return !m.Until.IsZero() && !m.Until.After(now) }

// Offers implements Screen.
func (c *Crew) Offers() []kit.Offer {
	off, none := "", ""
	switch {
	case !c.read:
		off = "it is not known yet who can open it"
	case c.work.what != "":
		off = c.work.what
	case c.is.Closed != nil:
		off = label(c.env) + " is closed to you"
	}
	if _, ok := c.selected(); !ok {
		none = "there is nobody under the cursor"
	}
	key := off
	if off == "" && !c.counted {
		key = "the secrets are still looked at"
	}
	part := key
	if key == "" && c.stored.InPart != "" {
		part = "a rotation came here in part: finish it first (T)"
	}
	remove, sweep, exposed := or(part, none), part, ""
	if sweep == "" && len(c.ended()) == 0 {
		sweep = "nobody's time is over"
	}
	if c.counted && c.stored.Exposed == 0 {
		exposed = "there is nothing to replace"
	}
	offers := []kit.Offer{
		{ID: AddMember, Off: off}, {ID: RemoveMember, Off: remove}, {ID: Open, Off: none}, {ID: MarkMember, Off: none},
		{ID: NewEnvKey, Off: key}, {ID: Sweep, Off: sweep}, {ID: GoExposed, Off: exposed}, {ID: Reload},
	}
	return append(offers, moves()...)
}

// Do implements Screen.
func (c *Crew) Do(action string) Effect {
	if move(&c.list, action) {
		return nil
	}
	switch action {
	case Open:
		if m, ok := c.selected(); ok {
			return c.facts(m, c.scene.Now).sheet(m.Name)
		}
	case MarkMember:
		if m, ok := c.selected(); ok {
			if c.marked[m.Name] = !c.marked[m.Name]; !c.marked[m.Name] {
				delete(c.marked, m.Name)
			}
			c.list.Move(1)
		}
	case AddMember:
		return c.add()
	case RemoveMember:
		return c.remove(c.leaving())
	case NewEnvKey:
		return c.rotate()
	case Sweep:
		return c.sweep(c.ended())
	case GoExposed:
		return Push{NewExposures(c.project, c.env)}
	case Reload:
		return c.load()
	}
	return nil
}

// stay are the names of those who will hold the next key.
func (c *Crew) stay(gone []string) []string {
	var names []string
	for _, m := range c.is.List {
		if !slices.Contains(gone, m.Name) && m.Problem == "" && !m.Pending {
			names = append(names, m.Name)
		}
	}
	return names
}

// newKey is a job that gives the environment a new key.
func (c *Crew) newKey(box *kit.Confirm, what, failed string, title func(Outcome) string, do func(context.Context, Granting, func(done, total int)) (Outcome, error)) Effect {
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		begun := work{what: "changing the key of " + label(c.env), total: c.stored.Secrets}
		var out Outcome
		return Grant{
			Consent: box.Consent(), Harm: kit.Destroys, Env: c.env.Name, What: what, For: rotationFor,
			Do: func(ctx context.Context, g Granting, show func(func()) bool) (err error) {
				show(func() { c.work = begun })
				out, err = do(ctx, g, c.work.step(show))
				return err
			},
			Done: func(err error) Effect {
				c.work = work{}
				if err != nil {
					return All{said(c.project, failed, err), c.load()}
				}
				c.marked = map[string]bool{}
				return All{c.load(), outcome(c.project, c.env, title(out), out)}
			},
		}
	}}
}

func (c *Crew) remove(names []string) Effect {
	if len(names) == 0 {
		return nil
	}
	var you []string
	for _, m := range c.is.List {
		if m.You && slices.Contains(names, m.Name) {
			you = append(you, "You are one of them: you cannot open "+label(c.env)+" afterwards.")
		}
	}
	if len(names) > 1 {
		you = append(you, "Who leaves: "+strings.Join(names, ", ")+".")
	}
	stay := c.stay(names)
	held := "nobody"
	if len(stay) > 0 {
		held = join(stay, 5)
	}
	facts := append(you,
		label(c.env)+" gets a new key, held by "+held+". "+count(c.stored.Secrets, "secret")+" wrapped anew, or nothing is done.",
		"What they could read they know: a list of it follows, to be replaced at its source.",
		"First take away their write access to the repository: with the old key they could fool a fresh clone.")
	box := Confirmation(c.env, kit.Destroys, "Remove "+join(names, 3)+" from "+label(c.env)+"?", "remove", facts...)
	return c.newKey(box, "removing "+join(names, 3)+" from "+string(c.env.Name), "Not removed",
		func(out Outcome) string {
			return join(out.Removed, 3) + " cannot read what is written to " + label(c.env) + " from now on"
		},
		func(ctx context.Context, g Granting, step func(int, int)) (Outcome, error) {
			return g.Remove(ctx, names, step)
		})
}

func (c *Crew) sweep(names []string) Effect {
	box := Confirmation(c.env, kit.Destroys, "Sweep "+label(c.env)+"?", "sweep",
		"The time of "+strings.Join(names, ", ")+" is over, and they hold the key until it changes.",
		label(c.env)+" gets a new key without them. "+count(c.stored.Secrets, "secret")+" wrapped anew, or nothing is done.",
		"What they could read they know: a list of it follows, to be replaced at its source.")
	return c.newKey(box, "sweeping "+string(c.env.Name), "Not swept",
		func(out Outcome) string {
			return join(out.Removed, 3) + " cannot read what is written to " + label(c.env) + " from now on"
		},
		func(ctx context.Context, g Granting, step func(int, int)) (Outcome, error) {
			return g.Sweep(ctx, names, step)
		})
}

func (c *Crew) rotate() Effect {
	box := Confirmation(c.env, kit.Destroys, "Give "+label(c.env)+" a new key?", "make it",
		"The same members hold it: "+join(c.stay(nil), 5)+". "+count(c.stored.Secrets, "secret")+" wrapped anew, or nothing is done.",
		"The values stay as they are: whoever knew them still does. To take access away, remove a member (d).")
	if c.stored.InPart != "" {
		box = Confirmation(c.env, kit.Destroys, "Finish the new key of "+label(c.env)+"?", "finish it",
			"A rotation came here in part: "+c.stored.InPart+".",
			"If its commit can still be pulled, do that instead. Else what is missing is put under the present key now.")
	}
	return c.newKey(box, "making a new key for "+string(c.env.Name), "No new key",
		func(out Outcome) string {
			if !out.Rotated {
				return "The new key of " + label(c.env) + " is finished"
			}
			return label(c.env) + " has a new key"
		},
		func(ctx context.Context, g Granting, step func(int, int)) (Outcome, error) {
			return g.Rotate(ctx, step)
		})
}

// add asks whom to let in, and with which key.
func (c *Crew) add() Effect {
	name, key, until := &line{kit.Field{Max: 128}}, &public{Field: kit.Field{Max: 64 << 10}}, &kit.Field{Max: 32}
	form := &kit.Prompt{Title: "Let somebody into " + label(c.env), Send: "go on", Form: kit.Form{Items: []kit.Item{
		{Label: "Name", Input: name, Note: "bob@desktop", Role: kit.Dim},
		{Label: "Public key", Input: key, Note: "paste it", Role: kit.Dim},
		{Label: "Until", Input: until, Note: "8h 7d 2026-12-31", Role: kit.Dim},
	}}}
	replace := &kit.Checks{Options: []string{"the key that they have"}, On: make([]bool, 1)}
	if was := c.refused; was != nil {
		name.Set(was.Name)
		key.Set(was.Recipient)
		form.Form.Items = append(form.Form.Items, kit.Item{Label: "Replace", Input: replace, Note: "space", Role: kit.Dim})
		form.Form.SetFocus(3)
	}
	// read is what is typed, or what is wrong with it.
	read := func() (m NewMember, kind KeyKind, wrong string) {
		m.Name = strings.TrimSpace(name.Text())
		var err error
		switch {
		case key.secret:
			return m, kind, "That was a private key: it is not taken. Theirs is public, and begins with age1 or ssh-."
		case m.Name == "":
			return m, kind, "Who is it?"
		case !key.Empty():
			kind, err = c.project.Gate.Recipient(key.Text())
			m.Recipient = kind.Recipient
		case !slices.ContainsFunc(c.is.List, func(w Member) bool { return w.Pending && w.Name == m.Name }):
			return m, kind, "Their public key: age1pq1.., age1.., ssh-ed25519 .."
		}
		m.Replace = replace.On[0]
		if err == nil {
			m.Until, err = c.project.Gate.Until(until.Text())
		}
		if err != nil {
			wrong, _ = c.project.Explain(err)
		}
		return m, kind, wrong
	}
	form.Check = func() string {
		_, _, wrong := read()
		return wrong
	}
	return Ask{Dialog: form, Then: func() Effect {
		if !form.OK() {
			return nil
		}
		m, kind, wrong := read()
		if wrong != "" {
			return nil
		}
		return c.letIn(m, kind)
	}}
}

// public is a field for a public key. A private one that is put there by mistake
// is neither kept nor shown.
type public struct {
	kit.Field
	secret bool
}

func private(text string) bool {
	text = strings.ToUpper(text)
	return strings.Contains(text, "AGE-SECRET-KEY-") || strings.Contains(text, "AGE-PLUGIN-") || strings.Contains(text, "PRIVATE KEY")
}

// Key implements kit.Input. What somebody goes on typing of a private key is
// swallowed, until they delete.
func (p *public) Key(k kit.Key) bool {
	if p.secret && k.Text != "" {
		return true
	}
	used := p.Field.Key(k)
	if used {
		p.guard()
	}
	return used
}

// Paste implements kit.Input.
func (p *public) Paste(text string) bool {
	used := p.Field.Paste(text)
	p.guard()
	return used
}

// guard empties the field if a private key is in it.
func (p *public) guard() {
	if p.secret = private(p.Text()); p.secret {
		p.Wipe()
	}
}

// letIn asks whether it is meant.
func (c *Crew) letIn(m NewMember, kind KeyKind) Effect {
	facts := []string{"Whoever has the private half of the key can read everything in " + label(c.env) + ", and write it. Be sure that it is theirs: where you share no safe channel, let them ask (R on their side) and compare the check code."}
	switch {
	case kind.Name != "" && kind.PostQuantum:
		facts = append(facts, "The key: "+short(m.Recipient)+", "+kind.Name+".")
	case kind.Name != "":
		facts = append(facts, "The key: "+short(m.Recipient)+", "+kind.Name+", not post-quantum.")
	default:
		facts = append(facts, "The grant that was left pending is made now.")
	}
	if m.Until.IsZero() {
		facts = append(facts, "Without an end: until somebody removes them.")
	} else {
		facts = append(facts, "Until "+clock(c.scene.Now, m.Until)+": honest envruns keep to that. It is made true by a sweep, which changes the key.")
	}
	title := "Let " + m.Name + " into " + label(c.env) + "?"
	if m.Replace {
		title = "Replace the key of " + m.Name + " in " + label(c.env) + "?"
		facts = append([]string{m.Name + " has access with another key, which this replaces. If that was lost or stolen, give " + label(c.env) + " a new key afterwards (T)."}, facts...)
	}
	box := Confirmation(c.env, kit.Grants, title, "let them in", facts...)
	return Ask{Dialog: box, Then: func() Effect {
		if !box.Consent().OK() {
			return nil
		}
		var out Outcome
		return Grant{
			Consent: box.Consent(), Harm: kit.Grants, Env: c.env.Name, What: "letting " + m.Name + " into " + string(c.env.Name),
			Do: func(ctx context.Context, g Granting, _ func(func()) bool) (err error) {
				out, err = g.Add(ctx, m)
				return err
			},
			Done: func(err error) Effect {
				if errors.Is(err, ErrOtherKey) && !m.Replace {
					c.refused = &m
					return Say{kit.Notice{Role: kit.Warn, Sticky: true, Text: "Not let in: " + m.Name + " has access with another key. n again, if the new one is to replace it."}}
				}
				if err != nil {
					return All{said(c.project, "Not let in", err), c.load()}
				}
				c.refused = nil
				return All{c.load(), outcome(c.project, c.env, m.Name+" can open "+label(c.env)+" now", out)}
			},
		}
	}}
}

// short is a public key as people compare it: some of both its ends.
func short(recipient string) string {
	const head, tail = 18, 10
	if len(recipient) <= head+tail+2 {
		return recipient
	}
	return recipient[:head] + ".." + recipient[len(recipient)-tail:]
}

// Target implements Screen.
func (c *Crew) Target() (Target, bool) { return Target{}, false }

// head is how many rows stand above the list and its titles.
func (c *Crew) head() int {
	n := 1
	if c.scene.Size != kit.Small {
		n++
	}
	return n
}

// Draw implements Screen.
func (c *Crew) Draw(a kit.Area, s Scene) {
	c.scene = s
	if c.trouble != nil {
		y := c.trouble.draw(a.Inset(1, 0), c.env, s.Now)
		_, a = a.Top(y)
	}
	if !c.read {
		if c.trouble == nil && s.Lanes.Busy("members").Shown(s.Now) {
			a.Text(2, 1, kit.In(kit.Dim), "Reading who can open "+label(c.env)+" "+a.Marks().Ellipsis)
		}
		return
	}
	head, in := a.Top(c.head())
	c.drawHead(head, s)
	if len(c.is.List) == 0 {
		in.Inset(2, 1).Paragraph(0, kit.Style{}, "Nobody can open "+label(c.env)+".")
		return
	}
	switch s.Size {
	case kit.Small:
		c.drawRows(in, s)
	case kit.Medium:
		rows := min(len(c.is.List)+1, max(in.H/2, 4))
		list, rest := in.Top(rows)
		c.drawRows(list, s)
		rest.Rule(0, kit.In(kit.Border))
		_, rest = rest.Top(1)
		c.drawFacts(rest, s)
	default:
		list, rest := in.Left(in.W - 39)
		c.drawRows(list.Sub(0, 0, list.W-1, list.H), s)
		for y := range rest.H {
			rest.Text(0, y, kit.In(kit.Border), rest.Marks().Vert)
		}
		_, rest = rest.Left(2)
		c.drawFacts(rest, s)
	}
}

func (c *Crew) drawFacts(a kit.Area, s Scene) {
	if m, ok := c.selected(); ok {
		(&page{}).draw(a, c.facts(m, s.Now))
	}
}

// drawHead is the key and what is to be said of all members.
func (c *Crew) drawHead(a kit.Area, s Scene) {
	k := c.is.Key
	if c.work.what != "" {
		c.work.draw(a)
	} else {
		x := a.Text(0, 0, kit.In(kit.Dim), "key ")
		x = a.Text(x, 0, kit.Style{Attr: kit.Bold}, kit.Number(int(k.Gen))) + 2
		x = a.Text(x, 0, kit.Style{}, k.Fingerprint) + 2
		a.Fit(x, 0, a.W-x, kit.In(kit.Dim), made(k, s.Now))
	}
	if a.H < 2 {
		return
	}
	classic := 0
	for _, m := range c.is.List {
		if !m.Key.PostQuantum {
			classic++
		}
	}
	st, text := kit.In(kit.Dim), "all keys are post-quantum"
	switch ended := c.ended(); {
	case c.is.Closed != nil:
		st, text = kit.In(kit.Locked), "L closed to you: this is what its files say of themselves, and nobody has checked it"
	case c.stored.InPart != "":
		st, text = kit.In(kit.Danger), "! a rotation came here in part: "+c.stored.InPart+". T finishes it."
	case len(ended) > 0:
		st, text = kit.In(kit.Warn), "! ended and not swept: "+join(ended, 2)+". They hold the key: W"
	case c.stored.Exposed > 0:
		st, text = kit.In(kit.Warn), count(c.stored.Exposed, "value")+" that former members could read: O lists them"
	case classic > 0:
		text = "not post-quantum: " + kit.Number(classic) + " of " + count(len(c.is.List), "key") + " are classic"
	}
	a.Fit(0, 1, a.W, st, text)
}

func (c *Crew) drawRows(a kit.Area, s Scene) {
	rows := a
	t := kit.NewTable(a.W-4, kit.Column{Title: "MEMBER", Width: 18, Grow: 2}, kit.Column{Title: "SINCE", Width: 10, Drop: 2},
		kit.Column{Title: "ENDS", Width: 10, Grow: 1}, kit.Column{Title: "KEY", Width: 12, Drop: 1})
	if s.Size != kit.Small {
		var head kit.Area
		head, rows = a.Top(1)
		t.Head(head.Sub(4, 0, head.W-4, 1), 0)
	}
	c.list.Alert = c.env.Protected
	c.list.Draw(rows, func(a kit.Area, ln kit.Line) {
		m := c.is.List[ln.Row]
		if c.marked[m.Name] {
			a.Text(0, 0, kit.Style{Role: kit.Danger, Attr: kit.Bold}, "*")
		}
		cols := a.Sub(2, 0, a.W-2, 1)
		name := m.Name
		if m.You {
			name += " (you)"
		}
		t.Cell(cols, 0, 0, kit.Style{}, name)
		t.Cell(cols, 0, 1, kit.In(kit.Dim), day(s.Now, m.Since))
		st, text := ends(m, s.Now)
		t.Cell(cols, 0, 2, st, text)
		t.Cell(cols, 0, 3, kit.In(kit.Dim), m.Key.Name)
	})
}

// ends says when a member's access ends, or what is wrong with it.
func ends(m Member, now time.Time) (kit.Style, string) {
	switch {
	case m.Problem != "":
		return kit.In(kit.Danger), m.Problem
	case m.Pending:
		return kit.In(kit.Warn), "pending"
	case over(m, now):
		return kit.Style{Role: kit.Danger, Attr: kit.Bold}, "ENDED " + ago(now, m.Until)
	case !m.Until.IsZero():
		return kit.In(kit.Warn), "in " + in(now, m.Until)
	}
	return kit.In(kit.Dim), "-"
}

// facts are all that is known of a member.
func (c *Crew) facts(m Member, now time.Time) sheetOf {
	var t sheetOf
	t.in("member", kit.Style{Attr: kit.Bold}, m.Name)
	if m.You {
		t.say("", "that is you")
	}
	if m.Pipeline {
		t.say("", "a pipeline, with a key in a string")
	}
	switch {
	case m.Problem != "":
		t.in("problem", kit.Style{Role: kit.Danger, Attr: kit.Bold}, m.Problem)
	case m.Pending:
		t.in("pending", kit.In(kit.Warn), "they hold no key yet: making their grant takes age-plugin-"+m.Key.Plugin)
	}
	if !m.Since.IsZero() {
		t.say("since", day(now, m.Since))
	}
	if m.By != "" && m.By != m.Name {
		t.say("let in by", m.By)
	}
	switch {
	case over(m, now):
		t.in("ended", kit.Style{Role: kit.Danger, Attr: kit.Bold}, clock(now, m.Until)+", and not swept: they hold the key until it changes (W)")
	case !m.Until.IsZero():
		t.say("until", clock(now, m.Until)+", in "+in(now, m.Until))
	default:
		t.say("until", "no end")
	}
	key := m.Key.Name
	if !m.Key.PostQuantum && key != "" {
		key += ", not post-quantum"
	}
	t.say("key", key)
	if m.Key.Plugin != "" {
		t.say("takes", "age-plugin-"+m.Key.Plugin)
	}
	t.say("recipient", short(m.Key.Recipient))
	return t
}

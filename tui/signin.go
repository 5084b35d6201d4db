package tui

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
)

// How people sign in to a server while the interface is open, and what becomes of
// what could not be done because a session had ended. A sign-in is a job of the
// root with a box of its own: a lock hides the box, and the job goes on.

// The root's lanes for it.
var (
	laneSign   = lane{name: "signin"}
	laneSigned = lane{name: "signed"}
)

const (
	signLimit   = 35 * time.Minute // more than an issuer gives anybody to sign in
	mostPasted  = 64 << 10         // bytes; more than an address that a browser ends at has
	signedEvery = 30 * time.Second // how often a session that ends soon is looked at
)

// A signing is a sign-in that is under way.
type signing struct {
	env     vault.Env
	server  string
	how     screen.How
	over    chan struct{} // closed when nothing is left of it, nor of those before it
	visit   screen.Visit
	code    screen.Code
	note    string
	pasting bool
	field   kit.Field
	pasted  chan string
	box     *signBox
}

// A lapse is what could not be done at a server because nobody was signed in there.
type lapse struct {
	want  screen.Want
	reads []failedRead
	write *unwritten // the last of those that were refused
	ends  time.Time  // when the session was to end that nobody takes any more
}

type failedRead struct {
	of screen.Screen
	screen.Read
}

// An unwritten is a change that was refused. It is never made again by itself: the
// action that had asked for it asks again.
type unwritten struct {
	from    screen.Screen
	action  string
	what    string
	touches uint64 // Model.touches when it was to be asked again
}

// person is who a sign-in talks with, from its own goroutine.
type person struct {
	m    *Model
	s    *signing
	show func(func()) bool
}

func (p person) tell(change func(*signing)) {
	select {
	case <-p.s.over:
	default:
		p.show(func() {
			change(p.s)
			if p.m.lines {
				p.m.saySigning(p.s)
			}
		})
	}
}

// Visit implements screen.Person.
func (p person) Visit(v screen.Visit) {
	p.tell(func(s *signing) { s.visit, s.code, s.note = v, screen.Code{}, "" })
}

// Code implements screen.Person.
func (p person) Code(c screen.Code) {
	p.tell(func(s *signing) { s.visit, s.code, s.note, s.pasting = screen.Visit{}, c, "", false })
}

// Pasted implements screen.Person.
func (p person) Pasted() <-chan string { return p.s.pasted }

// Note implements screen.Person.
func (p person) Note(text string) { p.tell(func(s *signing) { s.note = text }) }

// server is what the server of an environment is known by; empty: it is on none.
func (m *Model) server(env vault.Env) string {
	if m.config.SignIns == nil {
		return ""
	}
	return m.config.SignIns.Server(env)
}

// wants says whether somebody has to sign in because of an error.
func (m *Model) wants(err error) (screen.Want, bool) {
	if err == nil || m.config.SignIns == nil {
		return screen.Want{}, false
	}
	return m.config.SignIns.Wants(err)
}

// signIn opens the box in which somebody signs in to the server of an environment.
func (m *Model) signIn(env vault.Env, how screen.How) {
	if m.server(env) == "" {
		return
	}
	if s := m.signing; s != nil {
		if s.server == m.server(env) {
			m.showSigning()
			return
		}
		m.endSigning()
	}
	m.hide()
	if m.lines {
		m.askHow(env)
		return
	}
	m.beginSigning(env, how, nil)
	m.showSigning()
}

// askHow asks in lines in which way somebody signs in: there is no key for that
// while it is waited for.
func (m *Model) askHow(env vault.Env) {
	q := &kit.Question{Title: "How do you sign in?", Answers: []string{"as fits here", "in a browser on this machine", "with a code, on another device", "in any browser, and paste the address it ends at"}}
	m.dialogs.Push(q, func() {
		if at, ok := q.Taken(); ok {
			m.beginSigning(env, [...]screen.How{screen.AsFits, screen.ByBrowser, screen.ByDevice, screen.ByPaste}[at], nil)
		}
	})
}

// saySigning says in lines what there is to do.
func (m *Model) saySigning(s *signing) {
	box := &signBox{m: m, s: s}
	lines, address, wait := box.words()
	if s.pasting && s.visit.URL != "" {
		if s.box == nil {
			s.box = box
			m.dialogs.Push(box, func() {})
		}
		return
	}
	var all []string
	for _, l := range lines {
		all = append(all, strings.TrimSpace(l.Head+" "+l.Text))
	}
	if address != "" {
		all = append(all, address)
	}
	m.waitsFor = strings.Join(append(all, wait), "; ")
}

// beginSigning begins a sign-in once nothing of the one before is left.
func (m *Model) beginSigning(env vault.Env, how screen.How, before *signing) {
	s := &signing{env: env, server: m.server(env), how: how, over: make(chan struct{}), pasted: make(chan string, 1)}
	s.field = kit.Field{Hidden: true, Max: mostPasted}
	s.pasting = how == screen.ByPaste
	if before == nil {
		before = m.ending
	}
	m.signing = s
	var is screen.Signed
	m.start(&job{lane: laneSign, what: "signing in", limit: signLimit, person: true, never: func() { s.end(before) },
		do: func(ctx context.Context, show func(func()) bool) (err error) {
			defer s.end(before)
			if before != nil {
				select {
				case <-before.over:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			is, err = m.config.SignIns.SignIn(ctx, env, how, person{m, s, show})
			return err
		},
		done: func(err error) {
			m.closeSigning()
			if err != nil {
				m.notSigned(err)
				return
			}
			m.project.Note(env, is)
			m.signedIn(env)
		},
	})
}

// end says that a sign-in is over, once those before it are: the next one waits for
// this one alone, which may have been called off while it waited itself.
func (s *signing) end(before *signing) {
	if before == nil {
		close(s.over)
		return
	}
	go func() {
		<-before.over
		close(s.over)
	}()
}

// showSigning opens the box of the sign-in that is under way, unless it is open.
func (m *Model) showSigning() {
	s := m.signing
	if s == nil || s.box != nil && m.dialogs.Has(s.box) || m.locked {
		return
	}
	box := &signBox{m: m, s: s}
	s.box = box
	m.dialogs.Push(box, func() {
		if m.signing != nil && m.signing.box == box {
			m.endSigning()
			m.say(kit.Notice{Text: "Not signed in: it was cancelled, and nothing of it is left."})
		}
	})
}

// endSigning calls the sign-in off that is under way.
func (m *Model) endSigning() {
	s := m.signing
	m.stop(laneSign)
	m.closeSigning()
	m.ending = s
}

// closeSigning closes its box and forgets what was typed there.
func (m *Model) closeSigning() {
	s := m.signing
	if s == nil {
		return
	}
	m.signing = nil
	s.field.Wipe()
	s.visit, s.code = screen.Visit{}, screen.Code{}
	if s.box != nil {
		m.dialogs.Close(s.box)
	}
}

// anotherWay begins the sign-in again in another way.
func (m *Model) anotherWay(how screen.How) {
	was := m.signing
	m.stop(laneSign)
	was.field.Wipe()
	m.beginSigning(was.env, how, was)
	m.signing.box = was.box
	was.box.s = m.signing
}

// notSigned says why nobody was signed in.
func (m *Model) notSigned(err error) {
	if errors.Is(err, context.Canceled) {
		m.say(kit.Notice{Text: "Not signed in: it was cancelled."})
		return
	}
	what, next := m.explain(err)
	n := kit.Notice{Role: kit.Danger, Text: "Not signed in: " + what, Details: "Not signed in: " + what, Sticky: true}
	if next != "" {
		n.Details += "\n" + next
	}
	m.say(n)
}

// signedIn is after somebody has signed in: what could not be read is read now, and
// what could not be written is asked about again.
func (m *Model) signedIn(env vault.Env) {
	server := m.server(env)
	is := m.project.Signed[server]
	text := "Signed in to " + screen.Host(is.Address)
	if is.Label != "" {
		text += " as " + is.Label
	}
	n := kit.Notice{Role: kit.OK, Text: text + "."}
	l := m.lapses[server]
	delete(m.lapses, server)
	if l != nil && l.write != nil {
		n = kit.Notice{Role: kit.Warn, Text: text + ". Not done before: " + l.write.what + ". It is never done by itself: begin it again."}
	}
	m.say(n)
	m.lookSigned(env, true)
	if m.server(m.env) == server {
		m.watch()
	}
	m.again = l
	m.goOnSigned()
}

// goOnSigned reads again what could not be read, as soon as somebody looks.
func (m *Model) goOnSigned() {
	if m.again == nil || m.locked || m.blank {
		return
	}
	l := m.again
	m.again = nil
	top := m.top()
	m.apply(top, top.Enter())
	for _, r := range l.reads {
		if r.of == top && m.lanes[lane{top, r.Lane}] == nil {
			m.read(top, r.Read)
		}
	}
	if l.write != nil && l.write.action != "" {
		l.write.touches = m.touches
		m.refused = l.write
	}
}

// keepOffered asks again for what was not written, when the screen that asked for
// it has read what there is, and nobody has gone on meanwhile. It runs after every
// message.
func (m *Model) keepOffered() {
	w := m.refused
	if w == nil {
		return
	}
	for _, j := range m.lanes {
		if j.owner == w.from {
			return
		}
	}
	m.refused = nil
	if w.from != m.top() || m.locked || m.dialogs.Len() > 0 || m.touches != w.touches {
		return
	}
	if !slices.ContainsFunc(m.top().Offers(), func(o kit.Offer) bool { return o.ID == w.action && o.Off == "" }) {
		return
	}
	m.appears = true
	m.do(w.action)
	m.appears = false
}

// lapsed notes what a job could not do because nobody is signed in, and forgets it
// when it could.
func (m *Model) lapsed(j *job, err error) {
	if m.config.SignIns == nil || j.lane == laneSign || j.lane == laneSigned {
		return
	}
	want, ok := m.wants(err)
	if !ok {
		if err == nil && j.again != nil {
			for server, l := range m.lapses {
				for _, r := range l.reads {
					if (lane{r.of, r.Lane}) == j.lane {
						m.signedElsewhere(server)
					}
				}
			}
		}
		return
	}
	l := m.lapses[want.Server]
	if l == nil {
		l = &lapse{ends: m.project.Signed[want.Server].Ends}
		m.lapses[want.Server] = l
	}
	l.want = want
	if is, known := m.project.Signed[want.Server]; want.State != screen.NotFresh && (known || want.Address != "") {
		is.State, is.Address = want.State, want.Address
		m.project.Signed[want.Server] = is
	}
	if r := j.again; r != nil {
		l.reads = slices.DeleteFunc(l.reads, func(was failedRead) bool { return was.of == r.of && was.Lane == r.Lane })
		l.reads = append(l.reads, *r)
	}
	if j.lane == laneWrite && j.vault {
		l.write = &unwritten{from: j.asked, action: j.action, what: j.what}
	}
}

// noteSigned takes in who is signed in. Of a session that could not be used, one that
// is there again has been made by another envrun: what could not be read is read.
func (m *Model) noteSigned(env vault.Env, is screen.Signed, ask bool) {
	server := m.server(env)
	l := m.lapses[server]
	if l != nil && is.State == screen.SignedIn && l.want.State != screen.NotFresh {
		if !ask && is.Ends.Equal(l.ends) {
			return // it is the one that has ended
		}
		m.project.Note(env, is)
		m.signedIn(env)
		return
	}
	m.project.Note(env, is)
}

// signedElsewhere is after what could not be read has been read: somebody has
// signed in outside of this interface.
func (m *Model) signedElsewhere(server string) {
	delete(m.lapses, server)
	if is, known := m.project.Signed[server]; known {
		is.State, is.Why = screen.SignedIn, nil
		is.Ends = time.Time{} // of the session that has ended
		m.project.Signed[server] = is
	}
	if m.server(m.env) == server {
		m.lookSigned(m.env, true)
		m.watch()
	}
}

// lookSigned asks who is signed in at the server of an environment; with ask, the
// server itself.
func (m *Model) lookSigned(env vault.Env, ask bool) {
	if m.server(env) == "" || m.lanes[laneSigned] != nil {
		return
	}
	m.signedAt = m.now()
	m.start(&job{lane: laneSigned, limit: usualLimit,
		do: func(ctx context.Context, show func(func()) bool) error {
			is, err := m.config.SignIns.Signed(ctx, env, ask)
			if err == nil {
				show(func() { m.noteSigned(env, is, ask) })
			}
			return err
		},
		done: func(error) { // whoever reads there says what is wrong
			if is := m.project.Signed[m.server(env)]; !ask && is.State == screen.SignedIn && len(is.Envs) == 0 {
				m.lookSigned(env, true)
			}
		},
	})
}

// beatSigned looks at a session that is about to end: it may go on by itself, and
// another envrun may have signed in.
func (m *Model) beatSigned(now time.Time) {
	is, ok := m.project.Signed[m.server(m.env)]
	if !ok || m.locked || m.blurred || m.signing != nil {
		return
	}
	if l := m.lapses[m.server(m.env)]; l != nil {
		if now.Sub(m.signedAt) >= signedEvery && l.want.State != screen.NotFresh {
			m.lookSigned(m.env, false)
		}
		return
	}
	if is.Ends.IsZero() || is.State != screen.SignedIn {
		return
	}
	if left := is.Ends.Sub(now); left < screen.EndingSoon+time.Minute {
		m.dirty = true // what is said of it counts down
		if now.Sub(m.signedAt) >= signedEvery && left > -signedEvery {
			m.lookSigned(m.env, false)
		}
	}
}

// signStatus is what the status line says of the session, where nothing else is to
// be said.
func (m *Model) signStatus() (kit.Style, string) {
	server := m.server(m.env)
	if server == "" {
		return kit.Style{}, ""
	}
	key, bold := m.keyOf(screen.DoSignIn), kit.Style{Role: kit.Warn, Attr: kit.Bold}
	is := m.project.Signed[server]
	if is.Fixed != "" {
		return kit.Style{}, ""
	}
	want, out := screen.Want{Address: is.Address, Env: m.env, State: is.State}, is.State == screen.SignedOut || is.State == screen.Lapsed || is.State == screen.Refused
	left := is.Ends.Sub(m.now())
	ends := is.State == screen.SignedIn && !is.Renewed && !is.Ends.IsZero()
	switch l := m.lapses[server]; {
	case l != nil:
		want, out = l.want, true
	case ends && left <= 0:
		want.State, out = screen.Lapsed, true
	}
	switch {
	case out && m.size() == kit.Large:
		return bold, want.Text(&m.project) + ": " + key + " signs in, and what you typed is kept."
	case out:
		return bold, want.Short(&m.project) + ": " + key + " signs in."
	case !ends || left >= screen.EndingSoon:
		return kit.Style{}, ""
	case m.size() == kit.Large:
		return bold, "Your session at " + screen.Host(is.Address) + " ends in " + screen.Remaining(left) + ": " + key + " signs in again, and nothing is lost."
	}
	return bold, "Session ends in " + screen.Remaining(left) + ": " + key + " signs in again."
}

// whoAt is who works here, as the header says it, and whether they have to sign in.
func (m *Model) whoAt() (who string, out bool) {
	server := m.server(m.env)
	if server == "" {
		return m.config.Who, false
	}
	is, known := m.project.Signed[server]
	over := is.State == screen.SignedOut || is.State == screen.Lapsed || is.State == screen.Refused
	if l := m.lapses[server]; l != nil && l.want.State != screen.NotFresh || known && over {
		return "", true
	}
	who = is.Label
	if who == "" {
		who = m.config.Who
	}
	if left := is.Ends.Sub(m.now()); known && who != "" && !is.Ends.IsZero() && !is.Renewed && is.State == screen.SignedIn {
		if left <= 0 {
			return who, true
		}
		who += " " + screen.Remaining(left)
	}
	return who, false
}

// endSession signs out, if somebody consented to it.
func (m *Model) endSession(from screen.Screen, e screen.SignOut) {
	if !m.consented(e.Env, kit.Writes, e.Consent, "signing out") {
		return
	}
	var ends []screen.Ending
	m.start(&job{lane: laneWrite, what: "signing out", limit: 30 * time.Second, asked: from,
		do: func(ctx context.Context, _ func(func()) bool) (err error) {
			ends, err = m.config.SignIns.SignOut(ctx, e.Env)
			return err
		},
		done: func(err error) {
			if err == nil {
				m.forgetHomes()
				m.project.Signed[m.server(e.Env)] = screen.Signed{Address: m.project.Signed[m.server(e.Env)].Address, State: screen.SignedOut}
			}
			if e.Done != nil {
				m.apply(from, e.Done(ends, err))
			}
		},
	})
}

// forgetHomes forgets what is not open of environments that another person, or
// nobody, looks at from now on.
func (m *Model) forgetHomes() { m.home = map[vault.Env]screen.Screen{m.env: m.homeOf(m.env)} }

// useAccount has another account used at a server, and reads all anew.
func (m *Model) useAccount(from screen.Screen, e screen.UseAccount) {
	m.start(&job{lane: laneSigned, what: "changing the account", limit: 30 * time.Second,
		do: func(ctx context.Context, _ func(func()) bool) error {
			return m.config.SignIns.Use(ctx, e.Env, e.Account)
		},
		done: func(err error) {
			if err != nil {
				m.fail(err)
				return
			}
			delete(m.lapses, m.server(e.Env))
			m.hide()
			m.forgetHomes()
			m.say(kit.Notice{Role: kit.OK, Text: "Another account is used now."})
			m.apply(m.top(), m.top().Enter())
			m.lookSigned(e.Env, true)
		},
	})
}

// A signBox is the box of a sign-in: what the person does, what is waited for, and
// for how long.
type signBox struct {
	m *Model
	s *signing
}

// Key implements kit.Dialog.
func (b *signBox) Key(k kit.Key) (done bool) {
	s := b.s
	if k.Name == "esc" {
		return true
	}
	if s.pasting {
		switch {
		case k.Name == "tab" && s.how != screen.ByPaste:
			s.field.Wipe()
			s.pasting = false
		case k.Name == "enter":
			if !k.Repeat && !s.field.Empty() {
				b.send()
			}
		default:
			s.field.Key(k)
		}
		return false
	}
	if k.Repeat {
		return false
	}
	name := k.Name
	if len(name) != 1 && k.Base != "" {
		name = k.Base
	}
	switch name {
	case "b":
		if !s.visit.Opened {
			b.m.anotherWay(screen.ByBrowser)
		}
	case "d":
		if s.code.Code == "" {
			b.m.anotherWay(screen.ByDevice)
		}
	case "p":
		if s.visit.URL != "" {
			s.pasting = true
		} else {
			b.m.anotherWay(screen.ByPaste)
		}
	case "y":
		if address := s.address(); address != "" {
			b.m.copyName(address, "the address")
		}
	case "P":
		b.m.nextShare()
	}
	return false
}

// address is what the person opens.
func (s *signing) address() string {
	if s.code.Code != "" {
		return s.code.URL
	}
	return s.visit.URL
}

// send hands over what was pasted.
func (b *signBox) send() {
	select {
	case b.s.pasted <- strings.TrimSpace(b.s.field.Text()):
		b.s.note = "looking at what you pasted"
	default:
		b.s.note = "still looking at what you pasted before"
	}
	b.s.field.Wipe()
}

// Paste implements kit.Dialog: an address that is pasted is what was to be pasted.
func (b *signBox) Paste(text string) {
	if b.s.visit.URL == "" {
		return
	}
	b.s.pasting = true
	if !b.s.field.Paste(strings.TrimSpace(text)) {
		b.s.note = fmt.Sprintf("that is longer than %d bytes: no address is", mostPasted)
	}
}

// Hints implements kit.Dialog.
func (b *signBox) Hints() []kit.Hint {
	s := b.s
	esc := kit.Hint{Key: "esc", Name: "cancel"}
	if s.pasting {
		hints := []kit.Hint{{Key: "enter", Name: "go on"}, esc}
		if s.how != screen.ByPaste {
			hints = append(hints, kit.Hint{Key: "tab", Name: "back"})
		}
		return hints
	}
	hints := []kit.Hint{esc}
	if s.address() != "" && b.m.config.Clipboard != nil {
		hints = append(hints, kit.Hint{Key: "y", Name: "copy address"})
	}
	if !s.visit.Opened {
		hints = append(hints, kit.Hint{Key: "b", Name: "browser"})
	}
	if s.code.Code == "" {
		hints = append(hints, kit.Hint{Key: "d", Name: "device code"})
	}
	return append(hints, kit.Hint{Key: "p", Name: "paste"})
}

// words are what the box says, but for the address, its first line the most
// important.
func (b *signBox) words() (lines []kit.SheetLine, address, wait string) {
	s := b.s
	share := b.m.share != shareOff
	hidden := "(not shown in share mode: P)"
	say := func(head, text string, st kit.Style) {
		lines = append(lines, kit.SheetLine{Head: head, Text: text, Style: st})
	}
	until := s.visit.Until
	switch {
	case s.code.Code != "":
		code := s.code.Code
		if share {
			code = hidden
		}
		say("code", code, kit.Style{Role: kit.Accent, Attr: kit.Bold})
		say("open", s.code.URL, kit.Style{})
		on := ""
		if s.code.Host != "" {
			on = " on " + s.code.Host
		}
		say("", "Approve it only if you have just begun this"+on+", and the page shows this code.", kit.In(kit.Warn))
		until, wait = s.code.Until, "waiting until you have approved it"
	case s.visit.URL != "":
		switch {
		case s.visit.Opened:
			say("", "Your browser was opened: sign in there. If it was not, open this:", kit.Style{})
		case s.visit.Off != "":
			say("", "No browser was opened: "+s.visit.Off+". Open this yourself:", kit.In(kit.Warn))
		case s.how == screen.ByPaste:
			say("", "Open this in any browser and sign in; then paste the address it ends at.", kit.Style{})
		default:
			say("", "Open this in a browser on this machine:", kit.Style{})
		}
		address, wait = s.visit.URL, "waiting for the browser"
		if share {
			address = hidden
		}
	default:
		wait = "asking how to sign in"
	}
	if s.note != "" {
		wait = s.note
	}
	if left := until.Sub(b.m.now()); !until.IsZero() {
		wait = screen.Remaining(max(left, 0)) + " left, " + wait
	}
	return lines, address, wait
}

// title says what the box is about.
func (b *signBox) title() string {
	at := b.s.server
	if is, ok := b.m.project.Signed[b.s.server]; ok && is.Address != "" {
		at = is.Address
	}
	return "Sign in to " + screen.Host(at)
}

// Draw implements kit.Dialog.
func (b *signBox) Draw(a kit.Area) {
	a = a.Own()
	m := a.Marks()
	w := min(a.W, 84)
	lines, address, wait := b.words()
	type row struct {
		head, text string
		st         kit.Style
	}
	var rows []row
	for _, l := range lines {
		indent := 0
		if l.Head != "" {
			indent = 6
		}
		for i, text := range m.Wrap(l.Text, max(w-4-indent, 1)) {
			r := row{l.Head, text, l.Style}
			if i > 0 && l.Head != "" {
				r.head = " "
			}
			rows = append(rows, r)
		}
	}
	rest := 1 // what is waited for
	if b.s.pasting {
		rest++
	}
	room := a.H - 2 - rest
	if address != "" {
		if len(rows) >= room { // the address is what nobody can guess
			rows = rows[:max(room-1, 0)]
		}
		all := m.Wrap(address, max(w-4, 1))
		if most := max(room-len(rows), 0); len(all) > most {
			all = all[:most]
			if most > 0 {
				all[most-1] = "y copies all of the address"
			}
		}
		for _, text := range all {
			rows = append(rows, row{text: text, st: kit.In(kit.Accent)})
		}
	}
	rows = rows[:max(min(len(rows), room), 0)]
	box := kit.Place(a, w, len(rows)+rest+2).Box(kit.In(kit.Border), b.title())
	y := 0
	for _, r := range rows {
		x := 0
		if r.head != "" {
			box.Text(0, y, kit.In(kit.Dim), r.head)
			x = 6
		}
		box.Text(x, y, r.st, r.text)
		y++
	}
	if b.s.pasting {
		x := box.Text(0, y, kit.Style{}, "address: ")
		b.s.field.Draw(box.Sub(x, y, box.W-x, 1), true)
		y++
	}
	box.Fit(0, y, box.W, kit.In(kit.Dim), wait)
}

// Talk implements kit.Dialog. In lines there is nothing to wait in: what there is to
// do is said, an address is asked for where one is to be pasted, and then the
// sign-in is waited for as any job is.
func (b *signBox) Talk(t kit.Talk) {
	lines, address, wait := b.words()
	t.Say(b.title())
	for _, l := range lines {
		t.Say("  " + strings.TrimSpace(l.Head+" "+l.Text))
	}
	if address != "" {
		t.Say("  " + address)
	}
	t.Say("  " + wait)
	if !b.s.pasting {
		return
	}
	answer, ok := t.Hidden("The address that the browser ended at, not shown; esc cancels: ")
	defer clear(answer)
	if !ok || string(answer) == "esc" {
		b.m.endSigning()
		return
	}
	b.s.field.SetBytes(answer)
	b.send()
	b.s.box = nil // it is asked again if that was not it
}

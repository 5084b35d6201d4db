package screen

import (
	"context"
	"fmt"
	"time"

	"envrun/tui/kit"
	"envrun/vault"
)

// Me is who works here: at servers, as whom one is signed in, for how long and how
// far one comes; in vaults of files, with which key, where that is kept, what it
// opens, and what this machine knows of the keys.
type Me struct {
	project *Project
	envs    []vault.Env // one of each server
	on      int         // the server that the keys are about
	is      Session
	read    bool
	at      time.Time
	trouble *trouble
	page    page
	scene   Scene
}

// NewSession is the screen about who works here, in an environment.
func NewSession(p *Project, env vault.Env) *Me {
	m := &Me{project: p, envs: p.servers()}
	for i, e := range m.envs {
		if p.Server(e) == p.Server(env) {
			m.on = i
		}
	}
	return m
}

// Title implements Screen.
func (m *Me) Title() string { return "session" }

// Place implements Placed.
func (m *Me) Place() (string, vault.Env) { return GoSession, "" }

// Enter implements Screen.
func (m *Me) Enter() Effect {
	var is Session
	files := m.project.Gate != nil
	what := "looking what your key opens"
	if !files {
		what = "looking who you are"
	}
	return Read{
		Lane: "session", What: what, For: 30 * time.Second,
		Do: func(ctx context.Context, r Reading, show func(func()) bool) (err error) {
			if err := m.looking(ctx, r, show); err != nil || !files {
				return err
			}
			is, err = r.Access().Session(ctx)
			return err
		},
		Done: func(err error) Effect {
			if err != nil {
				t := newTrouble(m.project, err)
				if m.read {
					t.at = m.at
				}
				m.trouble = t
				return nil
			}
			m.trouble, m.is, m.read, m.at = nil, is, true, m.scene.Now
			for _, e := range is.Envs {
				m.project.Standings[e.Env] = e.Standing
			}
			return nil
		},
	}
}

// Offers implements Screen.
func (m *Me) Offers() []kit.Offer {
	var offers []kit.Offer
	if len(m.envs) > 0 {
		offers = m.signOffers()
	}
	offers = append(offers, kit.Offer{ID: Lock})
	if m.project.Gate != nil {
		none := ""
		if m.is.Key.Recipient == "" {
			none = "the public key is not known"
		}
		offers = append(offers, kit.Offer{ID: CopyPublic, Off: none})
	}
	return append(append(offers, kit.Offer{ID: Reload}), moves()...)
}

// Do implements Screen.
func (m *Me) Do(action string) Effect {
	if m.page.move(action) {
		return nil
	}
	switch action {
	case DoSignIn:
		return m.signIn()
	case DoSignOut:
		return m.signOut()
	case OtherAccount:
		return m.otherAccount()
	case Next:
		m.on = (m.on + 1) % len(m.envs)
	case CopyPublic:
		return CopyAs{Text: m.is.Key.Recipient, As: "your public key"}
	case Reload:
		return m.Enter()
	}
	return nil
}

// Target implements Screen.
func (m *Me) Target() (Target, bool) { return Target{}, false }

// Draw implements Screen.
func (m *Me) Draw(a kit.Area, s Scene) {
	m.scene = s
	if s.Size != kit.Small {
		a = a.Inset(2, 1)
	}
	if m.trouble != nil {
		y := m.trouble.draw(a, Env{Name: "the session"}, s.Now)
		_, a = a.Top(y + 1)
	}
	if _, known := m.signed(); !m.read && !known {
		if m.trouble == nil && s.Lanes.Busy("session").Shown(s.Now) {
			what := "Looking what your key opens "
			if len(m.envs) > 0 {
				what = "Asking who you are "
			}
			a.Text(0, 0, kit.In(kit.Dim), what+a.Marks().Ellipsis)
		}
		return
	}
	var t sheetOf
	for i := range m.envs {
		if i > 0 {
			t.gap()
		}
		m.serverLines(&t, i, s)
	}
	if m.read && m.project.Gate != nil {
		t.gap()
		t = append(t, m.lines(s)...)
	}
	if !a.Marks().Spoken { // what was printed cannot be hidden
		t.gap()
		t.line(kit.In(kit.Dim), "ctrl+l locks the screen now, and empties the clipboard. It does not lock the computer.")
	}
	m.page.draw(a, t)
}

func (m *Me) lines(s Scene) []kit.SheetLine {
	is := m.is
	var t sheetOf
	if is.Problem != nil {
		what, next := m.project.Explain(is.Problem)
		t.in("no identity", kit.Style{Role: kit.Danger, Attr: kit.Bold}, what)
		t.say("next", next)
	}
	t.in("you are", kit.Style{Attr: kit.Bold}, is.Member)
	if !is.Ends.IsZero() {
		t.say("session", "ends in "+in(s.Now, is.Ends))
	}
	kept := is.Kept
	st := kit.Style{}
	if kept != "" && !is.Guarded {
		st, kept = kit.In(kit.Warn), kept+", without a passphrase: whoever can read it can open your vaults"
	}
	t.in("key kept in", st, kept)
	if !is.Made.IsZero() {
		t.say("made", day(s.Now, is.Made))
	}
	switch {
	case is.Problem != nil:
	case is.Key.Recipient == "":
		t.say("post-quantum", "not known: only its plugin knows its public half")
	case is.Key.PostQuantum:
		t.say("post-quantum", "yes")
	default:
		t.in("post-quantum", kit.In(kit.Warn), "no, it is "+is.Key.Name)
	}
	t.say("public key", short(is.Key.Recipient))
	if len(is.Envs) > 0 {
		t.gap()
	}
	for _, e := range is.Envs {
		if m.project.Server != nil && m.project.Server(e.Env) != "" {
			continue // its server has said
		}
		st, text := opens(e, s.Now)
		env, _ := m.project.Env(e.Env)
		t.in(label(env), st, text)
		t.say("", pinned(e))
	}
	if is.State != "" {
		t.gap()
		t.say("known here", "kept in "+is.State+": with it gone, every key is new to this machine")
	}
	return t
}

// opens says whether an environment opens.
func opens(e SessionEnv, now time.Time) (kit.Style, string) {
	switch e.Shut {
	case NotShut:
		text := "opens" + as(e.Member)
		if !e.Until.IsZero() {
			text += ", until " + clock(now, e.Until)
		}
		return kit.In(kit.OK), text
	case NewKey:
		return kit.In(kit.Warn), "not yet: its key is new to this machine, and nobody has compared it"
	case OtherKey:
		return kit.Style{Role: kit.Danger, Attr: kit.Bold}, "not: it has another key than this machine knows"
	case Ended:
		return kit.In(kit.Locked), "L your access ended " + clock(now, e.Until)
	case NoGrant:
		return kit.In(kit.Locked), "L your grant is still to be made"
	case Broken:
		return kit.In(kit.Danger), "not: it cannot be read"
	}
	return kit.In(kit.Locked), "L locked for you"
}

// pinned says what this machine knows of the key of an environment.
func pinned(e SessionEnv) string {
	switch {
	case e.Key.Gen == 0:
		return ""
	case e.Pinned == 0:
		return fmt.Sprintf("key %d, %s; this machine knows none of it yet", e.Key.Gen, e.Key.Fingerprint)
	case e.Pinned != e.Key.Gen:
		return fmt.Sprintf("key %d, %s; this machine knows key %d", e.Key.Gen, e.Key.Fingerprint, e.Pinned)
	}
	return fmt.Sprintf("key %d, %s, known to this machine", e.Key.Gen, e.Key.Fingerprint)
}

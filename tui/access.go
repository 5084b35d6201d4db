package tui

import (
	"context"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"
)

// What the root knows by itself of who can open what: whether the environment
// that was gone to is locked, and how many requests wait. Both are looked at
// beside the interface, take no focus and open nothing.

// The root's lanes for it.
var (
	laneStanding = lane{name: "standing"}
	laneInbox    = lane{name: "inbox"}
)

// pollEvery is how often the requests are looked at, while somebody looks.
const pollEvery = 15 * time.Second

// shut reports whether an environment is known to be closed to who works here.
func (m *Model) shut(env vault.Env) bool { return m.project.Shut(env) }

// shutOut is why no value of an environment that is closed can be had.
func (m *Model) shutOut() string {
	if m.server(m.env) != "" {
		return m.plain(m.env) + " is not reachable for you; " + m.keyOf(screen.GoSession) + " says what is"
	}
	return m.plain(m.env) + " is locked for you; " + m.keyOf(screen.AskAccess) + " asks for access"
}

// plain is an environment's name as it is written in a sentence.
func (m *Model) plain(name vault.Env) string {
	if env, _ := m.config.env(name); env.Protected {
		return strings.ToUpper(string(name))
	}
	return string(name)
}

// arrive is after an environment was gone to: its lock is shown above its names,
// at once where it is known. Where it is not, it comes above them only if nobody
// has done anything since; else the header and the notice say it.
func (m *Model) arrive() {
	if m.server(m.env) != "" {
		m.lookSigned(m.env, true)
		m.poll()
		return
	}
	if m.config.Gate == nil {
		return
	}
	env, home, touches := m.env, m.top(), m.touches
	e, _ := m.config.env(env)
	known := m.shut(env)
	if known {
		m.push(screen.NewLocked(&m.project, e))
	}
	m.start(&job{lane: laneStanding, limit: 30 * time.Second,
		do: func(ctx context.Context, show func(func()) bool) error {
			s, err := m.config.Gate.Standing(ctx, env)
			if err == nil {
				show(func() { m.project.Standings[env] = s })
			}
			return err
		},
		done: func(err error) {
			switch {
			case err != nil, known, !m.shut(env), m.env != env:
				// What cannot be read the first screen says.
			case m.top() == home && m.touches == touches && m.dialogs.Len() == 0 && !m.locked:
				m.push(screen.NewLocked(&m.project, e))
			default:
				m.say(kit.Notice{Role: kit.Locked, Text: "L " + m.plain(env) + " is locked for you. R asks for access."})
			}
		},
	})
	m.poll()
}

// poll counts the requests that wait, while somebody looks.
func (m *Model) poll() {
	if m.config.Gate == nil || m.locked || m.blurred || !m.left.IsZero() || m.lanes[laneInbox] != nil {
		return
	}
	m.polled = m.now()
	var asked []screen.Request
	m.start(&job{lane: laneInbox, limit: usualLimit,
		do: func(ctx context.Context, _ func(func()) bool) error {
			var err error
			asked, err = m.config.Gate.Asking(ctx)
			return err
		},
		done: func(err error) {
			// The number stays as it was while nobody answers: it is no reason to
			// disturb anybody.
			if err == nil {
				m.asked, m.project.Waiting = asked, screen.Waiting(asked)
			}
		},
	})
}

// places are the screens about access that one goes to from anywhere, but for the
// one that one is at, and what the screen offers itself.
func (m *Model) places(has []kit.Offer) []kit.Offer {
	if m.config.Gate == nil && m.config.SignIns == nil {
		return nil
	}
	here := ""
	if p, ok := m.top().(screen.Placed); ok {
		here, _ = p.Place()
	}
	var offers []kit.Offer
	add := func(id, off string) {
		if id != here && !slices.ContainsFunc(has, func(o kit.Offer) bool { return o.ID == id }) {
			offers = append(offers, kit.Offer{ID: id, Off: off})
		}
	}
	if m.config.Gate != nil {
		ask, other := "", ""
		if s, known := m.project.Standings[m.env]; known && s.Open() {
			ask = m.plain(m.env) + " is open to you"
		}
		if m.server(m.env) != "" {
			ask, other = "its server says who can open it", "its server looks after that"
		}
		add(screen.AskAccess, ask)
		add(screen.GoInbox, "")
		for _, id := range []string{screen.GoMembers, screen.GoExposed, screen.GoVault} {
			add(id, other)
		}
	}
	add(screen.GoSession, "")
	return offers
}

// place goes to one of the places, and reports whether id is one. One that is
// open already is gone back to.
func (m *Model) place(id string) bool {
	if m.config.Gate == nil && (m.config.SignIns == nil || id != screen.GoSession) {
		return false
	}
	if slices.ContainsFunc(m.top().Offers(), func(o kit.Offer) bool { return o.ID == id }) {
		return false // the screen does it itself
	}
	e, _ := m.config.env(m.env)
	var s screen.Screen
	switch id {
	case screen.AskAccess:
		// First why it is locked, who decides, and what to do.
		s = screen.NewLocked(&m.project, e)
	case screen.GoInbox:
		s = screen.NewInbox(&m.project)
	case screen.GoMembers:
		s = screen.NewMembers(&m.project, e)
	case screen.GoExposed:
		s = screen.NewExposures(&m.project, e)
	case screen.GoVault:
		s = screen.NewVault(&m.project, e)
	case screen.GoSession:
		s = screen.NewSession(&m.project, m.env)
	default:
		return false
	}
	for i, open := range m.screens {
		if p, ok := open.(screen.Placed); ok {
			if at, env := p.Place(); at == id && (env == "" || env == m.env) {
				m.backTo(i)
				return true
			}
		}
	}
	m.push(s)
	return true
}

// toRequest goes to one request.
func (m *Model) toRequest(id string) {
	for i, s := range m.screens {
		if b, ok := s.(*screen.Inbox); ok {
			b.At(id)
			m.backTo(i)
			return
		}
	}
	b := screen.NewInbox(&m.project)
	b.At(id)
	m.push(b)
}

// backTo goes back to a screen that is open below the top.
func (m *Model) backTo(i int) {
	m.hide()
	for _, s := range m.screens[i+1:] {
		m.gone(s)
	}
	m.screens = m.screens[:i+1]
	m.apply(m.top(), m.top().Enter())
}

// grant begins a job that changes who can open an environment, if somebody
// consented to it.
func (m *Model) grant(s screen.Screen, g screen.Grant) {
	if m.config.Gate == nil {
		m.say(kit.Notice{Role: kit.Danger, Text: "Not begun: nobody here can change who has access."})
		return
	}
	if !m.consented(g.Env, g.Harm, g.Consent, g.What) {
		return
	}
	limit := g.For
	if limit == 0 {
		limit = 30 * time.Second
	}
	m.start(&job{lane: laneWrite, what: g.What, limit: limit,
		do: func(ctx context.Context, show func(func()) bool) error {
			return g.Do(ctx, m.config.Gate.Granting(g.Env), show)
		},
		done: func(err error) {
			if g.Done != nil {
				m.apply(s, g.Done(err))
			} else if err != nil {
				m.fail(err)
			}
			m.polled = time.Time{} // there may be fewer now
		},
	})
}

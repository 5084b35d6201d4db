package tui

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"time"

	"envrun/tui/clip"
	"envrun/tui/kit"
	"envrun/tui/screen"
)

// slot is the one place of the interface that holds a value: at most one, for a
// few seconds. Screens are given room to draw it in and never the value.
type slot struct {
	power *power
	now   func() time.Time

	target screen.Target
	owner  screen.Screen // on whose behalf it is shown
	facts  screen.Facts
	value  []byte
	until  time.Time
	on     bool
}

// A parcel brings values from a job: the bytes of one to the slot, the fields of
// a secret to the editor. It is not in any message: the message has a function
// that knows the parcel.
type parcel[E any] struct {
	wipe func([]E)

	mu    sync.Mutex
	value []E
	late  bool
}

func newParcel() *parcel[byte] { return &parcel[byte]{wipe: func(b []byte) { clear(b) }} }

// put is called by the job; what comes when nobody waits any more is wiped.
func (p *parcel[E]) put(value []E) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late {
		p.wipe(value)
		return
	}
	p.value = value
}

// take hands the value over, and drop gives it up. Only the first counts.
func (p *parcel[E]) take() []E {
	p.mu.Lock()
	defer p.mu.Unlock()
	value := p.value
	p.value, p.late = nil, true
	return value
}

func (p *parcel[E]) drop() { p.wipe(p.take()) }

// fill shows a value for so long.
func (s *slot) fill(owner screen.Screen, t screen.Target, b []byte, f screen.Facts, d time.Duration) {
	s.wipe()
	s.owner, s.target, s.value, s.facts, s.until, s.on = owner, t, b, f, s.now().Add(d), true
}

// wipe hides the value and overwrites it.
func (s *slot) wipe() {
	clear(s.value)
	s.value, s.on, s.owner, s.target, s.facts = nil, false, nil, screen.Target{}, screen.Facts{}
}

// Draw implements screen.Values. It is the only place where a value becomes cells.
func (s *slot) Draw(a kit.Area, t screen.Target, skip int) int {
	if !s.on || s.target != t {
		a.Text(0, 0, kit.In(kit.Dim), a.Marks().MaskText())
		return 1
	}
	return a.Bytes(kit.Style{}, s.bytes(), skip)
}

// Shown implements screen.Values.
func (s *slot) Shown(t screen.Target) (screen.Facts, time.Duration, bool) {
	if !s.on || s.target != t {
		return screen.Facts{}, 0, false
	}
	if t.Typed {
		return s.power.facts(t.Field, s.bytes()), max(s.until.Sub(s.now()), 0), true
	}
	return s.facts, max(s.until.Sub(s.now()), 0), true
}

// bytes is what is shown. What was typed stays where it is, and is shown as it
// is typed; all that the slot has of it is its name.
func (s *slot) bytes() []byte {
	if !s.target.Typed {
		return s.value
	}
	b, _ := s.power.opener.Value(s.target.Env, s.target.Path, s.target.Field)
	return b
}

// reveal begins to show the value that the screen on top is about.
func (m *Model) reveal(peek bool) {
	top := m.top()
	t, ok := top.Target()
	switch {
	case !ok:
		m.say(kit.Notice{Text: "There is no value here to show."})
		return
	case m.share != shareOff:
		m.say(kit.Notice{Role: kit.Warn, Text: "Share mode: no value is shown. y copies it; P ends share mode."})
		return
	case m.slot.on && m.slot.target == t && !peek:
		m.hide()
		return
	case m.size() == kit.TooSmall:
		return
	}
	m.hide()
	m.peeking, m.wanted = peek, t
	if t.Typed {
		// It came from this keyboard: nobody reads anything.
		m.slot.fill(top, t, nil, screen.Facts{}, m.config.showFor(t.Env))
		return
	}
	p := newParcel()
	var facts screen.Facts
	m.start(&job{
		lane: laneReveal, owner: top, what: "reading " + string(t.Field), limit: 5 * time.Second, vault: true, late: p.drop,
		do: func(ctx context.Context, _ func(func()) bool) error {
			b, err := m.power.value(ctx, t)
			if err != nil {
				return err
			}
			// Who keeps account is told before it is seen (R4).
			if m.config.Audit != nil {
				if err := m.config.Audit(ctx, Use{"reveal", t}); err != nil {
					clear(b)
					return err
				}
			}
			facts = m.power.facts(t.Field, b)
			p.put(b)
			return nil
		},
		done: func(err error) {
			if err != nil {
				m.fail(err)
				return
			}
			if now, ok := top.Target(); !ok || now != t || m.top() != top {
				p.drop()
				return
			}
			m.slot.fill(top, t, p.take(), facts, m.config.showFor(t.Env))
		},
	})
}

// hide hides what is shown, and what is on its way.
func (m *Model) hide() {
	m.stop(laneReveal)
	m.slot.wipe()
	m.peeking, m.dirty = false, true
}

// keepHidden is the rule of the slot: a value is there only while the screen that
// asked for it is on top, is still about it, and is what is looked at.
func (m *Model) keepHidden() {
	if !m.slot.on && m.lanes[laneReveal] == nil {
		return
	}
	if m.locked || m.blank || m.share != shareOff || m.crash != nil {
		m.hide()
		return
	}
	t, ok := m.top().Target()
	if m.slot.on && (!ok || t != m.slot.target || m.top() != m.slot.owner || !m.now().Before(m.slot.until)) {
		m.hide()
	}
	if j := m.lanes[laneReveal]; j != nil && (!ok || t != m.wanted || m.top() != j.owner) {
		m.hide()
	}
}

// copyValue puts the value that the screen is about on the clipboard.
func (m *Model) copyValue() {
	top := m.top()
	t, ok := top.Target()
	switch {
	case !ok:
		m.say(kit.Notice{Text: "There is no value here to copy."})
		return
	case m.config.Clipboard == nil:
		m.say(kit.Notice{Role: kit.Warn, Text: "Not copied: there is no clipboard here. v shows the value."})
		return
	}
	var got clip.Copied
	m.unwanted = false
	typed := newParcel()
	if t.Typed {
		b, _ := m.power.opener.Value(t.Env, t.Path, t.Field)
		typed.put(bytes.Clone(b))
	}
	m.start(&job{
		lane: laneCopy, what: "copying " + string(t.Field), limit: 10 * time.Second, vault: !t.Typed, late: typed.drop,
		do: func(ctx context.Context, _ func(func()) bool) (err error) {
			b := typed.take()
			defer func() { clear(b) }()
			if err := ctx.Err(); err != nil {
				return err // it was dropped, and b with it
			}
			if !t.Typed {
				if b, err = m.power.value(ctx, t); err != nil {
					return err
				}
			}
			if m.config.Audit != nil && !t.Typed {
				if err := m.config.Audit(ctx, Use{"copy", t}); err != nil {
					return err
				}
			}
			got, err = m.config.Clipboard.Copy(ctx, b)
			return err
		},
		done: func(err error) {
			if err == nil {
				m.clipUntil = got.Until
			}
			if m.copiedTooLate() {
				return
			}
			if err != nil {
				m.fail(err)
				return
			}
			n := kit.Notice{Role: kit.OK, Text: string(t.Field) + ": " + got.Text}
			if !got.Sure {
				n.Role, n.Sticky = kit.Warn, true
			}
			m.say(n)
		},
	})
}

// fail says what went wrong.
func (m *Model) fail(err error) {
	what, next := m.explain(err)
	n := kit.Notice{Role: kit.Danger, Text: what, Details: what, Sticky: true}
	if next != "" {
		n.Text += "  " + next
		n.Details += "\n" + next
	}
	if more := err.Error(); !strings.Contains(n.Details, more) {
		n.Details += "\n" + more
	}
	m.say(n)
}

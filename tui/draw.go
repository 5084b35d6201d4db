package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"

	tea "charm.land/bubbletea/v2"
)

const bodyTop = 2 // the rows of the header

// View implements tea.Model. It draws only when something has changed, since it
// is called after every message.
func (m *Model) View() (v tea.View) {
	if !m.dirty {
		return m.picture
	}
	defer func() {
		if c := recovered(recover()); c != nil {
			// Nothing half-drawn: an empty picture, and the end.
			v = tea.View{AltScreen: true}
			m.blank, m.dirty, m.picture = true, false, v
			m.slot.wipe()
			if m.crash == nil {
				m.crash = c
			}
			if m.send != nil {
				go m.send(tea.QuitMsg{})
			}
		}
	}()
	v = m.draw()
	m.picture, m.dirty = v, false
	return v
}

// Offers are the actions that are there now, as the help shows them.
func (m *Model) Offers() []kit.Offer {
	if m.locked {
		return lockOffers()
	}
	return m.offers()
}

// Size is that of the terminal, as far as we know.
func (m *Model) Size() (w, h int) { return m.w, m.h }

func (m *Model) draw() tea.View {
	v := tea.View{AltScreen: true, ReportFocus: true, WindowTitle: "envrun"}
	// Told when a key is let go, we can show a value while one is held, and tell a
	// key that repeats from one that is pressed again.
	v.KeyboardEnhancements.ReportEventTypes = true
	// And where a key lies, so that Ctrl-S is one on a Cyrillic keyboard too.
	v.KeyboardEnhancements.ReportAlternateKeys = true
	if m.mouseOn() {
		v.MouseMode = tea.MouseModeCellMotion
	}
	if m.w == 0 {
		return v
	}
	if m.blank {
		// Not quite empty: what is empty from the first cell on the renderer clears at
		// once, and a terminal may take that as a reason to keep it in its scrollback
		// (tmux does, where there is no alternate screen). One word has all else erased.
		v.Content = "envrun"
		return v
	}
	m.frame.Reset(m.w, m.h)
	m.frame.Marks = m.marks
	if m.share == shareNames {
		m.learn()
	}
	a := m.frame.Area()
	switch {
	case m.size() == kit.TooSmall:
		y := a.Paragraph(0, kit.Style{}, fmt.Sprintf("envrun needs %dx%d, this is %dx%d", kit.MinWidth, kit.MinHeight, m.w, m.h))
		if m.asking {
			a.Sub(0, y, a.W, a.H).Paragraph(0, kit.In(kit.Warn), m.notice.Text)
		}
	case m.locked:
		m.drawLock(a)
	default:
		m.drawAll(a)
	}
	v.Content = m.frame.Render(m.theme)
	if x, y, on := m.frame.Cursor(); on {
		v.Cursor = tea.NewCursor(x, y)
	}
	return v
}

func (m *Model) drawAll(a kit.Area) {
	head, rest := a.Top(bodyTop)
	m.drawHeader(head)
	body, foot := rest.Bottom(2)
	m.top().Draw(body, screen.Scene{Now: m.now(), Size: m.size(), Share: m.share != shareOff, Values: &m.slot, Lanes: lanesOf{m, m.top()}})
	m.drawStatus(foot.Sub(0, 0, foot.W, 1))
	last := foot.Sub(0, 1, foot.W, 1)
	if d := m.dialogs.Top(); d != nil {
		m.frame.NoZones()
		m.dialogs.Draw(body)
		kit.DrawHints(last, 0, d.Hints())
		return
	}
	if t, ok := m.top().(screen.Typist); ok && t.Input() != nil {
		kit.DrawHints(last, 0, m.typingHints())
		return
	}
	kit.DrawHints(last, 0, m.hints(), m.lastHints()...)
}

// lastHints are always there: the way back, and where the other keys are.
func (m *Model) lastHints() []kit.Hint {
	var last []kit.Hint
	if slices.ContainsFunc(m.offers(), func(o kit.Offer) bool { return o.ID == screen.Back }) {
		last = append(last, kit.Hint{Key: m.keyOf(screen.Back), Name: "back"})
	}
	if len(last) == 0 || m.size() != kit.Small {
		last = append(last, kit.Hint{Key: m.keyOf(screen.Palette), Name: "commands"})
	}
	return append(last, kit.Hint{Key: m.keyOf(screen.Help), Name: "keys"})
}

// hints are the most useful keys, without those that everybody knows.
func (m *Model) hints() []kit.Hint {
	return m.someHints(func(o kit.Offer) bool {
		switch o.ID {
		case screen.Up, screen.Down, screen.First, screen.Last, screen.PageUp, screen.PageDown, screen.HalfUp, screen.HalfDown,
			screen.Palette, screen.Help, screen.Peek, screen.Back:
			return false
		}
		return true
	})
}

// someHints are the first keys of those offers.
func (m *Model) someHints(of func(kit.Offer) bool) []kit.Hint {
	hints := make([]kit.Hint, 0, 8)
	for _, o := range m.offers() {
		if of(o) {
			hints = append(hints, m.actions.Hints([]kit.Offer{o})...)
		}
		if len(hints) == 7 {
			break
		}
	}
	return hints
}

// typingHints are the keys that still mean something while text is typed.
func (m *Model) typingHints() []kit.Hint {
	return m.someHints(func(o kit.Offer) bool {
		a := m.actions.Get(o.ID)
		return a.Group != screen.GroupMove && len(a.Keys) > 0 && len(a.Keys[0]) > 1 && o.ID != screen.Lock && o.ID != screen.Suspend
	})
}

// EnvLabel is how an environment is written on every screen: one that is
// protected in capitals and with the word, whatever the colours.
func envLabel(e screen.Env) string {
	if e.Protected {
		return strings.ToUpper(string(e.Name)) + " *protected*"
	}
	return string(e.Name)
}

func (m *Model) drawHeader(a kit.Area) {
	env, _ := m.config.env(m.env)
	st := kit.Style{Attr: kit.Bold}
	if env.Protected {
		st = kit.In(kit.Protected)
	}
	// The right side first: it gives way where there is no room, the environment never.
	var right []string
	switch m.share {
	case shareOn:
		right = append(right, "SHARE")
	case shareNames:
		right = append(right, "SHARE, NO NAMES")
	}
	if n := m.unsent(); n > 0 {
		right = append(right, "unsent "+kit.Number(n))
	}
	if left := m.clipUntil.Sub(m.now()); !m.clipUntil.IsZero() && left > 0 {
		right = append(right, "clip "+seconds(left))
	}
	if m.offline {
		right = append(right, "OFFLINE")
	}
	if n := m.project.Waiting; n > 0 {
		right = append(right, "inbox "+kit.Number(n))
	}
	wide := m.size() == kit.Large
	who, out := m.whoAt()
	if out {
		right = append(right, "NOT SIGNED IN")
	}
	if who != "" {
		if !wide {
			name, rest, _ := strings.Cut(who, "@")
			_, left, ends := strings.Cut(rest, " ")
			if who = name; ends {
				who += " " + left
			}
		}
		right = append([]string{who}, right...)
	}
	x := 0
	if wide {
		x = a.Text(0, 0, kit.In(kit.Dim), "envrun") + 2
		x = a.Text(x, 0, kit.Style{}, m.config.Project) + 2
		x = a.Text(x, 0, kit.In(kit.Dim), "env: ")
		x = m.drawShut(a, a.Text(x, 0, st, envLabel(env)), env)
	} else {
		label := envLabel(env)
		if m.size() == kit.Small {
			label = strings.TrimSuffix(label, " *protected*")
			if env.Protected {
				label = "!" + label
			}
		}
		x = m.drawShut(a, a.Text(x, 0, st, label), env)
		if m.size() == kit.Medium {
			x = a.Text(x+2, 0, kit.In(kit.Dim), m.config.Project)
		}
	}
	text := strings.Join(right, "  ")
	for len(right) > 0 && m.marks.Width(text)+x+2 > a.W {
		right = right[1:]
		text = strings.Join(right, "  ")
	}
	rst := kit.In(kit.Dim)
	if m.offline || out || m.share != shareOff {
		rst = kit.Style{Role: kit.Warn, Attr: kit.Bold}
	}
	a.FitRight(x+2, 0, a.W-x-2, rst, text)
	rule := m.marks.Horizontal
	if env.Protected {
		rule = m.marks.Double
	}
	role := kit.In(kit.Border)
	if env.Protected {
		role = kit.Style{Role: kit.Warn, Attr: kit.Bold}
	}
	a.Sub(0, 1, a.W, 1).Fill(role, rule)
}

// drawShut marks an environment that cannot be opened.
func (m *Model) drawShut(a kit.Area, x int, env screen.Env) int {
	if !m.shut(env.Name) {
		return x
	}
	return a.Text(x+1, 0, kit.Style{Role: kit.Locked, Attr: kit.Bold}, "[locked]")
}

// drawStatus is one line: what is waited for, else the last notice.
func (m *Model) drawStatus(a kit.Area) {
	if b := m.busy(); b.Shown(m.now()) {
		if m.waitsFor != "" {
			b.What = m.waitsFor
		}
		since := " " + seconds(m.now().Sub(b.Since))
		text := b.Spinner(m.marks, m.now()) + " " + b.What
		x := a.Fit(0, 0, min(m.marks.Width(text), a.W-len(since)), kit.In(kit.Dim), text)
		a.Text(x, 0, kit.In(kit.Dim), since)
		return
	}
	n := m.notice
	text := n.Text
	if text == "" && !m.locked {
		st, said := m.signStatus()
		a.Fit(0, 0, a.W, st, said)
		return
	}
	if n.Role == kit.Danger && text != "" {
		text = "! " + text
	}
	if m.marks.Width(text) > a.W && n.Sticky {
		more := "  ! all"
		a.Fit(0, 0, a.W-len(more), kit.In(n.Role), text)
		a.Text(a.W-len(more), 0, kit.In(kit.Dim), more)
		return
	}
	a.Fit(0, 0, a.W, kit.In(n.Role), text)
}

func seconds(d time.Duration) string {
	return fmt.Sprintf("%ds", int((d+time.Second-1)/time.Second))
}

func (m *Model) drawLock(a kit.Area) {
	x := max((a.W-44)/2, 1)
	y := max(a.H/4, 1)
	line := func(st kit.Style, text string) {
		a.Fit(x, y, a.W-x, st, text)
		y++
	}
	why := "envrun is locked"
	if m.lockedFor >= time.Minute {
		why += fmt.Sprintf(" (%d minutes without a key)", int(m.lockedFor/time.Minute))
	}
	line(kit.Style{Attr: kit.Bold}, why)
	y++
	if who, _ := m.whoAt(); who != "" {
		line(kit.Style{}, "you are    "+who)
	}
	line(kit.Style{}, fmt.Sprintf("kept       %d changes not sent, 0 values", m.unsent()))
	y++
	line(kit.Style{}, "enter      unlock")
	line(kit.Style{}, "q          quit")
	y++
	if y < a.H-2 {
		line(kit.In(kit.Dim), "This hides the screen. It does not lock")
		line(kit.In(kit.Dim), "the computer.")
	}
	m.drawStatus(a.Sub(0, a.H-2, a.W, 1))
	kit.DrawHints(a.Sub(0, a.H-1, a.W, 1), 0, m.actions.Hints(lockOffers()))
}

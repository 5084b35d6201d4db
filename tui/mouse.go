package tui

import (
	"slices"

	"envrun/tui/kit"
	"envrun/tui/screen"

	tea "charm.land/bubbletea/v2"
)

// The mouse is another way to press keys: the wheel is the keys that move, a click
// on a line of a list moves the cursor there, a second one opens it, and a click
// on a key in the footer is that key. So it does on every screen what the keys do,
// and no more; consent is given with a key alone.

// wheelStep is how many lines the wheel moves.
const wheelStep = 3

// mouseOn: with a value on the screen the mouse is the terminal's, to select with.
func (m *Model) mouseOn() bool { return m.mouse && !m.slot.on && !m.locked && m.size() != kit.TooSmall }

// click is one of the left button.
func (m *Model) click(x, y int) {
	z, ok := m.frame.ZoneAt(x, y)
	switch {
	case !ok:
	case z.Key != "":
		m.key(pressed(z.Key))
	case m.dialogs.Len() > 0:
		if z.List.Away(z.Line) == 0 {
			m.key(pressed("enter"))
			return
		}
		z.List.Move(z.List.Away(z.Line))
	case z.List.Away(z.Line) == 0:
		m.offered(screen.Open)
	default:
		// Line by line, as the keys would: a screen does more than move its cursor.
		for by := z.List.Away(z.Line); by != 0; {
			m.move(by)
			next := z.List.Away(z.Line)
			if next == by {
				return // it is not this list that the keys move
			}
			by = next
		}
	}
}

// wheel moves by so many lines.
func (m *Model) wheel(by int) {
	if w, ok := m.dialogs.Top().(interface{ Wheel(lines int) }); ok {
		w.Wheel(by)
		return
	}
	if m.dialogs.Len() > 0 {
		return
	}
	for ; by > 0; by-- {
		m.move(1)
	}
	for ; by < 0; by++ {
		m.move(-1)
	}
}

// move is a key that moves by a line, where there is one.
func (m *Model) move(by int) {
	if by > 0 {
		_ = m.offered(screen.Down) || m.offered(screen.ListDown)
	} else {
		_ = m.offered(screen.Up) || m.offered(screen.ListUp)
	}
}

// offered does an action if the screen offers it now.
func (m *Model) offered(id string) bool {
	top := m.top()
	if !slices.ContainsFunc(top.Offers(), func(o kit.Offer) bool { return o.ID == id && o.Off == "" }) {
		return false
	}
	m.apply(top, top.Do(id))
	return true
}

// pressed is a key by its name. It types nothing, whatever has the focus.
func pressed(name string) kit.Key { return kit.Key{Name: name} }

// mouseMsg is what the mouse has done.
func (m *Model) mouseMsg(msg tea.MouseMsg) {
	if !m.mouseOn() {
		return
	}
	switch msg := msg.(type) {
	case tea.MouseClickMsg:
		if msg.Button == tea.MouseLeft {
			m.click(msg.X, msg.Y)
		}
	case tea.MouseWheelMsg:
		switch msg.Button {
		case tea.MouseWheelUp:
			m.wheel(-wheelStep)
		case tea.MouseWheelDown:
			m.wheel(wheelStep)
		}
	}
}

// UseMouse begins to use the mouse, as m does where nothing is typed.
func (m *Model) UseMouse() { m.mouse, m.dirty = true, true }

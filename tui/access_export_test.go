package tui

import "envrun/tui/screen"

// PushScreen opens a screen as another would.
func (m *Model) PushScreen(s screen.Screen) { m.apply(m.top(), screen.Push{Screen: s}) }

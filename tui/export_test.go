package tui

import (
	"time"

	"envrun/tui/screen"
)

// Slot is the memory that the value is in; a test keeps it to see it wiped.
func (m *Model) Slot() []byte { return m.slot.value }

// Shown reports whether a value is shown or on its way.
func (m *Model) Shown() bool { return m.slot.on || m.lanes[laneReveal] != nil }

// Locked reports whether the screen is locked.
func (m *Model) Locked() bool { return m.locked }

// Top is the screen on top, and Push puts another there.
func (m *Model) Top() screen.Screen { return m.top() }

// Push puts a screen on top, as an effect would.
func (m *Model) Push(s screen.Screen) { m.push(s); m.dirty = true }

// Crashed is what the model has crashed with.
func (m *Model) Crashed() *Crash { return m.crash }

// Ended is what Run returns.
func (m *Model) Ended() End { return m.end() }

// SetNow gives the bell a clock.
func (b *Bell) SetNow(now func() time.Time) { b.now = now }

// Lend says that a command has the terminal.
func (b *Bell) Lend(lent bool) { b.lend(lent) }

// SigningIn reports whether a sign-in is under way.
func (m *Model) SigningIn() bool { return m.signing != nil }

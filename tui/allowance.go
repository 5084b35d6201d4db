package tui

import (
	"sync"
	"time"
)

// An allowance is how long a job may take. It stands still while somebody is
// asked something for it.
type allowance struct {
	mu    sync.Mutex
	left  time.Duration
	timer *time.Timer // nil: it has not begun, or is over
	since time.Time   // when the timer was set
	held  bool
	over  func()
}

// begin begins to count, and calls over when nothing is left.
func (a *allowance) begin(d time.Duration, over func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left, a.over = d, over
	a.set()
}

func (a *allowance) set() {
	a.since = time.Now()
	a.timer = time.AfterFunc(a.left, a.over)
	if a.held {
		a.timer.Stop()
	}
}

// spend takes off what has gone since the timer was set.
func (a *allowance) spend() {
	if now := time.Now(); !a.held {
		a.left, a.since = max(a.left-now.Sub(a.since), 0), now
	}
}

func (a *allowance) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil && !a.held {
		a.spend()
		a.timer.Stop()
	}
	a.held = true
}

func (a *allowance) goOn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.held {
		return
	}
	if a.held = false; a.timer != nil {
		a.set()
	}
}

// atLeast leaves no less than d from now on.
func (a *allowance) atLeast(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer == nil {
		return
	}
	a.spend()
	if a.left = max(a.left, d); a.timer.Stop() && !a.held {
		a.set()
	}
}

func (a *allowance) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

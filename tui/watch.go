package tui

import (
	"context"
	"iter"
	"time"

	"envrun/tui/screen"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// Where a vault can tell that somebody else writes, the names of the environment
// are read again. Nothing else is touched by it: what is typed, chosen or open
// stays, and where something is in the way the names wait.

// refreshEvery is how often that is at most.
const refreshEvery = 2 * time.Second

// A watch is one environment that is listened to.
type watch struct {
	env   vault.Env
	heard chan error // nil for news; closed when there are no more
	stop  context.CancelFunc
	over  bool // it tells nothing any more
}

// watch listens to the environment that was gone to, and no more to another one.
func (m *Model) watch() {
	if m.config.Watch == nil || m.lines { // what was printed is not printed again
		return
	}
	if m.unwatch != nil {
		m.unwatch()
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.unwatch, m.stale = cancel, false
	w := &watch{env: m.env, heard: make(chan error), stop: cancel}
	news := m.config.Watch
	m.run(func() tea.Msg {
		// Not iter.Pull2: a coroutine may not be gone on with from a goroutine that is
		// bound to a thread where its maker was not, and whose commands run is not ours.
		go w.listen(ctx, news(ctx, w.env))
		return w.wait()
	})
}

// listen passes on that there are news, until there are no more or nobody listens.
func (w *watch) listen(ctx context.Context, news iter.Seq2[vault.Notice, error]) {
	defer close(w.heard)
	for _, err := range news {
		select {
		case w.heard <- err:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// wait is the command that ends when there is something to tell.
func (w *watch) wait() tea.Msg {
	err, ok := <-w.heard
	w.over = !ok || err != nil
	return heardMsg{w}
}

func (m *Model) heardOf(w *watch) {
	switch {
	case w.over, w.env != m.env:
		w.stop()
		return
	}
	m.stale = true
	m.refresh()
	m.run(w.wait)
}

// refresh reads the names again, if they are stale, in view, and nothing is under
// way with them.
func (m *Model) refresh() {
	b, ok := m.top().(*screen.Browse)
	if !m.stale || !ok || m.locked || m.blurred || !m.left.IsZero() || m.dialogs.Len() > 0 || m.now().Sub(m.refreshed) < refreshEvery || !b.Settled() {
		return
	}
	m.stale, m.refreshed = false, m.now()
	m.apply(b, b.Enter())
}

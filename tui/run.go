package tui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"
)

// fps is how often a second the renderer looks whether there is something to
// draw. It does so also when nothing happens, which is nearly all that the
// interface takes of a processor then: 0.7 % at 60, 0.4 % at 30.
const fps = 30

// Terminal is where the interface runs.
type Terminal struct {
	In, Out *os.File
	Environ []string // what the terminal is like: TERM, COLORTERM, NO_COLOR …
}

// ErrNoTerminal: there is nothing to draw on or nobody to press a key.
var ErrNoTerminal = errors.New("the interface needs a terminal for input and output")

// End is how the interface ended.
type End struct {
	Signal os.Signal     // what ended it from outside; nil if somebody quit
	Crash  *Crash        // it ended because of a mistake of ours; nil if not
	Clip   time.Duration // a copied value leaves the clipboard after this; 0: there is none
}

// Run runs the interface until somebody leaves it, ctx ends or a signal comes.
// Whatever ends it, the screen is emptied first: a terminal without an alternate
// screen keeps the last picture in its scrollback.
//
// It takes SIGINT, SIGTERM, SIGHUP and SIGTSTP, makes the process leave no core,
// and drops TEA_TRACE and TEA_DEBUG from the environment, which would have the
// pictures, the clipboard and what is pasted written to a file.
func Run(ctx context.Context, c Config, t Terminal) (End, error) {
	if t.In == nil || t.Out == nil || !term.IsTerminal(int(t.In.Fd())) || !term.IsTerminal(int(t.Out.Fd())) {
		return End{}, ErrNoTerminal
	}
	_ = os.Unsetenv("TEA_TRACE")
	_ = os.Unsetenv("TEA_DEBUG")
	leaveNoCore()
	m, err := New(ctx, c)
	if err != nil {
		return End{}, err
	}
	defer m.Close()
	p := tea.NewProgram(m,
		tea.WithInput(t.In), tea.WithOutput(t.Out), tea.WithEnvironment(withoutTraces(t.Environ)),
		tea.WithFilter(m.Filter), tea.WithFPS(fps),
		// Ours say less: bubbletea's prints what was in the panic.
		tea.WithoutCatchPanics(),
		// Ours blank first, take SIGHUP too, and remember which it was.
		tea.WithoutSignalHandler())
	m.send = p.Send
	if c.Bell != nil {
		c.Bell.Connect(p.Send)
	}
	stop := m.catchSignals(ctx)
	defer stop()
	if _, err := p.Run(); err != nil {
		return m.end(), fmt.Errorf("drawing on the terminal: %w", err)
	}
	return m.end(), nil
}

// Close ends all jobs and forgets what is shown.
func (m *Model) Close() {
	m.unask("envrun has ended")
	m.stopAll()
	m.hide()
	m.pending.Wipe()
	for _, ed := range m.editings {
		ed.wipe()
	}
}

func (m *Model) end() End {
	e := End{Signal: m.ended, Crash: m.crash}
	if left := m.clipUntil.Sub(m.now()); !m.clipUntil.IsZero() && left > 0 {
		e.Clip = left
	}
	return e
}

// withoutTraces is the environment without what makes the framework write files.
func withoutTraces(environ []string) []string {
	kept := make([]string, 0, len(environ))
	for _, e := range environ {
		if name, _, _ := strings.Cut(e, "="); name != "TEA_TRACE" && name != "TEA_DEBUG" && name != "UV_DEBUG" {
			kept = append(kept, e)
		}
	}
	return kept
}

// catchSignals turns what ends or stops us from outside into messages. After the
// first signal that ends us the next one does so at once, as it would any program.
func (m *Model) catchSignals(ctx context.Context) (stop func()) {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, hangup)
	stops, release := stopSignals()
	done := make(chan struct{})
	go func() {
		ctxDone := ctx.Done()
		for {
			select {
			case s := <-ends:
				if s == os.Interrupt && m.lent.Load() {
					continue
				}
				signal.Stop(ends)
				m.send(endMsg{s})
			case <-stops:
				if !m.lent.Load() {
					m.send(suspendMsg{})
				}
			case <-ctxDone:
				ctxDone = nil
				m.send(endMsg{})
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ends)
		release()
		close(done)
	}
}

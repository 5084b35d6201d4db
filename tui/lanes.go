package tui

import (
	"context"
	"errors"
	"sync"
	"time"

	"envrun/tui/kit"
	"envrun/tui/screen"
	"envrun/vault"

	tea "charm.land/bubbletea/v2"
)

// A job is something that is done beside the interface. Jobs run in lanes: one
// that begins ends the one before it in its lane, whatever that still has to say
// is dropped, and so a slow answer cannot overwrite a newer one.
//
// A job never touches the model. It hands over functions, which the model calls
// between two messages, if the job is still the one of its lane.
type job struct {
	lane  lane
	owner screen.Screen // ends with it; nil: goes on
	what  string
	limit time.Duration
	vault bool // whether anybody answers says something about the vault
	do    func(ctx context.Context, show func(func()) bool) error
	done  func(err error) // nil: nothing
	late  func()          // called when the job is dropped; may be nil

	again  *failedRead   // a read that may begin again by itself
	asked  screen.Screen // that a change is for
	action string        // of that screen, which has asked about the change
	person bool          // it waits for a person, elsewhere
	never  func()        // called in place of do when it was dropped before it began; may be nil

	since   time.Time
	touches uint64 // Model.touches then
	id      uint64
	ctx     context.Context
	cancel  context.CancelFunc
	gone    chan struct{} // closed when nobody wants it any more
	out     chan report
	begin   sync.Once
	time    allowance
}

// A lane is one of the root's, or one of a screen.
type lane struct {
	of   screen.Screen // nil: the root
	name string
}

// The root's lanes.
var (
	laneReveal = lane{name: "reveal"}
	laneCopy   = lane{name: "copy"}
	laneWrite  = lane{name: "write"}
)

// laneState is the name of the lane that the state file is written in.
const laneState = "state"

// A report is what a job has to say: a change, or that it is done.
type report struct {
	change func()
	made   chan struct{} // closed when the change has been made
	done   bool
	err    error
}

// jobMsg brings a report of a job to the model. The job is told apart by its id.
type jobMsg struct {
	job *job
	report
}

// crashMsg says that a job has panicked.
type crashMsg struct{ crash *Crash }

const usualLimit = 10 * time.Second

// start begins a job in its lane.
func (m *Model) start(j *job) {
	m.stop(j.lane)
	if j.limit == 0 {
		j.limit = usualLimit
	}
	m.jobs++
	j.id, j.since, j.touches = m.jobs, m.now(), m.touches
	j.ctx, j.cancel = context.WithCancel(m.ctx)
	j.gone, j.out = make(chan struct{}), make(chan report)
	m.lanes[j.lane] = j
	if len(m.questions) > 0 {
		j.time.hold()
	}
	m.wait(j)
	m.tickBusy()
}

// wait waits for the next report of a job.
func (m *Model) wait(j *job) {
	if j.person && m.config.Beside != nil {
		m.run(m.config.Beside(j.next))
		return
	}
	m.run(j.next)
}

// asks is the action by which a screen has asked about a change; empty if it is
// none of the table.
func (m *Model) asks(s screen.Screen) string {
	if m.did.of == s && m.actions.Get(m.did.action).Harm != kit.Harmless {
		return m.did.action
	}
	return ""
}

// stop ends the job of a lane. What it would still say is dropped.
func (m *Model) stop(l lane) {
	j := m.lanes[l]
	if j == nil {
		return
	}
	delete(m.lanes, l)
	j.cancel()
	close(j.gone)
	if j.late != nil {
		j.late()
	}
}

// stopAll ends all jobs.
func (m *Model) stopAll() {
	for l := range m.lanes {
		m.stop(l)
	}
	m.cancel()
}

// stopOf ends the jobs of a screen.
func (m *Model) stopOf(s screen.Screen) {
	for l, j := range m.lanes {
		if j.owner == s {
			m.stop(l)
		}
	}
}

// next is the command of a job: it waits for its next report.
func (j *job) next() (msg tea.Msg) {
	j.begin.Do(func() {
		select {
		case <-j.gone: // it was over before it began
			if j.never != nil {
				j.never()
			}
			return
		default:
		}
		go j.work()
	})
	select {
	case r := <-j.out:
		return jobMsg{j, r}
	case <-j.gone:
		return nil
	}
}

func (j *job) work() {
	r := report{done: true}
	defer func() {
		if c := recovered(recover()); c != nil {
			r = report{done: true, err: c}
		}
		select {
		case j.out <- r:
		case <-j.gone:
		}
	}()
	ctx, cancel := context.WithCancelCause(j.ctx)
	defer cancel(nil)
	j.time.begin(j.limit, func() { cancel(context.DeadlineExceeded) })
	defer j.time.end()
	r.err = j.do(ctx, func(change func()) bool {
		r := report{change: change, made: make(chan struct{})}
		select {
		case j.out <- r:
		case <-j.gone:
			return false
		}
		select {
		case <-r.made:
			return true
		case <-j.gone:
			return false
		}
	})
	if context.Cause(ctx) == context.DeadlineExceeded && (errors.Is(r.err, context.Canceled) || errors.Is(r.err, context.DeadlineExceeded)) {
		r.err = &vault.Error{Kind: vault.KindUnavailable, Op: j.what, Detail: "no answer within " + j.limit.String(), Err: r.err}
	}
}

// take is what the model does with a report.
func (m *Model) take(msg jobMsg) {
	j := msg.job
	if m.lanes[j.lane] != j {
		return // another has its lane by now
	}
	if c := (*Crash)(nil); errors.As(msg.err, &c) {
		m.die(c)
		return
	}
	m.by = j
	defer func() { m.by = nil }()
	if !msg.done {
		msg.change()
		close(msg.made)
		m.wait(j)
		return
	}
	delete(m.lanes, j.lane)
	j.cancel()
	m.waitsFor = ""
	if j.vault {
		m.offline = vault.KindOf(msg.err) == vault.KindUnavailable
	}
	m.lapsed(j, msg.err)
	if j.done != nil {
		j.done(msg.err)
	}
}

// read begins a screen's job.
func (m *Model) read(s screen.Screen, r screen.Read) {
	m.start(&job{
		lane: lane{s, r.Lane}, owner: s, what: r.What, limit: r.For, vault: true, again: &failedRead{s, r},
		do: func(ctx context.Context, show func(func()) bool) error { return r.Do(ctx, m.power, show) },
		done: func(err error) {
			if r.Done != nil {
				m.apply(s, r.Done(err))
			}
		},
	})
}

// write begins a job that changes something, if somebody consented to it, and
// reports whether it has.
func (m *Model) write(s screen.Screen, w screen.Write) (begun bool) {
	if !m.consented(w.Env, w.Harm, w.Consent, w.What) {
		return false
	}
	m.start(&job{
		lane: laneWrite, what: w.What, limit: 30 * time.Second, vault: true, asked: s, action: m.asks(s),
		do: func(ctx context.Context, _ func(func()) bool) error { return w.Do(ctx, writing{m.power, w.Env}) },
		done: func(err error) {
			if w.Done != nil {
				m.apply(s, w.Done(err))
			} else if err != nil {
				m.fail(err)
			}
		},
	})
	return true
}

// consented uses up the consent to a change, or says why there is none that
// counts: one change at a time, in an environment that there is, and with its
// name typed where that is needed.
func (m *Model) consented(name vault.Env, harm kit.Harm, c kit.Consent, what string) bool {
	env, known := m.config.env(name)
	switch {
	case m.lanes[laneWrite] != nil:
		m.say(kit.Notice{Role: kit.Warn, Text: "Not begun: " + m.lanes[laneWrite].what + " is not done yet."})
	case !known:
		m.say(kit.Notice{Role: kit.Danger, Text: "Not begun: there is no environment " + string(name) + " here."})
	case screen.NeedsName(env, harm) && c.Typed() != string(name), !c.Use():
		m.say(kit.Notice{Role: kit.Danger, Text: "Not begun: nobody was asked about " + what + "."})
	default:
		return true
	}
	return false
}

// view of the lanes that a screen gets while it is drawn.
type lanesOf struct {
	m *Model
	s screen.Screen
}

// Busy implements screen.Lanes.
func (l lanesOf) Busy(name string) kit.Busy {
	if j := l.m.lanes[lane{l.s, name}]; j != nil {
		return kit.Busy{Since: j.since, What: j.what}
	}
	return kit.Busy{}
}

// busy is the longest-running job that is worth mentioning.
func (m *Model) busy() kit.Busy {
	var b kit.Busy
	for _, j := range m.lanes {
		if j.what != "" && (b.Since.IsZero() || j.since.Before(b.Since)) {
			b = kit.Busy{Since: j.since, What: j.what}
		}
	}
	return b
}

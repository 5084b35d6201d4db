package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"envrun/tui/kit"

	tea "charm.land/bubbletea/v2"
)

// A Bell is how what works beside the interface reaches the person before it: a
// vault that has noticed something, a plugin of age that wants a PIN or a touch,
// an identity with a passphrase. Nothing of them may use the terminal, which the
// interface has.
//
// It is made before the interface, and may be rung from any goroutine.
type Bell struct {
	mu      sync.Mutex
	send    func(tea.Msg)
	said    []said
	asked   []*question
	pressed bool // the interface has been told, and has not looked yet
	lent    bool // a command has the terminal, and what it needs asks there

	now     func() time.Time
	refused Question // that was cancelled last, and when
	at      time.Time
}

// refusedFor is how long a question that was cancelled is not asked again: what
// was cancelled often tries once more by itself, and so does the next who needs it.
const refusedFor = 2 * time.Second

// refuse notes that somebody has cancelled a question.
func (b *Bell) refuse(q Question) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused, b.at = q, b.now()
}

type said struct {
	text string
	wait time.Duration // it says what is waited for, and for how long it may be
}

// Patience is how long a question waits for its answer, and how long one may
// take to do what a Wait is about: somebody may have to find a token.
const Patience = 2 * time.Minute

// ErrNoAnswer is in the error of a question that nobody answered.
var ErrNoAnswer = errors.New("nobody answered")

// ErrLent is in the error of a question while a command has the terminal that
// the interface has left to it: it may be asked there.
var ErrLent = errors.New("a command has the terminal")

// A Question is what is asked, in words of who asks: any bytes, made fit to be
// shown.
type Question struct {
	From   string // who asks: "age-plugin-yubikey"
	Text   string
	Hidden bool // what is typed is not shown

	// Yes makes it a choice between two words. Without No the other is to cancel.
	Yes, No string
}

var errCancelled = fmt.Errorf("%w: it was cancelled", ErrNoAnswer)

type question struct {
	Question
	dialog kit.Dialog // once it is open
	answer chan answer
}

type answer struct {
	text []byte
	yes  bool
	err  error
}

// rungMsg says that there is something at the bell.
type rungMsg struct{}

// lapseMsg says that a question has waited long enough.
type lapseMsg struct{ q *question }

// NewBell makes one.
func NewBell() *Bell { return &Bell{now: time.Now} }

// Connect has messages sent to an interface when the bell rings. The interface
// does that itself.
func (b *Bell) Connect(send func(tea.Msg)) {
	b.mu.Lock()
	b.send = send
	b.mu.Unlock()
	b.ring(func() {})
}

// ring leaves something at the bell. It does not wait for anybody.
func (b *Bell) ring(leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	leave()
	if b.send != nil && !b.pressed && len(b.said)+len(b.asked) > 0 {
		b.pressed = true
		go b.send(rungMsg{})
	}
}

// lend says that a command has the terminal, or not any more.
func (b *Bell) lend(lent bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lent = lent
}

// take is all that has been left.
func (b *Bell) take() ([]said, []*question) {
	b.mu.Lock()
	defer b.mu.Unlock()
	said, asked := b.said, b.asked
	b.said, b.asked, b.pressed = nil, nil, false
	return said, asked
}

// Say shows a notice. One that was shown before is not shown again.
func (b *Bell) Say(text string) { b.ring(func() { b.said = append(b.said, said{text: text}) }) }

// Wait says what is waited for, and gives what is under way time for it. It
// reports false, and says nothing, while a command has the terminal: there it
// may be said.
func (b *Bell) Wait(text string) (ok bool) {
	b.ring(func() {
		if ok = !b.lent; ok {
			b.said = append(b.said, said{text: text, wait: Patience})
		}
	})
	return ok
}

// Ask asks for a line of text, which the caller wipes. ErrNoAnswer if nobody
// gives one within Patience, or they cancel, or what asks is not wanted any
// more; ErrLent. The time that somebody takes to answer is not counted as that of the job
// that asks.
func (b *Bell) Ask(ctx context.Context, q Question) ([]byte, error) {
	a := b.await(ctx, q)
	return a.text, a.err
}

// Choose asks for one of two answers. Errors are as of Ask.
func (b *Bell) Choose(ctx context.Context, q Question) (yes bool, err error) {
	a := b.await(ctx, q)
	return a.yes, a.err
}

func (b *Bell) await(ctx context.Context, of Question) answer {
	q := &question{Question: of, answer: make(chan answer, 1)}
	var err error
	b.ring(func() {
		switch {
		case b.lent:
			err = ErrLent
		case q.Question == b.refused && b.now().Sub(b.at) < refusedFor:
			err = errCancelled
		default:
			b.asked = append(b.asked, q)
		}
	})
	if err != nil {
		return answer{err: err}
	}
	// The interface answers in time, unless it is gone, or an editor has its terminal.
	late := time.NewTimer(2 * Patience)
	defer late.Stop()
	select {
	case a := <-q.answer:
		return a
	case <-late.C:
		return answer{err: fmt.Errorf("%w for %v", ErrNoAnswer, 2*Patience)}
	case <-ctx.Done():
		// The box stays until it is answered or lapses; what it says is wiped there.
		return answer{err: context.Cause(ctx)}
	}
}

// rung is what the interface does about it.
func (m *Model) rung() {
	said, asked := m.config.Bell.take()
	for _, s := range said {
		if s.wait > 0 {
			m.waitsFor = s.text
			for _, j := range m.lanes {
				j.time.atLeast(s.wait)
			}
		}
		m.hear(s.text, s.wait == 0)
	}
	for _, q := range asked {
		m.questions = append(m.questions, q)
		m.run(m.config.After(Patience, lapseMsg{q}))
	}
	m.openQuestion()
}

// mostHeard is how many notices are kept.
const mostHeard = 100

// hear keeps what was said for the details, and shows it unless it was said
// before, or something that must not be missed is there.
func (m *Model) hear(text string, show bool) {
	if slices.Contains(m.heard, text) {
		return
	}
	if m.heard = append(m.heard, text); len(m.heard) > mostHeard {
		m.heard = slices.Delete(m.heard, 0, 1)
	}
	if show && !m.notice.Sticky {
		m.say(kit.Notice{Role: kit.Warn, Text: text, Sticky: true})
	}
}

// openQuestion opens the box of the first question that waits, if there is room for it and
// somebody to see it. It opens by itself, so it is deaf until nobody types.
func (m *Model) openQuestion() {
	// While somebody is asked, the time of what waits for the answer stands still.
	for _, j := range m.lanes {
		if len(m.questions) > 0 {
			j.time.hold()
		} else {
			j.time.goOn()
		}
	}
	if len(m.questions) == 0 || m.questions[0].dialog != nil || m.locked || m.blank || m.w == 0 || m.size() == kit.TooSmall {
		return
	}
	q := m.questions[0]
	title := q.From + " asks"
	if q.Yes == "" {
		e := &kit.Entry{Title: title, Text: q.Text, Field: kit.Field{Hidden: q.Hidden, Max: 4 << 10}}
		q.dialog = e
		m.dialogs.Appear(e, func() {
			if !e.OK() {
				m.answered(q, answer{err: errCancelled})
				return
			}
			m.answered(q, answer{text: bytes.Clone(e.Field.Bytes())})
		}, m.now())
		return
	}
	no := q.No
	if no == "" {
		no = "cancel"
	}
	c := &kit.Question{Title: title, Facts: []string{q.Text}, Answers: []string{no, q.Yes}}
	q.dialog = c
	m.dialogs.Appear(c, func() {
		switch taken, ok := c.Taken(); {
		case ok && taken == 1:
			m.answered(q, answer{yes: true})
		case ok && q.No != "":
			m.answered(q, answer{})
		default:
			m.answered(q, answer{err: errCancelled})
		}
	}, m.now())
}

// answered hands an answer over, and goes on to the next question.
func (m *Model) answered(q *question, a answer) {
	i := slices.Index(m.questions, q)
	if i < 0 {
		clear(a.text)
		return
	}
	m.questions = slices.Delete(m.questions, i, i+1)
	if a.err == errCancelled {
		m.config.Bell.refuse(q.Question)
	}
	if e, ok := q.dialog.(*kit.Entry); ok {
		e.Field.Wipe()
	}
	m.dialogs.Close(q.dialog)
	q.answer <- a
	m.openQuestion()
}

// unask answers all questions with why nobody does.
func (m *Model) unask(why string) {
	for len(m.questions) > 0 {
		m.answered(m.questions[0], answer{err: fmt.Errorf("%w: %s", ErrNoAnswer, why)})
	}
}

// keepAsking drops questions that nothing under way waits for any more, and opens
// the next as soon as there is room for it. It runs after every message.
func (m *Model) keepAsking() {
	switch {
	case len(m.lanes) == 0:
		m.waitsFor = ""
		m.unask("it is not wanted any more")
	case len(m.questions) > 0:
		m.openQuestion()
	}
}

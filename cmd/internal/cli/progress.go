package cli

import (
	"fmt"
	"time"
)

// longWork is how many things make work long enough to say how far it is.
const longWork = 200

// Progress says on stderr how far long work is: on a terminal in one line that
// is rewritten in place, else in a line for every tenth. It is not for several
// goroutines.
type Progress struct {
	s        Streams
	what     string // "rotating prod"
	terminal bool
	now      func() time.Time
	begun    time.Time
	last     time.Time
	tenth    int
	shown    bool
}

// NewProgress makes a Progress of work that is called what. now is the clock.
func NewProgress(s Streams, what string, now func() time.Time) *Progress {
	return &Progress{s: s, what: what, now: now, begun: now(), terminal: IsTerminal(s.Err) && s.Getenv("TERM") != "dumb" && s.CI() == ""}
}

// Step says that done of total are done. Work of few things is not worth a word.
func (p *Progress) Step(done, total int) {
	if total < longWork {
		return
	}
	if !p.terminal {
		if tenth := 10 * done / total; tenth > p.tenth {
			p.tenth = tenth
			p.s.Notef("%s: %d %%, %d of %d", p.what, 10*tenth, done, total)
		}
		return
	}
	now := p.now()
	if now.Sub(p.begun) < 200*time.Millisecond || now.Sub(p.last) < 50*time.Millisecond && done < total {
		return // a flicker is no help
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.s.Err, "\r\x1b[K%s: %d %%, %d of %d", Printable(p.what), 100*done/total, done, total)
}

// End takes the line away from a terminal.
func (p *Progress) End() {
	if p.shown {
		fmt.Fprint(p.s.Err, "\r\x1b[K")
		p.shown = false
	}
}

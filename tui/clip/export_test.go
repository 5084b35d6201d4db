package clip

import (
	"context"
	"io"
	"time"
)

// NewFor is New with a time that a test can wait for.
func NewFor(o Options, stay time.Duration) *Clipboard {
	o.stay = stay
	return New(o)
}

// Pid is the helper of the value that was copied last.
func (c *Clipboard) Pid() int { return c.helper.pid }

// WaitForEnd waits until the helper of the last value has nothing more to say,
// and reports whether it has cleared the clipboard.
func (c *Clipboard) WaitForEnd(ctx context.Context) (cleared bool, problem string, err error) {
	for {
		s, err := c.helper.wait(ctx)
		if err == io.EOF {
			return cleared, problem, nil
		}
		if err != nil {
			return cleared, problem, err
		}
		cleared, problem = s.Cleared, s.Problem
	}
}

// Detect is the choice of a backend.
func Detect(env []string, terminal bool) string { return detect(environ(env), terminal) }

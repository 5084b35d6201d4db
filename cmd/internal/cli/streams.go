// Package cli is what the commands share of the world outside: the three
// streams and whether they are terminals, questions to the person there, exit
// statuses, and the one table that turns an error into a sentence and the next
// command to type.
//
// It refuses to ask anything of anybody who is not at a terminal: a question
// then becomes an error that names the flag which answers it. It knows nothing
// of vaults but the kinds of error.
package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// Streams is where a command reads, prints results (Out) and prints words (Err).
type Streams struct {
	In  *os.File
	Out *os.File
	Err *os.File

	Getenv func(string) string

	// NoInput is set by --no-input: no question is asked though somebody may be there.
	NoInput bool
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// CI is the variable that says we run in a CI system or under a coding agent
// (runner K5), or "". Nobody is there to be asked then.
func (s Streams) CI() string {
	for _, name := range [...]string{"CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "CIRCLECI", "JENKINS_URL", "TF_BUILD", "TEAMCITY_VERSION"} {
		if v := s.Getenv(name); v != "" && v != "false" && v != "0" {
			return name
		}
	}
	return ""
}

// Agent is the variable that says a coding agent started us (runner K5), or "".
func (s Streams) Agent() string {
	for _, name := range [...]string{"CLAUDECODE", "CURSOR_AGENT", "CODEX", "CODEX_THREAD_ID", "AI_AGENT"} {
		if v := s.Getenv(name); v != "" && v != "false" && v != "0" {
			return name
		}
	}
	return ""
}

// Interactive reports whether a person can be asked: there are terminals to
// read from and to write to, and neither CI, an agent nor --no-input speaks
// against it.
func (s Streams) Interactive() bool {
	return !s.NoInput && s.CI() == "" && s.Agent() == "" && IsTerminal(s.In) && IsTerminal(s.Err)
}

// Printf prints a result.
func (s Streams) Printf(format string, args ...any) { fmt.Fprintf(s.Out, format, args...) }

// Notef prints words: to stderr, with the name of the program before them.
func (s Streams) Notef(format string, args ...any) {
	fmt.Fprintf(s.Err, "envrun: "+format+"\n", args...)
}

// Sayf prints words without the name before them: the lines of a plan, a list.
func (s Streams) Sayf(format string, args ...any) { fmt.Fprintf(s.Err, format+"\n", args...) }

// ErrInterrupted is what a question answers to Ctrl-C or Ctrl-D.
var ErrInterrupted = errors.New("interrupted")

// AskHidden reads a line that is not shown as it is typed. need is what to
// type instead when nobody can be asked.
func (s Streams) AskHidden(ctx context.Context, question, need string) ([]byte, error) {
	if !s.Interactive() {
		return nil, &NeedsAnswer{Question: question, Need: need}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	fd := int(s.In.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(s.Err, question)
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		// The read cannot be called off, but the terminal must not stay without echo.
		_ = term.Restore(fd, before)
		fmt.Fprintln(s.Err)
		return nil, ErrInterrupted
	case a := <-got:
		fmt.Fprintln(s.Err)
		if errors.Is(a.err, io.EOF) {
			return nil, ErrInterrupted
		}
		return a.line, a.err
	}
}

// interruptible ends a question at Ctrl-C or a polite kill, so that the
// terminal is put right before we go.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// Ask reads a line.
func (s Streams) Ask(ctx context.Context, question, need string) (string, error) {
	if !s.Interactive() {
		return "", &NeedsAnswer{Question: question, Need: need}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	fmt.Fprint(s.Err, question)
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(s.In).ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.Err)
		return "", ErrInterrupted
	case a := <-got:
		if a.err != nil {
			fmt.Fprintln(s.Err)
			return "", ErrInterrupted
		}
		return strings.TrimSpace(a.line), nil
	}
}

// Confirm asks a question that "y" or "yes" says yes to; everything else is no.
func (s Streams) Confirm(ctx context.Context, question, need string) (bool, error) {
	answer, err := s.Ask(ctx, question+" [y/N] ", need)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// NeedsAnswer is a question that nobody is there to answer.
type NeedsAnswer struct {
	Question string
	Need     string // what to type instead
}

func (e *NeedsAnswer) Error() string {
	return fmt.Sprintf("nobody can be asked %q: this is not a terminal", strings.TrimSpace(e.Question))
}

// Printable is s with everything that could steer a terminal (control
// characters, escape sequences, bidi and zero-width characters) shown as \u{…}.
// What a person did not write here goes through it before it is printed.
func Printable(s string) string {
	clean := true
	for _, r := range s {
		if !safe(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if safe(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u{%x}", r)
		}
	}
	return b.String()
}

func safe(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return true
	case r < 0x20, 0x7f <= r && r < 0xa0, r == 0xfffd:
		return false
	case 0x200b <= r && r <= 0x200f, 0x202a <= r && r <= 0x202e, 0x2060 <= r && r <= 0x2069, r == 0xfeff, r == 0x061c, r == 0x2028, r == 0x2029:
		return false
	case 0xe0000 <= r && r <= 0xe007f:
		return false
	}
	return true
}

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
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

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

	outErr *error
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

// Printf prints a result. That it could not be printed is kept for OutErr.
func (s Streams) Printf(format string, args ...any) {
	if _, err := fmt.Fprintf(s.Out, format, args...); err != nil && s.outErr != nil && *s.outErr == nil {
		*s.outErr = err
	}
}

// KeepOutErr makes Streams keep the first error of Printf.
func (s *Streams) KeepOutErr() { s.outErr = new(error) }

// OutErr is the first error of Printf: a result that did not arrive.
func (s Streams) OutErr() error {
	if s.outErr == nil {
		return nil
	}
	return *s.outErr
}

// Notef prints words: to stderr, with the name of the program before them. What
// could steer a terminal is made printable, as in all that goes to stderr.
func (s Streams) Notef(format string, args ...any) {
	s.Sayf("envrun: "+format, args...)
}

// Sayf prints words without the name before them: the lines of a plan, a list.
func (s Streams) Sayf(format string, args ...any) {
	lines := strings.Split(fmt.Sprintf(format, args...), "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	fmt.Fprintln(s.Err, strings.Join(lines, "\n"))
}

// ErrInterrupted is what a question answers to Ctrl-C or Ctrl-D.
var ErrInterrupted = errors.New("interrupted")

// signalled is an ErrInterrupted by a signal.
type signalled struct{ signal syscall.Signal }

func (e *signalled) Error() string { return ErrInterrupted.Error() }
func (e *signalled) Unwrap() error { return ErrInterrupted }

// AskHidden reads a line that is not shown as it is typed, of any length a
// value may have. need is what to type instead when nobody can be asked.
func (s Streams) AskHidden(ctx context.Context, question, need string) ([]byte, error) {
	return s.askHidden(ctx, question, need, readHidden)
}

// AskHiddenLines is AskHidden for several lines, each of which ends with a
// newline: up to one with nothing but a dot, which is not among them.
func (s Streams) AskHiddenLines(ctx context.Context, question, need string) ([]byte, error) {
	return s.askHidden(ctx, question, need, readHiddenLines)
}

func (s Streams) askHidden(ctx context.Context, question, need string, read func(*os.File) ([]byte, error)) ([]byte, error) {
	if !s.Interactive() {
		return nil, &NeedsAnswer{Question: question, Need: need}
	}
	var line []byte
	err := s.raw(func(signals <-chan os.Signal) (err error) {
		defer fmt.Fprintln(s.Err)
		fmt.Fprint(s.Err, Printable(question))
		line, err = s.answer(ctx, signals, read)
		return err
	})
	return line, err
}

// Pasted reads line after line, as AskHidden does each, until ctx is done or somebody
// presses Ctrl-C. It asks nothing: the caller says at ready what may be pasted. take
// is given each line, or ErrLines in the place of several that came at once. key is
// given what is pressed where a line would begin, and says whether that is a key
// rather than the beginning of one.
func (s Streams) Pasted(ctx context.Context, ready func(), key func(c byte) bool, take func(line []byte, err error)) error {
	if !s.Interactive() {
		return &NeedsAnswer{}
	}
	return s.raw(func(signals <-chan os.Signal) error {
		ready()
		for {
			line, err := s.answer(ctx, signals, func(in *os.File) ([]byte, error) { return readLine(in, key) })
			if err != nil && !errors.Is(err, ErrLines) {
				return err
			}
			take(line, err)
		}
	})
}

// raw calls f with a terminal that neither shows what is typed nor edits lines, which
// one that does cuts off at 4,096 bytes without a word (auth F12). It is so before
// anything is asked, since a quick hand answers while the terminal still echoes.
func (s Streams) raw(f func(signals <-chan os.Signal) error) error {
	signals, stop := interrupts()
	defer stop()
	fd := int(s.In.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(fd, before) }()
	return f(signals)
}

// answer waits for what read reads.
func (s Streams) answer(ctx context.Context, signals <-chan os.Signal, read func(*os.File) ([]byte, error)) ([]byte, error) {
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := read(s.In)
		got <- answer{line, err}
	}()
	select {
	case sig := <-signals:
		return nil, interruptedBy(sig)
	case <-ctx.Done(): // the read cannot be called off, but we are about to end
		return nil, ErrInterrupted
	case a := <-got:
		return a.line, a.err
	}
}

// ErrLines is a paste of several lines where one was asked for. Taking the
// first would hand the others to the shell.
var ErrLines = errors.New("several lines came at once where one was asked for")

// maxHidden is the longest answer, in bytes: that of a value.
const maxHidden = 1 << 20

// readHidden reads a line from a raw terminal.
func readHidden(in *os.File) ([]byte, error) {
	return readLine(in, func(byte) bool { return false })
}

// readLine reads a line from a raw terminal. What key takes is none of it: key is asked
// for a byte that comes alone where the line is empty, as none of a paste does.
func readLine(in *os.File, key func(c byte) bool) ([]byte, error) {
	var line []byte
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		if err != nil || n == 0 {
			return nil, ErrInterrupted
		}
		if n == 1 && len(line) == 0 && key(buf[0]) {
			continue
		}
		for i, c := range buf[:n] {
			switch c {
			case '\r', '\n':
				if rest := strings.Trim(string(buf[i+1:n]), "\r\n"); rest != "" || waiting(in) {
					drain(in)
					clear(line)
					return nil, ErrLines
				}
				return line, nil
			case 3: // Ctrl-C
				return nil, ErrInterrupted
			case 4: // Ctrl-D
				if len(line) == 0 {
					return nil, ErrInterrupted
				}
			case 8, 127: // backspace
				_, size := utf8.DecodeLastRune(line)
				line = line[:len(line)-size]
			case 21: // Ctrl-U
				line = line[:0]
			case 26: // Ctrl-Z, which stops nobody here, and is no part of what is typed
			default:
				if len(line) < maxHidden {
					line = append(line, c)
				}
			}
		}
	}
}

// readHiddenLines reads lines from a raw terminal up to a dot alone, or to a
// Ctrl-D where a line would begin. A terminal sends a newline that is pasted as it
// sends the Enter key.
func readHiddenLines(in *os.File) ([]byte, error) {
	var text []byte
	begin, was := 0, byte(0) // where the line begins, and the byte before
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		if err != nil || n == 0 {
			clear(text)
			return nil, ErrInterrupted
		}
		for _, c := range buf[:n] {
			switch {
			case c == '\n' && was == '\r': // one end of a line in two bytes
			case c == '\r' || c == '\n':
				if string(text[begin:]) == "." {
					return text[:begin], nil
				}
				text = append(text, '\n')
				begin = len(text)
			case c == 3:
				clear(text)
				return nil, ErrInterrupted
			case c == 4:
				if begin == len(text) {
					return text, nil
				}
			case c == 8 || c == 127:
				_, size := utf8.DecodeLastRune(text[begin:])
				text = text[:len(text)-size]
			case c == 21:
				text = text[:begin]
			case c == 26: // as in readHidden
			case len(text) < maxHidden:
				text = append(text, c)
			}
			was = c
		}
		clear(buf[:n])
	}
}

// interrupts are the signals that end a question: a polite kill, and Ctrl-C where
// the answer is typed in the open. The terminal is put right before we go.
func interrupts() (<-chan os.Signal, func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return signals, func() { signal.Stop(signals) }
}

func interruptedBy(s os.Signal) error {
	if sig, ok := s.(syscall.Signal); ok {
		return &signalled{sig}
	}
	return ErrInterrupted
}

// Ask reads a line.
func (s Streams) Ask(ctx context.Context, question, need string) (string, error) {
	if !s.Interactive() {
		return "", &NeedsAnswer{Question: question, Need: need}
	}
	signals, stop := interrupts()
	defer stop()
	fmt.Fprint(s.Err, Printable(question))
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
	case sig := <-signals:
		fmt.Fprintln(s.Err)
		return "", interruptedBy(sig)
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
	return fmt.Sprintf("nobody can be asked %q here", strings.TrimSpace(e.Question))
}

// Printable is s with everything that could steer a terminal or forge a line
// (control characters, line ends, escape sequences, bidi and zero-width
// characters) shown as \u{…}.
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
	case r < 0x20, 0x7f <= r && r < 0xa0, r == 0xfffd:
		return false
	case 0x200b <= r && r <= 0x200f, 0x202a <= r && r <= 0x202e, 0x2060 <= r && r <= 0x2069, r == 0xfeff, r == 0x061c, r == 0x2028, r == 0x2029:
		return false
	case 0xe0000 <= r && r <= 0xe007f:
		return false
	}
	return true
}

// Quote is s as a word of a POSIX shell, to be pasted.
func Quote(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%_+=:,./-", r))
	})
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(Printable(s), "'", `'\''`) + "'"
}

// Count is "1 secret", "2 secrets".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

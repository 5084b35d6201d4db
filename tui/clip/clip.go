// Package clip puts a value on the clipboard and sees to it that it goes again.
//
// A copied value outlives whoever copied it, so the clearing is done by a process
// of its own: this program once more, in a session of its own, started with the
// value on a pipe. It sets the clipboard, keeps a keyed hash and forgets the value;
// after a while, or when it is told to end, it reads the clipboard back and clears
// it if it still holds the value. What somebody has copied since stays.
//
// It refuses to put a value into an argument, the environment or a file, to read a
// clipboard through the terminal, and to say that something was copied when that
// cannot be known.
package clip

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Copied says what became of a value that was to be copied.
type Copied struct {
	Text  string    // for the status line
	Sure  bool      // it was read back, and will be cleared
	Until time.Time // when it goes; zero: nobody can say
}

// How long a value stays.
const (
	UsualStay = 30 * time.Second
	leastStay = 10 * time.Second
	mostStay  = 2 * time.Minute
)

// MaxValue is the most that is copied, in bytes: terminals and clipboard managers
// stop at other places, and whoever copies more wants a file.
const MaxValue = 1 << 20

// Options say where the clipboard is. The zero value is enough but for Program.
type Options struct {
	Program  string        // this program's own file: it is the helper too (Begin)
	Environ  []string      // of the person: which display, which terminal
	Terminal *os.File      // for the sequence that asks the terminal (OSC 52); nil: not tried
	Stay     time.Duration // how long a value stays, 10 s to 2 min; 0: 30 s
	Backend  string        // instead of the first that is here: "xclip", "wl-copy" …

	stay time.Duration // as it is, for tests
}

// ErrNone: there is no clipboard to be reached from here.
var ErrNone = errors.New("no clipboard can be reached from here: no display, no clipboard program, and the terminal is not asked")

// Clipboard copies to the person's clipboard. It is safe for use by several
// goroutines.
type Clipboard struct {
	options Options
	backend string
	environ []string

	mu     sync.Mutex
	helper *helper // of the last value; nil: none
}

// New looks for the clipboard of a person; ErrNone is only said when something is
// to be copied.
func New(o Options) *Clipboard {
	c := &Clipboard{options: o, environ: only(o.Environ), backend: o.Backend}
	if c.options.stay == 0 {
		stay := o.Stay
		if stay == 0 {
			stay = UsualStay
		}
		c.options.stay = min(max(stay, leastStay), mostStay)
	}
	if c.backend == "" {
		c.backend = detect(environ(c.environ), o.Terminal != nil)
	}
	return c
}

// Backend is the name of what it copies with; empty if there is nothing.
func (c *Clipboard) Backend() string { return c.backend }

// Copy puts a value on the clipboard. It returns when the value is there, as far
// as that can be known; the helper that clears it lives on.
func (c *Clipboard) Copy(ctx context.Context, value []byte) (Copied, error) {
	h, s, err := c.start(ctx, value, c.options.stay)
	if err != nil {
		return Copied{}, err
	}
	c.mu.Lock()
	if c.helper != nil {
		c.helper.tell(orderForget) // its time was that of the value before
	}
	c.helper = h
	c.mu.Unlock()
	return s.copied(c.options.stay), nil
}

// CopyText puts text there that is no secret, and leaves it.
func (c *Clipboard) CopyText(ctx context.Context, text string) error {
	h, _, err := c.start(ctx, []byte(text), 0)
	if err == nil {
		h.close()
	}
	return err
}

// Clear clears the value that was copied last, now, if it is still there.
func (c *Clipboard) Clear(ctx context.Context) error {
	c.mu.Lock()
	h := c.helper
	c.helper = nil
	c.mu.Unlock()
	if h == nil {
		return nil
	}
	h.tell(orderClear)
	defer h.close()
	s, err := h.wait(ctx)
	if errors.Is(err, io.EOF) {
		return nil // it was done already
	}
	if err == nil && s.Problem != "" {
		err = errors.New(s.Problem)
	}
	return err
}

// Orders for a helper, one byte each. That its input ends is none: we have gone,
// and it goes on.
const (
	orderClear  = 'C' // now
	orderForget = 'F' // leave without clearing: another has taken over
)

// A request is how a helper's input begins, as JSON after its length, and the
// value after that.
type request struct {
	Backend string
	Stay    time.Duration // 0: set it and leave
	Size    int
}

// status is what a helper says, in lines of JSON: once when the value is set, and
// once when it is cleared.
type status struct {
	Problem string `json:",omitempty"` // why it was not done
	Sure    bool   // it was read back
	Hinted  bool   // clipboard managers were asked not to keep it
	Blind   bool   // what is behind it cannot be looked at: a terminal
	Cleared bool   // it was there and is not any more
	Via     string // "the terminal (OSC 52)"
}

func (s status) copied(stay time.Duration) Copied {
	in := fmt.Sprintf("%ds", stay/time.Second)
	c := Copied{Sure: s.Sure, Until: time.Now().Round(0).Add(stay)}
	switch {
	case s.Sure && s.Hinted:
		c.Text = "copied, leaves the clipboard in " + in
	case s.Sure:
		c.Text = "copied, leaves the clipboard in " + in + "; a clipboard manager may keep it"
	case s.Blind:
		c.Text = "sent to " + s.Via + ": whether it arrived cannot be seen. In " + in + " it is asked to forget it, whatever it holds then"
	default:
		c.Text = "sent to " + s.Via + ": it could not be read back, so clear it yourself"
		c.Until = time.Time{}
	}
	return c
}

// A helper is the process that holds on to a copied value's hash.
type helper struct {
	in  io.WriteCloser
	out *bufio.Reader
	end func()
	pid int
}

func (h *helper) tell(order byte) { _, _ = h.in.Write([]byte{order}) }

// close lets go of the helper, which goes on.
func (h *helper) close() {
	_ = h.in.Close()
	h.end()
}

// wait waits for what the helper says next.
func (h *helper) wait(ctx context.Context) (s status, err error) {
	type answer struct {
		s   status
		err error
	}
	got := make(chan answer, 1)
	go func() {
		var a answer
		line, err := h.out.ReadBytes('\n')
		if a.err = err; err == nil {
			a.err = json.Unmarshal(line, &a.s)
		}
		got <- a
	}()
	select {
	case a := <-got:
		return a.s, a.err
	case <-ctx.Done():
		return status{}, fmt.Errorf("waiting for the clipboard: %w", ctx.Err())
	}
}

// start starts a helper with a value and waits until it has set it.
func (c *Clipboard) start(ctx context.Context, value []byte, stay time.Duration) (*helper, status, error) {
	switch {
	case c.backend == "":
		return nil, status{}, ErrNone
	case len(value) > MaxValue:
		return nil, status{}, fmt.Errorf("%d bytes are too many for a clipboard: at most %d", len(value), MaxValue)
	}
	cmd := exec.Command(c.options.Program)
	cmd.Args = []string{helperName, "1"}
	cmd.Env = c.environ
	cmd.Dir = rootDir()
	detach(cmd)
	if c.options.Terminal != nil {
		passTerminal(cmd, c.options.Terminal)
	}
	// Pipes of our own: those of exec are closed when the process ends, with what
	// it has said last still in them.
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, status{}, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		_ = theirIn.Close()
		_ = in.Close()
		return nil, status{}, err
	}
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	h := &helper{in: in, out: bufio.NewReader(out), end: func() { _ = out.Close() }}
	err = cmd.Start()
	// Open here, they would keep us from seeing that the helper is gone: a value
	// that is larger than a pipe would then wait for ever to be read.
	_ = theirIn.Close()
	_ = theirOut.Close()
	if err != nil {
		h.close()
		return nil, status{}, fmt.Errorf("starting the clipboard helper: %w", err)
	}
	h.pid = cmd.Process.Pid
	go func() { _ = cmd.Wait() }()
	if err := handOver(ctx, in, request{c.backend, stay, len(value)}, value); err != nil {
		h.close()
		return nil, status{}, fmt.Errorf("handing the value to the clipboard helper: %w", err)
	}
	s, err := h.wait(ctx)
	if err != nil {
		h.tell(orderClear)
		h.close()
		return nil, status{}, fmt.Errorf("copying with %s: %w", c.backend, err)
	}
	if s.Problem != "" {
		h.close()
		return nil, status{}, fmt.Errorf("not copied: %s", s.Problem)
	}
	return h, s, nil
}

// handOver is writeRequest to a helper that may be slow to read, for as long as ctx
// lasts.
func handOver(ctx context.Context, in *os.File, r request, value []byte) error {
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = in.SetWriteDeadline(time.Unix(1, 0))
		close(late)
	})
	err := writeRequest(in, r, value)
	if !stop() {
		<-late
		_ = in.SetWriteDeadline(time.Time{}) // it can still be told to clear
	}
	return err
}

func writeRequest(w io.Writer, r request, value []byte) error {
	head, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(head)))); err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err = w.Write(value)
	return err
}

func readRequest(r io.Reader) (q request, value []byte, err error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return q, nil, err
	}
	size := binary.LittleEndian.Uint32(n[:])
	if size > 4<<10 {
		return q, nil, errors.New("the request is too long")
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(r, head); err != nil {
		return q, nil, err
	}
	if err := json.Unmarshal(head, &q); err != nil {
		return q, nil, err
	}
	if q.Size < 0 || q.Size > MaxValue {
		return q, nil, errors.New("the value is too long")
	}
	value = make([]byte, q.Size)
	_, err = io.ReadFull(r, value)
	return q, value, err
}

// environ is variables by name.
type environ []string

func (e environ) get(name string) string {
	for i := len(e) - 1; i >= 0; i-- {
		if k, v, _ := strings.Cut(e[i], "="); k == name {
			return v
		}
	}
	return ""
}

// only leaves the variables that a clipboard is found by. A helper gets no others:
// among them are tokens and keys.
func only(env []string) []string {
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "PATH", "HOME", "USER", "DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "XDG_SESSION_TYPE", "TMUX", "TMUX_TMPDIR", "STY", "TERM",
			"SSH_TTY", "SSH_CONNECTION", "WSL_DISTRO_NAME", "WSL_INTEROP", "LANG", "LC_ALL", "LC_CTYPE",
			"SystemRoot", "SYSTEMROOT", "USERPROFILE", "TEMP", "TMP", "TMPDIR", "PATHEXT":
			kept = append(kept, e)
		}
	}
	return kept
}

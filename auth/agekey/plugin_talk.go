package agekey

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

// PluginPatience is how long a plugin may say nothing while no person is being
// asked: somebody may have to find a token and touch it.
const PluginPatience = 2 * time.Minute

const (
	pluginGrace    = time.Second     // for it to end by itself, and once more after an interrupt
	pluginWaitNote = 5 * time.Second // until ClientUI.WaitTimer, as age does it

	maxStanzas    = 1000     // that a plugin may say before it is done
	maxStanzaLine = 16 << 10 // bytes; the longest that is known, of a hybrid key, is under 2,000
	maxStanzaBody = 64 << 10 // bytes
)

// conversation is one run of a plugin's program, in the protocol of
// c2sp.org/age-plugin: both sides write stanzas, first we all of ours, then the
// plugin its own, each of which we reply to.
//
// It is not age's own client, plugin.Recipient, since that waits without end
// for a plugin that hangs, which it has no way to stop, reads lines of any
// length, finds the program by itself, and with AGEDEBUG set writes file keys
// to stderr. What calculates is age's here as well.
type conversation struct {
	pluginParty
	ctx     context.Context
	cancel  context.CancelCauseFunc
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     io.Closer
	lines   *bufio.Reader // of out
	silence *time.Timer
	words   tail  // of its stderr
	refused error // why it got no answer from ui the last time, which it is not told
}

// Of this length but in tests.
var patience, grace = PluginPatience, pluginGrace

// errSilent is why the context of a conversation ended that took too long.
var errSilent = errors.New("it says nothing")

// errGone is a plugin that closed its end of the conversation.
var errGone = errors.New("it is gone")

// start starts the program of a plugin. Its end must be called.
func (p pluginParty) start(protocol string) (*conversation, error) {
	program, err := FindPlugin(p.name)
	if err != nil {
		return nil, err
	}
	c := &conversation{pluginParty: p}
	c.ctx, c.cancel = context.WithCancelCause(p.context())
	c.cmd = exec.CommandContext(c.ctx, program, "--age-plugin="+protocol)
	// Not the working directory, which differs from one run to the next and may
	// be anybody's.
	c.cmd.Dir = filepath.Dir(program)
	c.cmd.Env = pluginEnv(os.Environ())
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = grace
	c.cmd.Stderr = &c.words
	in, err := c.cmd.StdinPipe()
	if err != nil {
		c.cancel(nil)
		return nil, c.failed("cannot be started", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		c.cancel(nil)
		return nil, c.failed("cannot be started", err)
	}
	if err := c.cmd.Start(); err != nil {
		if c.ctx.Err() != nil { // before it began
			return nil, c.lost()
		}
		c.cancel(nil)
		return nil, c.failed("cannot be started", err)
	}
	// A read or write that waits for the plugin ends when the pipe is closed.
	context.AfterFunc(c.ctx, func() { in.Close(); out.Close() })
	c.silence = time.AfterFunc(patience, func() { c.cancel(errSilent) })
	c.in, c.out, c.lines = in, out, bufio.NewReaderSize(out, maxStanzaLine)
	return c, nil
}

// pluginEnv is what a plugin sees of our environment: all but what is ours alone.
func pluginEnv(env []string) []string {
	return slices.DeleteFunc(env, func(s string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(s), "=")
		return strings.HasPrefix(name, "ENVRUN_") || name == "VAULT_TOKEN"
	})
}

func (c *conversation) failed(reason string, err error) error {
	return &PluginError{Plugin: c.name, Reason: reason, Err: err}
}

func (c *conversation) broken(what string) error {
	return c.failed("does not keep to the protocol of age's plugins: "+what, nil)
}

// send writes stanzas to the plugin.
func (c *conversation) send(stanzas ...age.Stanza) error {
	var b bytes.Buffer
	for _, s := range stanzas {
		if err := writeStanza(&b, s); err != nil {
			return c.failed("was to be told something that cannot be said", err)
		}
	}
	defer func() { clear(b.Bytes()[:b.Cap()]) }()
	if _, err := c.in.Write(b.Bytes()); err != nil {
		return c.lost()
	}
	return nil
}

// lost is why nothing could be written to or read from the plugin.
func (c *conversation) lost() error {
	switch cause := context.Cause(c.ctx); {
	case cause == nil:
		return errGone // end says more
	case errors.Is(cause, errSilent):
		return c.failed(fmt.Sprintf("said nothing for %v and was stopped", patience), nil)
	default:
		return c.failed("was stopped", cause)
	}
}

// receive reads one stanza.
func (c *conversation) receive() (*age.Stanza, error) {
	if c.ui != nil && c.ui.WaitTimer != nil {
		defer time.AfterFunc(pluginWaitNote, func() { c.ui.WaitTimer(c.name) }).Stop()
	}
	s, err := readStanza(c.lines)
	var bad stanzaError
	switch {
	case err == nil:
		c.silence.Reset(patience)
		return s, nil
	case errors.As(err, &bad):
		return nil, c.broken(bad.Error())
	}
	return nil, c.lost()
}

// answer replies to what the plugin says until it is done. What is not the same
// in every conversation goes to handle, which reports whether it knows it.
func (c *conversation) answer(handle func(*age.Stanza) (known bool, err error)) error {
	for range maxStanzas {
		s, err := c.receive()
		if err != nil {
			return err
		}
		switch s.Type {
		case "done":
			return nil
		case "error":
			_ = c.send(age.Stanza{Type: "ok"})
			return c.failed("says: "+quoted(s.Body), c.refused)
		}
		c.silence.Stop() // a person may take as long as they like
		reply, known, refused := c.ask(s)
		if refused != nil {
			c.refused = refused
		}
		c.silence.Reset(patience)
		if !known {
			if known, err = handle(s); err != nil {
				return err
			}
			if known {
				reply = age.Stanza{Type: "ok"}
			}
		}
		err = c.send(reply)
		clear(reply.Body)
		if err != nil {
			return err
		}
	}
	return c.broken(fmt.Sprintf("more than %d stanzas", maxStanzas))
}

// ask hands to ui what a plugin wants of a person. It reports whether the
// stanza is such a thing at all, and why the person did not answer.
func (p pluginParty) ask(s *age.Stanza) (reply age.Stanza, known bool, err error) {
	ui := p.ui
	if ui == nil {
		ui = &plugin.ClientUI{}
	}
	reply.Type = "ok"
	switch {
	case s.Type == "msg" && ui.DisplayMessage != nil:
		err = ui.DisplayMessage(p.name, string(s.Body))
	case (s.Type == "request-public" || s.Type == "request-secret") && ui.RequestValue != nil:
		var value string
		value, err = ui.RequestValue(p.name, string(s.Body), s.Type == "request-secret")
		reply.Body = []byte(value)
	case s.Type == "confirm" && ui.Confirm != nil && (len(s.Args) == 1 || len(s.Args) == 2):
		var words [2]string // for yes, and for no, which may be left out
		for i, arg := range s.Args {
			word, e := stanzaEncoding().DecodeString(arg)
			words[i], err = string(word), errors.Join(err, e)
		}
		if err != nil {
			break
		}
		yes := false
		yes, err = ui.Confirm(p.name, string(s.Body), words[0], words[1])
		reply.Args = []string{"no"}
		if yes {
			reply.Args = []string{"yes"}
		}
	case s.Type == "msg", s.Type == "request-public", s.Type == "request-secret", s.Type == "confirm":
		return age.Stanza{Type: "fail"}, true, nil
	default:
		return age.Stanza{Type: "unsupported"}, false, nil
	}
	if err != nil {
		return age.Stanza{Type: "fail"}, true, err
	}
	return reply, true, nil
}

// end ends the program, by force if it must, and returns what there is to say
// of err.
func (c *conversation) end(err error) error {
	c.silence.Stop()
	c.in.Close()
	c.out.Close()
	stop := time.AfterFunc(grace, func() { c.cancel(nil) })
	_ = c.cmd.Wait() // what it said counts, not how it ended
	stop.Stop()
	c.cancel(nil)
	if errors.Is(err, errGone) {
		reason := "ended before it was done, with " + c.cmd.ProcessState.String()
		if words := quoted(c.words.bytes()); words != "" {
			reason += ": " + words
		}
		err = c.failed(reason, c.refused)
	}
	return err
}

// maxQuoted is how much of a plugin's words an error repeats, in bytes.
const maxQuoted = 500

// quoted is what a plugin says, as a piece of an error's text.
func quoted(words []byte) string {
	words = bytes.TrimSpace(words)
	return strings.ToValidUTF8(string(words[:min(len(words), maxQuoted)]), "\ufffd")
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-maxQuoted):]
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.b)
}

// A stanza is written as in the header of an age file: "-> type arg…", then the
// body in base64, in lines of 64 characters and a shorter one, which may be empty.
const (
	stanzaColumns = 64
	stanzaBytes   = stanzaColumns / 4 * 3
)

// A function, since a variable would be made at each start.
func stanzaEncoding() *base64.Encoding { return base64.RawStdEncoding.Strict() }

// stanzaError is text that is no stanza.
type stanzaError string

func (e stanzaError) Error() string { return string(e) }

func writeStanza(b *bytes.Buffer, s age.Stanza) error {
	words := append([]string{s.Type}, s.Args...)
	for _, w := range words {
		if !isStanzaWord(w) {
			return stanzaError("a word that is empty or not of printable ASCII")
		}
	}
	b.WriteString("-> " + strings.Join(words, " ") + "\n")
	for body := s.Body; ; body = body[stanzaBytes:] {
		n := min(len(body), stanzaBytes)
		b.Write(stanzaEncoding().AppendEncode(b.AvailableBuffer(), body[:n]))
		b.WriteByte('\n')
		if n < stanzaBytes {
			return nil
		}
	}
}

// readStanza reads one stanza: stanzaError if it is none, or too long.
func readStanza(r *bufio.Reader) (*age.Stanza, error) {
	line, err := readStanzaLine(r)
	if err != nil {
		return nil, err
	}
	head, ok := strings.CutPrefix(line, "-> ")
	words := strings.Split(head, " ")
	if !ok || slices.ContainsFunc(words, func(w string) bool { return !isStanzaWord(w) }) {
		return nil, stanzaError("a line that begins no stanza")
	}
	s := &age.Stanza{Type: words[0], Args: words[1:]}
	for {
		if line, err = readStanzaLine(r); err != nil {
			return nil, err
		}
		b, err := stanzaEncoding().DecodeString(line)
		if err != nil || len(b) > stanzaBytes || strings.Contains(line, "\r") { // which DecodeString passes over
			return nil, stanzaError("a line that is no body of a stanza")
		}
		if s.Body = append(s.Body, b...); len(s.Body) > maxStanzaBody {
			return nil, stanzaError(fmt.Sprintf("a stanza of more than %d bytes", maxStanzaBody))
		}
		if len(b) < stanzaBytes {
			return s, nil
		}
	}
}

func readStanzaLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", stanzaError(fmt.Sprintf("a line of more than %d bytes", maxStanzaLine))
	}
	if err != nil {
		return "", err
	}
	return string(line[:len(line)-1]), nil
}

func isStanzaWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

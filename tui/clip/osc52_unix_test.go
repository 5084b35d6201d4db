//go:build unix

package clip_test

import (
	"bufio"
	"os"
	"testing"
	"time"

	"envrun/tui/clip"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// The terminal is asked with the sequence for it, and asked to forget later, also
// when we are gone; never asked what it holds.
func TestTerminalSequence(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminal here: ", err)
	}
	defer master.Close()
	defer slave.Close()
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		t.Fatal(err)
	}
	self, _ := os.Executable()
	c := clip.NewFor(clip.Options{Program: self, Terminal: slave, Backend: "osc52", Environ: []string{"TERM=xterm"}}, soon)
	got, err := c.Copy(deadline(t), []byte(fake))
	if err != nil {
		t.Fatal(err)
	}
	if got.Sure {
		t.Error("it says that the terminal has it, which it cannot know")
	}
	// A read from a terminal has no end of its own.
	bell := time.AfterFunc(patience, func() { _, _ = slave.WriteString("nothing comes\a\a") })
	defer bell.Stop()
	r := bufio.NewReader(master)
	seq, err := r.ReadString('\a')
	if err != nil {
		t.Fatal(err)
	}
	if v := decoded(t, seq[:len(seq)-1]); v != fake {
		t.Errorf("it holds %q", v)
	}
	if seq, err := r.ReadString('\a'); err != nil || seq != "\x1b]52;c;\a" {
		t.Errorf("then comes %q, %v; not the request to forget", seq, err)
	}
	big := make([]byte, 60_000)
	if _, err := c.Copy(deadline(t), big); err == nil {
		t.Error("more is sent than terminals take")
	}
}

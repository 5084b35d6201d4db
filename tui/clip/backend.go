package clip

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A backend is one way to a clipboard. Values go through pipes, never arguments.
type backend struct {
	set    func(value []byte) error
	get    func() ([]byte, error) // nil: it cannot be read
	clear  func() error
	hinted bool   // clipboard managers are asked not to keep it
	blind  bool   // it is cleared without looking
	via    string // for messages
}

func (b *backend) status() status { return status{Hinted: b.hinted, Blind: b.blind, Via: b.via} }

// The names of backends.
const (
	osc52     = "osc52"
	wlCopy    = "wl-copy"
	xclip     = "xclip"
	xsel      = "xsel"
	pbcopy    = "pbcopy"
	clipExe   = "clip.exe" // Windows' clipboard from WSL
	win32     = "win32"
	tmuxClip  = "tmux"
	maxOSC52  = 74_994 // encoded bytes: what terminals take at least
	maxXsel   = 4_000  // bytes: measured with xsel 1.2.0; of larger ones it often gives nothing back
	patience  = 2 * time.Second
	psPatence = 10 * time.Second // PowerShell takes its time to start
)

// detect chooses the clipboard of the person who sits at the terminal: that of
// their display, where there is one, and else the one behind the terminal.
func detect(env environ, terminal bool) string {
	has := func(program string) bool { return find(env, program) != "" }
	remote := env.get("SSH_TTY") != "" || env.get("SSH_CONNECTION") != ""
	switch {
	case runtime.GOOS == "windows":
		return win32
	case runtime.GOOS == "darwin" && !remote && has("pbcopy") && has("pbpaste"):
		return pbcopy
	case env.get("WAYLAND_DISPLAY") != "" && has("wl-copy") && has("wl-paste"):
		return wlCopy
	case env.get("DISPLAY") != "" && has("xclip"):
		return xclip
	case env.get("DISPLAY") != "" && has("xsel"):
		return xsel
	case (env.get("WSL_DISTRO_NAME") != "" || env.get("WSL_INTEROP") != "") && has("clip.exe") && has("powershell.exe"):
		return clipExe
	case env.get("TMUX") != "" && has("tmux"):
		return tmuxClip
	case terminal && env.get("STY") == "" && env.get("TERM") != "dumb" && env.get("TERM") != "":
		return osc52 // not in GNU screen, which keeps the sequence to itself
	}
	return ""
}

// find is a program by the person's PATH, absolute; empty if it is not there.
func find(env environ, program string) string {
	for _, dir := range filepath.SplitList(env.get("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// open makes a backend ready.
func open(name string, env []string) (*backend, error) {
	t := tools{environ(env)}
	switch name {
	case win32:
		return openWin32()
	case wlCopy:
		// Newer ones can ask clipboard managers not to keep it.
		sensitive := t.says("--sensitive", "wl-copy", "--help")
		args := []string{"wl-copy"}
		if sensitive {
			args = append(args, "--sensitive")
		}
		return &backend{
			set: t.put(args...), get: t.take("wl-paste", "--no-newline"),
			clear: t.do("wl-copy", "--clear"), hinted: sensitive, via: "Wayland",
		}, nil
	case xclip:
		return &backend{
			set: t.put("xclip", "-selection", "clipboard", "-in"), get: t.take("xclip", "-selection", "clipboard", "-out"),
			clear: t.do("xclip", "-selection", "clipboard", "-in"), via: "X11",
		}, nil
	case xsel:
		put := t.put("xsel", "--clipboard", "--input")
		return &backend{
			set: func(value []byte) error {
				if len(value) > maxXsel {
					return fmt.Errorf("xsel loses values of more than %d bytes; xclip does not", maxXsel)
				}
				return put(value)
			},
			get:   t.take("xsel", "--clipboard", "--output"),
			clear: t.do("xsel", "--clipboard", "--clear"), via: "X11",
		}, nil
	case pbcopy:
		// Both read and write text in the encoding of the locale.
		t.env = append(environ{"LC_ALL=en_US.UTF-8"}, t.env...)
		t.env = append(t.env, "LC_ALL=en_US.UTF-8")
		return &backend{set: t.put("pbcopy"), get: t.take("pbpaste"), clear: t.do("pbcopy"), via: "the pasteboard"}, nil
	case clipExe:
		// clip.exe takes UTF-16; PowerShell gives the text back as it is.
		const paste = "[Console]::OutputEncoding=[Text.Encoding]::UTF8;[Console]::Out.Write((Get-Clipboard -Raw))"
		set := t.put("clip.exe")
		return &backend{
			set: func(value []byte) error {
				wide, err := utf16Text(value)
				if err != nil {
					return err
				}
				defer clear(wide)
				return set(wide)
			},
			get: t.take("powershell.exe", "-NoProfile", "-NonInteractive", "-Command", paste), clear: t.do("clip.exe"), via: "Windows",
		}, nil
	case tmuxClip:
		return t.tmux(), nil
	case osc52:
		tty := inheritedTerminal()
		if tty == nil {
			return nil, errors.New("there is no terminal to send it to")
		}
		return &backend{
			set: func(value []byte) error { return sendOSC52(tty, value) },
			// Some terminals forget on an empty text, others on what is no base64.
			clear: func() error { _, err := tty.WriteString("\x1b]52;c;\a\x1b]52;c;!\a"); return err },
			blind: true, via: "the terminal (OSC 52)",
		}, nil
	}
	return nil, fmt.Errorf("there is no clipboard program called %q", name)
}

func sendOSC52(tty *os.File, value []byte) error {
	n := base64.StdEncoding.EncodedLen(len(value))
	if n > maxOSC52 {
		return fmt.Errorf("%d bytes are more than terminals take (%d)", len(value), maxOSC52/4*3)
	}
	seq := make([]byte, 0, n+16)
	defer func() { clear(seq[:cap(seq)]) }()
	seq = append(seq, "\x1b]52;c;"...)
	seq = base64.StdEncoding.AppendEncode(seq, value)
	seq = append(seq, '\a')
	_, err := tty.Write(seq) // one write: a picture may be drawn at the same time
	return err
}

// tools run programs in the person's environment.
type tools struct{ env environ }

func (t tools) command(ctx context.Context, argv []string) (*exec.Cmd, error) {
	file := find(t.env, argv[0])
	if file == "" {
		return nil, fmt.Errorf("there is no %s here", argv[0])
	}
	cmd := exec.CommandContext(ctx, file, argv[1:]...)
	cmd.Env, cmd.Dir = t.env, rootDir()
	return cmd, nil
}

func (t tools) run(argv []string, in []byte, out *bytes.Buffer) error {
	limit := patience
	if argv[0] == "powershell.exe" {
		limit = psPatence
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd, err := t.command(ctx, argv)
	if err != nil {
		return err
	}
	// What holds a selection goes on in the background with the streams it was
	// given: only what it is asked for may be a pipe.
	cmd.Stdin = bytes.NewReader(in)
	if out != nil {
		cmd.Stdout = out
	}
	cmd.WaitDelay = 200 * time.Millisecond
	err = cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s does not answer", argv[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", argv[0], err)
	}
	return nil
}

func (t tools) put(argv ...string) func([]byte) error {
	return func(value []byte) error { return t.run(argv, value, nil) }
}

func (t tools) take(argv ...string) func() ([]byte, error) {
	return func() ([]byte, error) {
		var out bytes.Buffer
		err := t.run(argv, nil, &out)
		return out.Bytes(), err
	}
}

func (t tools) do(argv ...string) func() error {
	return func() error { return t.run(argv, nil, nil) }
}

func (t tools) says(word string, argv ...string) bool {
	out, _ := t.take(argv...)()
	return strings.Contains(string(out), word)
}

// tmux keeps what is copied in a buffer of its own, and passes it on to the
// terminal that it runs in; a sequence of ours it would drop in its usual
// settings. The buffer can be read back and deleted, the terminal cannot.
func (t tools) tmux() *backend {
	const buffer = "envrun"
	load := t.put("tmux", "load-buffer", "-w", "-b", buffer, "-")
	return &backend{
		set: load,
		get: t.take("tmux", "save-buffer", "-b", buffer, "-"),
		clear: func() error {
			// The terminal is given something else to hold; the buffer goes.
			return errors.Join(t.do("tmux", "set-buffer", "-w", "-b", buffer, "--", " ")(), t.do("tmux", "delete-buffer", "-b", buffer)())
		},
		blind: true, via: "tmux and the terminal",
	}
}

// utf16Text is text as Windows has it, little-endian with a mark in front.
func utf16Text(b []byte) ([]byte, error) {
	units, err := utf16Units(b)
	if err != nil {
		return nil, err
	}
	defer clear(units)
	out := make([]byte, 0, 2+2*len(units))
	out = append(out, 0xff, 0xfe)
	for _, u := range units {
		out = append(out, byte(u), byte(u>>8))
	}
	return out, nil
}

//go:build unix

package clip_test

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
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"envrun/tui/clip"
)

const fake = "FAKE-value-to-copy"

// patience is how long a test waits for what it knows must come.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	clip.Begin() // this program is the helper too
	if os.Getenv("CLIP_TEST_COPY") != "" {
		copyAndLeave()
	}
	os.Exit(m.Run())
}

// copyAndLeave is somebody who copies what comes on stdin and is gone at once.
func copyAndLeave() {
	value, _ := io.ReadAll(os.Stdin)
	self, _ := os.Executable()
	stay, _ := time.ParseDuration(os.Getenv("CLIP_TEST_COPY"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := clip.NewFor(clip.Options{Program: self, Environ: os.Environ(), Backend: os.Getenv("CLIP_TEST_BACKEND")}, stay).Copy(ctx, value)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// display starts an X server, or says why there is none.
func display(t *testing.T) []string {
	t.Helper()
	server, err := exec.LookPath("Xvfb")
	if err != nil {
		t.Skip("no Xvfb here (Debian: apt-get install xvfb)")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(server, "-displayfd", "3", "-screen", "0", "64x64x8", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Xvfb has no display after %v", patience)
	}
	if err != nil {
		t.Skip("Xvfb does not start here: ", err)
	}
	return []string{"DISPLAY=:" + strings.TrimSpace(line), "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
}

// wayland starts a compositor without a screen, or says why there is none.
func wayland(t *testing.T) []string {
	t.Helper()
	for _, p := range []string{"sway", "wl-copy", "wl-paste"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("no %s here (Debian: apt-get install sway wl-clipboard)", p)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("xwayland disable\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"XDG_RUNTIME_DIR=" + dir, "PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd := exec.Command("sway", "--config", config)
	cmd.Env = append(slices.Clone(env), "WLR_BACKENDS=headless", "WLR_LIBINPUT_NO_DEVICES=1", "WLR_RENDERER=pixman")
	if os.Getuid() == 0 { // it refuses to run as root
		const nobody = 65534
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		for up := filepath.Dir(dir); up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
			if err := os.Chmod(up, 0o711); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if sockets, _ := filepath.Glob(filepath.Join(dir, "wayland-*")); len(sockets) > 0 {
			env := append(slices.Clone(env), "WAYLAND_DISPLAY="+filepath.Base(strings.TrimSuffix(sockets[0], ".lock")))
			if run(t, env, "", nil, "wl-copy", "--clear") == nil { // it listens
				return env
			}
		}
		select {
		case <-ended:
			t.Skip("sway does not start here: ", strings.TrimSpace(said.String()))
		default:
		}
		if time.Now().After(deadline) {
			t.Skip("sway has no socket ")
		}
	}
}

// A board is a real clipboard that a test looks at from outside, with the
// program that people have.
type board struct {
	name  string
	env   []string
	paste []string
	copy  []string
}

// run runs a program of a clipboard's; out may be nil. Whoever asks for a selection
// whose owner goes just then is never answered: it is ended, and asked again.
func run(t *testing.T, env []string, stdin string, out *bytes.Buffer, argv ...string) error {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), patience/6)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env, cmd.Stdin = env, strings.NewReader(stdin)
		cmd.WaitDelay = time.Second
		if out != nil { // what stays behind to hold a selection must not hold a pipe of ours
			out.Reset()
			cmd.Stdout = out
		}
		err := cmd.Run()
		late := ctx.Err() != nil
		cancel()
		if !late {
			return err
		}
		if time.Now().After(end) {
			t.Fatalf("%q does not answer in %v", argv, patience)
		}
	}
}

func (b board) holds(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	_ = run(t, b.env, "", &out, b.paste...) // an empty clipboard is an error to some
	return out.String()
}

func (b board) put(t *testing.T, text string) {
	t.Helper()
	if err := run(t, b.env, text, nil, b.copy...); err != nil {
		t.Fatal(err)
	}
	// It has said so before it has it.
	for end := time.Now().Add(patience); b.holds(t) != text; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the clipboard does not take %q", text)
		}
	}
}

func (b board) open(t *testing.T, stay time.Duration) *clip.Clipboard {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return clip.NewFor(clip.Options{Program: self, Environ: b.env, Backend: b.name}, stay)
}

// each runs a test on every real clipboard that there is here.
func each(t *testing.T, test func(t *testing.T, b board)) {
	if runtime.GOOS != "linux" {
		t.Skip("the clipboards that can be had in a test are those of Linux; this is " + runtime.GOOS)
	}
	x := []string{"xclip", "-selection", "clipboard"}
	for _, c := range []struct {
		board
		open func(*testing.T) []string
	}{
		{board{name: "xclip", paste: append(slices.Clone(x), "-out"), copy: append(slices.Clone(x), "-in")}, display},
		{board{name: "xsel", paste: []string{"xsel", "-b", "-o"}, copy: []string{"xsel", "-b", "-i"}}, display},
		{board{name: "wl-copy", paste: []string{"wl-paste", "-n"}, copy: []string{"wl-copy"}}, wayland},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.name); err != nil {
				t.Skipf("no %s here", c.name)
			}
			c.board.env = c.open(t)
			test(t, c.board)
		})
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

const (
	soon  = 300 * time.Millisecond
	never = time.Hour
)

func TestCopiedAndCleared(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		for _, value := range []string{fake, fake + "\n", "two\nlines", " spaces ", "日本語 é", strings.Repeat("FAKE", 50_000)} {
			c := b.open(t, soon)
			got, err := c.Copy(deadline(t), []byte(value))
			if b.name == "xsel" && len(value) > 4000 {
				if err == nil {
					t.Error("xsel is given what it loses")
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if !got.Sure {
				t.Errorf("%.20q: it was not read back: %s", value, got.Text)
			}
			cleared, problem, err := c.WaitForEnd(deadline(t))
			if err != nil || !cleared {
				t.Errorf("%.20q is not cleared: %s, %v", value, problem, err)
			}
			if left := b.holds(t); left != "" {
				t.Errorf("%.20q: the clipboard still holds %.40q", value, left)
			}
		}
	})
}

func TestWhatWasCopied(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		c := b.open(t, never)
		for _, value := range []string{fake, fake + "\n", "two\nlines"} {
			if _, err := c.Copy(deadline(t), []byte(value)); err != nil {
				t.Fatal(err)
			}
			if got := b.holds(t); got != value {
				t.Errorf("copied %q, the clipboard holds %q", value, got)
			}
		}
		if err := c.Clear(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if left := b.holds(t); left != "" {
			t.Errorf("after Clear it holds %q", left)
		}
		if err := c.Clear(deadline(t)); err != nil {
			t.Errorf("clearing nothing: %v", err)
		}
	})
}

// What somebody has copied since is not ours to clear.
func TestOthersAreLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		c := b.open(t, never)
		if _, err := c.Copy(deadline(t), []byte(fake)); err != nil {
			t.Fatal(err)
		}
		b.put(t, "something else")
		if err := syscall.Kill(c.Pid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if cleared, problem, err := c.WaitForEnd(deadline(t)); cleared || problem != "" || err != nil {
			t.Errorf("cleared %v, %q, %v", cleared, problem, err)
		}
		if got := b.holds(t); got != "something else" {
			t.Errorf("the clipboard holds %q", got)
		}
		// Nor when they have copied nearly the same.
		if _, err := c.Copy(deadline(t), []byte(fake)); err != nil {
			t.Fatal(err)
		}
		b.put(t, fake+"\n")
		if err := c.Clear(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if got := b.holds(t); got != fake+"\n" {
			t.Errorf("the clipboard holds %q", got)
		}
	})
}

// The one who copied is gone, and killed; the value goes all the same.
func TestHelperOutlivesUs(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(deadline(t), self)
		cmd.Env = append(slices.Clone(b.env), "CLIP_TEST_COPY=2s", "CLIP_TEST_BACKEND="+b.name)
		cmd.Stdin = strings.NewReader(fake)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		// What is left of its session is told to go, as when a terminal closes.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP)
		for end := time.Now().Add(patience); b.holds(t) != ""; time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the clipboard still holds %q", b.holds(t))
			}
		}
	})
}

// A second copy has its own time, and logging out clears at once.
func TestSecondCopyAndLogout(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		c := b.open(t, never)
		if _, err := c.Copy(deadline(t), []byte(fake)); err != nil {
			t.Fatal(err)
		}
		first := c.Pid()
		if _, err := c.Copy(deadline(t), []byte(fake)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); syscall.Kill(first, 0) == nil; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the first helper is still there")
			}
		}
		if got := b.holds(t); got != fake {
			t.Errorf("the first helper has cleared what is the second's: %q", got)
		}
		if err := syscall.Kill(c.Pid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if cleared, problem, err := c.WaitForEnd(deadline(t)); !cleared || err != nil {
			t.Errorf("cleared %v, %q, %v", cleared, problem, err)
		}
		if got := b.holds(t); got != "" {
			t.Errorf("the clipboard holds %q", got)
		}
	})
}

// The value is in no argument, no environment and no file of the helper or of
// what it starts; a token of the person is not passed on.
func TestValueIsInAPipeOnly(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		b.env = append(b.env, "ENVRUN_TOKEN=FAKE-token", "ENVRUN_KEY=FAKE-key", "VAULT_TOKEN=FAKE-vault")
		c := b.open(t, never)
		if _, err := c.Copy(deadline(t), []byte(fake)); err != nil {
			t.Fatal(err)
		}
		defer c.Clear(deadline(t))
		found := false
		procs, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range procs {
			args, _ := os.ReadFile(filepath.Join(p, "cmdline"))
			if bytes.Contains(args, []byte(fake)) {
				t.Errorf("%s: the value is in %q", p, args)
			}
			if filepath.Base(p) != fmt.Sprint(c.Pid()) {
				continue
			}
			found = true
			env, err := os.ReadFile(filepath.Join(p, "environ"))
			if err != nil || bytes.Contains(env, []byte("FAKE")) {
				t.Errorf("the helper's environment is %q, %v", env, err)
			}
			files, _ := filepath.Glob(filepath.Join(p, "fd", "*"))
			for _, f := range files {
				if to, err := os.Readlink(f); err == nil && strings.HasPrefix(to, "/") && to != "/dev/null" {
					if text, _ := os.ReadFile(to); bytes.Contains(text, []byte(fake)) {
						t.Errorf("the helper has the value in %s", to)
					}
				}
			}
		}
		if !found {
			t.Error("there is no helper")
		}
	})
}

func TestTextThatIsNoSecretStays(t *testing.T) {
	each(t, func(t *testing.T, b board) {
		c := b.open(t, soon)
		if err := c.CopyText(deadline(t), "billing/stripe"); err != nil {
			t.Fatal(err)
		}
		if got := b.holds(t); got != "billing/stripe" {
			t.Errorf("the clipboard holds %q", got)
		}
	})
}

func TestTmux(t *testing.T) {
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("no tmux here")
	}
	dir, err := os.MkdirTemp("", "tmux") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	run := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience) // it is called when the test has ended, too
		defer cancel()
		cmd := exec.CommandContext(ctx, tmux, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=xterm-256color", "HOME=" + dir, "SHELL=/bin/sh"}
		cmd.WaitDelay = time.Second
		out, _ := cmd.Output()
		return string(out)
	}
	t.Cleanup(func() {
		run("kill-server")
		os.RemoveAll(dir)
	})
	run("new-session", "-d", "-x", "80", "-y", "24", "sleep 600")
	env := []string{"PATH=" + os.Getenv("PATH"), "TERM=screen", "TMUX=" + socket + ",1,0"}
	self, _ := os.Executable()
	c := clip.NewFor(clip.Options{Program: self, Environ: env}, never)
	if c.Backend() != "tmux" {
		t.Fatalf("inside tmux it copies with %q", c.Backend())
	}
	got, err := c.Copy(deadline(t), []byte(fake+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Sure {
		t.Error("it says that it knows what the terminal behind tmux holds")
	}
	if held := run("show-buffer", "-b", "envrun"); held != fake+"\n" {
		t.Errorf("tmux holds %q", held)
	}
	if err := c.Clear(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if left := run("list-buffers"); left != "" {
		t.Errorf("tmux still has %q", left)
	}
	// A buffer that somebody else has put there since stays.
	if _, err := c.Copy(deadline(t), []byte(fake)); err != nil {
		t.Fatal(err)
	}
	run("set-buffer", "-b", "envrun", "another's")
	if err := c.Clear(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if held := run("show-buffer", "-b", "envrun"); held != "another's" {
		t.Errorf("tmux holds %q", held)
	}
}

func TestDetect(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("which programs there are is told apart on Linux here")
	}
	dir := t.TempDir()
	for _, p := range []string{"wl-copy", "wl-paste", "xclip", "xsel", "tmux", "clip.exe", "powershell.exe"} {
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	few := t.TempDir()
	if err := os.WriteFile(filepath.Join(few, "xsel"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		env      []string
		path     string
		terminal bool
		want     string
	}{
		{"Wayland before X", []string{"WAYLAND_DISPLAY=wayland-0", "DISPLAY=:0"}, dir, true, "wl-copy"},
		{"X", []string{"DISPLAY=:0"}, dir, true, "xclip"},
		{"X with xsel alone", []string{"DISPLAY=:0", "WAYLAND_DISPLAY=wayland-0"}, few, true, "xsel"},
		{"WSL", []string{"WSL_DISTRO_NAME=Debian"}, dir, true, "clip.exe"},
		{"tmux over SSH", []string{"SSH_TTY=/dev/pts/1", "TMUX=/tmp/s,1,0", "TERM=screen"}, dir, true, "tmux"},
		{"SSH", []string{"SSH_TTY=/dev/pts/1", "TERM=xterm"}, dir, true, "osc52"},
		{"SSH without a terminal", []string{"SSH_CONNECTION=1", "TERM=xterm"}, dir, false, ""},
		{"GNU screen", []string{"STY=1.pts", "TERM=screen"}, few, true, ""},
		{"dumb", []string{"TERM=dumb"}, dir, true, ""},
		{"nothing", nil, few, true, ""},
	} {
		if got := clip.Detect(append(c.env, "PATH="+c.path), c.terminal); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNoClipboard(t *testing.T) {
	c := clip.New(clip.Options{Program: "/nowhere", Environ: []string{"PATH=/nowhere"}, Backend: ""})
	if runtime.GOOS == "linux" {
		if _, err := c.Copy(t.Context(), []byte(fake)); !errors.Is(err, clip.ErrNone) {
			t.Errorf("copying to nothing says %v", err)
		}
	}
	self, _ := os.Executable()
	for backend, env := range map[string][]string{
		"xclip": {"PATH=" + os.Getenv("PATH"), "DISPLAY=:987"}, // nobody listens there
		"none":  {"PATH=" + os.Getenv("PATH")},
	} {
		c := clip.New(clip.Options{Program: self, Environ: env, Backend: backend})
		_, err := c.Copy(deadline(t), []byte(fake))
		if err == nil || strings.Contains(err.Error(), "FAKE") {
			t.Errorf("%s: %v", backend, err)
		}
	}
	if _, err := clip.New(clip.Options{Program: self, Backend: "xclip"}).Copy(t.Context(), make([]byte, clip.MaxValue+1)); err == nil {
		t.Error("a value of any size is copied")
	}
}

// A helper that dies before it has read the value is an error, also of a value that
// is larger than a pipe holds; it was once waited for without end.
func TestHelperDies(t *testing.T) {
	dead, err := exec.LookPath("false")
	if err != nil {
		t.Skip("no program here that fails at once")
	}
	c := clip.New(clip.Options{Program: dead, Backend: "xclip"})
	for _, value := range [][]byte{[]byte(fake), bytes.Repeat([]byte("FAKE"), 50_000)} {
		over := make(chan error, 1)
		go func() {
			_, err := c.Copy(t.Context(), value) // which has no end of its own
			over <- err
		}()
		select {
		case err := <-over:
			if err == nil || strings.Contains(err.Error(), "FAKE") {
				t.Errorf("%d bytes: %v", len(value), err)
			}
		case <-time.After(patience):
			t.Fatalf("%d bytes: it waits for a helper that is gone", len(value))
		}
	}
}

func decoded(t *testing.T, seq string) string {
	t.Helper()
	body, ok := strings.CutPrefix(seq, "\x1b]52;c;")
	if !ok {
		t.Fatalf("%q is no sequence that sets a clipboard", seq)
	}
	b, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

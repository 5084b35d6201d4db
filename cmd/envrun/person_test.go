//go:build unix

package main_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"envrun/auth/keychain/keychaintest"
)

// program is envrun as it is built for users, and daemon envrund. They lie in the
// folder that the test harness puts its commands into, which goes when the tests end.
var (
	program = sync.OnceValues(func() (string, error) { return build("envrun", ".") })
	daemon  = sync.OnceValues(func() (string, error) { return build("envrund", "../envrund") })
)

func build(name, dir string) (string, error) {
	harness, err := exec.LookPath("envrun")
	if err != nil {
		return "", err
	}
	file := filepath.Join(filepath.Dir(filepath.Dir(harness)), "built", name)
	out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", file, dir).CombinedOutput()
	if err != nil {
		return "", errors.New("go build: " + string(out))
	}
	// Whoever a test runs it as must get at it.
	return file, os.Chmod(filepath.Dir(filepath.Dir(harness)), 0o755)
}

// A person has a home, a project and a temporary folder of their own, and
// nothing of the machine's: no keychain, no CI, no agent.
type person struct {
	t       *testing.T
	program string
	home    string
	dir     string // the project, and the working directory
	tmp     string
	env     map[string]string
	uid     int // 0: as we are
}

func newPerson(t *testing.T) *person {
	t.Helper()
	if underRace {
		t.Skip("drives envrun as it is built for users, which the race detector is not in: the other run has it")
	}
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	t.Cleanup(func() { keychaintest.ForgetUnlocked(filepath.Join(top, "home")) })
	p := &person{t: t, program: file, home: filepath.Join(top, "home"), dir: filepath.Join(top, "app"), tmp: filepath.Join(top, "tmp")}
	for _, dir := range []string{p.home, p.dir, p.tmp} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.env = map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": p.home, "TMPDIR": p.tmp, "TERM": "xterm", "LC_ALL": "C.UTF-8", "USER": "alice", "SHELL": "/bin/sh",
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
	}
	return p
}

// as is the same person with other variables; an empty value unsets one.
func (p *person) as(vars ...string) *person {
	q := *p
	q.env = map[string]string{}
	for name, value := range p.env {
		q.env[name] = value
	}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		if q.env[name] = value; value == "" {
			delete(q.env, name)
		}
	}
	return &q
}

// phrased is the same person with a passphrase for their sessions, in a file.
func (p *person) phrased() *person {
	p.t.Helper()
	p.write("words", "correct horse\n")
	file := filepath.Join(p.dir, "words")
	if err := os.Chmod(file, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p.as("ENVRUN_STORE_PASSPHRASE_FILE=" + file)
}

// nobody makes root, who may read and write everything, somebody who may not.
func (p *person) nobody() {
	p.t.Helper()
	if os.Getuid() != 0 {
		return
	}
	p.uid = 65534
	for dir := p.home; ; dir = filepath.Dir(dir) { // temporary folders are closed to others
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil || filepath.Dir(filepath.Dir(dir)) == filepath.Clean(os.TempDir()) {
			break
		}
	}
	for _, top := range []string{p.home, p.dir, p.tmp} {
		err := filepath.WalkDir(top, func(file string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(file, p.uid, p.uid)
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
}

// in is the same person in another test.
func (p *person) in(t *testing.T) *person {
	q := *p
	q.t = t
	return &q
}

func (p *person) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = p.dir
	cmd.Env = []string{}
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if p.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.uid)}}
	}
	return cmd
}

func (p *person) envrun(args ...string) *exec.Cmd {
	return p.command(append([]string{p.program}, args...)...)
}

// pipe runs envrun with a pipe for each stream.
func (p *person) pipe(stdin string, args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	var out, errs bytes.Buffer
	cmd := p.envrun(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, syscall.EPIPE) {
		p.t.Fatalf("envrun %q: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is pipe where only success will do.
func (p *person) must(stdin string, args ...string) (stdout string) {
	p.t.Helper()
	out, errs, code := p.pipe(stdin, args...)
	if code != 0 {
		p.t.Fatalf("envrun %q: status %d: %s", args, code, errs)
	}
	return out
}

// setup makes a project with these environments and an identity in a file.
func (p *person) setup(envs string) {
	p.t.Helper()
	p.must("", "init", "--project", "app", "--env", envs, "--store", "file", "--no-recovery", "--member", "alice@laptop")
}

func (p *person) git(args ...string) {
	p.t.Helper()
	if out, err := p.command(append([]string{"git"}, args...)...).CombinedOutput(); err != nil {
		p.t.Fatalf("git %q: %v: %s", args, err, out)
	}
}

func (p *person) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// newCanary is a value that is nowhere else on this machine.
func newCanary() string {
	b := make([]byte, 10)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	return "canary-" + hex.EncodeToString(b)
}

// forms are how a value could be found again: in clear, in hex, and in base64
// wherever it begins in what is encoded.
func forms(value string) [][]byte {
	all := [][]byte{[]byte(value), []byte(hex.EncodeToString([]byte(value))), []byte(strings.ToUpper(hex.EncodeToString([]byte(value))))}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, shift), value...))
			// The characters at both ends are shared with what stands beside it.
			all = append(all, []byte(text[(shift*8+5)/6:len(text)-2]))
		}
	}
	return all
}

// holds says in which form text has a value.
func holds(text []byte, value string) (string, bool) {
	for _, form := range forms(value) {
		if bytes.Contains(text, form) {
			return string(form), true
		}
	}
	return "", false
}

// nowhere checks that no file below these folders has the value in any form.
func nowhere(t *testing.T, value string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone meanwhile
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if form, found := holds(text, value); found {
				t.Errorf("%s has the value, as %s", file, form)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// patience is how long a test waits for what it knows must come.
const patience = 2 * time.Minute

// A terminal is envrun with a person at the keyboard: a pty, of which the test
// keeps both ends, so that it can look at how the terminal was left.
type terminal struct {
	t        *testing.T
	cmd      *exec.Cmd
	keyboard *os.File // the master
	tty      *os.File
	before   *term.State

	mu    sync.Mutex
	more  *sync.Cond
	shown []byte
	seen  int // what expect has gone past
	late  bool
	ended bool
}

// terminal starts argv on a new terminal.
func (p *person) terminal(argv ...string) *terminal {
	p.t.Helper()
	keyboard, tty, err := pty.Open()
	if err != nil {
		p.t.Fatalf("no pseudo terminal: %v", err)
	}
	if err := pty.Setsize(keyboard, &pty.Winsize{Rows: 40, Cols: 400}); err != nil {
		p.t.Fatal(err)
	}
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		p.t.Fatal(err)
	}
	s := &terminal{t: p.t, keyboard: keyboard, tty: tty, before: before, cmd: p.command(argv...)}
	s.more = sync.NewCond(&s.mu)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	if s.cmd.SysProcAttr == nil {
		s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	s.cmd.SysProcAttr.Setsid, s.cmd.SysProcAttr.Setctty = true, true
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 8192)
		for {
			n, err := keyboard.Read(buf)
			s.mu.Lock()
			s.shown = append(s.shown, buf[:n]...)
			s.more.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	p.t.Cleanup(func() {
		// Its group: an editor that hangs would keep the terminal open for ever.
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		if !s.ended {
			_ = s.cmd.Wait()
		}
		tty.Close()
		select {
		case <-read: // the last end of the terminal is closed
		case <-time.After(patience):
			s.t.Errorf("something still has the terminal open, which shows\n%q", s.all())
		}
		keyboard.Close()
	})
	return s
}

// all is what the terminal has shown so far.
func (s *terminal) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.shown)
}

// run starts envrun on a new terminal.
func (p *person) run(args ...string) *terminal {
	p.t.Helper()
	return p.terminal(append([]string{p.program}, args...)...)
}

// expect waits until the terminal shows text, after what was expected before.
func (s *terminal) expect(text string) {
	s.t.Helper()
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		s.late = true
		s.more.Broadcast()
		s.mu.Unlock()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if i := bytes.Index(s.shown[s.seen:], []byte(text)); i >= 0 {
			s.seen += i + len(text)
			return
		}
		if s.late {
			s.t.Fatalf("the terminal never shows %q; it shows\n%q", text, s.shown)
		}
		s.more.Wait()
	}
}

// hidden reports whether the terminal is in another state than before, which
// for envrun's questions means without echo.
func (s *terminal) hidden() bool {
	s.t.Helper()
	now, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		s.t.Fatal(err)
	}
	return !reflect.DeepEqual(s.before, now)
}

// expectHidden waits for a question and for the echo to be off.
func (s *terminal) expectHidden(question string) {
	s.t.Helper()
	s.expect(question)
	for deadline := time.Now().Add(patience); !s.hidden(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the echo is never off after %q", question)
		}
	}
}

// typed types.
func (s *terminal) typed(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.keyboard, keys); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for the end, which must come by itself.
func (s *terminal) end() {
	s.t.Helper()
	timer := time.AfterFunc(patience, func() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	_ = s.cmd.Wait()
	s.ended = true
	if !timer.Stop() {
		s.t.Errorf("it did not end by itself; the terminal shows\n%q", s.all())
	}
}

// wait waits for the end and returns all that was shown, with line ends as
// programs write them, and the status. The terminal must be as it was.
func (s *terminal) wait() (shown string, code int) {
	s.t.Helper()
	s.end()
	if s.hidden() {
		s.t.Errorf("the terminal was left without echo")
	}
	// Behind this mark there is nothing more to read.
	const end = "\x00end\x00"
	if _, err := s.tty.WriteString(end); err != nil {
		s.t.Fatal(err)
	}
	s.expect(end)
	s.mu.Lock()
	defer s.mu.Unlock()
	code = s.cmd.ProcessState.ExitCode()
	if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal()) // as a shell says it
	}
	return strings.ReplaceAll(strings.TrimSuffix(string(s.shown), end), "\r\n", "\n"), code
}

// wants checks a terminal's end: status, words that are there, and with "!" before them words that are not.
func (s *terminal) wants(code int, words ...string) string {
	s.t.Helper()
	shown, got := s.wait()
	if got != code {
		s.t.Errorf("status %d, want %d", got, code)
	}
	for _, w := range words {
		not, isNot := strings.CutPrefix(w, "!")
		if isNot && strings.Contains(shown, not) {
			s.t.Errorf("it shows %q", not)
		}
		if !isNot && !strings.Contains(shown, w) {
			s.t.Errorf("it does not show %q", w)
		}
	}
	if s.t.Failed() {
		s.t.Logf("the terminal shows\n%s", shown)
	}
	return shown
}

// tree lists the files below dir with a fingerprint of each.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		all = append(all, file+"\x00"+string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(a, b []string) bool { return slices.Equal(a, b) }

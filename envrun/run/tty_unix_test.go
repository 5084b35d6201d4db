//go:build !windows

package run_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// ttyModes are those of modes, and a run that is masked through a terminal of its
// own.
func ttyModes() []mode {
	return append(modes(), mode{"masked", &options{Mask: "always", Set: map[string]string{"TOKEN": "hunter2-hunter2"}}})
}

// A screen is a terminal with a program on it, as a person would sit at it.
type screen struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	out    capture
	pos    int // what has been expected so far
	before unix.Termios
}

// onScreen starts a command as the leader of a session on a new terminal.
func onScreen(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	blocking, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	// A file that is known to be non-blocking can be closed while it is read.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	blocking.Close()
	master := os.NewFile(uintptr(fd), "terminal")
	if err := pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	s := &screen{t: t, master: master, cmd: cmd}
	s.before = s.modes()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			s.out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		master.Close()
		if t.Failed() {
			t.Logf("screen of %s:\n%s", t.Name(), s.out.String())
		}
	})
	return s
}

// expect waits until text appears after what was expected before.
func (s *screen) expect(text string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%q on the screen", text), func() bool {
		out := s.out.String()
		i := strings.Index(out[s.pos:], text)
		if i >= 0 {
			s.pos += i + len(text)
		}
		return i >= 0
	})
}

// wait waits for the end of the command and says how it ended.
func (s *screen) wait() string {
	s.t.Helper()
	return ended(s.t, s.cmd)
}

// send types.
func (s *screen) send(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// modes returns how the terminal is set.
func (s *screen) modes() unix.Termios {
	s.t.Helper()
	modes, err := unix.IoctlGetTermios(int(s.master.Fd()), getTermios)
	if err != nil {
		s.t.Fatal(err)
	}
	return *modes
}

const prompt = "@@ "

// A desk is a shell with job control on a screen, where "w" runs a program in a
// mode.
type desk struct {
	*screen
	dir   string
	probe string // the program
	file  string // what it writes
}

func atDesk(t *testing.T, m mode) *desk {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash as a shell with job control")
	}
	d := &desk{dir: t.TempDir()}
	d.probe, d.file = probeScript(t)
	m.script(t, d.dir)
	cmd := exec.Command(bash, "--norc", "--noprofile", "-i")
	cmd.Env = environment("PS1="+prompt, "TERM=dumb", "HISTFILE=/dev/null", "PATH="+d.dir+":"+os.Getenv("PATH"), "P="+d.probe, "F="+d.file)
	cmd.Dir = d.dir
	d.screen = onScreen(t, cmd)
	d.expect(prompt)
	return d
}

// script makes "w", which notes its number in "pid" and becomes the wrapper.
func (m mode) script(t *testing.T, dir string) {
	t.Helper()
	text := "#!/bin/sh\necho $$ >" + dir + "/pid\nexec \"$@\"\n"
	if m.o != nil {
		o, err := json.Marshal(m.o)
		if err != nil {
			t.Fatal(err)
		}
		text = fmt.Sprintf("#!/bin/sh\necho $$ >%s/pid\n%s=wrapper %s='%s' exec '%s' \"$@\"\n", dir, roleVar, optionsVar, o, testBinary(t))
	}
	writeFile(t, dir, "w", text, 0o755)
}

// wrapper is the number of the process that the shell started.
func (d *desk) wrapper() int {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		d.t.Fatal(err)
	}
	return pid
}

// run types a command that runs the probe.
func (d *desk) run(command string) sighting {
	d.t.Helper()
	d.send(command + "\n")
	d.expect("ready")
	return started(d.t, d.file)
}

// status asks the shell for the last status.
func (d *desk) status(want int) {
	d.t.Helper()
	d.expect(prompt)
	d.send("echo st=$?.\n")
	d.expect("\nst=")
	d.expect(".")
	out := d.out.String()[:d.pos-1]
	if got := out[strings.LastIndex(out, "=")+1:]; got != strconv.Itoa(want) {
		d.t.Errorf("status %s, want %d", got, want)
	}
}

// kill sends a signal to the process that the shell started.
func (d *desk) kill(sig syscall.Signal) {
	d.t.Helper()
	if err := unix.Kill(d.wrapper(), sig); err != nil {
		d.t.Fatal(err)
	}
}

// Keys that the terminal makes signals of reach the program once, and a signal
// sent to the process that the shell knows reaches it once.
func TestTerminalSignals(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.run("w $P $F until=SIGTERM")
		d.send("\x03")
		got(t, d.file, "SIGINT", 1)
		d.send("\x1c")
		got(t, d.file, "SIGQUIT", 1)
		d.kill(unix.SIGUSR2) // what was sent before has been seen when this one has
		got(t, d.file, "SIGUSR2", 1)
		d.kill(unix.SIGUSR1)
		got(t, d.file, "SIGUSR1", 1)
		d.kill(unix.SIGHUP)
		got(t, d.file, "SIGHUP", 1)
		d.kill(unix.SIGTERM)
		s := got(t, d.file, "SIGTERM", 1)
		for sig, n := range s.Signals {
			if n != 1 {
				t.Errorf("%s came %d times", sig, n)
			}
		}
		d.status(128 + 15)
	})
}

// The program dies of Ctrl-C, and the shell sees that it was a signal: it
// leaves its loop.
func TestTerminalInterruptEndsLoop(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.run("for i in 1 2 3; do w $P $F until=SIGINT; done")
		d.send("\x03")
		d.status(130)
		if n := strings.Count(d.out.String(), "ready"); n != 1 {
			t.Errorf("the loop went on: started %d times", n)
		}
	})
}

// Ctrl-Z gives the prompt back, fg and bg go on. This is where every
// supervisor that catches all signals hangs the terminal.
func TestTerminalStop(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.run("w $P $F until=SIGINT")
		d.send("\x1a")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("echo there-$((1+1))\n")
		d.expect("there-2")
		d.expect(prompt)
		d.send("fg\n")
		got(t, d.file, "SIGCONT", 1)
		d.send("\x1a")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("bg\n")
		got(t, d.file, "SIGCONT", 2)
		d.send("echo there-$((1+2))\n")
		d.expect("there-3")
		d.send("fg\n")
		d.expect("w $P $F")
		// When the terminal is ours again, keys reach the program.
		eventually(t, "Ctrl-C to work after fg", func() bool {
			if s, _ := saw(t, d.file); s.Signals["SIGINT"] > 0 {
				return true
			}
			d.send("\x03")
			time.Sleep(50 * time.Millisecond)
			return false
		})
		d.status(130)
	})
}

// A program that stops only itself stops the job too.
func TestTerminalStopsItself(t *testing.T) {
	t.Parallel()
	for _, sig := range []string{"TSTP", "STOP"} {
		each(t, ttyModes(), func(t *testing.T, m mode) {
			d := atDesk(t, m)
			d.send("w sh -c 'kill -" + sig + " $$; echo back-$((1+1))'\n")
			d.expect("Stopped")
			d.expect(prompt)
			d.send("fg\n")
			d.expect("back-2")
			d.status(0)
		})
	}
}

// An editor-like program that handles Ctrl-Z itself, and puts the terminal in order
// before it stops.
func TestTerminalStopByHandler(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		writeFile(t, d.dir, "editor", `#!/bin/bash
trap 'echo leaving; trap - TSTP; kill -TSTP 0; trap stop TSTP; echo again' TSTP
echo open
while :; do read -r -t 1 line && { echo "line $line"; [ "$line" = q ] && exit 3; }; done
`, 0o755)
		d.send("w ./editor\n")
		d.expect("open")
		d.send("\x1a")
		d.expect("leaving")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("fg\n")
		d.expect("again")
		d.send("q\n")
		d.expect("line q")
		d.status(3)
	})
}

// A program that does not stop at Ctrl-Z goes on, and the shell does not come back.
func TestTerminalStopIgnored(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.send("w sh -c 'trap \"\" TSTP; echo on-$((1+1)); read x; echo got-$x'\n")
		d.expect("on-2")
		d.send("\x1a")
		d.expect("^Z") // which also throws away what is typed ahead
		d.send("line\n")
		d.expect("got-line")
		d.status(0)
		if strings.Contains(d.out.String(), "Stopped") {
			t.Error("stopped")
		}
	})
}

// A shell as the program looks after jobs of its own, and can be suspended.
func TestTerminalInnerShell(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.send("w bash --norc --noprofile -i\n")
		d.expect(prompt)
		d.send("$P $F until=SIGINT\n")
		d.expect("ready")
		d.send("\x1a")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("echo in-$$\n")
		d.expect("in-")
		d.expect(prompt)
		d.send("suspend\n")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("echo outer-$((1+1))\n")
		d.expect("outer-2")
		d.expect(prompt)
		d.send("fg\n")
		d.expect("w bash")
		d.send("\n")
		d.expect(prompt)
		d.send("jobs\n")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("fg\n")
		got(t, d.file, "SIGCONT", 1)
		d.send("\x03")
		got(t, d.file, "SIGINT", 1)
		d.expect(prompt)
		d.send("exit 5\n")
		d.status(5)
	})
}

// The program sees the size of the terminal, and a change of it once.
func TestTerminalResize(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		s := d.run("w $P $F until=SIGTERM")
		if s.Rows != 24 || s.Cols != 80 {
			t.Errorf("size %dx%d at the start", s.Rows, s.Cols)
		}
		if err := pty.Setsize(d.master, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
			t.Fatal(err)
		}
		s = got(t, d.file, "SIGWINCH", 1)
		if s.Rows != 50 || s.Cols != 132 {
			t.Errorf("size %dx%d after the change", s.Rows, s.Cols)
		}
		d.kill(unix.SIGUSR2)
		if s = got(t, d.file, "SIGUSR2", 1); s.Signals["SIGWINCH"] != 1 {
			t.Errorf("SIGWINCH came %d times", s.Signals["SIGWINCH"])
		}
		d.kill(unix.SIGTERM)
		d.status(143)
	})
}

// In a pipeline the terminal's signals reach the program once, and the rest of
// the pipeline gets its output.
func TestTerminalPipeline(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		s := d.run("w $P $F until=SIGTERM | sed s/^/out:/ ; echo ended-$((1+1))")
		if s.TTY != [3]bool{true, false, true} {
			t.Errorf("terminals: %v", s.TTY)
		}
		d.send("\x03") // which also ends sed
		got(t, d.file, "SIGINT", 1)
		d.kill(unix.SIGUSR2)
		if s = got(t, d.file, "SIGUSR2", 1); s.Signals["SIGINT"] != 1 {
			t.Errorf("SIGINT came %d times", s.Signals["SIGINT"])
		}
		d.kill(unix.SIGTERM)
		d.expect(prompt)
	})
}

// In the middle and at the end of a pipeline, streams are what they were.
func TestTerminalPipelineEnd(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		s := d.run("echo hello | w $P $F read")
		if s.TTY != [3]bool{false, true, true} {
			t.Errorf("terminals: %v", s.TTY)
		}
		if s.Foreground != s.PGID {
			t.Errorf("the program's group is %d, the foreground is %d", s.PGID, s.Foreground)
		}
		if s.Rows != 24 || s.Cols != 80 {
			t.Errorf("size %dx%d", s.Rows, s.Cols)
		}
		d.expect(`read "hello\n"`)
		d.status(0)
	})
}

// When the terminal goes, the program is told and everything ends.
func TestTerminalHangUp(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		s := d.run("w $P $F until=SIGHUP")
		wrapper := d.wrapper()
		d.master.Close()
		got(t, d.file, "SIGHUP", 1)
		eventually(t, "the program and the wrapper to end", func() bool {
			return unix.Kill(s.PID, 0) == unix.ESRCH && unix.Kill(wrapper, 0) == unix.ESRCH
		})
	})
}

// A program that ignores the hang-up goes on without a terminal, and is waited for.
func TestTerminalHangUpIgnored(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.send("w sh -c 'trap \"\" HUP; echo on-$((1+1)); until [ -e go ]; do sleep 0.02; echo x; done; echo >done'\n")
		d.expect("on-2")
		wrapper := d.wrapper()
		d.master.Close()
		eventually(t, "the shell to end", func() bool { return d.cmd.Wait() == nil || d.cmd.ProcessState != nil })
		if unix.Kill(wrapper, 0) != nil { // it would have ended before the shell
			t.Error("the program has ended")
		}
		writeFile(t, d.dir, "go", "", 0o600)
		eventually(t, "the program to end by itself", func() bool {
			_, err := os.Stat(filepath.Join(d.dir, "done"))
			return err == nil
		})
		eventually(t, "the wrapper to end", func() bool { return unix.Kill(wrapper, 0) == unix.ESRCH })
	})
}

// The terminal is for the program as it would be without us.
func TestTerminalSeen(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		s := d.run("w $P $F exit=7")
		d.status(7)
		if s.TTY != [3]bool{true, true, true} {
			t.Errorf("terminals: %v", s.TTY)
		}
		if s.Foreground != s.PGID {
			t.Errorf("the program's group is %d, the foreground is %d", s.PGID, s.Foreground)
		}
		d.send("stty -a >before; w stty -a >after; diff before after && echo same-$((1+1))\n")
		d.expect("same-2")
		d.expect(prompt)
		d.send("w stty -a >/dev/tty; stty -a\n")
		d.expect("speed")
		d.expect("speed")
		d.expect(prompt)
	})
}

// A program reads what is typed; the terminal echoes it; Ctrl-D ends it.
func TestTerminalInput(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.send("w sh -c 'echo cat-$((1+1)); cat'\n")
		d.expect("cat-2")
		d.send("one line\n")
		d.expect("one line\r\n")
		d.expect("one line\r\n")
		d.send("wrong\x15right\n") // Ctrl-U
		d.expect("\nright\r\n")
		d.send("\x04")
		d.status(0)
		d.send("w bash -c 'printf \"Passw\"; read -rs x; echo; echo got:$x'\n")
		d.expect("\nPassw") // a prompt appears without a line end, though it is the start of nothing
		d.send("secret words\n")
		d.expect("got:secret words")
		d.status(0)
	})
}

// A prompt that is the start of a value appears all the same.
func TestMaskedPromptAppears(t *testing.T) {
	t.Parallel()
	m := mode{"masked", &options{Mask: "always", Set: map[string]string{"TOKEN": "Password: 12345678"}}}
	d := atDesk(t, m)
	d.send("w bash -c 'printf \"Passwor\"; read -r x; echo got:$x'\n")
	d.expect("\nPasswor")
	d.send("x\n")
	d.expect("got:x")
	d.status(0)
}

// With keys from elsewhere the terminal only takes output: it has the right size
// all the same, and Ctrl-Z and Ctrl-C work.
func TestTerminalOutputOnly(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.run("w $P $F until=SIGINT </dev/null")
		if err := pty.Setsize(d.master, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
			t.Fatal(err)
		}
		await(t, d.file, "the new size", func(s sighting) bool { return s.Rows == 50 && s.Cols == 132 })
		d.send("\x1a")
		d.expect("Stopped")
		d.expect(prompt)
		d.send("fg\n")
		got(t, d.file, "SIGCONT", 1)
		d.send("\x03")
		d.status(130)
	})
}

// More than a terminal holds can be typed, or pasted, at once.
func TestTerminalPaste(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.send("w sh -c 'stty -echo; echo on-$((1+1)); wc -c; stty echo'\n")
		d.expect("on-2")
		for range 100 {
			d.send(strings.Repeat("a line that was pasted\n", 20))
		}
		d.send("\x04")
		d.expect("46000")
		d.status(0)
	})
}

// Limits of time count behind a terminal, too.
func TestTerminalTimeout(t *testing.T) {
	t.Parallel()
	for want, program := range map[string]string{
		"exit 124": "exec sleep 1000",
		"exit 137": "trap '' TERM; while :; do sleep 1000; done",
	} {
		o := &options{Mask: "always", Set: map[string]string{"TOKEN": secret}, Timeout: 300 * time.Millisecond, KillAfter: 30 * time.Millisecond}
		s := onScreen(t, mode{"", o}.command(t, "sh", "-c", program))
		if got := s.wait(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A panic of ours gives the terminal back and ends the program.
func TestTerminalPanic(t *testing.T) {
	t.Parallel()
	program, file := probeScript(t)
	o := &options{Mask: "always", Set: map[string]string{"TOKEN": secret}, PanicIn: "context"}
	s := onScreen(t, mode{"", o}.command(t, program, file, "until=SIGTERM"))
	if got := s.wait(); got != "exit 2" {
		t.Error(got)
	}
	s.expect("panic: context")
	if after := s.modes(); after != s.before {
		t.Errorf("the terminal was left as %+v, want %+v", after, s.before)
	}
	eventually(t, "the program to end", func() bool {
		seen, ok := saw(t, file)
		return !ok || unix.Kill(seen.PID, 0) == unix.ESRCH
	})
}

// Values are masked on a terminal, and everything else is left alone.
func TestMaskedOnTerminal(t *testing.T) {
	t.Parallel()
	m := ttyModes()[3]
	for _, test := range []struct{ name, command, want string }{
		{"stdout", `w sh -c 'printf "\033[31mred\033[0m $TOKEN\n"'`, "\n\x1b[31mred\x1b[0m [TOKEN]\r\n"},
		{"stderr", `w sh -c 'echo "to stderr: $TOKEN" >&2'`, "\nto stderr: [TOKEN]\r\n"},
		{"stdin elsewhere", `w sh -c 'test -t 1 && test -t 2 && echo "tty: $TOKEN"' </dev/null`, "\ntty: [TOKEN]\r\n"},
		{"stdout elsewhere", `w sh -c 'test -t 0 && test -t 2 && echo "tty: $TOKEN" >&2; echo $TOKEN' >file; cat file`, "\ntty: [TOKEN]\r\n[TOKEN]\r\n"},
		{"stderr elsewhere", `w sh -c 'test -t 0 && test -t 1 && echo "tty: $TOKEN"; echo $TOKEN >&2' 2>file; cat file`, "\ntty: [TOKEN]\r\n[TOKEN]\r\n"},
		{"as the terminal", `w sh -c 'echo "tty: $TOKEN" >/dev/tty'`, "\ntty: [TOKEN]\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := atDesk(t, m)
			d.send(test.command + "\n")
			d.expect(test.want)
			d.status(0)
			if strings.Contains(d.out.String(), m.o.Set["TOKEN"]) {
				t.Error("the value is on the screen")
			}
		})
	}
}

// However it ends, our terminal is as it was.
func TestTerminalRestored(t *testing.T) {
	t.Parallel()
	masked := ttyModes()[3]
	for _, test := range []struct {
		name, program string
		kill          syscall.Signal // sent to the wrapper when the program is ready
		want          string
	}{
		{"exit", "stty raw -echo; exit 3", 0, "exit 3"},
		{"crash", "stty raw -echo; kill -SEGV $$", 0, "signal SIGSEGV"},
		{"killed", "stty raw -echo; kill -KILL $$", 0, "signal SIGKILL"},
		{"terminated", "stty raw -echo; echo ready; exec sleep 1000", unix.SIGTERM, "signal SIGTERM"},
		{"hung up", "stty raw -echo; echo ready; exec sleep 1000", unix.SIGHUP, "signal SIGHUP"},
		{"interrupted", "stty raw -echo; echo ready; exec sleep 1000", unix.SIGINT, "signal SIGINT"},
		{"user signal", "stty raw -echo; echo ready; exec sleep 1000", unix.SIGUSR1, "signal SIGUSR1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := onScreen(t, masked.command(t, "sh", "-c", test.program))
			if test.kill != 0 {
				s.expect("ready")
				if s.modes() == s.before {
					t.Error("the terminal is not raw while the program has one of its own")
				}
				if err := s.cmd.Process.Signal(test.kill); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.wait(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if after := s.modes(); after != s.before {
				t.Errorf("the terminal was left as %+v, want %+v", after, s.before)
			}
		})
	}
}

// Statuses come through a terminal as they do without.
func TestTerminalStatus(t *testing.T) {
	t.Parallel()
	masked := ttyModes()[3]
	t.Run("exit", func(t *testing.T) {
		t.Parallel()
		for _, code := range []int{0, 1, 2, 100, 125, 126, 127, 128, 130, 255} {
			s := onScreen(t, masked.command(t, "sh", "-c", "exit "+strconv.Itoa(code)))
			if got, want := s.wait(), fmt.Sprintf("exit %d", code); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
	t.Run("signal", func(t *testing.T) {
		t.Parallel()
		for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGKILL, unix.SIGSEGV, unix.SIGPIPE, unix.SIGALRM, unix.SIGTERM, unix.SIGUSR1} {
			s := onScreen(t, masked.command(t, "sh", "-c", fmt.Sprintf("kill -%d $$", int(sig))))
			if got, want := s.wait(), "signal "+unix.SignalName(sig); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
	t.Run("cannot run", func(t *testing.T) {
		t.Parallel()
		lost := writeFile(t, t.TempDir(), "lost", "#!/no/such/interpreter\n", 0o755)
		for name, want := range map[string]string{"no-such-program": "exit 127", "/etc/passwd": "exit 126", "/": "exit 126", lost: "exit 126"} {
			s := onScreen(t, masked.command(t, name))
			if got := s.wait(); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
			s.expect("wrapper: " + name + ":")
			if after := s.modes(); after != s.before {
				t.Errorf("%s: the terminal was left as %+v", name, after)
			}
		}
	})
}

// Everything that the program says is on the screen when the prompt comes back.
func TestTerminalAllOutput(t *testing.T) {
	t.Parallel()
	masked := ttyModes()[3]
	for range 5 {
		s := onScreen(t, masked.command(t, "sh", "-c", "seq 1 20000; printf the-end"))
		if got := s.wait(); got != "exit 0" {
			t.Fatal(got)
		}
		s.expect("\n20000\r\nthe-end")
		lines := regexp.MustCompile(`(?m)^\d+\r$`).FindAllString(s.out.String(), -1)
		if len(lines) != 20000 {
			t.Fatalf("%d lines of 20000", len(lines))
		}
	}
}

// A run that is started in the background leaves the terminal alone until it
// is brought to the foreground.
func TestTerminalBackground(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		d := atDesk(t, m)
		d.run("w $P $F until=SIGINT &")
		d.send("echo there-$((1+1))\n")
		d.expect("there-2")
		d.expect(prompt)
		d.send("fg\n")
		d.expect("w $P $F")
		eventually(t, "Ctrl-C to work after fg", func() bool {
			if s, _ := saw(t, d.file); s.Signals["SIGINT"] > 0 {
				return true
			}
			d.send("\x03")
			time.Sleep(50 * time.Millisecond)
			return false
		})
		d.status(130)
	})
}

// Without a shell that looks after jobs, Ctrl-Z does nothing, as without us,
// and above all does not hang.
func TestTerminalStopWithoutShell(t *testing.T) {
	t.Parallel()
	each(t, ttyModes(), func(t *testing.T, m mode) {
		program, file := probeScript(t)
		s := onScreen(t, m.command(t, program, file, "until=SIGINT"))
		s.expect("ready")
		s.send("\x1a")
		s.send("\x03")
		eventually(t, "Ctrl-C to work after Ctrl-Z", func() bool {
			if s, _ := saw(t, file); s.Signals["SIGINT"] > 0 {
				return true
			}
			time.Sleep(50 * time.Millisecond)
			s.send("\x03")
			return false
		})
		if got := s.wait(); got != "signal SIGINT" {
			t.Errorf("%s", got)
		}
	})
}

// The program may have left our group, where the terminal does not interrupt it:
// the second time it is passed on (runner S4).
func TestTerminalOwnGroup(t *testing.T) {
	t.Parallel()
	d := atDesk(t, mode{"supervise", &options{Supervise: true}})
	d.run("w $P $F until=SIGINT own-group")
	eventually(t, "the second interrupt to be passed on", func() bool {
		if s, _ := saw(t, d.file); s.Signals["SIGINT"] > 0 {
			return true
		}
		d.send("\x03")
		time.Sleep(100 * time.Millisecond)
		return false
	})
	d.status(130)
}

// When the wrapper is killed the program gets TERM, and the terminal works.
func TestTerminalWrapperKilled(t *testing.T) {
	t.Parallel()
	if !hasParentDeath {
		t.Skip("this system does not tell a program of its parent's end")
	}
	each(t, ttyModes()[2:], func(t *testing.T, m mode) {
		d := atDesk(t, m)
		s := d.run("w $P $F until=SIGTERM")
		d.kill(unix.SIGKILL)
		got(t, d.file, "SIGTERM", 1)
		eventually(t, "the program to end", func() bool { return unix.Kill(s.PID, 0) == unix.ESRCH })
		d.expect("Killed")
		d.status(137)
	})
}

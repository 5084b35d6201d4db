//go:build !windows

package run

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervise runs the program as a child and stays until it has ended.
func supervise(ctx context.Context, p *Plan, c Command) (status Status, err error) {
	ignoreAgain(true)
	signals, stop := listen()
	defer stop()
	hurry := sync.OnceValue(func() <-chan os.Signal { return terminating(signals) })

	files, err := deliverFiles(p, c)
	defer func() { // so that a panic does not leave the files behind
		if err := files.remove(); err != nil {
			status.Warnings = append(status.Warnings, err)
		}
		status.Warnings = append(status.Warnings, runHooks(c.OnExit, hurry())...)
	}()
	if err == nil {
		err = deliverInMemory(p, c)
	}
	if err == nil {
		status, err = watch(ctx, p, c, signals, hurry)
	}
	if err != nil {
		status.Code = exitCode(err)
	}
	return status, err
}

// forwarded are the signals that are passed on to the program (runner S2).
var forwarded = [...]syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2}

// listen catches the signals that are passed on, but for those that we were
// started to ignore, as under nohup: catching one would take that from the
// program too, which inherits it (runner S7).
func listen() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 64)
	for _, sig := range forwarded {
		if !ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	return signals, func() {
		signal.Stop(signals)
		close(signals)
	}
}

// terminating takes signals over when the program has ended, and passes on those
// that ask us not to wait for anything more. One that comes in the first second
// does not: most likely it is what ended the program, sent to all of a service or
// typed at the terminal, and what is still to be done must not be lost to it.
func terminating(signals <-chan os.Signal) <-chan os.Signal {
	out := make(chan os.Signal, 1)
	ended := time.Now()
	go func() {
		first := true
		for sig := range signals {
			if !ends(sig.(syscall.Signal)) {
				continue
			}
			if !first || time.Since(ended) > time.Second {
				select {
				case out <- sig:
				default:
				}
			}
			first = false
		}
	}()
	return out
}

// ends says whether a signal asks a program to end.
func ends(sig syscall.Signal) bool {
	return sig == unix.SIGHUP || sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGTERM
}

// A child is the program, started by this process or by the keeper of a terminal.
type child interface {
	signal(syscall.Signal)
	changes() <-chan event
}

func (p *process) changes() <-chan event { return p.events }

// A supervisor is what stays behind the program.
type supervisor struct {
	command Command
	child   child
	proc    *process  // the child, if it is ours and no terminal's keeper stands between
	tty     *os.File  // our controlling terminal, nil if there is none
	term    *terminal // the terminal that the child has instead, nil if it has ours
	streams *streams
	stops   *stops
	hurry   func() <-chan os.Signal

	status    Status
	kill      *time.Timer
	interrupt interrupts
}

// watch starts the program and returns when it has ended and everything that it
// said is out.
func watch(ctx context.Context, p *Plan, c Command, signals <-chan os.Signal, hurry func() <-chan os.Signal) (Status, error) {
	s := &supervisor{command: c, hurry: hurry, kill: time.NewTimer(time.Hour)}
	s.kill.Stop()
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0); err == nil {
		s.tty = tty
		defer tty.Close()
	}
	var err error
	if s.streams, err = openStreams(p, c); err != nil {
		return s.status, &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Detail: "setting up the streams", Err: err}
	}
	defer s.streams.close()
	select {
	case sig := <-signals:
		if ends(sig.(syscall.Signal)) { // it was for us: the program is not there yet
			return died(sig.(syscall.Signal)), nil
		}
	default:
	}
	s.stops = newStops(s)
	defer s.stops.close()
	if err := s.start(p); err != nil {
		return s.status, err
	}
	noDump()
	err = s.loop(ctx, signals)
	if err != nil {
		err = &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Err: err}
	}
	return s.status, err
}

// start starts the program.
func (s *supervisor) start(p *Plan) error {
	attr := &syscall.ProcAttr{Dir: s.command.Dir, Env: p.env, Files: s.streams.forChild(), Sys: &syscall.SysProcAttr{}}
	if s.command.Dir != "" {
		// Otherwise an error could not be told from one of execve.
		if info, err := os.Stat(s.command.Dir); err != nil {
			return dirError(p, s.command.Dir, err)
		} else if !info.IsDir() {
			return dirError(p, s.command.Dir, unix.ENOTDIR)
		} else if err := unix.Access(s.command.Dir, unix.X_OK); err != nil {
			return dirError(p, s.command.Dir, err)
		}
	}
	if s.streams.term != nil {
		keeper, err := startKeeper(p, attr)
		if err != nil {
			return err
		}
		s.child, s.term = keeper, s.streams.term
		s.term.enter() // before anything is written there, which a terminal that is not raw would change
		s.streams.started()
		return nil
	}
	// With a controlling terminal the program stays in our group (runner S3, N6).
	attr.Sys.Setpgid = s.tty == nil
	endWithParent(attr.Sys)
	proc, err := startProgram(p, attr)
	if err != nil {
		return err
	}
	s.child, s.proc = proc, proc
	s.streams.started()
	return nil
}

// startProgram starts the program itself; a file that is no program as a script.
func startProgram(p *Plan, attr *syscall.ProcAttr) (*process, error) {
	proc, err := startProcess(p.Path, p.Argv, attr)
	if err == unix.ENOEXEC {
		if argv, ok := asScript(p, attr.Dir); ok {
			proc, err = startProcess(shell, argv, attr)
		}
	}
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return nil, execError(p, attr.Dir, errno)
		}
		return nil, &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Err: err}
	}
	return proc, nil
}

// loop passes signals and changes of state between the program and our own
// parent until the program has ended.
func (s *supervisor) loop(ctx context.Context, signals <-chan os.Signal) error {
	var timeout <-chan time.Time
	if s.command.Timeout > 0 {
		timeout = time.After(s.command.Timeout)
	}
	cancelled := ctx.Done()
	s.stops.started()
	for {
		select {
		case sig := <-signals:
			s.forward(sig.(syscall.Signal))
		case e, ok := <-s.child.changes():
			switch {
			case !ok || e.lost:
				s.streams.finish(s.hurry(), nil)
				return errors.New("lost sight of the program")
			case e.ended:
				var limit <-chan time.Time
				if s.status.TimedOut {
					limit = time.After(grace)
				}
				s.status.Warnings = append(s.status.Warnings, s.streams.finish(s.hurry(), limit)...)
				s.ended(e.status)
				return nil
			}
			s.stops.stopped(e.stopped)
		case <-s.stops.timer.C:
			s.stops.look()
		case <-s.stops.cont:
			s.stops.continued()
		case <-cancelled:
			cancelled = nil
			s.forward(unix.SIGTERM)
		case <-timeout:
			s.status.TimedOut = true
			s.forward(unix.SIGTERM)
			s.child.signal(unix.SIGCONT) // one that is stopped would not see it
		case <-s.kill.C:
			s.status.Killed = true
			s.child.signal(unix.SIGKILL)
		case <-s.streams.winch:
			s.streams.resize(s.child)
		case <-s.streams.gone:
			s.streams.gone = nil // it is closed, and would be ready for ever
			s.term.hangUp()
		}
	}
}

// forward passes a signal on, unless the terminal has sent it to the program as
// well.
func (s *supervisor) forward(sig syscall.Signal) {
	if (sig == unix.SIGINT || sig == unix.SIGQUIT) && s.foreground() {
		if sig != unix.SIGINT || !s.interrupt.insist(time.Now(), s.sameGroup()) {
			return
		}
	}
	s.child.signal(sig)
	if s.command.KillAfter > 0 && (sig == unix.SIGINT || sig == unix.SIGQUIT || sig == unix.SIGTERM) && !s.status.Killed {
		s.kill.Reset(s.command.KillAfter)
	}
}

// foreground says whether what is typed at the terminal as Ctrl-C and Ctrl-\
// reaches the program by itself: it is in our group, and that is the terminal's.
func (s *supervisor) foreground() bool {
	return s.tty != nil && s.term == nil && s.ttyGroup() == unix.Getpgrp()
}

// onTerminal says whether the program's group or ours is the terminal's.
func (s *supervisor) onTerminal() bool {
	group := s.ttyGroup()
	if group == unix.Getpgrp() {
		return true
	}
	own, err := unix.Getpgid(s.proc.pid)
	return err == nil && group == own
}

// ttyGroup is the group in the foreground of our terminal, 0 if it cannot be told.
func (s *supervisor) ttyGroup() int {
	group, err := unix.IoctlGetInt(int(s.tty.Fd()), unix.TIOCGPGRP)
	if err != nil {
		return 0
	}
	return group
}

// sameGroup says whether the program is in our group, as it was at its start.
func (s *supervisor) sameGroup() bool {
	group, err := unix.Getpgid(s.proc.pid)
	return err == nil && group == unix.Getpgrp()
}

// interrupts counts those that were not passed on.
type interrupts struct {
	count int
	last  time.Time
}

// insist says whether an interrupt is passed on though the terminal should have
// sent it to the program: it is the second in two seconds and the program has
// left our group, or the third in all (runner S4).
func (i *interrupts) insist(now time.Time, sameGroup bool) bool {
	again := i.count > 0 && now.Sub(i.last) <= 2*time.Second
	i.count++
	i.last = now
	return again && !sameGroup || i.count >= 3
}

// ended takes over how the program ended.
func (s *supervisor) ended(status syscall.WaitStatus) {
	if status.Signaled() {
		d := died(status.Signal())
		s.status.Code, s.status.Signal, s.status.Core = d.Code, d.Signal, status.CoreDump()
	} else {
		s.status.Code = status.ExitStatus()
	}
	if s.status.TimedOut {
		s.status.Code = codeTimedOut
		if s.status.Killed {
			s.status.Code = codeKilled
		}
	}
}

// died is the status of a program that a signal ended.
func died(sig syscall.Signal) Status { return Status{Code: 128 + int(sig), Signal: int(sig)} }

//go:build !windows

package run

import (
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a child of ours. Its number is ours to signal until it has been
// reaped, and reaping and signalling exclude each other, so that a signal never
// reaches a process that got the number later (runner S9).
type process struct {
	pid    int
	target int // what kill is given: pid, or -pid for its group

	mu      sync.Mutex
	gone    bool
	stopped bool

	events chan event // closed after the one that says it has ended
}

// An event is a change in the life of a process.
type event struct {
	status  syscall.WaitStatus // of its end
	ended   bool
	stopped syscall.Signal // what stopped it, or 0
	lost    bool           // it ended, and nobody knows how
}

// startProcess starts a child and watches it. The thread that forks is kept for
// as long as the child lives, because on Linux the child is sent its
// parent-death signal when that thread ends, not the process (runner S8).
func startProcess(path string, argv []string, attr *syscall.ProcAttr) (*process, error) {
	p := &process{events: make(chan event, 1)}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		pid, err := syscall.ForkExec(path, argv, attr)
		p.pid, p.target = pid, pid
		if err == nil && attr.Sys.Setpgid {
			p.target = -pid
		}
		started <- err
		if err == nil {
			p.watch()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// watch reports what becomes of the process until it has ended. When we are
// process 1 it also reaps the orphans that are handed to us (runner M4).
func (p *process) watch() {
	defer close(p.events)
	for {
		pid, err := waitAny(p.pid)
		if err != nil {
			p.mu.Lock()
			p.gone = true
			p.mu.Unlock()
			p.events <- event{ended: true, lost: true}
			return
		}
		if pid != p.pid {
			var status unix.WaitStatus
			_, _ = unix.Wait4(pid, &status, unix.WNOHANG|unix.WUNTRACED|unix.WCONTINUED, nil)
			continue
		}
		e, ok := p.collect()
		if !ok {
			// Continued, which nobody waits for; or the report was taken back.
			// Should a system give such a report again and again, it does not cost
			// a processor.
			time.Sleep(time.Millisecond)
			continue
		}
		p.events <- e
		if e.ended {
			return
		}
	}
}

// collect takes in one change of state, if there is one.
func (p *process) collect() (e event, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return event{}, false
	}
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(p.pid, &status, unix.WNOHANG|unix.WUNTRACED|unix.WCONTINUED, nil)
	switch {
	case err != nil || pid != p.pid:
		return event{}, false
	case status.Stopped():
		p.stopped = true
		return event{stopped: status.StopSignal()}, true
	case status.Continued():
		p.stopped = false
		return event{}, false
	}
	p.gone, p.stopped = true, false
	return event{status: status, ended: true}, true
}

// isStopped says whether the process is stopped at this moment.
func (p *process) isStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped && !p.gone && hasContinued(p.pid) {
		p.stopped = false
	}
	return p.stopped
}

// signal sends sig to what signals go to, unless the process has ended.
func (p *process) signal(sig syscall.Signal) { p.kill(p.target, sig) }

// signalOwnGroup sends sig to the group that the process is in.
func (p *process) signalOwnGroup(sig syscall.Signal) {
	if group, err := unix.Getpgid(p.pid); err == nil && group > 1 {
		p.kill(-group, sig)
	}
}

// signalGroup sends sig to the group that the process leads.
func (p *process) signalGroup(sig syscall.Signal) { p.kill(-p.pid, sig) }

func (p *process) kill(target int, sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = syscall.Kill(target, sig)
	}
}

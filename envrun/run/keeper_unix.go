//go:build !windows

package run

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A program with a terminal of its own lives in a session of its own. A group whose
// parent is in another session is an orphan to the kernel, which then does not stop
// it when Ctrl-Z is typed. So its parent must be in that session: a second process
// of ours, the keeper, which leads the session, starts the program in the
// foreground of the terminal, and tells the supervisor what becomes of it. When the
// supervisor is gone, it ends the program.
const keeperName = "envrun-terminal"

// Begin must be the first call in main. In the process that Run has started to
// keep a terminal it does that and does not return; otherwise it costs nothing.
//
// It also keeps the main goroutine on the main thread. A parent-death signal that
// whoever started us has asked for belongs to that thread, and execve from another
// one loses it.
func Begin() {
	runtime.LockOSThread()
	if len(os.Args) == 3 && os.Args[0] == keeperName {
		os.Exit(keep(os.Args[1]))
	}
}

// Messages between supervisor and keeper: a letter and a number.
const (
	msgStarted = 'P' // to the supervisor: the program's number
	msgFailed  = 'F' // to the supervisor: an Errno
	msgStopped = 'S' // to the supervisor: a signal
	msgEnded   = 'X' // to the supervisor: a wait status
	msgSignal  = 'K' // to the keeper: a signal for the program
)

type message struct {
	kind  byte
	value uint32
}

func (m message) writeTo(w io.Writer) error {
	_, err := w.Write(binary.LittleEndian.AppendUint32([]byte{m.kind}, m.value))
	return err
}

func readMessage(r io.Reader) (message, error) {
	var b [5]byte
	_, err := io.ReadFull(r, b[:])
	return message{b[0], binary.LittleEndian.Uint32(b[1:])}, err
}

// An assignment is what the keeper is to start. It comes through the socket: the
// environment of the keeper itself is empty.
type assignment struct {
	path      string
	argv, env []string
}

func (a assignment) writeTo(w io.Writer) error {
	var b []byte
	text := func(s string) {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	text(a.path)
	for _, list := range [][]string{a.argv, a.env} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
		for _, s := range list {
			text(s)
		}
	}
	_, err := w.Write(b)
	clear(b)
	return err
}

func readAssignment(r io.Reader) (a assignment, err error) {
	r = bufio.NewReader(r) // nothing follows until it is answered
	number := func() int {
		var b [4]byte
		if err == nil {
			_, err = io.ReadFull(r, b[:])
		}
		return int(binary.LittleEndian.Uint32(b[:]))
	}
	text := func() string {
		b := make([]byte, number())
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		return string(b)
	}
	list := func() (l []string) {
		for range number() {
			l = append(l, text())
			if err != nil {
				break
			}
		}
		return l
	}
	a.path = text()
	a.argv = list()
	a.env = list()
	return a, err
}

// keep is the keeper. It returns its own exit status, which nobody looks at.
func keep(socket string) int {
	fd, err := strconv.Atoi(socket)
	if err != nil {
		return CodeFailed
	}
	unix.CloseOnExec(fd)
	supervisor := os.NewFile(uintptr(fd), "supervisor")
	ignoreAgain(true)
	signals, stop := listen()
	defer stop()
	a, err := readAssignment(supervisor)
	if err != nil || len(a.argv) == 0 {
		return CodeFailed
	}

	attr := &syscall.ProcAttr{Env: a.env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}}
	endWithParent(attr.Sys)
	program, err := startProcess(a.path, a.argv, attr)
	if err == unix.ENOEXEC {
		if script, ok := asScript(&Plan{Path: a.path, Argv: a.argv}, ""); ok {
			program, err = startProcess(shell, script, attr)
		}
	}
	if err != nil {
		errno, _ := err.(syscall.Errno)
		_ = message{msgFailed, uint32(errno)}.writeTo(supervisor)
		return CodeFailed
	}
	program.target = program.pid // as the shell's kill would: the group is for the terminal
	_ = message{msgStarted, uint32(program.pid)}.writeTo(supervisor)

	orders := make(chan message)
	go func() {
		defer close(orders)
		for {
			m, err := readMessage(supervisor)
			if err != nil {
				return
			}
			orders <- m
		}
	}()
	hungUp := false
	for {
		select {
		case m, ok := <-orders:
			if !ok { // the supervisor is gone
				orders = nil
				program.signal(unix.SIGTERM)
				program.signalGroup(unix.SIGCONT)
				continue
			}
			sig := syscall.Signal(m.value)
			hungUp = hungUp || sig == unix.SIGHUP
			if sig == unix.SIGCONT {
				program.signalGroup(sig)
			} else {
				program.signal(sig)
			}
		case sig := <-signals:
			// The kernel tells the leader of a session that its terminal is gone;
			// the rest is up to the leader.
			if sig != unix.SIGHUP {
				program.signal(sig.(syscall.Signal))
			} else if !hungUp {
				hungUp = true
				program.signalGroup(unix.SIGHUP)
				program.signalGroup(unix.SIGCONT)
			}
		case e := <-program.events:
			if !e.ended {
				_ = message{msgStopped, uint32(e.stopped)}.writeTo(supervisor)
				continue
			}
			signal.Ignore(unix.SIGHUP) // which comes when the terminal goes
			_ = message{msgEnded, uint32(e.status)}.writeTo(supervisor)
			return 0
		}
	}
}

// A keeper is the supervisor's side: the child that it signals and watches.
type keeper struct {
	socket *os.File
	events chan event
}

// startKeeper starts the keeper and through it the program, with attr, whose first
// descriptor is the terminal.
func startKeeper(p *Plan, attr *syscall.ProcAttr) (*keeper, error) {
	setup := func(what string, err error) error {
		return &Error{Code: CodeFailed, Reason: ReasonSetup, Program: p.program, Detail: what, Err: err}
	}
	self, err := selfPath()
	if err != nil {
		return nil, setup("finding this program", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, setup("talking to the keeper of the terminal", err)
	}
	unix.CloseOnExec(pair[0])
	attr.Sys = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	attr.Env = []string{}
	argv := []string{keeperName, strconv.Itoa(pair[1]), p.Path} // the path is for people who look at ps
	process, err := startProcess(self, argv, attr)
	unix.Close(pair[1])
	k := &keeper{socket: os.NewFile(uintptr(pair[0]), "keeper"), events: make(chan event, 1)}
	if err != nil {
		k.socket.Close()
		return nil, setup("starting the keeper of the terminal", err)
	}
	go func() {
		for range process.events { // nobody asks how the keeper does
		}
	}()
	var m message
	if err = (assignment{p.Path, p.Argv, p.env}).writeTo(k.socket); err == nil {
		m, err = readMessage(k.socket)
	}
	switch {
	case err != nil:
		k.socket.Close()
		return nil, setup("starting the keeper of the terminal", err)
	case m.kind == msgFailed:
		k.socket.Close()
		return nil, execError(p, attr.Dir, syscall.Errno(m.value))
	}
	go k.listen()
	return k, nil
}

// listen takes in what the keeper says.
func (k *keeper) listen() {
	defer close(k.events)
	for {
		m, err := readMessage(k.socket)
		switch {
		case err != nil:
			k.events <- event{ended: true, lost: true}
			return
		case m.kind == msgStopped:
			k.events <- event{stopped: syscall.Signal(m.value)}
		case m.kind == msgEnded:
			k.events <- event{ended: true, status: syscall.WaitStatus(m.value)}
			return
		}
	}
}

func (k *keeper) changes() <-chan event { return k.events }

func (k *keeper) signal(sig syscall.Signal) {
	_ = message{msgSignal, uint32(sig)}.writeTo(k.socket)
}

//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creack/pty"
)

// The interface over a vault of files, in a terminal of its own: 100,000 names,
// and 1,000.
var (
	manyNames = project{name: "names-100000", secrets: 10_000, fields: 10}
	fewNames  = project{name: "names-1000", secrets: 100, fields: 10}
)

// The first name of every such project, and how the header of its list ends when
// all of them are there.
const (
	firstName = "S0000_01"
	allNames  = " names"
)

// patience is how long the interface may take for anything.
const patience = time.Minute

// A window is a terminal in which the interface runs.
type window struct {
	p    *os.File
	cmd  *exec.Cmd
	seen chan []byte // what it wrote
	text []byte      // all of it so far
}

func (b *bench) window(dir string) (*window, error) {
	w := &window{cmd: exec.Command(b.envrun, "tui"), seen: make(chan []byte, 1024)}
	w.cmd.Dir = dir
	w.cmd.Env = append(slices.DeleteFunc(slices.Clone(b.env), func(e string) bool { return strings.HasPrefix(e, "TERM=") }), "TERM=xterm-256color")
	var err error
	if w.p, err = pty.StartWithSize(w.cmd, &pty.Winsize{Cols: 100, Rows: 30}); err != nil {
		return nil, err
	}
	go func() {
		defer close(w.seen)
		for {
			buf := make([]byte, 64<<10)
			n, err := w.p.Read(buf)
			if n > 0 {
				w.seen <- buf[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	return w, nil
}

// await returns when the interface has written a text.
func (w *window) await(text string) error {
	timeout := time.After(patience)
	for !bytes.Contains(w.text, []byte(text)) {
		select {
		case b, ok := <-w.seen:
			if !ok {
				return fmt.Errorf("envrun ended without %q: %.300q", text, w.text)
			}
			w.text = append(w.text, b...)
		case <-timeout:
			return fmt.Errorf("no %q in %v: %.300q", text, patience, w.text)
		}
	}
	return nil
}

// close leaves the interface as a person does.
func (w *window) close() error {
	defer w.p.Close()
	if _, err := io.WriteString(w.p, "q"); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		for range w.seen {
		}
		done <- w.cmd.Wait()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		w.cmd.Process.Kill()
		return fmt.Errorf("q does not end envrun in %v", patience)
	}
}

// firstContent is from the start of the process to the first name on the screen.
func (b *bench) firstContent(dir string) variant {
	return variant{run: func() (*sample, error) {
		began := time.Now()
		w, err := b.window(dir)
		if err != nil {
			return nil, err
		}
		err = w.await(firstName)
		took := time.Since(began)
		if closed := w.close(); err == nil {
			err = closed
		}
		return &sample{wall: took}, err
	}}
}

// first is how long somebody waits for the first names, of many and of few.
func (b *bench) first() ([]line, error) {
	many, err := b.project(manyNames)
	if err != nil {
		return nil, err
	}
	few, err := b.project(fewNames)
	if err != nil {
		return nil, err
	}
	s, err := b.interleave(b.rounds, b.firstContent(many), b.firstContent(few))
	if err != nil {
		return nil, err
	}
	return []line{compare("envrun in a terminal, to its first names of 100,000", s[0], s[1], "of 1,000", promise{"≤", 3})}, nil
}

// idle is what the interface takes of a processor while nobody does anything,
// nothing counts down and all names have been read.
func (b *bench) idle() ([]line, error) {
	const (
		lasts = time.Minute
		bound = 0.005
	)
	what := line{what: "a minute of envrun in a terminal with 100,000 names, nobody doing anything", promise: "≤ 0.5 %"}
	if _, ok := cpuOf(os.Getpid()); !ok {
		what.mine = "not measured: this system does not tell"
		return []line{what}, nil
	}
	dir, err := b.project(manyNames)
	if err != nil {
		return nil, err
	}
	w, err := b.window(dir)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.await(number(manyNames.secrets*manyNames.fields) + allNames); err != nil {
		return nil, err
	}
	// What it still collects and indexes is of the start.
	time.Sleep(5 * time.Second)
	before, _ := cpuOf(w.cmd.Process.Pid)
	time.Sleep(lasts)
	after, ok := cpuOf(w.cmd.Process.Pid)
	if !ok {
		return nil, fmt.Errorf("envrun has ended: %.300q", w.text)
	}
	share := (after - before).Seconds() / lasts.Seconds()
	what.mine, what.met = fmt.Sprintf("%.2f %% of a processor", 100*share), "NOT met"
	if share <= bound {
		what.met = "met"
	}
	return []line{what}, nil
}

// cpuOf is the time that a process and all its threads have had so far; not ok
// where /proc does not say.
func cpuOf(pid int) (time.Duration, bool) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var total time.Duration
	for _, t := range threads {
		// Nanoseconds on a processor come first. A thread may just have ended.
		text, err := os.ReadFile(t)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, false
		}
		total += time.Duration(ns)
	}
	return total, total > 0
}

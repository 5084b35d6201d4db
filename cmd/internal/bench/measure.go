//go:build unix

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A variant is one of the things that are run in turn.
type variant struct {
	argv []string
	dir  string
	env  []string                 // beside that of the bench
	each func(round int) []string // more arguments, others in each round; may be nil
	run  func() (*sample, error)  // instead of argv, for what is more than one process

	before func() error // is done before each run, and not measured; may be nil
}

// A sample is what one run took.
type sample struct {
	wall   time.Duration
	cpu    time.Duration // of all its threads, and of the program it became
	faults int64         // pages that had to be made or found
	waits  int64         // how often it gave the processor up by itself
	peak   int64         // bytes
}

// samples are those of one variant.
type samples []sample

func (s samples) median(of func(sample) float64) float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = of(s[i])
	}
	slices.Sort(v)
	n := len(v)
	return (v[n/2] + v[(n-1)/2]) / 2
}

func (s samples) best(of func(sample) float64) float64 {
	least := of(s[0])
	for _, x := range s[1:] {
		least = min(least, of(x))
	}
	return least
}

func wall(s sample) float64   { return s.wall.Seconds() }
func cpu(s sample) float64    { return s.cpu.Seconds() }
func faults(s sample) float64 { return float64(s.faults) }
func waits(s sample) float64  { return float64(s.waits) }

const warmup = 3 // rounds that are not counted, fewer where there are few: files come into memory

// interleave runs the variants in turn, so that whatever else the machine does
// hits all of them.
func (b *bench) interleave(rounds int, variants ...variant) ([]samples, error) {
	out := make([]samples, len(variants))
	warmup := min(warmup, 1+rounds/4)
	for round := range warmup + rounds {
		for i, v := range variants {
			s, err := b.once(v, round)
			if err != nil {
				return nil, err
			}
			if round >= warmup {
				out[i] = append(out[i], *s)
			}
		}
	}
	return out, nil
}

func (b *bench) once(v variant, round int) (*sample, error) {
	if v.before != nil {
		if err := v.before(); err != nil {
			return nil, err
		}
	}
	if v.run != nil {
		return v.run()
	}
	argv := v.argv
	if v.each != nil {
		argv = slices.Concat(argv, v.each(round))
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Dir: v.dir, Env: slices.Concat(b.env, v.env), Files: []*os.File{null, null, null}}
	began := time.Now()
	p, err := os.StartProcess(argv[0], argv, attr)
	if err != nil {
		return nil, err
	}
	state, err := p.Wait()
	took := time.Since(began)
	if err != nil {
		return nil, err
	}
	if !state.Success() {
		return nil, b.why(v.dir, v.env, argv, state)
	}
	return usage(state, took), nil
}

// usage is what wait4 says of a process and those it has waited for itself.
func usage(state *os.ProcessState, took time.Duration) *sample {
	s := &sample{wall: took, cpu: state.UserTime() + state.SystemTime()}
	if u, ok := state.SysUsage().(*syscall.Rusage); ok {
		s.faults, s.waits, s.peak = int64(u.Minflt)+int64(u.Majflt), int64(u.Nvcsw), int64(u.Maxrss)
		if runtime.GOOS != "darwin" {
			s.peak <<= 10 // kilobytes everywhere else
		}
	}
	return s
}

// why runs a command again that went wrong, to hear what it says.
func (b *bench) why(dir string, env, argv []string, state *os.ProcessState) error {
	_, err := b.output(dir, env, argv...)
	if err == nil {
		err = fmt.Errorf("%s, once", state)
	}
	return fmt.Errorf("%s %s: %w", filepath.Base(argv[0]), strings.Join(argv[1:min(len(argv), 4)], " "), err)
}

// output runs a command that is not measured. Its values are made up, so what
// it says may be shown.
func (b *bench) output(dir string, env []string, argv ...string) ([]byte, error) {
	out, _, err := b.said(dir, env, argv...)
	return out, err
}

func (b *bench) said(dir string, env []string, argv ...string) (out, stderr []byte, err error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, slices.Concat(b.env, env)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err = cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %s", filepath.Base(argv[0]), err, bytes.TrimSpace(said.Bytes()))
	}
	return out, said.Bytes(), nil
}

// A project is one that the rows share.
type project struct {
	name    string
	own     int // fields of its own secret
	secrets int // others
	fields  int // of each of those; 0: 3
}

// project returns the folder of a project, which it makes the first time.
func (b *bench) project(p project) (string, error) {
	if dir, ok := b.projects[p]; ok {
		return dir, nil
	}
	if p.secrets >= 1000 {
		say("making a vault of %s secrets", number(p.secrets))
	}
	dir := filepath.Join(b.dir, p.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if _, err := b.output(dir, nil, b.envrun, "init", "--store", "file", "--no-recovery", "--project", "bench"); err != nil {
		return "", err
	}
	_, err := b.output(dir, nil, b.fill, "-vault", filepath.Join(dir, ".envrun", "vault"),
		"-config", filepath.Join(b.dir, "config"), "-state", filepath.Join(b.dir, "state"),
		"-own", fmt.Sprint(p.own), "-secrets", fmt.Sprint(p.secrets), "-fields", fmt.Sprint(cmp.Or(p.fields, 3)))
	if err != nil {
		return "", err
	}
	b.projects[p] = dir
	return dir, nil
}

// number writes 10000 as 10,000.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func ms(seconds float64) string {
	switch t := seconds * 1e3; {
	case t < 10:
		return fmt.Sprintf("%.2f ms", t)
	case t < 100:
		return fmt.Sprintf("%.1f ms", t)
	default:
		return fmt.Sprintf("%.0f ms", t)
	}
}

func times(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.2f ×", r)
	}
	return fmt.Sprintf("%.1f ×", r)
}

// A promise is a bound for a ratio.
type promise struct {
	sign  string // "≤" or "≥"
	bound float64
}

func (p promise) String() string { return fmt.Sprintf("%s %g ×", p.sign, p.bound) }

// met is a word for the last column: a median over the bound with a best run
// within it is most often a busy machine.
func (p promise) met(ratio, best float64) string {
	ok := func(r float64) bool { return p.sign == "≤" && r <= p.bound || p.sign == "≥" && r >= p.bound }
	switch {
	case ok(ratio):
		return "met"
	case ok(best):
		return "met by the best runs only"
	}
	return "NOT met"
}

// compare is a line about mine over theirs, or theirs over mine if mine must
// be so many times faster.
func compare(what string, mine, theirs samples, name string, p promise) line {
	ratio, best := mine.median(wall)/theirs.median(wall), mine.best(wall)/theirs.best(wall)
	if p.sign == "≥" {
		ratio, best = 1/ratio, 1/best
	}
	return line{
		what: what, mine: ms(mine.median(wall)), against: ms(theirs.median(wall)) + " " + name,
		ratio: times(ratio), best: times(best), promise: p.String(), met: p.met(ratio, best),
	}
}

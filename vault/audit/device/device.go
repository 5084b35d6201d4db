// Package device sends the lines of the audit log to where a team reads them: a
// file, a syslog receiver, an HTTP collector. The log in the database is the
// master copy; a device is a copy that leaves the machine or the reach of its
// administrator.
//
// Each device has a goroutine, a queue and a deadline of its own, so that one
// that hangs never holds up another. One that is required takes every line
// before Set.Write returns, or the write is refused with an error that names the
// device and the reason, and with it the request. One that is not is best
// effort: it is sent lines as fast as it takes them, tried again until it does,
// and what does not fit in its queue meanwhile is dropped and counted.
//
// Lines may arrive twice, after an answer that was lost; their leaf hash tells.
//
// Devices come from the server's configuration and from nowhere else: who could
// make one over the API could write files on the host. The package refuses
// a required device that cannot tell whether it took a line (syslog over UDP),
// plain HTTP but to this machine, and redirects.
package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"envrun/vault"
	"envrun/vault/audit"
)

// A Config is one device. Exactly one of File, Syslog and HTTP is set.
type Config struct {
	Name     string        // in errors and in the health of the server; no two have the same
	Required bool          // requests are refused while it does not take their entries
	Deadline time.Duration // for taking a line; 0 is DefaultDeadline
	File     *File
	Syslog   *Syslog
	HTTP     *HTTP
}

// DefaultDeadline is how long a device may take with a line.
const DefaultDeadline = 2 * time.Second

// What is waiting for a device, and what it is sent at one time.
const (
	maxQueue = 4096    // calls of Set.Write, of few lines each
	maxLines = 256     // of a batch
	maxBytes = 1 << 20 // of a batch; one line may be all of it
)

// A sink writes lines to one place. It is used by one goroutine.
type sink interface {
	// open makes sure that lines can be written, as far as that can be known.
	open(ctx context.Context) error

	// write writes lines in order and returns how many of them, from the first,
	// need not be written again. With an error that is errPermanent, trying again
	// with the same lines is of no use.
	write(ctx context.Context, lines []audit.Line) (int, error)

	// reopen drops what is open, so that the next write opens it anew.
	reopen()

	// low says that room has become scarce.
	low() bool
}

// errPermanent is wrapped by errors that come back with the same line.
var errPermanent = errors.New("refused for good")

// A Set is the devices of a server. Its methods are safe for use by several goroutines.
type Set struct{ devices []*device }

// Open makes the devices ready to be written to, and starts their goroutines. KindInvalid
// if a configuration cannot be; that a place cannot be reached is no error
// here, but of Check and Write. host is the name of this machine, for syslog.
func Open(configs []Config, host string) (*Set, error) {
	s := &Set{}
	var names []string
	for i, c := range configs {
		sink, err := c.sink(host)
		switch {
		case c.Name == "":
			err = errors.New("it has no name")
		case slices.Contains(names, c.Name):
			err = errors.New("there is another one of that name")
		case c.Deadline < 0:
			err = errors.New("its deadline is negative")
		}
		if err != nil {
			name := c.Name
			if name == "" {
				name = fmt.Sprintf("number %d", i+1)
			}
			return nil, &vault.Error{Kind: vault.KindInvalid, Op: "audit device " + name, Detail: err.Error()}
		}
		names = append(names, c.Name)
		if c.Deadline == 0 {
			c.Deadline = DefaultDeadline
		}
		s.devices = append(s.devices, &device{
			Config: c, sink: sink,
			queue:   make(chan *job, maxQueue),
			closing: make(chan struct{}), closed: make(chan struct{}),
		})
	}
	for _, d := range s.devices {
		go d.run()
	}
	return s, nil
}

func (c Config) sink(host string) (sink, error) {
	n := 0
	for _, set := range []bool{c.File != nil, c.Syslog != nil, c.HTTP != nil} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return nil, errors.New("it is not one of file, syslog and http")
	case c.File != nil:
		return c.File.sink()
	case c.Syslog != nil:
		if c.Required && c.Syslog.Network == "udp" {
			return nil, errors.New("syslog over UDP cannot tell whether a line arrived: it cannot be required")
		}
		return c.Syslog.sink(host)
	}
	return c.HTTP.sink(host)
}

func (c Config) kind() string {
	switch {
	case c.File != nil:
		return "file"
	case c.Syslog != nil:
		return "syslog"
	}
	return "http"
}

// Write sends lines to every device, and returns when the required ones have
// them. If one has not, by its deadline, or cannot, the error names it and
// why; of several, the first. The lines may have reached other devices then.
func (s *Set) Write(ctx context.Context, lines ...audit.Line) error {
	jobs := make([]*job, len(s.devices))
	for i, d := range s.devices {
		if d.Required {
			jobs[i] = d.ask(lines)
		} else {
			d.offer(&job{lines: lines})
		}
	}
	var first error
	for i, d := range s.devices {
		if jobs[i] == nil {
			continue
		}
		if err := d.wait(ctx, jobs[i]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Check asks every device to make sure that it can be written to, and returns
// the errors of all, also of those that are best effort.
func (s *Set) Check(ctx context.Context) error {
	jobs := make([]*job, len(s.devices))
	for i, d := range s.devices {
		jobs[i] = d.ask(nil)
	}
	var all []error
	for i, d := range s.devices {
		all = append(all, d.wait(ctx, jobs[i]))
	}
	return errors.Join(all...)
}

// Reopen closes files and connections and opens them anew with the next line:
// what SIGHUP asks for after a rotation.
func (s *Set) Reopen() {
	for _, d := range s.devices {
		d.offer(&job{reopen: true})
	}
}

// Close sends what is waiting, for as long as ctx allows, and ends the devices. Nothing
// may be written meanwhile or after.
func (s *Set) Close(ctx context.Context) error {
	for _, d := range s.devices {
		close(d.closing)
	}
	var all []error
	for _, d := range s.devices {
		select {
		case <-d.closed:
			all = append(all, d.left())
		case <-ctx.Done():
			all = append(all, d.fail(errors.New("it did not take what was waiting for it")))
		}
	}
	return errors.Join(all...)
}

// Full is not nil while the disk of a required file is full and its reserve is
// being used up: changes should be refused then, with this error, so that what is left
// is there for reads and for the refusals.
func (s *Set) Full() error {
	for _, d := range s.devices {
		d.mu.Lock()
		low := d.health.Low
		d.mu.Unlock()
		if low && d.Required {
			return &vault.Error{Kind: vault.KindFull, Op: "audit device " + d.Name, Detail: "its disk is full: nothing is changed until there is room"}
		}
	}
	return nil
}

// Health is how a device is.
type Health struct {
	Name     string
	Type     string // file, syslog, http
	Required bool
	Problem  string    // why it does not take lines; "" if it does, or was not asked yet
	Since    time.Time // when the problem began
	Low      bool      // the disk of a file is full, and it lives on its reserve: see Full
	Last     time.Time // when it last took a line
	Written  uint64    // lines that it took
	Refused  uint64    // lines that a required device did not take: as many refused requests, or two for each
	Dropped  uint64    // lines that a best-effort device was not sent, or refused for good
	Waiting  int       // writes in its queue
}

// Health tells of every device, in the order of the configuration.
func (s *Set) Health() []Health {
	all := make([]Health, len(s.devices))
	for i, d := range s.devices {
		d.mu.Lock()
		h := d.health
		if h.Problem == "" && d.hangs() {
			h.Problem, h.Since = errHung.Error(), d.began
		}
		d.mu.Unlock()
		h.Name, h.Type, h.Required, h.Waiting = d.Name, d.kind(), d.Required, len(d.queue)
		all[i] = h
	}
	return all
}

// A device is a sink with the goroutine that uses it.
type device struct {
	Config
	sink    sink
	queue   chan *job
	closing chan struct{}
	closed  chan struct{}

	mu     sync.Mutex
	health Health
	began  time.Time // of what the sink is doing; zero if nothing
	lost   int       // lines that were still waiting when it was closed
}

// A job is lines to write; or none, to open the sink; or to reopen it.
type job struct {
	lines  []audit.Line
	reopen bool
	done   chan error // nil if nobody waits
}

var (
	errHung = errors.New("it hangs")
	errLate = errors.New("it did not take the entry in time")
	errBusy = errors.New("too many entries are waiting for it")
)

// offer queues a job that nobody waits for.
func (d *device) offer(j *job) {
	select {
	case d.queue <- j:
	default:
		d.count(func(h *Health) { h.Dropped += uint64(len(j.lines)) })
	}
}

// ask queues a job that is waited for, and answers it at once if there is no hope.
func (d *device) ask(lines []audit.Line) *job {
	j := &job{lines: lines, done: make(chan error, 1)}
	d.mu.Lock()
	hangs := d.hangs()
	d.mu.Unlock()
	if hangs {
		j.done <- errHung
		return j
	}
	select {
	case d.queue <- j:
	default:
		j.done <- errBusy
	}
	return j
}

func (d *device) wait(ctx context.Context, j *job) error {
	timer := time.NewTimer(d.Deadline)
	defer timer.Stop()
	var err error
	select {
	case err = <-j.done:
	case <-timer.C:
		err = errLate
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		return nil
	}
	d.count(func(h *Health) { h.Refused += uint64(len(j.lines)) })
	return d.fail(err)
}

// hangs reports that the sink has been at one thing for longer than it may:
// then there is no use in waiting again. The caller holds mu.
func (d *device) hangs() bool {
	return !d.began.IsZero() && time.Since(d.began) > d.Deadline+d.Deadline/4
}

func (d *device) count(f func(*Health)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.health)
}

// fail names the device and gives the error a kind that is the server's, and not the caller's.
func (d *device) fail(err error) error {
	kind := vault.KindUnavailable
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = vault.KindFull
	case errors.Is(err, syscall.EROFS):
		kind = vault.KindReadOnly
	}
	return &vault.Error{Kind: kind, Op: "audit device " + d.Name, Detail: reason(err)}
}

// reason says what is wrong in words, without addresses that net repeats.
func reason(err error) string {
	var pe *fs.PathError
	var oe *net.OpError
	var ue *url.Error
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	case errors.As(err, &ue):
		return reason(ue.Err)
	case errors.As(err, &pe):
		return pe.Op + " " + filepath.Base(pe.Path) + ": " + pe.Err.Error()
	case errors.As(err, &oe):
		return oe.Op + ": " + oe.Err.Error()
	}
	return err.Error()
}

// run is the goroutine of the device.
func (d *device) run() {
	defer close(d.closed)
	defer d.sink.reopen()
	var carried *job // taken from the queue, and too much for the batch before
	for {
		j := carried
		carried = nil
		if j == nil {
			select {
			case j = <-d.queue:
			case <-d.closing:
				select {
				case j = <-d.queue:
				default:
					return
				}
			}
		}
		if j.reopen {
			d.sink.reopen()
			continue
		}
		batch := []*job{j}
		lines := j.lines
		size := sizeOf(lines)
	gather:
		for len(j.lines) > 0 {
			select {
			case next := <-d.queue:
				size += sizeOf(next.lines)
				if next.reopen || len(next.lines) == 0 || len(lines)+len(next.lines) > maxLines || size > maxBytes {
					carried = next
					break gather
				}
				batch, lines = append(batch, next), append(slices.Clip(lines), next.lines...)
			default:
				break gather
			}
		}
		err := d.send(lines)
		for _, j := range batch {
			if j.done != nil {
				j.done <- err
			}
		}
		if err != nil && d.ends() {
			d.drop(carried)
			return
		}
	}
}

// ends reports that the device is being closed.
func (d *device) ends() bool {
	select {
	case <-d.closing:
		return true
	default:
		return false
	}
}

// drop counts what is still waiting as lost.
func (d *device) drop(j *job) {
	for {
		if j != nil {
			d.lose(len(j.lines))
		}
		select {
		case j = <-d.queue:
		default:
			return
		}
	}
}

func (d *device) lose(lines int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost += lines
	d.health.Dropped += uint64(lines)
}

func sizeOf(lines []audit.Line) (n int) {
	for _, l := range lines {
		n += len(l.String()) + 1
	}
	return n
}

// send writes lines: once if they are waited for, until it works if not.
func (d *device) send(lines []audit.Line) error {
	pause := 100 * time.Millisecond
	for {
		n, err := d.try(lines)
		lines = lines[n:]
		if err == nil || d.Required || len(lines) == 0 {
			return err
		}
		if errors.Is(err, errPermanent) {
			d.count(func(h *Health) { h.Dropped += uint64(len(lines)) })
			return err
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 10*time.Second)
		case <-d.closing: // one more, and then they are lost
			n, err := d.try(lines)
			if err != nil {
				d.lose(len(lines) - n)
			}
			return err
		}
	}
}

func (d *device) try(lines []audit.Line) (n int, err error) {
	d.mu.Lock()
	d.began = time.Now()
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), d.Deadline)
	defer cancel()
	if len(lines) == 0 {
		err = d.sink.open(ctx)
	} else {
		n, err = d.sink.write(ctx, lines)
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = time.Time{}
	h := &d.health
	h.Low = d.sink.low()
	h.Written += uint64(n)
	if n > 0 {
		h.Last = now
	}
	switch {
	case err == nil:
		h.Problem, h.Since = "", time.Time{}
	case h.Problem == "":
		h.Since = now
		fallthrough
	default:
		h.Problem = reason(err)
	}
	return n, err
}

func (d *device) left() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lost == 0 {
		return nil
	}
	return d.fail(fmt.Errorf("%d lines were not taken: %s", d.lost, d.health.Problem))
}

func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

package browser

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"envrun/auth"
)

// Bounds of the server on loopback.
const (
	headerTime = 5 * time.Second        // for a request to arrive
	partTime   = 500 * time.Millisecond // for the last page to leave
	maxHeader  = 32 << 10               // bytes
)

// Options say where to listen.
type Options struct {
	Port  int      // 0: any that is free
	Hosts []string // names in the redirect, the first of which is used; nil: 127.0.0.1. Only 127.0.0.1, ::1 and localhost
	Path  string   // "": /callback
}

// A Loopback is the server on this machine that a browser comes back to. It listens
// from Listen to Close, and takes answers from Expect on. It may be used by several
// goroutines.
type Loopback struct {
	redirect string
	path     string
	hosts    []string // that the Host header may be
	servers  []*http.Server
	answers  chan Answer   // holds the first
	ended    chan struct{} // closed once end is set

	mu    sync.Mutex
	state auth.Secret
	taken bool
	end   *Page
	pages sync.WaitGroup // that wait for the end or are on their way

	listeners []net.Listener
	serving   sync.WaitGroup
}

// Listen begins to listen. With localhost among the hosts it does so over IPv4 and,
// where there is any, IPv6, on one port.
func Listen(o Options) (*Loopback, error) {
	if len(o.Hosts) == 0 {
		o.Hosts = []string{"127.0.0.1"}
	}
	if o.Path == "" {
		o.Path = "/callback"
	}
	first, second := []string{"tcp4", "127.0.0.1"}, []string(nil)
	for _, host := range o.Hosts {
		switch host {
		case "127.0.0.1":
		case "localhost":
			second = []string{"tcp6", "::1"}
		case "::1":
			if second = []string{"tcp6", "::1"}; len(o.Hosts) == 1 {
				first, second = second, nil
			}
		default:
			return nil, fmt.Errorf("%.64q is not a name of this machine alone", host)
		}
	}
	one, err := net.Listen(first[0], net.JoinHostPort(first[1], strconv.Itoa(o.Port)))
	if err != nil {
		return nil, &PortError{o.Port, err}
	}
	listeners := []net.Listener{one}
	port := strconv.Itoa(one.Addr().(*net.TCPAddr).Port)
	if second != nil {
		// A machine without IPv6 has nobody who could come over it. On one that has it,
		// somebody else's server on this port must not get the answer.
		two, err := net.Listen(second[0], net.JoinHostPort(second[1], port))
		if err == nil {
			listeners = append(listeners, two)
		} else if hasIPv6() {
			_ = one.Close()
			return nil, &PortError{o.Port, err}
		}
	}
	l := &Loopback{path: o.Path, answers: make(chan Answer, 1), ended: make(chan struct{}), listeners: listeners}
	for _, host := range o.Hosts {
		l.hosts = append(l.hosts, net.JoinHostPort(host, port))
	}
	l.redirect = "http://" + l.hosts[0] + o.Path
	for _, on := range listeners {
		s := &http.Server{
			Handler: http.HandlerFunc(l.serve), ReadHeaderTimeout: headerTime, ReadTimeout: 2 * headerTime, IdleTimeout: headerTime,
			MaxHeaderBytes: maxHeader, ErrorLog: log.New(io.Discard, "", 0),
			DisableGeneralOptionsHandler: true,
		}
		l.servers = append(l.servers, s)
		l.serving.Go(func() { _ = s.Serve(on) })
	}
	return l, nil
}

func hasIPv6() bool {
	probe, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	_ = probe.Close()
	return true
}

// A PortError is a port that could not be listened on.
type PortError struct {
	Port int // 0: any
	Err  error
}

func (e *PortError) Error() string {
	if e.Port == 0 {
		return "there is no port to listen on: " + e.Err.Error()
	}
	return fmt.Sprintf("port %d cannot be listened on: %v", e.Port, e.Err)
}

func (e *PortError) Unwrap() error { return e.Err }

// Redirect is the address that a browser is to be sent back to.
func (l *Loopback) Redirect() string { return l.redirect }

// Expect says what the state of this sign-in is. Requests without it are not found.
func (l *Loopback) Expect(state auth.Secret) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

// Answers gives the first answer with the right state, once. The browser that brought
// it waits for End, as does every one that brings it again.
func (l *Loopback) Answers() <-chan Answer { return l.answers }

// Paste is ReadPasted for the state that is expected, and takes the answer.
func (l *Loopback) Paste(text string) error {
	l.mu.Lock()
	state := l.state
	l.mu.Unlock()
	a, err := ReadPasted(text, state)
	if err != nil {
		return err
	}
	l.take(a)
	return nil
}

func (l *Loopback) take(a Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.taken {
		l.taken = true
		l.answers <- a
	}
}

// End says how it ended, shows that to the browsers that wait, and closes. Only the
// first End counts.
func (l *Loopback) End(p Page) {
	l.mu.Lock()
	if l.end == nil {
		l.end = &p
		close(l.ended)
	}
	l.mu.Unlock()
	gone := make(chan struct{})
	go func() { l.pages.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(partTime):
	}
	for i, s := range l.servers {
		_ = s.Close()
		_ = l.listeners[i].Close() // a server that has not begun does not know its own
	}
	l.serving.Wait()
}

// Close ends without success, if End was not called.
func (l *Loopback) Close() { l.End(Page{}) }

func (l *Loopback) serve(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	if l.end != nil { // too late: nobody waits for this page
		l.mu.Unlock()
		notFound(w)
		return
	}
	l.pages.Add(1)
	state := l.state
	l.mu.Unlock()
	defer l.pages.Done()

	a, err := l.read(r, state)
	if err != nil {
		notFound(w)
		return
	}
	l.take(a)
	select {
	case <-l.ended:
		l.end.write(w)
	case <-r.Context().Done(): // the tab was closed; what it brought is taken all the same
	}
}

// read returns the answer that a request brings. All that can be wrong is answered
// alike: a page that guesses finds out nothing, not even that somebody signs in.
func (l *Loopback) read(r *http.Request, state auth.Secret) (Answer, error) {
	if !slices.Contains(l.hosts, r.Host) || r.URL.Path != l.path || r.URL.IsAbs() {
		return Answer{}, ErrForm
	}
	switch r.Method {
	case http.MethodGet:
		return parseAnswer(r.URL.RawQuery, state)
	case http.MethodPost: // response_mode=form_post
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" {
			return Answer{}, ErrForm
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxQuery+1))
		if err != nil {
			return Answer{}, errors.Join(ErrForm, err)
		}
		return parseAnswer(string(body), state)
	}
	return Answer{}, ErrForm
}

// same compares in a time that does not depend on where they differ, or how long
// they are.
func same(text string, want auth.Secret) bool {
	a, b := sha256.Sum256([]byte(text)), sha256.Sum256([]byte(want.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Wait returns the first answer, or why there is none.
func (l *Loopback) Wait(ctx context.Context) (Answer, error) {
	select {
	case a := <-l.answers:
		return a, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

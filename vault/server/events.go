package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"envrun/auth/token"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// events is sys/events, which is ours alone: a stream of what happens to secrets,
// without values (server-sent events). Every good token may ask, because before
// each event it is looked up anew and its policies decide whether it is told: who
// may read the secret, its version or its names, or list the folder that it is in.
//
// The request is recorded when the stream begins, before anything goes out. The
// stream ends when the token is revoked or expires, when the server is sealed or
// stops, or when the client takes nothing any more.
type events struct {
	hub *hub
	now func() time.Time
}

// Bounds of streams.
const (
	maxStreams      = 256                   // in all
	maxStreamsToken = 8                     // of one token
	maxPending      = 256                   // events that wait for one client; more are "read again"
	maxKept         = 1024                  // events that a client which comes back is told of
	gather          = 50 * time.Millisecond // that events are held back, so that many cost one decision
	streamPatience  = 20 * time.Second      // that a client takes to take an event
	defaultBeat     = 15 * time.Second
)

func (e events) area() area {
	return area{{path: "events", read: e.open, private: true, note: noteEvents}}
}

func noteEvents(req *guard.Request, _ []string) audit.Data {
	mount, _ := req.Params["mount"].(string)
	return audit.Data{Environment: strings.Trim(mount, "/")}
}

func (e events) open(c *call, _ []string) (*answer, error) {
	in, _, err := body[struct {
		Mount string `json:"mount"`
	}](c)
	if err != nil {
		return nil, err
	}
	if c.Request().Wrap > 0 {
		return nil, bad("a stream cannot be wrapped")
	}
	if !e.hub.room(c.Token().ID) {
		return nil, errStreams
	}
	s := &stream{hub: e.hub, now: e.now, look: c.Look, token: *c.Token(), mount: strings.Trim(in.Mount, "/"), last: c.Request().Last}
	return &answer{Status: http.StatusOK, Body: &reply{stream: s}}, nil
}

var errStreams = problem(http.StatusTooManyRequests, "too many streams at a time")

// told says in the transaction of a change what it was.
func told(tx Tx, e wire.Change) error {
	text, err := encode(e)
	if err != nil {
		return err
	}
	return tx.Notify(string(text))
}

// A hub hands events out to the streams of this server.
type hub struct {
	id   string // of this hub: numbers of another one's events say nothing here
	beat time.Duration

	mu     sync.Mutex
	ended  chan struct{} // closed when all streams are to end
	closed bool
	last   uint64 // number of the last event
	kept   []numbered
	subs   map[*subscriber]bool
	of     map[token.ID]int
}

// numbered is an event; without a change it says to read again.
type numbered struct {
	n uint64
	*wire.Change
}

type subscriber struct {
	token   token.ID
	wake    chan struct{}
	pending []numbered
}

func newHub(beat time.Duration) *hub {
	if beat == 0 {
		beat = defaultBeat
	}
	return &hub{id: newUUID()[:8], beat: beat, ended: make(chan struct{}), subs: map[*subscriber]bool{}, of: map[token.ID]int{}}
}

// heard takes what Notify was told.
func (h *hub) heard(text string, missed bool) {
	var c *wire.Change
	if !missed {
		// What is no change says that mounts or policies are different.
		if c = new(wire.Change); json.Unmarshal([]byte(text), c) != nil || c.What == "" || c.What == wire.EventAgain {
			c = nil
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e := numbered{h.last, c}
	if len(h.kept) == maxKept {
		copy(h.kept, h.kept[1:])
		h.kept = h.kept[:maxKept-1]
	}
	h.kept = append(h.kept, e)
	for s := range h.subs {
		s.add(e)
	}
}

func (s *subscriber) add(e numbered) {
	if len(s.pending) == maxPending {
		s.pending = append(s.pending[:0], numbered{n: e.n})
	} else {
		s.pending = append(s.pending, e)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (h *hub) room(id token.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.closed && len(h.subs) < maxStreams && h.of[id] < maxStreamsToken
}

// join adds a subscriber, with the events since the one that a client had last, or
// with "read again" if those are not known any more. nil if there is no room.
func (h *hub) join(id token.ID, last string) (*subscriber, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.subs) >= maxStreams || h.of[id] >= maxStreamsToken {
		return nil, 0
	}
	s := &subscriber{token: id, wake: make(chan struct{}, 1)}
	if last != "" {
		text, mine := strings.CutPrefix(last, h.id+"-")
		n, err := strconv.ParseUint(text, 10, 64)
		if since := h.last - n; !mine || err != nil || n > h.last || since > uint64(len(h.kept)) {
			s.add(numbered{n: h.last})
		} else {
			for _, e := range h.kept[uint64(len(h.kept))-since:] {
				s.add(e)
			}
		}
	}
	h.subs[s] = true
	h.of[id]++
	return s, h.last
}

func (h *hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
	if h.of[s.token]--; h.of[s.token] == 0 {
		delete(h.of, s.token)
	}
}

// take gives what waits.
func (h *hub) take(s *subscriber) []numbered {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := s.pending
	s.pending = nil
	return all
}

// end ends all streams, and lets none begin.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.ended)
	}
}

// streams is how many there are.
func (h *hub) streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// A stream is one client's.
type stream struct {
	hub   *hub
	now   func() time.Time
	look  func(context.Context) (*policy.ACL, error) // guard.Call.Look
	token token.Token
	mount string // "": all
	last  string // Last-Event-ID
}

// run writes events until there is nobody to write for.
func (s *stream) run(ctx context.Context, w http.ResponseWriter) {
	sub, n := s.hub.join(s.token.ID, s.last)
	if sub == nil {
		writeError(w, nil, errStreams)
		return
	}
	defer s.hub.leave(sub)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy that keeps events back makes them late
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	_ = out.SetReadDeadline(time.Time{}) // the request is read; a stream has no end of its own
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(streamPatience))
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if s.last == "" && !send(s.event(n, wire.EventReady, "{}")) || s.last != "" && !send(fmt.Sprintf("event: %s\ndata: {}\n\n", wire.EventReady)) {
		return
	}
	beat := time.NewTicker(s.hub.beat)
	defer beat.Stop()
	var expiry <-chan time.Time
	if !s.token.Expires.IsZero() {
		t := time.NewTimer(s.token.Expires.Sub(s.now()))
		defer t.Stop()
		expiry = t.C
	}
	for {
		text := ": still there\n\n"
		select {
		case <-ctx.Done():
			return
		case <-s.hub.ended:
			return
		case <-expiry: // it may have been renewed: that is looked up
			expiry = nil
		case <-beat.C:
		case <-sub.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(gather):
			}
			text = ""
		}
		acl, err := s.look(ctx)
		if err != nil {
			return // the token is not good any more, or there is no knowing
		}
		for _, e := range s.hub.take(sub) {
			switch c := s.shown(acl, e.Change); {
			case e.Change == nil:
				text += s.event(e.n, wire.EventAgain, "{}")
			case c != nil:
				data, err := encode(c)
				if err != nil {
					return
				}
				text += s.event(e.n, wire.EventChange, strings.TrimSuffix(string(data), "\n"))
			}
		}
		if text != "" && !send(text) {
			return
		}
	}
}

func (s *stream) event(n uint64, name, data string) string {
	return fmt.Sprintf("id: %s-%d\nevent: %s\ndata: %s\n\n", s.hub.id, n, name, data)
}

// shown is what of a change the policies let a client know, nil if nothing.
func (s *stream) shown(acl *policy.ACL, c *wire.Change) *wire.Change {
	if c == nil || s.mount != "" && c.Mount != s.mount {
		return nil
	}
	may := func(op policy.Op, area, path string) bool {
		return acl.Decide(policy.Request{Op: op, Path: c.Mount + "/" + area + "/" + path, Now: s.now()}).Allowed
	}
	if may(policy.OpRead, "data", c.Path) || may(policy.OpRead, "subkeys", c.Path) || may(policy.OpRead, "metadata", c.Path) {
		return c
	}
	if !may(policy.OpList, "metadata", c.Path[:strings.LastIndexByte(c.Path, '/')+1]) {
		return nil
	}
	less := *c
	less.Version = 0
	return &less
}

// EndStreams ends the streams of sys/events: a server that stops does not wait for
// them.
func (s *Server) EndStreams() {
	if o := s.open.Load(); o != nil {
		o.hub.end()
	}
}

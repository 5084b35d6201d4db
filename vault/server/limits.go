package server

import (
	"context"
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"envrun/vault/audit"
	"envrun/vault/guard"
)

// Limits are how many requests one client may make. A rate of 0 is no limit.
type Limits struct {
	Rate  float64 // a second, with one good token
	Burst int     // at once, before the rate holds

	// The same for one address without a token, or with one that is not good. All
	// addresses together may make 20 times as many.
	UnknownRate  float64
	UnknownBurst int
}

// Bounds of what a limiter remembers.
const (
	maxClients  = 10_000 // tokens, and as many addresses
	maxSources  = 8      // that are named in the log; what others were refused is added up
	togetherFor = 20     // addresses
)

// A bucket is what a client has left: it fills at a rate, up to a burst.
type bucket struct {
	left float64
	at   time.Time
}

// fill is what is there at a time.
func (b *bucket) fill(now time.Time, rate, burst float64) {
	if b.at.IsZero() {
		b.left = burst
	} else if d := now.Sub(b.at); d > 0 {
		b.left = min(burst, b.left+d.Seconds()*rate)
	}
	b.at = now
}

// limiter counts the requests of clients. A token that was good lately counts by
// itself. All others count by their address, so that whoever tries tokens is slowed
// down and those who share the address and have a good token are not.
//
// It keeps no token. What it keeps has a bound: where there are more addresses
// than that, those that are new share one bucket.
type limiter struct {
	Limits
	seed maphash.Seed

	mu      sync.Mutex
	tokens  map[uint64]*bucket // by their hash
	addrs   map[netip.Prefix]*bucket
	all     bucket // of all addresses
	crowd   bucket // of those for which there was no room
	refused map[source]int64

	byToken, byAddress atomic.Uint64 // refused so far
}

// A source is who was refused.
type source struct {
	addr  netip.Addr
	token audit.Hashed
}

func newLimiter(l Limits) *limiter {
	if l.Rate <= 0 && l.UnknownRate <= 0 {
		return nil
	}
	return &limiter{Limits: l, seed: maphash.MakeSeed(), tokens: map[uint64]*bucket{}, addrs: map[netip.Prefix]*bucket{}, refused: map[source]int64{}}
}

// network is what counts as one address: of IPv6 a whole subnet, which is what one
// client has.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// A pass is what a request was let in on.
type pass struct {
	known uint64 // the hash of the token, if it was good lately
}

// enter counts a request. If it is refused, wait is how long the client should.
func (l *limiter) enter(now time.Time, req *guard.Request, hash func(string) audit.Hashed) (p pass, wait time.Duration) {
	addr := req.Addr.Addr()
	l.mu.Lock()
	defer l.mu.Unlock()
	if req.Token != "" {
		key := maphash.String(l.seed, req.Token)
		if b := l.tokens[key]; b != nil {
			if l.Rate <= 0 {
				return pass{known: key}, 0
			}
			b.fill(now, l.Rate, float64(l.Burst))
			if b.left >= 1 {
				b.left--
				return pass{known: key}, 0
			}
			l.byToken.Add(1)
			l.refuse(addr, req.Token, hash)
			return p, after(1-b.left, l.Rate)
		}
	}
	if l.UnknownRate <= 0 {
		return p, 0
	}
	b := l.of(now, addr)
	l.all.fill(now, togetherFor*l.UnknownRate, togetherFor*float64(l.UnknownBurst))
	if b.left >= 1 && l.all.left >= 1 {
		if req.Token == "" { // a token may be good: it counts when it is not
			b.left--
			l.all.left--
		}
		return p, 0
	}
	l.byAddress.Add(1)
	l.refuse(addr, "", hash)
	return p, max(after(1-b.left, l.UnknownRate), after(1-l.all.left, togetherFor*l.UnknownRate))
}

func after(missing, rate float64) time.Duration {
	if missing <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(missing/rate)) * time.Second
}

// of is the bucket of an address.
func (l *limiter) of(now time.Time, addr netip.Addr) *bucket {
	key := network(addr)
	b := l.addrs[key]
	if b == nil && len(l.addrs) >= maxClients {
		// Those that have all they may have are as if they had never come.
		for k, o := range l.addrs {
			if o.fill(now, l.UnknownRate, float64(l.UnknownBurst)); o.left >= float64(l.UnknownBurst) {
				delete(l.addrs, k)
			}
		}
		if len(l.addrs) >= maxClients {
			l.crowd.fill(now, l.UnknownRate, float64(l.UnknownBurst))
			return &l.crowd
		}
	}
	if b == nil {
		b = new(bucket)
		l.addrs[key] = b
	}
	b.fill(now, l.UnknownRate, float64(l.UnknownBurst))
	return b
}

// leave says what the token of a request that was let in turned out to be. Many that
// are not good may have been let in at the same time: their address then owes.
func (l *limiter) leave(now time.Time, p pass, req *guard.Request) {
	if req.Token == "" || p.known != 0 && req.Good {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !req.Good {
		if p.known != 0 { // it was
			delete(l.tokens, p.known)
		}
		if l.UnknownRate > 0 {
			l.of(now, req.Addr.Addr()).left--
			l.all.left--
		}
		return
	}
	if len(l.tokens) >= maxClients {
		clear(l.tokens) // each comes back with its next request
	}
	key := maphash.String(l.seed, req.Token)
	b := l.tokens[key] // of another request with it
	if b == nil {
		b = new(bucket)
		l.tokens[key] = b
	}
	b.fill(now, l.Rate, float64(l.Burst))
	b.left--
}

// refuse notes a refusal for the log.
func (l *limiter) refuse(addr netip.Addr, token string, hash func(string) audit.Hashed) {
	s := source{addr: addr}
	if token != "" {
		s.token = hash(token)
	}
	if _, ok := l.refused[s]; !ok && len(l.refused) >= maxSources {
		s = source{}
	}
	l.refused[s]++
}

// RecordLimited writes to the audit log what was refused by a limit since it was
// called last: one entry for each source, with how many, and one for all that were
// more than a few. Call it every now and then, and at the end.
func (s *Server) RecordLimited(ctx context.Context) error {
	o, l := s.open.Load(), s.limits
	if o == nil || l == nil {
		return nil
	}
	l.mu.Lock()
	refused := l.refused
	l.refused = map[source]int64{}
	l.mu.Unlock()
	if len(refused) == 0 {
		return nil
	}
	all := make([]guard.Limited, 0, len(refused))
	for from, n := range refused {
		all = append(all, guard.Limited{ID: newUUID(), Addr: from.addr, Token: from.token, Count: n})
	}
	err := o.guard.RecordLimited(ctx, all)
	if err != nil { // they are for the next time
		l.mu.Lock()
		defer l.mu.Unlock()
		for from, n := range refused {
			if _, ok := l.refused[from]; !ok && len(l.refused) >= maxSources {
				from = source{}
			}
			l.refused[from] += n
		}
	}
	return err
}

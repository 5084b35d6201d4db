package server

import (
	"context"
	"hash/maphash"
	"math"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/policy"
)

// Limits are how many requests one client may make. A rate of 0 is no limit.
type Limits struct {
	Rate  float64 // a second, with one good token
	Burst int     // at once, before the rate holds

	// The same for one address without a token, or with one that is not good. All
	// addresses together may make 20 times as many.
	UnknownRate  float64
	UnknownBurst int

	// Signing in counts by itself, before anything of what is brought is looked at:
	// for one address at one mount, so that who tries one way in shuts no other,
	LoginRate  float64
	LoginBurst int
	// and for all addresses at one mount, but those that somebody signed in from
	// within the last hour.
	MountRate  float64
	MountBurst int
}

// Bounds of what a limiter remembers.
const (
	maxClients  = 10_000 // tokens, and as many addresses
	maxSources  = 8      // that are named in the log; what others were refused is added up
	togetherFor = 20     // addresses
	maxDoors    = 1_000  // mounts that are signed in at
	wellKnown   = time.Hour
)

// A bucket is what a client has left: it fills at a rate, up to a burst.
type bucket struct {
	left float64
	at   time.Time
	good time.Time // when somebody signed in from there; zero: never
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
	addrs   addresses
	all     bucket           // of all addresses
	doors   map[string]*door // by the id of the mount
	refused map[source]int64

	byToken, byAddress, byLogin atomic.Uint64 // refused so far
}

// A door is where people sign in: one mount.
type door struct {
	addresses
	all bucket
}

// addresses are the buckets of addresses, of which those for which there was no room
// share one.
type addresses struct {
	rate, burst float64
	by          map[netip.Prefix]*bucket
	crowd       bucket
}

func newAddresses(rate float64, burst int) addresses {
	return addresses{rate: rate, burst: float64(burst), by: map[netip.Prefix]*bucket{}}
}

// A source is who was refused.
type source struct {
	addr  netip.Addr
	token audit.Hashed
	mount string // that was to be signed in at
}

func newLimiter(l Limits) *limiter {
	if l.Rate <= 0 && l.UnknownRate <= 0 && l.LoginRate <= 0 && l.MountRate <= 0 {
		return nil
	}
	return &limiter{
		Limits: l, seed: maphash.MakeSeed(), tokens: map[uint64]*bucket{}, addrs: newAddresses(l.UnknownRate, l.UnknownBurst),
		doors: map[string]*door{}, refused: map[source]int64{},
	}
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
	b := l.addrs.of(now, addr)
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
func (a *addresses) of(now time.Time, addr netip.Addr) *bucket {
	key := network(addr)
	b := a.by[key]
	if b == nil && len(a.by) >= maxClients {
		// Those that have all they may have are as if they had never come.
		for k, o := range a.by {
			if o.fill(now, a.rate, a.burst); o.left >= a.burst {
				delete(a.by, k)
			}
		}
		if len(a.by) >= maxClients {
			a.crowd.fill(now, a.rate, a.burst)
			return &a.crowd
		}
	}
	if b == nil {
		b = new(bucket)
		a.by[key] = b
	}
	b.fill(now, a.rate, a.burst)
	return b
}

// signIn counts a try to sign in at a mount. If it is refused, wait is how long the
// client should.
func (l *limiter) signIn(now time.Time, m *mount, addr netip.Addr) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.doors[m.UUID]
	if d == nil {
		if len(l.doors) >= maxDoors {
			clear(l.doors) // some are of mounts that are gone
		}
		d = &door{addresses: newAddresses(l.LoginRate, l.LoginBurst)}
		l.doors[m.UUID] = d
	}
	b := d.of(now, addr)
	d.all.fill(now, l.MountRate, float64(l.MountBurst))
	one := l.LoginRate > 0
	all := l.MountRate > 0 && (b.good.IsZero() || now.Sub(b.good) > wellKnown)
	if one && b.left < 1 {
		wait = after(1-b.left, l.LoginRate)
	}
	if all && d.all.left < 1 {
		wait = max(wait, after(1-d.all.left, l.MountRate))
	}
	if wait > 0 {
		l.byLogin.Add(1)
		l.count(source{addr: addr, mount: "auth/" + m.Path})
		return wait
	}
	if one {
		b.left--
	}
	if all {
		d.all.left--
	}
	return 0
}

// signedIn says that somebody did, at a mount and from an address.
func (l *limiter) signedIn(now time.Time, m *mount, addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := l.doors[m.UUID]; d != nil {
		if b := d.of(now, addr); b != &d.crowd {
			b.good = now
		}
	}
}

// door is the mount that a request is to sign in at, nil if it is not: as the mounts
// were when they were looked at last, which is all that a limit needs.
func (t *tables) door(req *guard.Request) *mount {
	below, ok := strings.CutPrefix(req.Path, "auth/")
	if !ok || req.Op != policy.OpUpdate {
		return nil
	}
	t.mu.Lock()
	last := t.last
	t.mu.Unlock()
	if last == nil {
		return nil
	}
	if m, rest := at(last.auth, below); rest == "login" {
		return m
	}
	return nil
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
			l.addrs.of(now, req.Addr.Addr()).left--
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
	l.count(s)
}

func (l *limiter) count(s source) {
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
		all = append(all, guard.Limited{ID: newUUID(), Addr: from.addr, Token: from.token, Mount: from.mount, Count: n})
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

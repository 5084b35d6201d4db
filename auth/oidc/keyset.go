package oidc

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// How long keys are used, and how often an issuer is asked (auth §4.2).
const (
	minFresh        = 5 * time.Minute
	maxFresh        = time.Hour // the longest that a withdrawn key goes on being taken
	DefaultMaxStale = 24 * time.Hour

	rediscover  = 24 * time.Hour
	askUnknown  = 30 * time.Second // at most one question per key id that is not known
	forgetMiss  = time.Minute
	maxMisses   = 4096
	retryFailed = 5 * time.Second
)

// A Source is where the keys of an issuer come from.
type Source struct {
	Issuer  string // discovery is at its well-known address
	JWKSURL string // instead of discovery, if set

	Roots        *x509.CertPool // of the issuer's TLS; nil: the system's
	AllowPrivate bool           // addresses inside may be asked, and http on this machine
	Hosts        []string       // that the keys may be on, beside the issuer's own

	MaxStale time.Duration // how long keys are used after they could last be had; 0: DefaultMaxStale
	Now      func() time.Time

	// Save keeps what was fetched, so that a restart while the issuer is down does
	// not end sign-in. It is called by one goroutine at a time and must not block
	// for long; nil keeps nothing.
	Save func(Saved)
	// Failed hears why the keys could not be fetched; nil ignores it.
	Failed func(error)
}

// Saved is what a KeySet fetched. All of it is public.
type Saved struct {
	Issuer     string          `json:"issuer"`
	JWKSURL    string          `json:"jwks_url"`
	Discovered time.Time       `json:"discovered,omitzero"`
	Keys       json.RawMessage `json:"keys"` // the JWKS as it came
	Fetched    time.Time       `json:"fetched"`
	Fresh      time.Duration   `json:"fresh"`
}

// A KeySet is the keys of one issuer, fetched when they are needed, used for as
// long as the issuer says but no longer than an hour, and while it cannot be
// reached for MaxStale. A question for a key that is not there makes it ask the
// issuer at most once in 30 seconds, however many ask. It may be used by several
// goroutines.
type KeySet struct {
	from  Source
	fetch *fetcher
	one   singleflight.Group

	mu     sync.Mutex
	saved  Saved
	keys   []Key
	tried  time.Time            // the last time the issuer was asked
	failed error                // how that went
	misses map[string]time.Time // key ids that were not there
}

// NewKeySet returns the keys of an issuer. It asks nobody yet. was is what was
// saved before, if anything.
func NewKeySet(from Source, was *Saved) *KeySet {
	k := &KeySet{from: from, fetch: newFetcher(from.Roots, from.AllowPrivate), misses: map[string]time.Time{}}
	if k.from.MaxStale == 0 {
		k.from.MaxStale = DefaultMaxStale
	}
	if was != nil && from.Issuer == was.Issuer && (from.JWKSURL == "" || from.JWKSURL == was.JWKSURL) {
		if keys, err := ParseJWKS(was.Keys); err == nil {
			k.saved, k.keys = *was, keys
		}
	}
	return k
}

// Find returns the keys with an id; for "" the only one there is.
func (k *KeySet) Find(ctx context.Context, id string) ([]Key, error) {
	now := k.from.Now()
	k.mu.Lock()
	age := now.Sub(k.saved.Fetched)
	none, stale, late := k.keys == nil || age > k.from.MaxStale, age > k.saved.Fresh, age > k.saved.Fresh*3/4
	rested, failed := now.Sub(k.tried) >= retryFailed, k.failed != nil
	k.mu.Unlock()
	switch {
	case none && failed && !rested:
		return nil, refuse(ReasonIssuerOut, "the issuer's keys could not be had a moment ago")
	case none, stale && rested:
		if err := k.refresh(ctx); err != nil && none {
			return nil, refuse(ReasonIssuerOut, err.Error())
		}
	case late && rested:
		// Nobody waits for it.
		k.one.DoChan("", func() (any, error) { return nil, k.load(context.WithoutCancel(ctx)) })
	}
	keys, ask := k.lookup(id, now)
	if ask {
		if err := k.refresh(ctx); err != nil {
			return nil, refuse(ReasonKey, "the issuer has no such key, as far as is known")
		}
		if keys, _ = k.lookup(id, now); len(keys) == 0 {
			k.miss(id, now)
		}
	}
	if len(keys) == 0 {
		if id == "" {
			return nil, refuse(ReasonKey, "the token names none, and the issuer has several")
		}
		return nil, refuse(ReasonKey, "the issuer has no such key")
	}
	return keys, nil
}

// lookup returns the keys with an id, and whether the issuer may be asked for it.
func (k *KeySet) lookup(id string, now time.Time) (keys []Key, ask bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id == "" {
		if len(k.keys) == 1 {
			return k.keys, false
		}
		return nil, false
	}
	for _, key := range k.keys {
		if key.ID == id {
			keys = append(keys, key)
		}
	}
	if len(keys) > 0 {
		return keys, false
	}
	missed, known := k.misses[id]
	return nil, (!known || now.Sub(missed) >= forgetMiss) && now.Sub(k.tried) >= askUnknown
}

func (k *KeySet) miss(id string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.misses) >= maxMisses {
		clear(k.misses)
	}
	k.misses[id] = now
}

// Refresh asks the issuer now, whatever is known: after a key was withdrawn.
func (k *KeySet) Refresh(ctx context.Context) error { return k.refresh(ctx) }

// refresh asks the issuer, once for all who ask at the same time. Who gives up
// waiting does not end it for the others.
func (k *KeySet) refresh(ctx context.Context) error {
	done := k.one.DoChan("", func() (any, error) { return nil, k.load(context.WithoutCancel(ctx)) })
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return errors.New("the issuer did not answer in time")
	}
}

// load asks the issuer. What it had before stays when that fails.
func (k *KeySet) load(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*fetchTime)
	defer cancel()
	now := k.from.Now()
	k.mu.Lock()
	k.tried = now
	next := k.saved
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.failed = err
		k.mu.Unlock()
		if err != nil && k.from.Failed != nil {
			k.from.Failed(err)
		}
	}()
	switch {
	case k.from.JWKSURL != "":
		next.JWKSURL = k.from.JWKSURL
	case next.JWKSURL == "" || now.Sub(next.Discovered) > rediscover:
		found, err := k.fetch.discover(ctx, k.from.Issuer, k.from.Hosts)
		if err != nil {
			return err
		}
		next.JWKSURL, next.Discovered = found, now
	}
	text, fresh, err := k.fetch.get(ctx, "the key set", next.JWKSURL)
	if err != nil {
		return err
	}
	keys, err := ParseJWKS(text)
	if err != nil {
		return err
	}
	if fresh == 0 {
		fresh = maxFresh
	}
	next.Issuer = k.from.Issuer
	next.Keys, next.Fetched, next.Fresh = text, now, min(max(fresh, minFresh), maxFresh)
	k.mu.Lock()
	k.saved, k.keys = next, keys
	clear(k.misses)
	k.mu.Unlock()
	if k.from.Save != nil {
		k.from.Save(next)
	}
	return nil
}

// Status is how a KeySet fares, for operators.
type Status struct {
	Keys    []string  // the ids
	Fetched time.Time // zero: never
	Tried   time.Time // zero: not since the start
	Failed  error     // of the last try
}

// Status says how it fares.
func (k *KeySet) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Status{Fetched: k.saved.Fetched, Tried: k.tried, Failed: k.failed}
	for _, key := range k.keys {
		s.Keys = append(s.Keys, key.ID)
	}
	slices.Sort(s.Keys)
	return s
}

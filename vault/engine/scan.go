package engine

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"envrun/vault"
	"envrun/vault/parallel"
	"envrun/vault/record"
)

// What a scan holds in memory at once.
const (
	scanRecords  = 64 // in a portion
	scanBytes    = 2 << 20
	scanPortions = 8
)

// found is the outcome of one path in a walk over an environment.
type found struct {
	path   vault.Path
	opened opened             // zero if err is set, or if only the seal remembers the path
	values []vault.Field      // if asked for
	entry  record.SealedEntry // how a seal lists it, if err is nil
	err    error              // with its place
}

// each checks every record of heads, in their order and on all processors, and
// then the sealed paths at or below prefix that heads had not. A tombstone that
// only the seal remembers is found right.
func (v view) each(ctx context.Context, heads iter.Seq2[Record, error], prefix vault.Path, values bool, yield func(found) bool) error {
	last, err := v.seal.parsed()
	if err != nil {
		return err
	}
	return v.e.walk(ctx, v.env, heads, bySealedPath(last, prefix), func(r Record) (opened, []vault.Field, error) {
		o, err := v.e.openWith(v.env, v.key, r.Path, r.Raw)
		if err != nil || !values {
			return o, nil, err
		}
		fields, err := o.values()
		return o, fields, err
	}, yield)
}

// bySealedPath has the lines of a seal at or below prefix.
func bySealedPath(s *record.Seal, prefix vault.Path) map[vault.Path]record.SealedEntry {
	m := make(map[vault.Path]record.SealedEntry, len(s.Entries))
	for _, entry := range s.Entries {
		if prefix == "" || entry.Path == prefix || strings.HasPrefix(string(entry.Path), string(prefix)+"/") {
			m[entry.Path] = entry
		}
	}
	return m
}

// A portion is some heads of a walk, and what came of each.
type portion struct {
	found   []found
	records []Record // of the same numbers
	size    int      // of them all, in bytes
	checked chan error
}

func (p *portion) full() bool { return len(p.found) == scanRecords || p.size >= scanBytes }

// workers check portions, each by itself, on all processors.
type workers struct {
	ctx   context.Context
	check func(Record) found

	queue chan *portion // nil before the first
	group sync.WaitGroup
	ended atomic.Bool
}

// give has a portion checked. No more than scanPortions are under way.
func (w *workers) give(p *portion) {
	if w.queue == nil {
		w.queue = make(chan *portion, scanPortions)
		for range runtime.GOMAXPROCS(0) {
			w.group.Go(func() {
				for p := range w.queue {
					w.all(p)
				}
			})
		}
	}
	p.checked = make(chan error, 1)
	w.queue <- p
}

// help checks what no worker has begun with.
func (w *workers) help() {
	for {
		select {
		case p := <-w.queue:
			w.all(p)
		default:
			return
		}
	}
}

func (w *workers) all(p *portion) {
	for i := range p.found {
		if err := w.ctx.Err(); err != nil || w.ended.Load() {
			p.checked <- err
			return
		}
		w.one(p, i)
	}
	p.checked <- nil
}

func (w *workers) one(p *portion, i int) {
	if p.found[i].err == nil {
		p.found[i] = w.check(p.records[i])
	}
}

// end waits for the workers, who leave what they have not begun with.
func (w *workers) end() {
	w.ended.Store(true)
	if w.queue != nil {
		close(w.queue)
	}
	w.group.Wait()
}

// walk opens every head, holds it against the seal, and yields the outcomes;
// then it yields what is sealed and was not there. open runs on all processors,
// also while other heads are read and others yielded. No more than scanPortions
// are held at once.
//
// Nobody waits for anybody as long as there is work: on a machine that is busy
// with other things, to be woken takes as long as to open a hundred records.
func (e *Engine) walk(ctx context.Context, env vault.Env, heads iter.Seq2[Record, error], sealed map[vault.Path]record.SealedEntry, open func(Record) (opened, []vault.Field, error), yield func(found) bool) error {
	check := func(r Record) found {
		o, fields, err := open(r)
		if s, ok := sealed[r.Path]; ok && err == nil {
			err = dominates(s, o.Version, o.hash)
		}
		if err != nil {
			return found{path: r.Path, err: e.locate(err, env, r.Path)}
		}
		return found{
			path:   r.Path,
			opened: o,
			values: fields,
			entry:  record.SealedEntry{Path: r.Path, Version: o.Version, Hash: o.hash, Deleted: o.Deleted},
		}
	}
	w := workers{ctx: ctx, check: check}
	defer w.end()
	var (
		reading = &portion{}
		under   []*portion // under way, in order
		spare   []*portion
		seen    = make(map[vault.Path]bool)
	)
	// first yields the first portion under way, once it is checked.
	first := func() (goOn bool, _ error) {
		p := under[0]
		if err := cmp.Or(<-p.checked, ctx.Err()); err != nil {
			return false, err
		}
		for _, f := range p.found {
			if !yield(f) {
				return false, nil
			}
		}
		clear(p.found)
		clear(p.records)
		p.found, p.records, p.size = p.found[:0], p.records[:0], 0
		under, spare = append(under[:0], under[1:]...), append(spare, p)
		return true, nil
	}
	for r, err := range heads {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && seen[r.Path] {
			err = tampered("is there twice")
		}
		if err != nil && r.Path == "" && vault.KindOf(err) == vault.KindNoEnv {
			return err
		}
		seen[r.Path] = true
		reading.found = append(reading.found, found{path: r.Path, err: e.locate(err, env, r.Path)})
		reading.records = append(reading.records, r)
		if reading.size += len(r.Raw); !reading.full() {
			continue
		}
		w.give(reading)
		under = append(under, reading)
		if len(under) == scanPortions-1 {
			if goOn, err := first(); !goOn {
				return err
			}
		}
		if n := len(spare); n > 0 {
			reading, spare = spare[n-1], spare[:n-1]
		} else {
			reading = &portion{}
		}
	}
	if len(under) == 0 { // there is no other
		reading.checked = make(chan error, 1)
		reading.checked <- parallel.Do(ctx, len(reading.found), runtime.GOMAXPROCS(0), func(i int) error { w.one(reading, i); return nil })
	} else {
		w.give(reading)
	}
	under = append(under, reading)
	w.help()
	for len(under) > 0 {
		if goOn, err := first(); !goOn {
			return err
		}
	}
	var missing []vault.Path
	for path := range sealed {
		if !seen[path] {
			missing = append(missing, path)
		}
	}
	slices.Sort(missing)
	for _, path := range missing {
		f := found{path: path, entry: sealed[path]}
		if !f.entry.Deleted {
			f.err = e.locate(behindSeal(f.entry, 0), env, path)
		}
		if !yield(f) {
			return nil
		}
	}
	return nil
}

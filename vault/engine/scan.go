package engine

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"envrun/vault"
	"envrun/vault/record"
)

// What a scan holds in memory at once.
const (
	scanRecords = 256
	scanBytes   = 8 << 20
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
		fields, err := v.e.values(o)
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
}

func (p *portion) full() bool { return len(p.found) == scanRecords || p.size >= scanBytes }

// walk opens every head, holds it against the seal, and yields the outcomes;
// then it yields what is sealed and was not there. open runs on all processors,
// while the heads of the next portion are read but never while yield runs, and
// no more than two portions are held at once.
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
	checkAll := func(p *portion) error {
		return inParallel(ctx, len(p.found), func(i int) error {
			if p.found[i].err == nil {
				p.found[i] = check(p.records[i])
			}
			return nil
		})
	}
	// finish yields a portion once it is checked, as checked says, and empties it.
	finish := func(p *portion, checked error) (goOn bool, _ error) {
		if checked != nil {
			return false, checked
		}
		for _, f := range p.found {
			if !yield(f) {
				return false, nil
			}
		}
		clear(p.found)
		clear(p.records)
		p.found, p.records, p.size = p.found[:0], p.records[:0], 0
		return true, nil
	}

	var (
		reading, other = &portion{}, &portion{}
		checked        chan error // what comes of the other one; nil unless it is being checked
		seen           = make(map[vault.Path]bool)
	)
	wait := func() (err error) {
		if checked != nil {
			err = <-checked
			checked = nil
		}
		return err
	}
	defer wait()
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
		if goOn, err := finish(other, wait()); !goOn {
			return err
		}
		full, c := reading, make(chan error, 1)
		reading, other, checked = other, full, c
		go func() { c <- checkAll(full) }()
	}
	if goOn, err := finish(other, wait()); !goOn {
		return err
	}
	if goOn, err := finish(reading, checkAll(reading)); !goOn {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(sealed)) {
		if seen[path] {
			continue
		}
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

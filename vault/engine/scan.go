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

// walk opens every head, holds it against the seal, and yields the outcomes;
// then it yields what is sealed and was not there. open runs on all processors
// but never while yield does, and no more than a portion is held at once.
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
	var (
		portion []found
		records []Record // those of portion
		size    int
		seen    = make(map[vault.Path]bool)
	)
	flush := func() (bool, error) {
		err := inParallel(ctx, len(portion), func(i int) error {
			if portion[i].err == nil {
				portion[i] = check(records[i])
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, f := range portion {
			if !yield(f) {
				return false, nil
			}
		}
		clear(portion)
		portion, records, size = portion[:0], records[:0], 0
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
		portion = append(portion, found{path: r.Path, err: e.locate(err, env, r.Path)})
		records = append(records, r)
		if size += len(r.Raw); len(portion) == scanRecords || size >= scanBytes {
			if goOn, err := flush(); !goOn {
				return err
			}
		}
	}
	if goOn, err := flush(); !goOn {
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

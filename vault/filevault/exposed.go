package filevault

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/record"
)

// Exposure is what a former member could read and has not been replaced since.
type Exposure struct {
	File   string
	Member string
	At     time.Time // when they were removed
	Open   []Exposed // sorted by path
}

// Exposed are the fields of a secret that have had no new value since a former
// member could read it. A field that was written again with the value it had
// is not told from one that was replaced at its source.
type Exposed struct {
	Path   vault.Path
	Fields []vault.FieldName // sorted
}

// exposures reads the lists of what former members could read.
func (v *Vault) exposures(view *view, s *EnvStatus, present map[vault.Path]vault.Info) error {
	names, err := view.blobs(s.Env, exposedDir+"/")
	if err != nil {
		return err
	}
	for _, name := range names {
		raw, err := view.blob(s.Env, name)
		if err != nil {
			continue // among the strays
		}
		x, err := v.parseExposed(s.Env, raw)
		if err != nil {
			continue
		}
		s.Exposures = append(s.Exposures, exposure(x, view.file(s.Env, name), present))
	}
	return nil
}

// parseExposed reads a list and checks that it is of the place where it is.
func (v *Vault) parseExposed(env vault.Env, raw []byte) (*record.Exposed, error) {
	x, err := record.ParseExposed(raw)
	if err == nil && (x.Vault != v.id || x.Env != env) {
		return nil, &vault.Error{Kind: vault.KindMalformed, Detail: fmt.Sprintf("is a list of %s in vault %s, put in this place", x.Env, x.Vault)}
	}
	return x, err
}

func exposure(x *record.Exposed, file string, present map[vault.Path]vault.Info) Exposure {
	e := Exposure{File: file, Member: x.Member, At: x.At}
	latest := map[vault.Path]uint64{}
	for _, entry := range x.Entries {
		latest[entry.Path] = max(latest[entry.Path], entry.Version)
	}
	for p, version := range latest {
		open := Exposed{Path: p}
		for _, f := range present[p].Fields {
			if f.Since <= version {
				open.Fields = append(open.Fields, f.Name)
			}
		}
		if len(open.Fields) > 0 {
			e.Open = append(e.Open, open)
		}
	}
	sort.Slice(e.Open, func(i, j int) bool { return e.Open[i].Path < e.Open[j].Path })
	return e
}

// A leaver is somebody who held a key that is being retired.
type leaver struct {
	Member string
	Since  time.Time // since when they could read
}

// A seen version is one that the history has, or had when a key was retired.
type seenVersion struct {
	version uint64
	at      time.Time
	deleted bool
}

// committed is what git has of the secrets of an environment: each version that
// was ever committed on the way to HEAD, as it says of itself. Where there is no
// git, nothing.
func (v *Vault) committed(ctx context.Context, env vault.Env) (map[vault.Path][]seenVersion, error) {
	past := map[vault.Path][]seenVersion{}
	r, err := v.store.history.repo(ctx)
	if vault.KindOf(err) == vault.KindUnsupported {
		return past, nil
	}
	if err != nil {
		return nil, err
	}
	if r.shallow {
		v.options.Notice("this clone is shallow: of former versions, which whoever leaves could read, the list has only what is here")
	}
	base := r.prefix + envDir(env) + "/" + secretsDir + "/"
	err = v.store.history.everyBlob(ctx, base, secretSuffix, record.MaxRecordSize, func(name string, raw []byte) {
		p, err := vault.ParsePath(name)
		if err != nil {
			return
		}
		info, _, err := record.ParseHeader(raw)
		if err != nil || info.Env != env || info.Path != p {
			return // not a version of this secret, whatever it is
		}
		past[p] = append(past[p], seenVersion{info.Version, info.At, info.Deleted})
	})
	return past, err
}

// everyBlob reads each distinct content that files below base with this suffix
// have had in the history of HEAD. name is what is between base and suffix.
func (h *history) everyBlob(ctx context.Context, base, suffix string, max int64, found func(name string, raw []byte)) error {
	var in strings.Builder
	var names []string
	err := h.runFor(ctx, walkTimeout, "", func(r *bufio.Reader) error {
		for {
			line, err := r.ReadString('\n')
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			name, below := strings.CutPrefix(name, base)
			name, ok := strings.CutSuffix(name, suffix)
			if !below || !ok {
				continue // a commit, a folder, or another file
			}
			if len(names) == record.MaxExposed {
				return fmt.Errorf("the history of this environment has more than %d versions of secrets", record.MaxExposed)
			}
			names = append(names, name)
			in.WriteString(id + "\n")
		}
	}, "rev-list", "--objects", "--full-history", "--ignore-missing", "HEAD", "--", ":(top,literal)"+strings.TrimSuffix(base, "/"))
	if err != nil || len(names) == 0 {
		return h.noCommits(err)
	}
	return h.run(ctx, in.String(), func(r *bufio.Reader) error {
		for _, name := range names {
			id, raw, err := readObject(r, max)
			if err != nil {
				return err
			}
			if id != "" {
				found(name, raw)
			}
		}
		return nil
	}, "cat-file", "--batch", "--buffer")
}

// walkTimeout bounds a walk through all of a history, which may be one of a
// million commits. It is no reason not to remove somebody.
const walkTimeout = 10 * time.Minute

// noCommits passes over what git says of a repository that has no commit yet.
func (h *history) noCommits(err error) error {
	if ge, ok := err.(*gitError); ok && (strings.Contains(ge.said, "bad revision 'HEAD'") || strings.Contains(ge.said, "ambiguous argument 'HEAD'")) {
		return nil
	}
	return err
}

// readable are the versions that somebody could read who held a key from since
// on: those written after that, and the one that stood there then.
func readable(versions []seenVersion, since time.Time) []uint64 {
	versions = slices.Clone(versions)
	sort.Slice(versions, func(i, j int) bool { return versions[i].version < versions[j].version })
	var out []uint64
	for i, s := range versions {
		replaced := i+1 < len(versions) && versions[i+1].version > s.version && versions[i+1].at.Before(since)
		if s.deleted || replaced && s.at.Before(since) {
			continue
		}
		if n := len(out); n == 0 || out[n-1] != s.version {
			out = append(out, s.version)
		}
	}
	return out
}

// listExposed writes, in the batch of a rotation, what each of those who leave
// could read: all that is there now, and what git remembers of their time.
func (v *Vault) listExposed(t *tx, gone []leaver, gen uint32, now []record.SealedEntry, past map[vault.Path][]seenVersion) ([]string, error) {
	var files []string
	at := v.options.Now().UTC().Truncate(time.Second)
	for _, l := range gone {
		x := &record.Exposed{Vault: v.id, Env: t.env, Member: l.Member, Gen: gen, Since: l.Since, By: v.options.Member, At: at}
		paths := map[vault.Path][]uint64{}
		for _, e := range now {
			// Versions only grow, so what says that it is a later one than the
			// genuine one here is somebody's invention, that would remind for ever.
			paths[e.Path] = slices.DeleteFunc(readable(past[e.Path], l.Since), func(v uint64) bool { return v > e.Version })
			if !e.Deleted {
				paths[e.Path] = append(paths[e.Path], e.Version)
			}
		}
		for p, versions := range paths {
			slices.Sort(versions)
			for _, version := range slices.Compact(versions) {
				x.Entries = append(x.Entries, record.ExposedEntry{Path: p, Version: version})
			}
		}
		if len(x.Entries) == 0 {
			continue
		}
		sortExposed(x.Entries)
		raw, err := x.Encode()
		if err != nil {
			return nil, err
		}
		name, err := t.freeList(at, l.Member)
		if err != nil {
			return nil, err
		}
		if err := t.PutBlob(name, raw); err != nil {
			return nil, err
		}
		files = append(files, t.h.d.file(envDir(t.env)+"/"+name))
	}
	return files, nil
}

// sortExposed puts the lines of a list in their order.
func sortExposed(entries []record.ExposedEntry) {
	sort.Slice(entries, func(i, j int) bool {
		return cmp.Or(cmp.Compare(entries[i].Path, entries[j].Path), cmp.Compare(entries[i].Version, entries[j].Version)) < 0
	})
}

// freeList is a name for a list that no file has.
func (t *tx) freeList(at time.Time, member string) (string, error) {
	for n := 1; ; n++ {
		name := exposedDir + "/" + at.Format(time.DateOnly) + "-" + member
		if n > 1 {
			name += fmt.Sprintf("-%d", n)
		}
		name += listSuffix
		_, err := t.Blob(name)
		if vault.KindOf(err) == vault.KindNotFound {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}

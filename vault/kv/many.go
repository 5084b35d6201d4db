package kv

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"envrun/vault"
)

// ErrTooLong says that secrets which are asked for together take more room than
// there is.
var ErrTooLong = errors.New("the secrets are too long to be read together")

// A Found is the current version of a path as GetMany and Names find it: what is
// known of it has been opened, its data has not.
type Found struct {
	Path string
	Err  error // as Get would return it; then nothing else may be asked

	m     *Mount
	meta  *meta
	state *state
	row   VersionRow
}

// GetMany finds the current versions of several paths, in their order. What Get
// says of one path alone stands with that path; an error is one of the database,
// or ErrTooLong if what is sealed of them takes more than room bytes, which it
// uses up. It makes one query.
func (m *Mount) GetMany(tx Tx, paths []string, room *int) ([]Found, error) {
	type rows struct {
		k KeyRow
		v VersionRow
	}
	there := make(map[string]rows, len(paths))
	var ask []string
	found := make([]Found, len(paths))
	for i, path := range paths {
		found[i] = Found{Path: path, Err: checkPath(path)}
		if _, twice := there[path]; found[i].Err == nil && !twice {
			there[path] = rows{}
			ask = append(ask, path)
		}
	}
	err := tx.KVCurrent(m.id, ask, func(k KeyRow, v VersionRow) error {
		if *room -= len(v.Data); *room < 0 {
			return ErrTooLong
		}
		there[k.Path] = rows{k, v}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range found {
		f := &found[i]
		if f.Err != nil {
			continue
		}
		r := there[f.Path]
		if r.k.Sealed == nil {
			f.Err = notFound(f.Path)
			continue
		}
		m.find(tx, f, r.k, r.v)
	}
	return found, nil
}

// Names finds the current versions of the paths at and below prefix, "" for all,
// sorted bytewise and after a path, if that is not "": at most limit of them, and
// as many as take room bytes sealed, but one at least. more says whether there are
// others after them.
func (m *Mount) Names(tx Tx, prefix, after string, limit, room int) (found []Found, more bool, err error) {
	from, end := "", ""
	if prefix != "" {
		if err := checkPath(prefix); err != nil {
			return nil, false, err
		}
		from, end = prefix+"/", above(prefix+"/")
		if after == "" {
			all := 2 * MaxData // whatever one path holds
			if found, err = m.GetMany(tx, []string{prefix}, &all); err != nil {
				return nil, false, err
			}
			if vault.KindOf(found[0].Err) == vault.KindNotFound {
				found = nil
			}
		}
	}
	if after != "" && after+"\x01" > from {
		from = after + "\x01" // no path has a control character, and PostgreSQL takes no NUL
	}
	type rows struct {
		k KeyRow
		v VersionRow
	}
	var page []rows
	enough := errors.New("enough")
	err = tx.KVCurrentFrom(m.id, from, end, limit+1, func(k KeyRow, v VersionRow) error {
		if room -= len(v.Data); len(page) == limit || room < 0 && len(page) > 0 {
			more = true
			return enough
		}
		page = append(page, rows{k, v})
		return nil
	})
	if err != nil && err != enough {
		return nil, false, err
	}
	for _, r := range page {
		f := Found{Path: r.k.Path}
		m.find(tx, &f, r.k, r.v)
		found = append(found, f)
	}
	return found, more, nil
}

// find opens what is known of a path.
func (m *Mount) find(tx Tx, f *Found, k KeyRow, v VersionRow) {
	f.m, f.row = m, v
	if f.meta, f.Err = m.readKey(tx, k); f.Err != nil {
		return
	}
	if f.state = f.meta.version(f.meta.Current); f.state == nil {
		f.Err = notFound(f.Path)
	}
}

// Version is what may be known of the version without its data, and whether there
// is data to Open.
func (f *Found) Version() (info Info, readable bool) {
	return f.meta.info(f.state), !f.state.Destroyed && !f.state.deleted(f.m.now())
}

// Mark changes whenever what Get says of the path does, and is that of this path
// of this mount alone. It tells nothing of the data.
func (f *Found) Mark() [sha256.Size]byte {
	b := []byte(f.m.id + "\x00" + f.Path + "\x00")
	b = binary.BigEndian.AppendUint64(b, f.meta.Change)
	b = binary.BigEndian.AppendUint64(b, uint64(f.meta.Updated))
	b = binary.BigEndian.AppendUint64(b, uint64(f.state.N))
	if _, readable := f.Version(); readable {
		b = append(b, f.state.Sum...) // of this sealing alone, which drew a fresh key
	}
	return sha256.Sum256(b)
}

// Open returns the version, as Get does.
func (f *Found) Open(tx Tx) (Version, error) {
	var out Version
	out.Info, out.Readable = f.Version()
	if !out.Readable {
		return out, nil
	}
	var err error
	out.Data, err = f.m.openVersion(tx, f.state, f.row)
	return out, err
}

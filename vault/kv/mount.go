package kv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"envrun/vault"
	"envrun/vault/keyring"
	"envrun/vault/seal"
)

// A Config is what holds for every path of a mount that says nothing else.
type Config struct {
	MaxVersions int64         `json:"max_versions"` // 0: DefaultMaxVersions
	CASRequired bool          `json:"cas_required"`
	DeleteAfter time.Duration `json:"delete_version_after"` // 0: not said; negative: never
}

// Create makes the mount's head under generation 1 of its key, which the keyring
// has by then. KindExists if it is there.
func (m *Mount) Create(tx Tx, c Config) error {
	if _, found, err := tx.KVHead(m.id); err != nil || found {
		if err == nil {
			err = &vault.Error{Kind: vault.KindExists, Detail: "the mount is there"}
		}
		return err
	}
	key, err := seal.NewTallyKey()
	if err != nil {
		return err
	}
	var empty seal.Tally
	return m.putHead(tx, &head{gen: 1, Changes: 1, Tally: empty[:], TallyKey: key, Config: c})
}

// Drop removes everything there is of the mount.
func (m *Mount) Drop(tx Tx) error { return tx.DropKV(m.id) }

func (m *Mount) head(tx Tx) (*head, error) {
	row, found, err := tx.KVHead(m.id)
	if err != nil {
		return nil, err
	}
	return m.openHead(tx, row, found)
}

// Config returns it.
func (m *Mount) Config(tx Tx) (Config, error) {
	h, err := m.head(tx)
	if err != nil {
		return Config{}, err
	}
	return h.Config, nil
}

// A ConfigChange is what is to hold from now on; nil leaves a thing as it is.
type ConfigChange struct {
	MaxVersions *int64
	CASRequired *bool
	DeleteAfter *time.Duration
}

// SetConfig changes it. Versions beyond a smaller MaxVersions go with the next
// write to their path.
func (m *Mount) SetConfig(tx Tx, c ConfigChange) error {
	h, err := m.head(tx)
	if err != nil {
		return err
	}
	if c.MaxVersions != nil {
		if *c.MaxVersions < 0 {
			return &vault.Error{Kind: vault.KindInvalid, Detail: "max_versions is less than 0"}
		}
		h.MaxVersions = *c.MaxVersions
	}
	if c.CASRequired != nil {
		h.CASRequired = *c.CASRequired
	}
	if c.DeleteAfter != nil {
		h.DeleteAfter = *c.DeleteAfter
	}
	h.Changes++
	return m.putHead(tx, h)
}

// A Head says how far a mount has come.
type Head = keyring.Head

// Head returns it. A transaction that is a keyring.HeadKeeper is told of each that it
// leaves, by the id of the mount.
func (m *Mount) Head(tx Tx) (Head, error) {
	h, err := m.head(tx)
	if err != nil {
		return Head{}, err
	}
	return h.head(), nil
}

func (h *head) head() Head {
	sum := sha256.Sum256(h.Tally)
	return Head{Changes: h.Changes, Digest: hex.EncodeToString(sum[:])}
}

// listPage is how many paths a list reads at a time.
const listPage = 256

// List returns the names directly below dir ("" for the top; a final slash may
// be there or not), sorted bytewise; a name that has others below it ends in a
// slash, and one that is both is there twice. Names after one only, if after is
// not empty; at most limit, if limit is not 0. Deleted paths are listed, as long
// as something is known of them. Nothing is no error.
func (m *Mount) List(tx Tx, dir, after string, limit int) ([]string, error) {
	prefix, end := "", ""
	if dir = strings.TrimSuffix(dir, "/"); dir != "" {
		if err := checkPath(dir); err != nil {
			return nil, err
		}
		prefix, end = dir+"/", above(dir+"/")
	}
	from := prefix
	if after != "" {
		from = prefix + after
	}
	var names []string
	for {
		page, err := tx.KVPaths(m.id, from, end, listPage)
		if err != nil {
			return nil, err
		}
		for _, path := range page {
			name, _, below := strings.Cut(path[len(prefix):], "/")
			if below {
				name += "/"
			}
			if name <= after || len(names) > 0 && names[len(names)-1] == name {
				continue
			}
			if names = append(names, name); limit > 0 && len(names) == limit {
				return names, nil
			}
		}
		if len(page) < listPage {
			return names, nil
		}
		// Behind the last path, or behind all that is below the folder it is in.
		last := page[len(page)-1]
		from = last + "\x01" // no path has a control character, and PostgreSQL takes no NUL
		if name, _, below := strings.Cut(last[len(prefix):], "/"); below {
			from = above(prefix + name + "/")
		}
	}
}

// above is the first text behind all that begin with prefix, which ends in a slash.
func above(prefix string) string { return prefix[:len(prefix)-1] + "0" }

// rewrapPage is how many rows one call of Rewrap takes on: other writes wait for it.
const rewrapPage = 64

// verifyPage is how many rows Verify reads at a time.
const verifyPage = 256

// Advance makes every write from now on use a generation of the mount's key,
// which the keyring made in the same transaction. It does not go back.
func (m *Mount) Advance(tx Tx, gen uint32) error {
	h, err := m.head(tx)
	if err != nil {
		return err
	}
	if gen < h.gen {
		return &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("generation %d comes before %d, which is in use", gen, h.gen)}
	}
	h.gen = gen
	h.Changes++
	return m.putHead(tx, h)
}

// Rewrap seals anew, under the generation that Advance said, some tens of rows
// that are sealed under a former one, and reports whether there may be more. It
// is called in one write after the other until it says no, and then, in the
// transaction of the last call, the keyring may drop the former generations.
// What is cut short goes on with the Cursor of the last transaction that was kept,
// or a new one: what is done is done, and reads and writes go on meanwhile, as may a
// second server with the same Cursor. The data keys of all versions are wrapped
// anew; what they seal is left alone.
func (m *Mount) Rewrap(tx Tx, c *Cursor) (more bool, err error) {
	h, err := m.head(tx)
	if err != nil {
		return false, err
	}
	if !c.PathsDone {
		rows, err := tx.KVKeys(m.id, c.Path, rewrapPage)
		if err != nil {
			return false, err
		}
		for _, r := range rows {
			c.Path = r.Path
			c.Rows++
			if r.Gen == h.gen {
				continue
			}
			_, plain, err := m.openKey(tx, r)
			if err != nil {
				return false, err
			}
			if err := m.putKey(tx, r.Path, r.Current, h.gen, plain); err != nil {
				return false, err
			}
		}
		if len(rows) < rewrapPage {
			c.PathsDone, c.Path = true, ""
		}
		return true, nil
	}
	rows, err := tx.KVVersionKeys(m.id, c.Path, c.Version, rewrapPage)
	if err != nil {
		return false, err
	}
	for _, r := range rows {
		c.Path, c.Version = r.Path, r.Version
		c.Rows++
		if r.Gen == h.gen {
			continue
		}
		if err := m.rewrap(tx, r, h.gen); err != nil {
			return false, err
		}
	}
	return len(rows) == rewrapPage, nil
}

// A Cursor is how far a Rewrap has come. The zero Cursor begins. Whoever keeps
// one keeps it sealed: one that was put forward would leave rows behind.
type Cursor struct {
	PathsDone bool   `json:"paths_done,omitempty"` // and the versions follow
	Path      string `json:"path,omitempty"`       // the last that was looked at
	Version   int64  `json:"version,omitempty"`
	Rows      int64  `json:"rows,omitempty"` // how many rows were looked at
}

// Rows is how many rows a Rewrap looks at, if nothing is written meanwhile.
func (m *Mount) Rows(tx Tx) (int64, error) {
	h, err := m.head(tx)
	if err != nil {
		return 0, err
	}
	versions, err := tx.KVVersionCount(m.id)
	return int64(h.Paths) + versions, err
}

func (m *Mount) rewrap(tx Tx, r VersionRow, gen uint32) error {
	old, err := m.keys.Key(tx, m.id, r.Gen)
	if err != nil {
		return err
	}
	dek, err := old.UnwrapDEK(m.binding(r.Path, r.Version, r.Gen), r.Key)
	if err != nil {
		return inMount(err)
	}
	key, err := m.keys.Key(tx, m.id, gen)
	if err != nil {
		return err
	}
	r.Gen = gen
	if r.Key, err = key.WrapDEK(m.binding(r.Path, r.Version, gen), dek); err != nil {
		return err
	}
	return tx.RewrapKVVersion(m.id, r)
}

// Verify opens everything the mount holds and compares it with the head, and
// the head with known, if that is not zero: what Head once said. It returns
// one finding for each thing wrong, none if all is right, and an error if the
// database did not answer. The transaction should be a snapshot.
func (m *Mount) Verify(tx Tx, known Head) ([]vault.Finding, error) {
	var findings []vault.Finding
	// A row that cannot be shown to be genuine is a finding, and so is a
	// generation without a key; what else goes wrong ends the check.
	wrong := func(path string, err error) error {
		switch vault.KindOf(err) {
		case vault.KindTampered, vault.KindVersion, vault.KindNotFound:
			findings = append(findings, vault.Finding{Path: vault.Path(path), Err: err})
			return nil
		}
		return err
	}
	h, err := m.head(tx)
	if err != nil {
		return findings, wrong("", err)
	}
	if h.Changes < known.Changes || h.Changes == known.Changes && known.Digest != "" && h.head().Digest != known.Digest {
		_ = wrong("", &vault.Error{Kind: vault.KindTampered, Detail: "the mount was put back to an earlier state than one that was seen"})
	}
	var tally seal.Tally
	var paths uint64
	var k struct {
		path string
		meta *meta
		rest []state // the versions that have not been seen
	}
	versions := cursor{tx: tx, mount: m.id}
	missing := func() {
		for _, s := range k.rest {
			if !s.Destroyed {
				_ = wrong(k.path, tampered(k.path, "a version is gone"))
			}
		}
	}
	for after := ""; ; {
		rows, err := tx.KVKeys(m.id, after, verifyPage)
		if err != nil {
			return findings, err
		}
		for _, r := range rows {
			after = r.Path
			paths++
			k.path, k.rest = r.Path, nil
			opened, plain, err := m.openKey(tx, r)
			if err == nil {
				tally = tally.Add(h.TallyKey, r.Path, plain)
				if opened.Change > h.Changes {
					err = tampered(r.Path, "it is newer than the head of its mount")
				}
			}
			if err != nil {
				if err := wrong(r.Path, err); err != nil {
					return findings, err
				}
			}
			if opened != nil {
				k.rest = slices.Clone(opened.Versions)
			}
			for {
				v, ok, err := versions.upTo(r.Path)
				if err != nil {
					return findings, err
				}
				if !ok {
					break
				}
				var err2 error
				i := slices.IndexFunc(k.rest, func(s state) bool { return s.N == v.Version })
				switch {
				case v.Path != r.Path:
					err2 = tampered(v.Path, "there is a version of a path that is not there")
				case opened == nil:
				case i < 0 || k.rest[i].Destroyed:
					err2 = tampered(v.Path, "there is a version that was dropped or destroyed")
				default:
					var value vault.Value
					value, err2 = m.openVersion(tx, &k.rest[i], v)
					value.Wipe()
					k.rest = slices.Delete(k.rest, i, i+1)
				}
				if err2 != nil {
					if err := wrong(v.Path, err2); err != nil {
						return findings, err
					}
				}
			}
			missing()
		}
		if len(rows) < verifyPage {
			break
		}
	}
	for {
		v, ok, err := versions.upTo("")
		if err != nil {
			return findings, err
		}
		if !ok {
			break
		}
		_ = wrong(v.Path, tampered(v.Path, "there is a version of a path that is not there"))
	}
	if paths != h.Paths || [32]byte(h.Tally) != tally {
		_ = wrong("", &vault.Error{Kind: vault.KindTampered, Detail: "paths were removed, or put back to an earlier state"})
	}
	return findings, nil
}

// A cursor walks through all versions of a mount.
type cursor struct {
	tx    Tx
	mount string
	path  string
	after int64
	page  []VersionRow
	end   bool
}

// upTo gives the next version, unless its path is above path; "" is above all.
func (c *cursor) upTo(path string) (VersionRow, bool, error) {
	if len(c.page) == 0 && !c.end {
		page, err := c.tx.KVVersions(c.mount, c.path, c.after, verifyPage)
		if err != nil {
			return VersionRow{}, false, err
		}
		c.page, c.end = page, len(page) < verifyPage
		if len(page) > 0 {
			c.path, c.after = page[len(page)-1].Path, page[len(page)-1].Version
		}
	}
	if len(c.page) == 0 || path != "" && c.page[0].Path > path {
		return VersionRow{}, false, nil
	}
	v := c.page[0]
	c.page = c.page[1:]
	return v, true, nil
}

package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/kv"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// bundles is sys/bundle and sys/names, which are ours alone: several secrets, or
// the names of all, in one request. Every good token may ask, because each secret
// is decided on as a request of its own for it would be: reading MOUNT/data/PATH,
// listing MOUNT/metadata/FOLDER/, reading MOUNT/subkeys/PATH.
type bundles struct {
	tables *tables
	kv     kvEngine
}

// Bounds of an answer.
const (
	maxBundleData = 24 << 20 // bytes sealed
	maxNames      = 4096     // names
	maxNamesData  = 16 << 20 // bytes sealed of what the names are taken from
)

func (b bundles) area() area {
	return area{
		{path: "bundle", update: b.bundle, looks: true, private: true, note: noteBundle},
		{path: "names", update: b.names, looks: true, private: true, note: noteNames},
	}
}

// noteBundle records which paths are asked for. What is no list of them, or longer
// than an entry, is refused by the handler.
func noteBundle(req *guard.Request, _ []string) (d audit.Data) {
	var in wire.Bundle
	if json.Unmarshal(req.Body, &in) == nil {
		d.Paths = in.Paths
	}
	return d
}

func noteNames(req *guard.Request, _ []string) (d audit.Data) {
	text := func(name string) string {
		s, _ := req.Params[name].(string)
		return strings.Trim(s, "/")
	}
	if mount := text("mount"); mount != "" {
		d.Environment = mount
		d.Paths = []string{strings.TrimSuffix(mount+"/metadata/"+text("prefix"), "/")}
	}
	return d
}

// A part is one secret of a bundle: what reading it alone would answer.
type part struct {
	Path   string   `json:"path"`
	Status int      `json:"status"`
	Errors []string `json:"errors,omitempty"`
	Data   *secret  `json:"data,omitempty"`
}

// parts are the answer of a bundle.
type parts []part

func (list parts) appendJSON(b []byte) ([]byte, error) {
	size := 0
	for _, p := range list {
		if size += 512; p.Data != nil {
			size += len(p.Data.Data)
		}
	}
	b = append(slices.Grow(b, size), `{"secrets":[`...)
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		data := p.Data
		p.Data = nil
		head, err := encode(p)
		if err != nil {
			return nil, err
		}
		if b = append(b, bytes.TrimSuffix(head, []byte("}\n"))...); data != nil {
			if b, err = data.appendJSON(append(b, `,"data":`...)); err != nil {
				return nil, err
			}
		}
		b = append(b, '}')
	}
	return append(b, "]}"...), nil
}

func (p *part) fail(err error) { p.Status, p.Errors = explain(err) }

// errNoSecret is what a path in a bundle gets that is no secret of KV version 2.
var errNoSecret = problem(http.StatusMethodNotAllowed, "not a secret of a KV version 2 mount: MOUNT/data/PATH")

func (b bundles) bundle(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[wire.Bundle](c)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.Paths) == 0:
		return nil, bad("no paths provided")
	case len(in.Paths) > wire.MaxBundle || !audit.PathsFit(in.Paths):
		return nil, problem(http.StatusRequestEntityTooLarge, "too many paths for one request: ask for fewer")
	}
	for i, p := range in.Paths {
		if err := checkRequestPath(p); err != nil || p == "" || strings.HasSuffix(p, "/") {
			return nil, bad("path %d is not one of a secret", i+1)
		}
	}
	t, err := b.tables.now(c.Tx())
	if err != nil {
		return nil, err
	}
	parts := make(parts, len(in.Paths))
	found := make([]kv.Found, len(in.Paths))
	of := map[*mount][]int{} // the paths of each mount that may be read
	var mounts []*mount
	for i, p := range in.Paths {
		parts[i].Path = p
		if !c.May(policy.OpRead, p) {
			parts[i].fail(guard.ErrDenied)
			continue
		}
		m, rest := at(t.secret, p)
		if m == nil {
			parts[i].fail(noHandler(p))
			continue
		}
		path, ok := strings.CutPrefix(rest, "data/")
		if m.Type != "kv" || m.Options["version"] != "2" || !ok {
			parts[i].fail(errNoSecret)
			continue
		}
		found[i].Path = path
		if of[m] == nil {
			mounts = append(mounts, m)
		}
		of[m] = append(of[m], i)
	}
	room := maxBundleData
	for _, m := range mounts {
		paths := make([]string, len(of[m]))
		for j, i := range of[m] {
			paths[j] = found[i].Path
		}
		some, err := b.kv.of(m).GetMany(c.Tx(), paths, &room)
		if errors.Is(err, kv.ErrTooLong) {
			return nil, problem(http.StatusRequestEntityTooLarge, err.Error()+": ask for fewer")
		}
		if err != nil {
			return nil, err
		}
		for j, i := range of[m] {
			found[i] = some[j]
		}
	}
	facts := &audit.Data{Read: make([]int64, len(parts))}
	tag := sha256.New() // of what was decided and of versions, not of values
	for i := range parts {
		p, f := &parts[i], &found[i]
		var mark [sha256.Size]byte
		switch {
		case p.Status == http.StatusForbidden:
			facts.Read[i] = -1
		case p.Status != 0:
		case f.Err != nil:
			p.fail(f.Err)
		default:
			info, readable := f.Version()
			mark = f.Mark()
			p.Status, p.Data = http.StatusNotFound, &secret{Metadata: version(info)}
			if readable {
				p.Status, facts.Read[i] = http.StatusOK, info.Version
			}
		}
		tag.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p.Path))))
		tag.Write([]byte(p.Path))
		tag.Write(binary.BigEndian.AppendUint64(nil, uint64(p.Status)))
		tag.Write(mark[:])
	}
	etag := `"` + base64.RawURLEncoding.EncodeToString(tag.Sum(nil)[:18]) + `"`
	if matches(c.Request().Match, etag) {
		return &answer{Status: http.StatusNotModified, Body: &reply{etag: etag, none: true}, Facts: facts}, nil
	}
	for i := range parts {
		if parts[i].Status != http.StatusOK {
			continue
		}
		v, err := found[i].Open(c.Tx())
		if err != nil {
			parts[i].Data, facts.Read[i] = nil, 0
			parts[i].fail(err)
			etag = "" // another time it may be there
			continue
		}
		parts[i].Data.Data = v.Data.Reveal()
	}
	a := answered(parts)
	a.Body.(*reply).etag = etag
	for _, m := range mounts {
		a.Body.(*reply).mayCache(m)
	}
	a.Facts = facts
	return warn(a, warnings...), nil
}

// matches reports whether one of the tags in If-None-Match is that of the answer.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); strings.TrimPrefix(tag, "W/") == etag || tag == "*" {
			return true
		}
	}
	return false
}

// names are the secrets at and below a path, without their values.
func (b bundles) names(c *call, _ []string) (*answer, error) {
	in, warnings, err := body[wire.NamesAsked](c)
	if err != nil {
		return nil, err
	}
	name, prefix := strings.Trim(in.Mount, "/"), strings.Trim(in.Prefix, "/")
	for _, p := range []string{name, prefix, in.After} {
		if checkRequestPath(p) != nil {
			return nil, bad("mount, prefix and after are paths")
		}
	}
	if name == "" {
		return nil, bad("no mount provided")
	}
	lists := lister{c: c, root: name + "/metadata/", folders: map[string]bool{}}
	if !lists.may(folderOf(prefix)) {
		return nil, guard.ErrDenied
	}
	t, err := b.tables.now(c.Tx())
	if err != nil {
		return nil, err
	}
	m, rest := at(t.secret, lists.root)
	if m == nil {
		return nil, noHandler(lists.root)
	}
	if m.Type != "kv" || m.Options["version"] != "2" || rest != "metadata/" {
		return nil, problem(http.StatusMethodNotAllowed, "not a mount of KV version 2")
	}
	found, more, err := b.kv.of(m).Names(c.Tx(), prefix, in.After, maxNames, maxNamesData)
	if err != nil {
		return nil, err
	}
	out := wire.Named{Secrets: make([]wire.NamedSecret, 0, len(found)+1), Refused: []string{}}
	if prefix != "" && in.After == "" && (len(found) == 0 || found[0].Path != prefix) && !b.mayName(c, name, prefix) {
		// Of the prefix itself a list says nothing: who may not read it is not told that it is not there.
		out.Secrets = append(out.Secrets, wire.NamedSecret{Path: prefix, Status: http.StatusForbidden})
	}
	for i := range found {
		f := &found[i]
		if f.Path != prefix {
			if folder, ok := lists.shows(prefix, f.Path); !ok {
				if !slices.Contains(out.Refused, folder) {
					out.Refused = append(out.Refused, folder)
				}
				continue
			}
		}
		n, err := b.name(c, name, f)
		if err != nil {
			return nil, err
		}
		out.Secrets = append(out.Secrets, n)
	}
	if more {
		out.Next = found[len(found)-1].Path
	}
	a := answered(out)
	a.Facts = &audit.Data{Count: int64(len(out.Secrets))}
	return warn(a, warnings...), nil
}

func (b bundles) mayName(c *call, mount, path string) bool {
	return c.May(policy.OpRead, mount+"/subkeys/"+path) || c.May(policy.OpRead, mount+"/data/"+path)
}

// name is a secret without its values: what reading its subkeys says, or, to whom
// may only read it whole, what is left of that without the values.
func (b bundles) name(c *call, mount string, f *kv.Found) (wire.NamedSecret, error) {
	n := wire.NamedSecret{Path: f.Path}
	if !b.mayName(c, mount, f.Path) {
		n.Status = http.StatusForbidden
		return n, nil
	}
	if f.Err != nil {
		n.Status, _ = explain(f.Err)
		return n, nil
	}
	v, err := f.Open(c.Tx())
	if err != nil {
		n.Status, _ = explain(err)
		return n, nil
	}
	defer v.Data.Wipe()
	meta := version(v.Info)
	n.Metadata, n.Status = &meta, http.StatusNotFound
	if !v.Readable {
		return n, nil
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal(v.Data.Reveal(), &data); err != nil {
		return n, &vault.Error{Kind: vault.KindMalformed, Op: "reading a secret", Detail: "it is not of its form"}
	}
	n.Status, n.Keys = http.StatusOK, make([]string, 0, len(data))
	for key := range data {
		n.Keys = append(n.Keys, key)
	}
	slices.Sort(n.Keys)
	return n, nil
}

// A lister knows which folders may be listed.
type lister struct {
	c       *call
	root    string // MOUNT/metadata/
	folders map[string]bool
}

// may says whether a folder may be listed: "" or "a/b/".
func (l lister) may(folder string) bool {
	may, known := l.folders[folder]
	if !known {
		may = l.c.May(policy.OpList, l.root+folder)
		l.folders[folder] = may
	}
	return may
}

// shows says whether a walk from prefix down comes to a path, and if not, which
// folder it does not get into.
func (l lister) shows(prefix, path string) (folder string, ok bool) {
	for i := len(folderOf(prefix)); ; {
		if folder = path[:i]; !l.may(folder) {
			return strings.TrimSuffix(folder, "/"), false
		}
		n := strings.IndexByte(path[i:], '/')
		if n < 0 {
			return "", true
		}
		i += n + 1
	}
}

// folderOf is a path as a folder: with a slash, unless it is the top.
func folderOf(path string) string {
	if path == "" {
		return ""
	}
	return path + "/"
}

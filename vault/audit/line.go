package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// MaxLine bounds a line in bytes, whatever the request was: each part of it has
// a bound of its own, and they add up to less (a usual line has 700). So no
// entry is too big for a device that another one passed through.
const MaxLine = 48 << 10

// The bounds of the parts, in bytes of the line: a character that is escaped counts as its escape.
const (
	maxPath  = 1024 // of a path
	maxText  = 256  // of what people write and are called: names of users, reasons, the user agent, errors
	maxName  = 128  // of any other string
	maxList  = 1024 // of a list of names, in all
	maxFacts = 512  // of lists that are shorter by nature, in all
	maxPaths = 6144 // of a list of paths, in all: it is to be whole
	maxNums  = 32   // of a list of versions: how many
	maxHeads = 8    // of what a change left: how many; one changes a mount and the server's records
	maxRead  = 256  // of a list of versions that belong to paths: how many
)

// A Line is the one encoding of an entry: canonical JSON in one line, keys
// sorted, no floats, without the newline. Only Entry.Line makes one, so that what is
// appended to the log and sent to devices is a bounded, typed entry and nothing else.
type Line struct {
	text  string
	entry *Entry // nil in the zero Line; it is not changed
	leaf  tlog.Hash
}

// String is the line without its newline. It is valid UTF-8 and has no control
// characters, nor those that reorder or hide text, but as escapes.
func (l Line) String() string { return l.text }

// Entry is what the line says: as it was made, within the bounds.
func (l Line) Entry() Entry {
	if l.entry == nil {
		return Entry{}
	}
	return *l.entry
}

// Leaf is the hash of the line as a leaf of the tree, the name of the entry wherever it is sent.
func (l Line) Leaf() tlog.Hash { return l.leaf }

// Line encodes the entry. Strings, lists and metadata beyond their bounds are
// cut, and say by how much: "prod/data/aaa…(+7000 bytes, sha256 0f2e…)".
// Bytes that are not UTF-8 are written as \xff.
func (e Entry) Line() Line {
	e = e.bounded()
	room := writers.Get().(*writer)
	defer writers.Put(room)
	room.b = room.b[:0]
	room.entry(&e)
	return Line{text: string(room.b), entry: &e, leaf: tlog.RecordHash(room.b)}
}

// writers are what lines are put together in: their text is copied out of there.
var writers = sync.Pool{New: func() any { return &writer{make([]byte, 0, 2048)} }}

// Parse reads a line that Line made; the newline is not part of it. KindVersion if it holds a fact that this
// version does not know, else KindMalformed: whatever Line would write differently is not a line.
func Parse(line []byte) (Entry, error) {
	bad := func(kind vault.Kind, why string) (Entry, error) {
		return Entry{}, &vault.Error{Kind: kind, Op: "reading an audit entry", Detail: why}
	}
	if len(line) > MaxLine {
		return bad(vault.KindMalformed, "it is longer than "+strconv.Itoa(MaxLine)+" bytes")
	}
	var e Entry
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		// What is wrong is said by its kind only: the text of the error may quote the line.
		if strings.Contains(err.Error(), "unknown field") {
			return bad(vault.KindVersion, "it holds a fact that this version does not know")
		}
		return bad(vault.KindMalformed, "it is not of its form")
	}
	if _, err := d.Token(); err != io.EOF {
		return bad(vault.KindMalformed, "something follows it on its line")
	}
	if e.Line().text != string(line) {
		return bad(vault.KindMalformed, "it is not in its one form")
	}
	return e, nil
}

// parseKnown is Parse that reads of a newer server's line what this version knows.
func parseKnown(line []byte) (Entry, error) {
	e, err := Parse(line)
	if vault.KindOf(err) != vault.KindVersion {
		return e, err
	}
	var loose Entry
	if json.Unmarshal(line, &loose) != nil {
		return Entry{}, err
	}
	return loose, nil
}

// bounded is e within the bounds, in its one form, sharing nothing with it that is changed later.
func (e Entry) bounded() Entry {
	e.Time = e.Time.Round(0).UTC()
	e.Type = Type(clip(string(e.Type), maxName))
	e.Error = clip(e.Error, maxText)
	e.Auth = e.Auth.bounded()
	e.Heads = append([]StoreHead(nil), e.Heads[:min(len(e.Heads), maxHeads)]...)
	for i := range e.Heads {
		h := &e.Heads[i]
		h.ID, h.Digest = clip(h.ID, maxName), clip(h.Digest, maxName)
	}
	r := &e.Request
	r.Data = r.Data.bounded()
	if r.Headers != nil {
		r.Headers = &Headers{UserAgent: clipList(r.Headers.UserAgent, maxText, maxText)}
	}
	r.ID = clip(r.ID, maxName)
	r.MountAccessor = clip(r.MountAccessor, maxName)
	r.MountPoint = clip(r.MountPoint, maxName)
	r.MountType = clip(r.MountType, maxName)
	r.Operation = clip(r.Operation, maxName)
	r.Path = clip(r.Path, maxPath)
	r.RemoteAddress = clip(r.RemoteAddress, maxName)
	if e.Response != nil {
		a := *e.Response
		if a.Auth != nil {
			auth := a.Auth.bounded()
			a.Auth = &auth
		}
		a.Data = a.Data.bounded()
		if a.Secret != nil {
			a.Secret = &Secret{LeaseID: clip(a.Secret.LeaseID, maxPath)}
		}
		if a.WrapInfo != nil {
			info := *a.WrapInfo
			info.CreationPath = clip(info.CreationPath, maxPath)
			a.WrapInfo = &info
		}
		e.Response = &a
	}
	return e
}

func (a Auth) bounded() Auth {
	a.DisplayName = clip(a.DisplayName, maxText)
	a.EntityID = clip(a.EntityID, maxName)
	var dropped int
	a.Metadata, dropped = clipMap(a.Metadata)
	a.MetadataDropped += dropped
	a.Policies = clipList(a.Policies, maxName, maxList)
	a.TokenType = clip(a.TokenType, maxName)
	if a.PolicyResults != nil {
		p := &PolicyResults{Allowed: a.PolicyResults.Allowed}
		room := maxFacts
		for _, g := range a.PolicyResults.GrantingPolicies {
			g = GrantingPolicy{clip(g.Name, maxName), clip(g.Type, maxName)}
			// Which ones granted is a help; those that do not fit are among Policies.
			if room -= encodedLen(g.Name) + encodedLen(g.Type) + len(`{"name":"","type":""},`); room < 0 {
				break
			}
			p.GrantingPolicies = append(p.GrantingPolicies, g)
		}
		a.PolicyResults = p
	}
	return a
}

func (d *Data) bounded() *Data {
	if d == nil {
		return nil
	}
	c := *d
	for _, s := range []*string{&c.AccessRequest, &c.Algorithm, &c.DatabaseUser, &c.Entity, &c.Environment, &c.GrantID, &c.Group, &c.MountPoint,
		&c.Issuer, &c.KeyID, &c.Policy, &c.PolicySHA256, &c.Role, &c.Ticket, &c.Type} {
		*s = clip(*s, maxName)
	}
	c.Reason = clip(c.Reason, maxText)
	c.LeaseID = clip(c.LeaseID, maxPath)
	c.Keys = clipList(c.Keys, maxName, maxList)
	c.MetadataKeys = clipList(c.MetadataKeys, maxName, maxFacts)
	c.Paths = clipList(c.Paths, maxPath, maxPaths)
	c.Read = append([]int64(nil), c.Read[:min(len(c.Read), maxRead)]...)
	c.Policies = clipList(c.Policies, maxName, maxFacts)
	if more := len(c.Versions) - maxNums; more > 0 {
		c.VersionsDropped += int64(more)
		c.Versions = c.Versions[:maxNums]
	}
	c.Versions = append([]uint64(nil), c.Versions...)
	if c.CAS != nil {
		cas := *c.CAS
		c.CAS = &cas
	}
	return &c
}

// clip makes s valid UTF-8 that takes max bytes of a line or less. What is cut
// is told by its length and hash, so that two long paths with one beginning are
// told apart. It leaves alone what it made.
func clip(s string, max int) string {
	if len(s) <= max && plain(s) {
		return s
	}
	whole := s
	if !utf8.ValidString(s) {
		s = spellBytes(s)
	}
	if encodedLen(s) <= max {
		return s
	}
	sum := sha256.Sum256([]byte(whole))
	hash := hex.EncodeToString(sum[:8])
	room := max - len("…(+ bytes, sha256 )") - len(hash) - len(strconv.Itoa(len(s)))
	cut, used := 0, 0
	for i, r := range s {
		if used += runeLen(r); used > room {
			break
		}
		cut = i + utf8.RuneLen(r)
	}
	return s[:cut] + "…(+" + strconv.Itoa(len(s)-cut) + " bytes, sha256 " + hash + ")"
}

// spellBytes writes the bytes that are not UTF-8 as \xff.
func spellBytes(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b.WriteString(`\x` + hex.EncodeToString([]byte{s[0]}))
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// PathsFit reports whether an entry has room for all of these paths, none of
// them cut. Who asks for secrets together asks for no more than that, so that each
// read is found by its path.
func PathsFit(paths []string) bool {
	if len(paths) > maxRead {
		return false
	}
	room := maxPaths
	for _, p := range paths {
		n := encodedLen(p)
		if room -= n + len(`"",`); n > maxPath || room < 0 || !utf8.ValidString(p) {
			return false
		}
	}
	return true
}

// clipList keeps as many of the list as take max bytes, each of them item at
// most, and says how many more there were.
func clipList(list []string, item, max int) []string {
	if len(list) == 0 {
		return nil
	}
	const quotes = len(`"",`)
	out := make([]string, 0, min(len(list), 64))
	room, fits := max, 0 // fits: how many stay if the note has to go behind them
	for i, s := range list {
		s = clip(s, item)
		if room -= encodedLen(s) + quotes; room < 0 {
			return append(out[:fits], "+"+strconv.Itoa(len(list)-fits)+" more")
		}
		out = append(out, s)
		if room >= len("+2147483647 more")+quotes {
			fits = i + 1
		}
	}
	return out
}

// clipMap keeps as many of the facts as fit, in the order of their names, and
// counts the others.
func clipMap(m map[string]string) (kept map[string]string, dropped int) {
	if len(m) == 0 {
		return nil, 0
	}
	const quotes = len(`"":"",`)
	kept = make(map[string]string, len(m))
	room := maxFacts
	names := slices.Sorted(maps.Keys(m))
	for i, name := range names {
		k, v := clip(name, maxName), clip(m[name], maxText)
		if room -= encodedLen(k) + encodedLen(v) + quotes; room < 0 {
			return kept, len(names) - i
		}
		kept[k] = v
	}
	return kept, 0
}

// plain reports whether every byte of s stands for itself in a line.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// escaped reports whether a character is written as \u….: those that end a
// line, move a cursor, hide, or reorder what stands around them. The list is
// part of the form and does not follow the tables of Unicode.
func escaped(r rune) bool {
	switch {
	case r < 0x20, 0x7f <= r && r <= 0x9f: // controls
	case 0x200b <= r && r <= 0x200f, 0x2028 <= r && r <= 0x202e, 0x2060 <= r && r <= 0x206f, r == 0xfeff:
	default:
		return false
	}
	return true
}

func runeLen(r rune) int {
	switch {
	case r == '"' || r == '\\':
		return 2
	case escaped(r):
		return len(`\u0000`)
	}
	return utf8.RuneLen(r)
}

func encodedLen(s string) int {
	if plain(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += runeLen(r)
	}
	return n
}

// A writer writes an object with its keys in the order of the calls, which is
// the order of the alphabet; absent parts are left out.
type writer struct{ b []byte }

func (w *writer) key(name string) {
	if c := w.b[len(w.b)-1]; c != '{' && c != '[' {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *writer) open(name string) { w.key(name); w.b = append(w.b, '{') }
func (w *writer) close()           { w.b = append(w.b, '}') }

func (w *writer) str(name, s string) {
	if s != "" {
		w.key(name)
		w.quote(s)
	}
}

func (w *writer) num(name string, n int64) {
	if n != 0 {
		w.key(name)
		w.b = strconv.AppendInt(w.b, n, 10)
	}
}

func (w *writer) unum(name string, n uint64) {
	if n != 0 {
		w.key(name)
		w.b = strconv.AppendUint(w.b, n, 10)
	}
}

func (w *writer) list(name string, list []string) {
	if len(list) == 0 {
		return
	}
	w.key(name)
	w.b = append(w.b, '[')
	for i, s := range list {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.quote(s)
	}
	w.b = append(w.b, ']')
}

func (w *writer) quote(s string) {
	w.b = append(w.b, '"')
	if plain(s) {
		w.b = append(append(w.b, s...), '"')
		return
	}
	const digits = "0123456789abcdef"
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.b = append(w.b, '\\', byte(r))
		case escaped(r):
			w.b = append(w.b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
		default:
			w.b = utf8.AppendRune(w.b, r)
		}
	}
	w.b = append(w.b, '"')
}

func (w *writer) entry(e *Entry) {
	w.b = append(w.b, '{')
	w.auth("auth", &e.Auth)
	w.str("error", e.Error)
	w.heads("heads", e.Heads)
	w.request(&e.Request)
	if e.Response != nil {
		w.response(e.Response)
	}
	w.num("status", int64(e.Status))
	w.key("time")
	w.b = append(e.Time.AppendFormat(append(w.b, '"'), time.RFC3339Nano), '"')
	w.key("type")
	w.quote(string(e.Type))
	w.close()
}

func (w *writer) heads(name string, heads []StoreHead) {
	if len(heads) == 0 {
		return
	}
	w.key(name)
	w.b = append(w.b, '[')
	for i, h := range heads {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, `{"changes":`...)
		w.b = strconv.AppendUint(w.b, h.Changes, 10)
		w.key("digest")
		w.quote(h.Digest)
		w.key("id")
		w.quote(h.ID)
		w.close()
	}
	w.b = append(w.b, ']')
}

func (w *writer) auth(name string, a *Auth) {
	w.open(name)
	w.str("accessor", a.Accessor.text)
	w.str("client_token", a.ClientToken.text)
	w.str("display_name", a.DisplayName)
	w.str("entity_id", a.EntityID)
	if len(a.Metadata) > 0 {
		w.open("metadata")
		for _, k := range slices.Sorted(maps.Keys(a.Metadata)) {
			if c := w.b[len(w.b)-1]; c != '{' {
				w.b = append(w.b, ',')
			}
			w.quote(k)
			w.b = append(w.b, ':')
			w.quote(a.Metadata[k])
		}
		w.close()
	}
	w.num("metadata_dropped", int64(a.MetadataDropped))
	w.list("policies", a.Policies)
	if p := a.PolicyResults; p != nil {
		w.open("policy_results")
		w.key("allowed")
		w.b = strconv.AppendBool(w.b, p.Allowed)
		if len(p.GrantingPolicies) > 0 {
			w.key("granting_policies")
			for i, g := range p.GrantingPolicies {
				w.b = append(w.b, "[,"[min(i, 1)], '{')
				w.key("name")
				w.quote(g.Name)
				w.key("type")
				w.quote(g.Type)
				w.close()
			}
			w.b = append(w.b, ']')
		}
		w.close()
	}
	w.num("remaining_uses", int64(a.RemainingUses))
	w.num("token_ttl", a.TokenTTL)
	w.str("token_type", a.TokenType)
	w.close()
}

func (w *writer) request(r *Request) {
	w.open("request")
	w.str("client_token", r.ClientToken.text)
	w.data(r.Data)
	if r.Headers != nil {
		w.open("headers")
		w.list("user-agent", r.Headers.UserAgent)
		w.close()
	}
	w.str("id", r.ID)
	w.str("mount_accessor", r.MountAccessor)
	w.str("mount_point", r.MountPoint)
	w.str("mount_type", r.MountType)
	w.str("operation", r.Operation)
	w.str("path", r.Path)
	w.str("remote_address", r.RemoteAddress)
	w.num("remote_port", int64(r.RemotePort))
	w.num("wrap_ttl", r.WrapTTL)
	w.close()
}

func (w *writer) response(r *Response) {
	w.open("response")
	if r.Auth != nil {
		w.auth("auth", r.Auth)
	}
	w.data(r.Data)
	if r.Secret != nil {
		w.open("secret")
		w.str("lease_id", r.Secret.LeaseID)
		w.close()
	}
	if i := r.WrapInfo; i != nil {
		w.open("wrap_info")
		w.str("accessor", i.Accessor.text)
		w.str("creation_path", i.CreationPath)
		w.str("token", i.Token.text)
		w.num("ttl", i.TTL)
		w.close()
	}
	w.close()
}

func (w *writer) data(d *Data) {
	if d == nil {
		return
	}
	w.open("data")
	w.str("access_request", d.AccessRequest)
	w.str("accessor", d.Accessor.text)
	w.str("algorithm", d.Algorithm)
	if d.CAS != nil {
		w.key("cas")
		w.b = strconv.AppendUint(w.b, *d.CAS, 10)
	}
	w.num("count", d.Count)
	w.str("database_user", d.DatabaseUser)
	w.str("entity", d.Entity)
	w.str("environment", d.Environment)
	w.unum("from_version", d.FromVersion)
	w.str("grant_id", d.GrantID)
	w.str("group", d.Group)
	w.str("issuer", d.Issuer)
	w.str("key_id", d.KeyID)
	w.list("keys", d.Keys)
	w.str("lease_id", d.LeaseID)
	w.list("metadata_keys", d.MetadataKeys)
	w.str("mount_point", d.MountPoint)
	w.list("paths", d.Paths)
	w.list("policies", d.Policies)
	w.str("policy", d.Policy)
	w.str("policy_sha256", d.PolicySHA256)
	if len(d.Read) > 0 {
		w.key("read")
		for i, n := range d.Read {
			w.b = strconv.AppendInt(append(w.b, "[,"[min(i, 1)]), n, 10)
		}
		w.b = append(w.b, ']')
	}
	w.str("reason", d.Reason)
	w.str("role", d.Role)
	w.str("subject", d.Subject.text)
	w.str("ticket", d.Ticket)
	w.str("token_id", d.TokenID.text)
	w.num("ttl", d.TTL)
	w.str("type", d.Type)
	w.unum("version", d.Version)
	if len(d.Versions) > 0 {
		w.key("versions")
		for i, v := range d.Versions {
			w.b = strconv.AppendUint(append(w.b, "[,"[min(i, 1)]), v, 10)
		}
		w.b = append(w.b, ']')
	}
	w.num("versions_dropped", d.VersionsDropped)
	w.close()
}

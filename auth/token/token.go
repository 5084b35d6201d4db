// Package token makes, finds, renews and revokes the tokens of the team server:
// what a client sends with each request to say who it is (spec server-api §1.5).
//
// A token is a random text that only its holder has. The server keeps a keyed
// hash of it, under which the token's record lies, and the record is under a
// message authentication code of a key derived from the same secret: who holds a
// copy of the database learns no token, and who can change the database cannot
// make one, or give one other policies.
//
// Tokens form a tree. Revoking one revokes those that were made with it, at any
// depth, unless they were made as orphans.
//
// It refuses to decide: what a token may do is vault/policy's to say, and that a
// request was made is vault/audit's to write. It keeps no text of a token, and no
// clock of its own; Store is the caller's transaction. Whether a token is good is
// always the row's to say that the transaction sees: what is remembered of a row is
// only that it is genuine, for the very same bytes.
package token

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// What can be wrong with a token. None of the errors says which token.
var (
	ErrInvalid      = errors.New("invalid token")                        // unknown, expired, revoked, used up
	ErrAccessor     = errors.New("invalid accessor")                     // no token has it
	ErrNotRenewable = errors.New("lease is not renewable")               // made so, or without an end
	ErrPastMax      = errors.New("past the max TTL, cannot renew")       // its explicit maximum, or the server's
	ErrTampered     = errors.New("the record of a token is not genuine") // it was not written by this server
	ErrExists       = errors.New("a token with this text exists")
)

// Root is the name of the policy that allows everything. A token that has it has
// no other.
const Root = "root"

// Limits of what a token carries. A client chooses most of it, so it has bounds.
const (
	MaxPolicies = 256
	MaxMeta     = 64  // entries of Meta
	MaxMetaText = 512 // bytes of a key or a value of it
	MaxCIDRs    = 64
	MaxDepth    = 64 // generations of a tree
)

// An ID is the keyed hash of a token's text, by which its record is found.
// The zero ID is no token.
type ID [sha256.Size]byte

// MarshalText writes the ID in hexadecimal.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) {
		return errors.New("not the id of a token")
	}
	*id = ID(b)
	return nil
}

// A Token is what the server knows of one token. Its text is not among it.
type Token struct {
	ID       ID     `json:"-"`
	Accessor string `json:"accessor"`        // names the token to those who may not use it
	Parent   ID     `json:"parent,omitzero"` // zero for an orphan

	Policies    []string          `json:"policies"` // lower case, sorted; Root alone
	NoDefault   bool              `json:"no_default,omitempty"`
	Meta        map[string]string `json:"meta,omitempty"`
	DisplayName string            `json:"display_name"`
	Path        string            `json:"path"`           // of the request that made it
	Role        string            `json:"role,omitempty"` // that it was made by
	EntityID    string            `json:"entity_id,omitempty"`
	Identity    []string          `json:"-"`               // policies that the entity gives now: the caller's to find
	Wraps       bool              `json:"wraps,omitempty"` // it stands for one wrapped answer
	Login       Login             `json:"login,omitzero"`  // that it was made by; zero for one that another token made

	Created     time.Time     `json:"created"`
	Renewed     time.Time     `json:"renewed,omitzero"`
	Expires     time.Time     `json:"expires,omitzero"` // zero: never
	TTL         time.Duration `json:"ttl"`              // as made
	Lease       time.Duration `json:"lease,omitempty"`  // as last renewed; 0: as made
	ExplicitMax time.Duration `json:"explicit_max,omitempty"`
	Max         time.Duration `json:"max,omitempty"` // of all renewing, without a period; 0: the server's
	Period      time.Duration `json:"period,omitempty"`
	Renewable   bool          `json:"renewable,omitempty"`

	Uses  int            `json:"uses,omitempty"` // that are left; 0: any number; LastUse: this request is the last
	CIDRs []netip.Prefix `json:"cidrs,omitempty"`
}

// A Login is the sign-in that made a token.
type Login struct {
	Mount string `json:"mount"` // the id of the way to sign in
	Role  string `json:"role"`
	Stamp string `json:"stamp"` // of the role as it was: one that was changed since renews nothing
}

// LastUse, as Token.Uses, means that the request which is being served is the
// last one the token is good for.
const LastUse = -1

// Orphan says whether the token lives on when the one that made it is revoked.
func (t *Token) Orphan() bool { return t.Parent == ID{} }

// IsRoot says whether the token's policy is root.
func (t *Token) IsRoot() bool { return len(t.Policies) == 1 && t.Policies[0] == Root }

// All are the policies of the token and those that its entity gives it.
func (t *Token) All() []string {
	if len(t.Identity) == 0 || t.IsRoot() {
		return t.Policies
	}
	return Policies(slices.Concat(t.Policies, t.Identity))
}

// Left is how long the token is still good for; 0 for one without an end.
func (t *Token) Left(now time.Time) time.Duration {
	if t.Expires.IsZero() {
		return 0
	}
	return max(0, t.Expires.Sub(now))
}

// From says whether a client at addr may use the token.
func (t *Token) From(addr netip.Addr) bool {
	if len(t.CIDRs) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(t.CIDRs, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// A Row is a token as it is stored. Body is authenticated and repeats the
// columns, which are there to be searched: a column that somebody changed is
// noticed when the row is read.
type Row struct {
	ID       ID
	Accessor string
	Parent   ID
	Mount    string    // Login.Mount; "" for a token that another one made
	Expires  time.Time // zero: never
	Body     []byte
}

// A Store is where tokens lie, within one transaction. Each method is one
// statement; none of them is retried here.
type Store interface {
	// TokenRow returns the row of a token, and false if there is none.
	TokenRow(ID) (Row, bool, error)
	// TokenRowByAccessor does so by the accessor.
	TokenRowByAccessor(string) (Row, bool, error)
	// PutTokenRow inserts the row, or replaces the one with its ID.
	PutTokenRow(Row) error
	// DeleteTokenRow removes a row; nothing happens if it is not there.
	DeleteTokenRow(ID) error
	// TokenChildren returns the tokens whose parent is the given one.
	TokenChildren(ID) ([]ID, error)
	// TokensOfMount returns at most limit tokens that signed in at a mount.
	TokensOfMount(mount string, limit int) ([]ID, error)
	// TokenAccessors returns the accessors of all tokens, sorted.
	TokenAccessors() ([]string, error)
	// TokensExpired returns at most limit tokens that expire at or before a time.
	TokensExpired(at time.Time, limit int) ([]ID, error)
}

// Tokens is the keys and limits with which tokens are made and checked. It may be
// used by several goroutines.
type Tokens struct {
	idKey, rowKey []byte
	genuine       genuine

	Now        func() time.Time
	Rand       io.Reader
	DefaultTTL time.Duration // of a token that does not say
	MaxTTL     time.Duration // of one without a period
}

// New returns the tokens of a server whose secret is key, of at least 32 bytes.
func New(key []byte) (*Tokens, error) {
	if len(key) < 32 {
		return nil, errors.New("the key of tokens is shorter than 32 bytes")
	}
	id, err := hkdf.Key(sha256.New, key, nil, "envrun token id 1", 32)
	if err != nil {
		return nil, err
	}
	row, err := hkdf.Key(sha256.New, key, nil, "envrun token row 1", 32)
	if err != nil {
		return nil, err
	}
	return &Tokens{idKey: id, rowKey: row, Now: time.Now, Rand: rand.Reader, DefaultTTL: 768 * time.Hour, MaxTTL: 768 * time.Hour}, nil
}

// IDOf is the keyed hash of a token's text.
func (ts *Tokens) IDOf(text string) ID {
	h := hmac.New(sha256.New, ts.idKey)
	io.WriteString(h, text)
	return ID(h.Sum(nil))
}

// RevokeMount revokes at most limit tokens that signed in at a mount, with those
// that were made with them, and says how many it found.
func (ts *Tokens) RevokeMount(s Store, mount string, limit int) (int, error) {
	ids, err := s.TokensOfMount(mount, limit)
	if err != nil {
		return 0, err
	}
	return ts.revokeAll(s, ids)
}

// revokeAll revokes tokens, and says how many.
func (ts *Tokens) revokeAll(s Store, ids []ID) (int, error) {
	for _, id := range ids {
		if err := ts.Revoke(s, id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// A Spec is what a new token is to be.
type Spec struct {
	Text   string // chosen, for a development server's root token; "" makes one
	Parent *Token // nil: an orphan

	Policies    []string
	NoDefault   bool // kept as a fact of the token; Policies are complete
	Meta        map[string]string
	DisplayName string
	Path        string
	Role        string
	EntityID    string
	Wraps       bool
	Login       Login

	TTL         time.Duration // 0: the default, or no end for a root token
	DefaultTTL  time.Duration // of the mount that makes it; 0: the server's
	MaxTTL      time.Duration // of the mount or the role that makes it, for renewing too; 0: the server's
	ExplicitMax time.Duration
	Period      time.Duration
	Renewable   bool
	Uses        int // 0: any number
	CIDRs       []netip.Prefix
}

// Create makes a token, and returns its text, which is not kept anywhere, and what
// the maker should be told. The policies are brought into the form in which they
// are compared; that the maker may give them is the caller's to check.
func (ts *Tokens) Create(s Store, spec Spec) (text string, t Token, warnings []string, err error) {
	if t, warnings, err = ts.Plan(s, spec); err != nil {
		return "", Token{}, nil, err
	}
	text = spec.Text
	if text == "" {
		if text, err = ts.text(spec.Wraps); err != nil {
			return "", Token{}, nil, err
		}
	}
	t.ID = ts.IDOf(text)
	if spec.Text != "" { // a random one of 166 bits is nobody's
		if _, there, err := s.TokenRow(t.ID); err != nil {
			return "", Token{}, nil, err
		} else if there {
			return "", Token{}, nil, ErrExists
		}
	}
	if t.Accessor, err = ts.random(24); err != nil {
		return "", Token{}, nil, err
	}
	return text, t, warnings, ts.put(s, &t)
}

// Plan is what Create would make now, without a text and an accessor. It writes nothing.
func (ts *Tokens) Plan(s Store, spec Spec) (t Token, warnings []string, err error) {
	now := ts.Now().UTC()
	t = Token{
		Policies: Policies(spec.Policies), NoDefault: spec.NoDefault, Meta: spec.Meta, DisplayName: spec.DisplayName,
		Path: spec.Path, Role: spec.Role, EntityID: spec.EntityID, Wraps: spec.Wraps, Login: spec.Login,
		Created: now, TTL: spec.TTL, ExplicitMax: spec.ExplicitMax, Max: spec.MaxTTL, Period: spec.Period,
		Renewable: spec.Renewable, Uses: spec.Uses, CIDRs: spec.CIDRs,
	}
	if err := t.check(); err != nil {
		return Token{}, nil, err
	}
	if spec.Parent != nil {
		if err := ts.depth(s, spec.Parent); err != nil {
			return Token{}, nil, err
		}
		t.Parent = spec.Parent.ID
	}
	endless := t.IsRoot() && t.TTL == 0 && t.ExplicitMax == 0 && t.Period == 0
	// A root token that ends may not make one that does not.
	if endless && spec.Parent != nil && !spec.Parent.Expires.IsZero() {
		return Token{}, nil, errors.New("expiring root tokens cannot create non-expiring root tokens")
	}
	if endless {
		t.Renewable = false
	} else {
		most := ts.MaxTTL
		if spec.MaxTTL > 0 {
			most = spec.MaxTTL
		}
		usual := ts.DefaultTTL
		if spec.DefaultTTL > 0 {
			usual = spec.DefaultTTL
		}
		asked := t.TTL
		switch {
		case t.Period > 0:
			t.TTL, most = t.Period, 0
		case t.TTL == 0:
			t.TTL = min(usual, most)
		}
		if t.ExplicitMax > 0 {
			if most > 0 && t.ExplicitMax > most {
				warnings = append(warnings, fmt.Sprintf("Explicit max TTL of %q is greater than system/mount allowed value; value is being capped to %q", Spell(t.ExplicitMax), Spell(most)))
				t.ExplicitMax = most
			}
			if most == 0 || t.ExplicitMax < most {
				most = t.ExplicitMax
			}
		}
		if most > 0 && t.TTL > most {
			if asked > most {
				warnings = append(warnings, tooLong(asked, most))
			}
			t.TTL = most
		}
		t.Expires = now.Add(t.TTL)
	}
	return t, warnings, nil
}

func (t *Token) check() error {
	switch {
	case len(t.Policies) > MaxPolicies:
		return fmt.Errorf("a token has at most %d policies", MaxPolicies)
	case slices.Contains(t.Policies, Root) && len(t.Policies) > 1:
		return errors.New("root tokens may not have other policies")
	case len(t.Meta) > MaxMeta:
		return fmt.Errorf("a token has at most %d entries of metadata", MaxMeta)
	case len(t.CIDRs) > MaxCIDRs:
		return fmt.Errorf("a token is bound to at most %d networks", MaxCIDRs)
	case t.TTL < 0 || t.ExplicitMax < 0 || t.Period < 0:
		return errors.New("a time to live cannot be negative")
	case t.Uses < 0:
		return errors.New("number of uses cannot be negative")
	case len(t.DisplayName) > MaxMetaText || len(t.Path) > 2*MaxMetaText:
		return errors.New("the name of a token is too long")
	}
	for k, v := range t.Meta {
		if len(k) > MaxMetaText || len(v) > MaxMetaText {
			return fmt.Errorf("a key or value of metadata has at most %d bytes", MaxMetaText)
		}
	}
	return nil
}

// depth refuses a tree that would be too deep to be revoked in one go.
func (ts *Tokens) depth(s Store, parent *Token) error {
	for n, id := 1, parent.Parent; id != (ID{}); n++ {
		if n >= MaxDepth {
			return fmt.Errorf("tokens that make tokens are at most %d deep", MaxDepth)
		}
		row, there, err := s.TokenRow(id)
		if err != nil || !there {
			return err
		}
		id = row.Parent
	}
	return nil
}

// Policies brings names of policies into the form in which they are kept and
// compared: without spaces around them, in lower case, sorted, each once. Without
// that "ROOT" is not the "root" that a check looks for (CVE-2025-5999).
func Policies(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		if n = strings.ToLower(strings.TrimSpace(n)); n != "" {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Lookup returns the token with a text. ErrInvalid if there is none that is still
// good.
func (ts *Tokens) Lookup(s Store, text string) (Token, error) {
	if text == "" {
		return Token{}, ErrInvalid
	}
	row, there, err := s.TokenRow(ts.IDOf(text))
	if err != nil {
		return Token{}, err
	}
	if !there {
		return Token{}, ErrInvalid
	}
	return ts.Open(row)
}

// ByAccessor returns the token with an accessor. ErrAccessor if there is none
// that is still good.
func (ts *Tokens) ByAccessor(s Store, accessor string) (Token, error) {
	row, there, err := s.TokenRowByAccessor(accessor)
	if err != nil {
		return Token{}, err
	}
	if !there || accessor == "" {
		return Token{}, ErrAccessor
	}
	t, err := ts.Open(row)
	if errors.Is(err, ErrInvalid) {
		err = ErrAccessor
	}
	return t, err
}

// Open reads a row: ErrTampered if this server did not write it as it is,
// ErrInvalid if its token has expired or has been used up.
func (ts *Tokens) Open(row Row) (Token, error) {
	t, err := ts.read(row)
	if err != nil {
		return Token{}, err
	}
	if !ts.Good(&t) {
		return Token{}, ErrInvalid
	}
	return t, nil
}

// Good says whether a token that was read has neither expired since nor been used up.
func (ts *Tokens) Good(t *Token) bool {
	return t.Uses != LastUse && (t.Expires.IsZero() || ts.Now().Before(t.Expires))
}

// maxGenuine bounds how many rows are remembered.
const maxGenuine = 4096

// genuine are rows that were checked and read, so that those of tokens that ask
// again and again are not checked each time. The texts of tokens are not in it.
type genuine struct {
	mu   sync.Mutex
	rows map[ID]genuineRow
}

type genuineRow struct {
	row   Row
	token Token
}

func (g *genuine) get(row Row) (Token, bool) {
	g.mu.Lock()
	k, ok := g.rows[row.ID]
	g.mu.Unlock()
	same := ok && bytes.Equal(k.row.Body, row.Body) && k.row.Accessor == row.Accessor && k.row.Parent == row.Parent && k.row.Mount == row.Mount && k.row.Expires.Equal(row.Expires)
	return k.token, same
}

func (g *genuine) put(row Row, t Token) {
	row.Body = bytes.Clone(row.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rows == nil || len(g.rows) >= maxGenuine {
		g.rows = map[ID]genuineRow{}
	}
	g.rows[row.ID] = genuineRow{row, t}
}

// read checks and reads a row. The lists and the map of the token are not to be changed.
func (ts *Tokens) read(row Row) (Token, error) {
	if t, ok := ts.genuine.get(row); ok {
		return t, nil
	}
	if len(row.Body) < sha256.Size || !hmac.Equal(row.Body[:sha256.Size], ts.mac(row.ID, row.Body[sha256.Size:])) {
		return Token{}, ErrTampered
	}
	var t Token
	if err := json.Unmarshal(row.Body[sha256.Size:], &t); err != nil {
		return Token{}, ErrTampered
	}
	t.ID = row.ID
	if t.Accessor != row.Accessor || t.Parent != row.Parent || t.Login.Mount != row.Mount || !t.Expires.Equal(row.Expires) {
		return Token{}, ErrTampered
	}
	ts.genuine.put(row, t)
	return t, nil
}

func (ts *Tokens) put(s Store, t *Token) error {
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.PutTokenRow(Row{ID: t.ID, Accessor: t.Accessor, Parent: t.Parent, Mount: t.Login.Mount, Expires: t.Expires, Body: append(ts.mac(t.ID, body), body...)})
}

func (ts *Tokens) mac(id ID, body []byte) []byte {
	h := hmac.New(sha256.New, ts.rowKey)
	h.Write(id[:])
	h.Write(body)
	return h.Sum(nil)
}

// Use counts one use of a token that has a number of them, in the transaction in
// which the request is served, and does nothing for others. After the last one
// t.Uses is LastUse: the caller revokes the token when the request was served.
func (ts *Tokens) Use(s Store, t *Token) error {
	switch {
	case t.Uses == 0:
		return nil
	case t.Uses == LastUse:
		return ErrInvalid
	case t.Uses == 1:
		t.Uses = LastUse
	default:
		t.Uses--
	}
	return ts.put(s, t)
}

// Renew gives a token new time: its period, or what is asked for, or else as much
// as it got the last time, counted from now and never past its maximum.
func (ts *Tokens) Renew(s Store, t *Token, increment time.Duration) (warnings []string, err error) {
	if !t.Renewable || t.Expires.IsZero() {
		return nil, ErrNotRenewable
	}
	now := ts.Now().UTC()
	ttl := t.TTL
	if t.Lease > 0 {
		ttl = t.Lease
	}
	var end time.Time // of all renewing
	if t.ExplicitMax > 0 {
		end = t.Created.Add(t.ExplicitMax)
	}
	if t.Period > 0 {
		ttl = t.Period
	} else {
		if increment > 0 {
			ttl = increment
		}
		most := ts.MaxTTL
		if t.Max > 0 {
			most = t.Max
		}
		if e := t.Created.Add(most); end.IsZero() || e.Before(end) {
			end = e
		}
	}
	if !end.IsZero() {
		left := end.Sub(now).Truncate(time.Second)
		if left <= 0 {
			return nil, ErrPastMax
		}
		if ttl > left {
			warnings = append(warnings, tooLong(ttl, left))
			ttl = left
		}
	}
	t.Lease, t.Renewed, t.Expires = ttl, now, now.Add(ttl)
	return warnings, ts.put(s, t)
}

// Revoke removes a token and all that were made with it, at any depth. Nothing
// happens if it is not there.
func (ts *Tokens) Revoke(s Store, id ID) error {
	// Deepest last in the list, removed from its end: a failure half-way, which
	// the transaction undoes anyway, never leaves a child without its parent.
	ids := []ID{id}
	for i := 0; i < len(ids); i++ {
		more, err := s.TokenChildren(ids[i])
		if err != nil {
			return err
		}
		ids = append(ids, more...)
	}
	for _, id := range slices.Backward(ids) {
		if err := s.DeleteTokenRow(id); err != nil {
			return err
		}
	}
	return nil
}

// RevokeOrphan removes a token alone: those made with it become orphans.
func (ts *Tokens) RevokeOrphan(s Store, id ID) error {
	ids, err := s.TokenChildren(id)
	if err != nil {
		return err
	}
	for _, child := range ids {
		row, there, err := s.TokenRow(child)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		t, err := ts.read(row)
		if err != nil {
			return err
		}
		t.Parent = ID{}
		if err := ts.put(s, &t); err != nil {
			return err
		}
	}
	return s.DeleteTokenRow(id)
}

// Sweep revokes at most limit tokens that have expired, with those made with
// them, and says how many it found.
func (ts *Tokens) Sweep(s Store, limit int) (int, error) {
	ids, err := s.TokensExpired(ts.Now(), limit)
	if err != nil {
		return 0, err
	}
	return ts.revokeAll(s, ids)
}

// The texts of tokens begin with these, so that scanners of leaks can find them.
const (
	Prefix         = "evr_s_"
	WrappingPrefix = "evr_w_"
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// text makes a token: 166 random bits and a sum, so that a text that only looks
// like a token can be told from one without asking the server.
func (ts *Tokens) text(wraps bool) (string, error) {
	prefix := Prefix
	if wraps {
		prefix = WrappingPrefix
	}
	body, err := ts.random(28)
	if err != nil {
		return "", err
	}
	return prefix + body + sum(prefix+body), nil
}

// Genuine says whether a text has the form of a token that Create makes.
func Genuine(text string) bool {
	if !strings.HasPrefix(text, Prefix) && !strings.HasPrefix(text, WrappingPrefix) || len(text) != len(Prefix)+28+6 {
		return false
	}
	return text[len(text)-6:] == sum(text[:len(text)-6])
}

func sum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [6]byte
	for i := range slices.Backward(out[:]) {
		out[i] = alphabet[n%62]
		n /= 62
	}
	return string(out[:])
}

// random is n letters and digits, all equally likely.
func (ts *Tokens) random(n int) (string, error) {
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		if _, err := io.ReadFull(ts.Rand, buf[:]); err != nil {
			return "", err
		}
		for _, b := range buf {
			if b < 62*4 && len(out) < n {
				out = append(out, alphabet[b%62])
			}
		}
	}
	return string(out), nil
}

func tooLong(asked, most time.Duration) string {
	return fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", Spell(asked), Spell(most))
}

// Spell is a duration as warnings have it: "1h30m", "10m", "45s".
func Spell(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

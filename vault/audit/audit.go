// Package audit is the record of what a team server was asked and what it
// answered: two entries for each request, an intent and an outcome, in a log
// that shows when somebody rewrote it.
//
// An Entry is a record with a field for each fact that may be written, of the
// shape that readers of Vault's audit log know. Nothing is taken over by
// reflection from a request's body: a secret value has no field to go to, and
// a token can enter as a keyed hash only (Hashed). What is not secret, the name of
// a policy or role, versions, the names of fields, the database user, lease and
// grant, stands in clear, because a log of hashes answers nobody's question.
//
// The log is a Merkle tree in the form of RFC 6962 (golang.org/x/mod/sumdb/tlog).
// Its nodes are stored in the transaction of the change that they speak of, so
// that no change exists without its record; a checkpoint of its size and root is
// signed, and whoever keeps one (see Memory) can be shown by
// a proof that the log has only grown since. An export is checked offline by Verify.
//
// An entry does not hold its own number, other than server-api §3.3 proposes: so
// the bytes that a device gets before the act are the bytes that the log
// holds, and their hash, which is the leaf of the tree, is the name by which a
// collector drops what it was sent twice.
//
// The package refuses: entries without a bound on their size, lines with a raw
// newline or control character, and answers about a tree that the stored nodes
// do not lead to.
package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
	"sync"
	"time"
)

// Type says which of the two entries of a request this is.
type Type string

const (
	Intent  Type = "request"  // written before the act
	Outcome Type = "response" // written with the act, or before the answer of a read
)

// An Entry is one line of the log. Time and Type are required. Everything in
// it is written in clear: strings that are longer than their bound are cut, with
// their length and hash said (see Line).
type Entry struct {
	Auth     Auth        `json:"auth"`
	Error    string      `json:"error,omitempty"` // why it was refused or failed: our own words, never a part of the request
	Heads    []StoreHead `json:"heads,omitempty"` // of an Outcome: what the change left of the stores that it changed
	Request  Request     `json:"request"`
	Response *Response   `json:"response,omitempty"` // of an Outcome
	Status   int         `json:"status,omitempty"`   // of an Outcome: the HTTP status
	Time     time.Time   `json:"time"`
	Type     Type        `json:"type"`
}

// A StoreHead says how far something that is stored has come: a mount, or the
// server's own records. Whoever puts it back to an earlier state in the database
// contradicts the log, in which its numbers only grow.
type StoreHead struct {
	Changes uint64 `json:"changes"` // grows with every change
	Digest  string `json:"digest"`  // of everything that is stored after it, under a key
	ID      string `json:"id"`      // of the mount, or "sys"
}

// Auth is who asked, or who a login made of somebody.
type Auth struct {
	Accessor        Hashed            `json:"accessor,omitzero"`
	ClientToken     Hashed            `json:"client_token,omitzero"`
	DisplayName     string            `json:"display_name,omitempty"`
	EntityID        string            `json:"entity_id,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`         // of the identity: mail, groups, the CI job; never anything from a request's body
	MetadataDropped int               `json:"metadata_dropped,omitempty"` // for which there was no room
	Policies        []string          `json:"policies,omitempty"`
	PolicyResults   *PolicyResults    `json:"policy_results,omitempty"` // nil: nothing was decided, the token was not good
	RemainingUses   int               `json:"remaining_uses,omitempty"`
	TokenTTL        int64             `json:"token_ttl,omitempty"` // seconds
	TokenType       string            `json:"token_type,omitempty"`
}

// PolicyResults is what the policies said.
type PolicyResults struct {
	Allowed          bool             `json:"allowed"`
	GrantingPolicies []GrantingPolicy `json:"granting_policies,omitempty"`
}

// A GrantingPolicy is one of the policies that allowed the request.
type GrantingPolicy struct {
	Name string `json:"name"`
	Type string `json:"type"` // "acl"
}

// Request is what was asked.
type Request struct {
	ClientToken   Hashed   `json:"client_token,omitzero"` // as it was sent, if it was not good; a good one is in Auth
	Data          *Data    `json:"data,omitempty"`
	Headers       *Headers `json:"headers,omitempty"`
	ID            string   `json:"id,omitempty"` // the same in both entries and in the answer's request_id
	MountAccessor string   `json:"mount_accessor,omitempty"`
	MountPoint    string   `json:"mount_point,omitempty"` // "prod/"
	MountType     string   `json:"mount_type,omitempty"`
	Operation     string   `json:"operation,omitempty"` // read, create, update, patch, delete, list, help, or renew, revoke, rollback by the server itself
	Path          string   `json:"path,omitempty"`      // from the top, with the mount: "prod/data/billing"
	RemoteAddress string   `json:"remote_address,omitempty"`
	RemotePort    int      `json:"remote_port,omitempty"`
	WrapTTL       int64    `json:"wrap_ttl,omitempty"` // seconds
}

// Headers are the ones that are logged.
type Headers struct {
	UserAgent []string `json:"user-agent,omitempty"`
}

// Response is what was answered.
type Response struct {
	Auth     *Auth     `json:"auth,omitempty"` // of a login, or a new or renewed token
	Data     *Data     `json:"data,omitempty"`
	Secret   *Secret   `json:"secret,omitempty"`
	WrapInfo *WrapInfo `json:"wrap_info,omitempty"`
}

// Secret is the lease of an answer.
type Secret struct {
	LeaseID string `json:"lease_id,omitempty"`
}

// WrapInfo is a wrapped answer.
type WrapInfo struct {
	Accessor     Hashed `json:"accessor,omitzero"`
	CreationPath string `json:"creation_path,omitempty"`
	Token        Hashed `json:"token,omitzero"`
	TTL          int64  `json:"ttl,omitempty"` // seconds
}

// Data is the non-secret facts of a body, one field for each that may be
// logged. A fact that has no field here is not logged.
type Data struct {
	AccessRequest   string   `json:"access_request,omitempty"` // the id of a request for access
	Accessor        Hashed   `json:"accessor,omitzero"`        // of the token that is acted on
	Algorithm       string   `json:"algorithm,omitempty"`      // that an identity token is signed with
	CAS             *uint64  `json:"cas,omitempty"`            // nil: not given
	Count           int64    `json:"count,omitempty"`          // how many things a list held; the list is not logged
	DatabaseUser    string   `json:"database_user,omitempty"`
	Entity          string   `json:"entity,omitempty"` // the id of one that is changed
	Environment     string   `json:"environment,omitempty"`
	FromVersion     uint64   `json:"from_version,omitempty"` // that was rolled back to
	GrantID         string   `json:"grant_id,omitempty"`
	Group           string   `json:"group,omitempty"`
	Issuer          string   `json:"issuer,omitempty"`   // of an identity token
	KeyID           string   `json:"key_id,omitempty"`   // of the issuer's key
	Keys            []string `json:"keys,omitempty"`     // the names of the fields, never their values
	LeaseID         string   `json:"lease_id,omitempty"` // that is renewed or revoked
	MetadataKeys    []string `json:"metadata_keys,omitempty"`
	MountPoint      string   `json:"mount_point,omitempty"` // that is made, tuned, moved or removed
	Paths           []string `json:"paths,omitempty"`       // of secrets that are asked for together, from the top: see PathsFit
	Policies        []string `json:"policies,omitempty"`    // asked for a token
	Policy          string   `json:"policy,omitempty"`
	PolicySHA256    string   `json:"policy_sha256,omitempty"` // of the text that was written
	Read            []int64  `json:"read,omitempty"`          // of each of Paths, the version that was handed out; 0: nothing was there; -1: refused
	Reason          string   `json:"reason,omitempty"`        // that a person gave for asking for access
	Role            string   `json:"role,omitempty"`
	Subject         Hashed   `json:"subject,omitzero"` // of an identity token
	TTL             int64    `json:"ttl,omitempty"`    // seconds
	Ticket          string   `json:"ticket,omitempty"`
	TokenID         Hashed   `json:"token_id,omitzero"` // of an identity token: its jti
	Type            string   `json:"type,omitempty"`    // of a mount or token
	Version         uint64   `json:"version,omitempty"`
	Versions        []uint64 `json:"versions,omitempty"`
	VersionsDropped int64    `json:"versions_dropped,omitempty"` // for which there was no room in Versions
}

// Hashed is a keyed hash of a token or an accessor. Only a Hasher makes one, so
// that a token cannot be put where its hash belongs. The zero Hashed is absent.
type Hashed struct{ text string }

const (
	hashedPrefix = "hmac-sha256:"
	hashedLen    = len(hashedPrefix) + 2*sha256.Size
)

func (h Hashed) String() string { return h.text }

// IsZero reports whether there is none.
func (h Hashed) IsZero() bool { return h.text == "" }

// MarshalText is for the encoders of other formats; Line does not use it.
func (h Hashed) MarshalText() ([]byte, error) { return []byte(h.text), nil }

var errNotHashed = errors.New("not a keyed hash")

// UnmarshalText takes what String gave.
func (h *Hashed) UnmarshalText(b []byte) error {
	digits, ok := strings.CutPrefix(string(b), hashedPrefix)
	if !ok || len(b) != hashedLen || strings.Trim(digits, "0123456789abcdef") != "" {
		return errNotHashed
	}
	h.text = string(b)
	return nil
}

// A Hasher makes keyed hashes: HMAC-SHA-256 under a key of the keyring, so
// that a log can be asked for a token that is known, and tells none.
type Hasher struct {
	macs sync.Pool // of hash.Hash, which are dear to make: several are needed in every request
}

// NewHasher takes a key of 32 bytes over. It panics at any other length, since
// a log of guessable hashes would look like a good one.
func NewHasher(key []byte) *Hasher {
	if len(key) != sha256.Size {
		panic("audit: the key of a hasher has 32 bytes")
	}
	return &Hasher{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// Hash hashes a token or an accessor; "" is absent and stays so.
func (h *Hasher) Hash(token string) Hashed {
	if token == "" {
		return Hashed{}
	}
	m := h.macs.Get().(hash.Hash)
	defer h.macs.Put(m)
	m.Reset()
	m.Write([]byte(token))
	var sum [sha256.Size]byte
	var text [hashedLen]byte
	copy(text[:], hashedPrefix)
	hex.Encode(text[len(hashedPrefix):], m.Sum(sum[:0]))
	return Hashed{string(text[:])}
}

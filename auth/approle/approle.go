// Package approle keeps the secret ids of machines: a random text that, with the id
// of a role, signs a machine in (server-api §1.6).
//
// As with tokens, the server keeps a keyed hash of a secret id, under which its
// record lies, and the record is under a message authentication code: who holds a
// copy of the database learns no secret id, and who can change it cannot make one, or
// give one more than it had. A row that was put back as it had been is not noticed. The
// hash covers the role: one role's secret id is nobody else's.
//
// It refuses to know roles but by an id, HTTP, and the text of a secret id after it
// was made. Store is the caller's transaction: what counts down, counts in the one in
// which the machine signs in.
package approle

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Prefix is what secret ids begin with that were not chosen, so that scanners of
// leaks can find them.
const Prefix = "evr_a_"

// ErrTampered is a record that this server did not write.
var ErrTampered = errors.New("the record of a secret id is not genuine")

// A Reason is why a machine was not let in: for the audit log alone. Whoever tries is
// told the same for each of them.
type Reason string

// The reasons, in the order of the checks.
const (
	ReasonRole    Reason = "there is no role with this id"
	ReasonNetwork Reason = "the role is not for this address"
	ReasonMissing Reason = "no secret id was sent"
	ReasonUnknown Reason = "the role has no such secret id, or none that is left"
	ReasonExpired Reason = "the secret id has expired"
	ReasonBound   Reason = "the secret id is not for this address"
)

// A Refusal is a machine that was not let in.
type Refusal struct{ Reason Reason }

func (r *Refusal) Error() string { return string(r.Reason) }

// An ID is the keyed hash of a secret id and its role.
type ID [sha256.Size]byte

// A Secret is what the server knows of a secret id. Its text is not among it.
type Secret struct {
	ID         ID                `json:"-"`
	Accessor   string            `json:"accessor"` // names it to those who may not use it
	Role       string            `json:"role"`     // the id that a role has for as long as it is there
	Created    time.Time         `json:"created"`
	Updated    time.Time         `json:"updated"`
	Expires    time.Time         `json:"expires,omitzero"` // zero: never
	TTL        time.Duration     `json:"ttl,omitempty"`
	Uses       int               `json:"uses,omitempty"` // that are left; 0: any number
	Meta       map[string]string `json:"meta,omitempty"`
	CIDRs      []string          `json:"cidrs,omitempty"`       // where it may be used; none: anywhere
	TokenCIDRs []string          `json:"token_cidrs,omitempty"` // where what it gives may be used
}

// From says whether it may be used from an address.
func (s *Secret) From(addr netip.Addr) bool { return Within(s.CIDRs, addr) }

// Within says whether an address is in one of the networks. None are all.
func Within(networks []string, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Contains(addr)
	})
}

// A Row is a secret id as it is stored. Body is authenticated and repeats the columns.
type Row struct {
	ID       ID
	Role     string
	Accessor string
	Expires  time.Time // zero: never
	Body     []byte
}

// A Store is where secret ids lie, within one transaction.
type Store interface {
	// SecretIDRow returns the row of a secret id, and false if there is none.
	SecretIDRow(ID) (Row, bool, error)
	// SecretIDRowByAccessor does so by the role and the accessor.
	SecretIDRowByAccessor(role, accessor string) (Row, bool, error)
	// PutSecretIDRow inserts the row, or replaces the one with its ID.
	PutSecretIDRow(Row) error
	// DeleteSecretIDRow removes a row; nothing happens if it is not there.
	DeleteSecretIDRow(ID) error
	// DeleteSecretIDsOf removes those of a role.
	DeleteSecretIDsOf(role string) error
	// SecretIDAccessors returns the accessors of a role's, sorted.
	SecretIDAccessors(role string) ([]string, error)
	// SecretIDsExpired says whether some expired at or before a time.
	SecretIDsExpired(now time.Time) (bool, error)
	// ForgetSecretIDs removes at most limit of those that expired at or before a time,
	// and says how many.
	ForgetSecretIDs(now time.Time, limit int) (int, error)
}

// Secrets is the keys with which secret ids are kept. It may be used by several
// goroutines.
type Secrets struct {
	idKey, rowKey []byte
	now           func() time.Time
}

// New returns the secret ids of a server whose secret is key, of at least 32 bytes.
func New(key []byte, now func() time.Time) (*Secrets, error) {
	if len(key) < 32 {
		return nil, errors.New("the key of secret ids is shorter than 32 bytes")
	}
	id, err := hkdf.Key(sha256.New, key, nil, "envrun secret id 1", 32)
	if err != nil {
		return nil, err
	}
	row, err := hkdf.Key(sha256.New, key, nil, "envrun secret id row 1", 32)
	if err != nil {
		return nil, err
	}
	return &Secrets{id, row, now}, nil
}

// Text makes the text of a secret id: 130 random bits.
func Text() string { return Prefix + rand.Text() }

// Hash is the keyed hash of a text that belongs to something.
func (s *Secrets) Hash(of, text string) ID {
	h := hmac.New(sha256.New, s.idKey)
	io.WriteString(h, of)
	h.Write([]byte{0}) // an id of a role or a mount has none
	io.WriteString(h, text)
	return ID(h.Sum(nil))
}

// String is the hash in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Add keeps a secret id of a role, from now on, and says whether its text is new to
// the role.
func (s *Secrets) Add(st Store, text string, sec *Secret) (bool, error) {
	sec.ID = s.Hash(sec.Role, text)
	if _, there, err := st.SecretIDRow(sec.ID); err != nil || there {
		return false, err
	}
	sec.Created = s.now().UTC()
	sec.Updated = sec.Created
	if sec.TTL > 0 {
		sec.Expires = sec.Created.Add(sec.TTL)
	}
	return true, s.put(st, sec)
}

// Find returns the secret id of a role with a text. An error is a *Refusal if there
// is none that is still good.
func (s *Secrets) Find(st Store, role, text string) (*Secret, error) {
	id := s.Hash(role, text)
	row, there, err := st.SecretIDRow(id)
	if err != nil {
		return nil, err
	}
	return s.good(row, there && hmac.Equal(row.ID[:], id[:]))
}

// ByAccessor is Find by the accessor.
func (s *Secrets) ByAccessor(st Store, role, accessor string) (*Secret, error) {
	row, there, err := st.SecretIDRowByAccessor(role, accessor)
	if err != nil {
		return nil, err
	}
	return s.good(row, there)
}

func (s *Secrets) good(row Row, there bool) (*Secret, error) {
	if !there {
		return nil, &Refusal{ReasonUnknown}
	}
	sec, err := s.read(row)
	if err == nil && !sec.Expires.IsZero() && !sec.Expires.After(s.now()) {
		err = &Refusal{ReasonExpired}
	}
	return sec, err
}

// Use counts one use of a secret id that has a number of them, and removes it with
// the last.
func (s *Secrets) Use(st Store, sec *Secret) error {
	switch sec.Uses {
	case 0:
		return nil
	case 1:
		return st.DeleteSecretIDRow(sec.ID)
	}
	sec.Uses--
	sec.Updated = s.now().UTC()
	return s.put(st, sec)
}

func (s *Secrets) read(row Row) (*Secret, error) {
	if len(row.Body) < sha256.Size || !hmac.Equal(row.Body[:sha256.Size], s.mac(row.ID, row.Body[sha256.Size:])) {
		return nil, ErrTampered
	}
	var sec Secret
	if err := json.Unmarshal(row.Body[sha256.Size:], &sec); err != nil {
		return nil, ErrTampered
	}
	if sec.ID = row.ID; sec.Role != row.Role || sec.Accessor != row.Accessor || !sec.Expires.Equal(row.Expires) {
		return nil, ErrTampered
	}
	return &sec, nil
}

func (s *Secrets) put(st Store, sec *Secret) error {
	body, err := json.Marshal(sec)
	if err != nil {
		return err
	}
	return st.PutSecretIDRow(Row{ID: sec.ID, Role: sec.Role, Accessor: sec.Accessor, Expires: sec.Expires, Body: append(s.mac(sec.ID, body), body...)})
}

func (s *Secrets) mac(id ID, body []byte) []byte {
	h := hmac.New(sha256.New, s.rowKey)
	h.Write(id[:])
	h.Write(body)
	return h.Sum(nil)
}

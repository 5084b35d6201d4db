package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"envrun/auth"
	"envrun/auth/strictjson"
)

// The file of a session: a header that is read without the key,
//
//	"envrunSS"  8 bytes
//	version     1 byte
//	key id      16 bytes: which key it is sealed with
//	generation  8 bytes, big endian
//
// and behind it the nonce, the sealed JSON and the tag, as
// cipher.NewGCMWithRandomNonce makes them. What is authenticated with it is
// "envrun-session", the header, and the account's ID.
const (
	magic      = "envrunSS"
	version    = 1
	headerSize = len(magic) + 1 + 16 + 8
	overhead   = 28 // nonce and tag
)

type header struct {
	key [16]byte
	gen uint64
}

func (h header) marshal() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = append(b, version)
	b = append(b, h.key[:]...)
	return binary.BigEndian.AppendUint64(b, h.gen)
}

// Faults of a file, as DamagedError.Reason has them.
var (
	errShort   = errors.New("is cut short")
	errMagic   = errors.New("is no session")
	errVersion = errors.New("is of a version that this envrun does not know")
	errChanged = errors.New("was changed, or is another account's")
	errInside  = errors.New("holds something else than a session")
)

// otherKeyError says that a file is sealed with another key.
type otherKeyError struct{}

func (*otherKeyError) Error() string { return "is sealed with another key" }

// parseHeader takes a file apart; nothing of it is authentic yet.
func parseHeader(file []byte) (h header, sealed []byte, err error) {
	switch {
	case len(file) < len(magic)+1:
		return h, nil, errShort
	case string(file[:len(magic)]) != magic:
		return h, nil, errMagic
	case file[len(magic)] != version:
		return h, nil, errVersion
	case len(file) < headerSize+overhead:
		return h, nil, errShort
	}
	at := len(magic) + 1
	copy(h.key[:], file[at:])
	h.gen = binary.BigEndian.Uint64(file[at+len(h.key):])
	return h, file[headerSize:], nil
}

// keyring is the key of sessions.
type keyring struct {
	id   [16]byte
	aead cipher.AEAD
}

const keySize = 32

func newKeyring(key []byte) (keyring, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return keyring{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return keyring{idOfKey(key), aead}, err
}

// idOfKey tells keys apart and says nothing of them.
func idOfKey(key []byte) (id [16]byte) {
	sum := sha256.Sum256(append([]byte("envrun-session-key"), key...))
	copy(id[:], sum[:])
	return id
}

func authenticated(h []byte, id string) []byte {
	return slices.Concat([]byte("envrun-session\x00"), h, []byte(id))
}

// seal writes a record as the file of the account.
func seal(key keyring, id string, r Record) ([]byte, error) {
	inside, err := json.Marshal(r.plain())
	if err != nil {
		return nil, err
	}
	defer clear(inside)
	h := header{key.id, r.Gen}.marshal()
	file := make([]byte, headerSize, headerSize+overhead+len(inside))
	copy(file, h)
	file = key.aead.Seal(file, nil, inside, authenticated(h, id))
	if len(file) > maxSealed {
		return nil, errors.New("the session is too big to be kept")
	}
	return file, nil
}

// unseal reads the file of an account.
func unseal(key keyring, id string, file []byte) (Record, error) {
	h, sealed, err := parseHeader(file)
	if err != nil {
		return Record{}, err
	}
	if h.key != key.id {
		return Record{}, &otherKeyError{}
	}
	inside, err := key.aead.Open(nil, nil, sealed, authenticated(file[:headerSize], id))
	if err != nil {
		return Record{}, errChanged
	}
	defer clear(inside)
	r, err := parseRecord(inside)
	r.Gen, r.sealed = h.gen, h
	return r, err
}

// plain is a record in JSON, the one place where its secrets are text.
type plain struct {
	Refresh         string        `json:"refresh_token,omitempty"`
	RefreshObtained time.Time     `json:"refresh_obtained_at,omitzero"`
	Token           string        `json:"token,omitempty"`
	Accessor        string        `json:"accessor,omitempty"`
	Ends            time.Time     `json:"ends,omitzero"`
	MaxEnds         time.Time     `json:"max_ends,omitzero"`
	TTL             time.Duration `json:"ttl_ns,omitempty"`
	Renewable       bool          `json:"renewable,omitempty"`
	Policies        []string      `json:"policies,omitempty"`
	Scopes          []string      `json:"scopes,omitempty"`
	AuthTime        time.Time     `json:"auth_time,omitzero"`
	ACR             string        `json:"acr,omitempty"`
	AMR             []string      `json:"amr,omitempty"`
	Skew            time.Duration `json:"skew_ns,omitempty"`
	Refused         string        `json:"refused,omitempty"`
	Updated         time.Time     `json:"updated_at"`
}

func (r Record) plain() plain {
	return plain{
		r.RefreshToken.Reveal(), utc(r.RefreshObtained), r.Token.Reveal(), r.Accessor, utc(r.Ends), utc(r.MaxEnds), r.TTL, r.Renewable, r.Policies,
		r.Scopes, utc(r.AuthTime), r.ACR, r.AMR, r.Skew, r.Refused, utc(r.Updated),
	}
}

// same reports whether two records say the same.
func (r Record) same(o Record) bool {
	a, err := json.Marshal(r.plain())
	b, err2 := json.Marshal(o.plain())
	defer clear(a)
	defer clear(b)
	return r.Gen == o.Gen && err == nil && err2 == nil && bytes.Equal(a, b)
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Round(0)
}

var recordLimits = strictjson.Limits{Depth: 2, Values: 4096}

func parseRecord(inside []byte) (Record, error) {
	m, err := strictjson.Object(inside, recordLimits)
	if err != nil {
		return Record{}, errInside
	}
	f := fields{m: m}
	r := Record{
		RefreshToken: auth.NewSecret(f.text("refresh_token")), RefreshObtained: f.time("refresh_obtained_at"),
		Token: auth.NewSecret(f.text("token")), Accessor: f.text("accessor"), Ends: f.time("ends"), MaxEnds: f.time("max_ends"),
		TTL: f.duration("ttl_ns"), Renewable: f.flag("renewable"), Policies: f.list("policies"), Scopes: f.list("scopes"),
		AuthTime: f.time("auth_time"), ACR: f.text("acr"), AMR: f.list("amr"), Skew: f.duration("skew_ns"),
		Refused: f.text("refused"), Updated: f.time("updated_at"),
	}
	if f.end() != nil {
		return Record{}, errInside
	}
	return r, nil
}

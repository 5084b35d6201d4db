package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"

	"envrun/vault"
)

// A Row is what a row of a server's table is bound to: one that is moved to
// another name, mount or server does not open.
type Row struct {
	Vault string
	Mount string // the id of the mount whose key seals it
	Table string
	Name  string // its primary key
	Gen   uint32
}

const (
	labelRow     = "envrun/v1/row"
	labelTally   = "envrun/v1/tally"
	labelRingMAC = "envrun/v1/keyring"
)

func (r Row) context() lp {
	n := 6*4 + len(labelRow) + len(r.Vault) + len(r.Mount) + len(r.Table) + len(r.Name) + 20
	return make(lp, 0, n).text(labelRow).text(r.Vault).text(r.Mount).text(r.Table).text(r.Name).number(uint64(r.Gen))
}

// SealRow encrypts what a row holds, under a key of its own that comes from k
// and the binding:
//
//	R   = HKDF-Expand(K, LP("envrun/v1/row", vault, mount, table, name, gen))
//	row = nonce ‖ AES-256-GCM(R, plain, AAD = the same LP)
//
// Its length is not hidden. A row may be sealed 2^32 times under one generation.
func (k Key) SealRow(r Row, plain []byte) ([]byte, error) { return k.sealUnder(r.context(), plain) }

// sealUnder encrypts under a key that comes from k and the context.
func (k Key) sealUnder(context lp, plain []byte) ([]byte, error) {
	if k.k == nil {
		return nil, errNoKey()
	}
	return gcm(derive(k.k(), string(context), KeySize)).Seal(make([]byte, 0, len(plain)+overhead), nil, plain, context), nil
}

// openUnder opens what sealUnder made, and reports whether it could.
func (k Key) openUnder(context lp, sealed []byte) (plain []byte, ok bool, err error) {
	if k.k == nil {
		return nil, false, errNoKey()
	}
	if len(sealed) < overhead {
		return nil, false, nil
	}
	plain, err = gcm(derive(k.k(), string(context), KeySize)).Open(make([]byte, 0, len(sealed)-overhead), nil, sealed, context)
	return plain, err == nil, nil
}

// OpenRow opens what SealRow made for the same binding. KindTampered if it was
// made for another, under another key, or was changed.
func (k Key) OpenRow(r Row, sealed []byte) ([]byte, error) {
	plain, ok, err := k.openUnder(r.context(), sealed)
	if err == nil && !ok {
		err = &vault.Error{Kind: vault.KindTampered, Detail: fmt.Sprintf("the row of %s does not open under generation %d as what it is stored as", r.Table, r.Gen)}
	}
	return plain, err
}

// A Tally commits to a set of rows: it changes by what is added and taken
// away, in any order, and without its key no other set can be found that has
// the same one. It is the sum modulo 2^256 of HMAC-SHA256 over the rows, the
// multiset hash MSet-Add-Hash of Clarke, Devadas, van Dijk, Gassend and Suh
// (Asiacrypt 2003). It is kept sealed, beside its key.
type Tally [sha256.Size]byte

// TallyKeySize is the size in bytes of the key of a Tally.
const TallyKeySize = 32

// NewTallyKey makes a random key.
func NewTallyKey() ([]byte, error) {
	key := make([]byte, TallyKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("making the key of a tally: %w", err)
	}
	return key, nil
}

// Add is t with a row of that name and content.
func (t Tally) Add(key []byte, name string, row []byte) Tally {
	return t.sum(element(key, name, row), bits.Add64)
}

// Take is t without one.
func (t Tally) Take(key []byte, name string, row []byte) Tally {
	return t.sum(element(key, name, row), bits.Sub64)
}

func element(key []byte, name string, row []byte) []byte {
	in := make(lp, 0, 3*4+len(labelTally)+len(name)+len(row))
	return hmacSHA256(key, in.text(labelTally).text(name).text(string(row)))
}

func (t Tally) sum(e []byte, op func(x, y, carry uint64) (uint64, uint64)) Tally {
	var carry uint64
	for i := len(t) - 8; i >= 0; i -= 8 {
		var word uint64
		word, carry = op(binary.BigEndian.Uint64(t[i:]), binary.BigEndian.Uint64(e[i:]), carry)
		binary.BigEndian.PutUint64(t[i:], word)
	}
	return t
}

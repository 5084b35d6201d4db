package server

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"envrun/auth/approle"
	"envrun/auth/token"
	"envrun/vault"
	"envrun/vault/audit"
	"envrun/vault/guard"
	"envrun/vault/keyring"
	"envrun/vault/kv"
	"envrun/vault/lease"
	"envrun/vault/policy"
	"envrun/vault/wire"
)

// Tx is what the server needs of a transaction: vault/sqlstore has it.
type Tx interface {
	token.Store
	kv.Tx
	keyring.Tx
	audit.Tx
	audit.Reader
	audit.KeepTx
	lease.Store
	approle.Store

	// Notify tells all servers of the database when the transaction is durable.
	Notify(text string) error

	// UseOnce keeps an id until a time, and says whether it was not there before.
	UseOnce(id []byte, until time.Time) (bool, error)
	// Used says whether an id is kept by UseOnce.
	Used(id []byte) (bool, error)
	// ForgetUsed removes at most limit of those whose time is over, and says how many.
	ForgetUsed(now time.Time, limit int) (int, error)

	// What a token keeps for itself, by name. It goes with the token.
	TokenValue(id token.ID, name string) (raw []byte, found bool, err error)
	PutTokenValue(id token.ID, name string, raw []byte) error
	DeleteTokenValue(id token.ID, name string) error
	// TokenValues are the names, sorted.
	TokenValues(id token.ID) ([]string, error)
}

type (
	call   = guard.Call[Tx]
	action = guard.Action[Tx]
	answer = guard.Answer
)

// The kinds of blobs that the server keeps.
const (
	kindMount    = "mount"    // by path
	kindAuth     = "auth"     // ways to sign in, by path
	kindPolicy   = "policy"   // by name
	kindRole     = "role"     // of the token store, by name
	kindMove     = "move"     // mounts that were moved, by the id of the moving
	kindRotation = "rotation" // of the key of a mount, by its id
	kindServer   = "server"   // the cluster's name, its keys
	kindNumber   = "number"   // not sealed
	recordNumber = "changes"  // of kindNumber: the generation
	recordGroups = "groups"   // of kindNumber: that of groups alone
	recordFacts  = "identity" // of kindServer
	recordKeys   = "keys"     // of kindServer
)

// store is the server's own records as JSON, sealed: who writes the database can
// neither read nor change one, nor put it in the place of another.
type store struct{ ring *keyring.Ring }

// get reads one into v, and says whether it is there.
func (s store) get(tx keyring.Reader, kind, name string, v any) (bool, error) {
	plain, err := s.ring.GetSealed(tx, kind, name)
	if vault.KindOf(err) == vault.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer clear(plain)
	if err := json.Unmarshal(plain, v); err != nil {
		return false, &vault.Error{Kind: vault.KindMalformed, Op: "reading a " + kind, Detail: "it is not of its form"}
	}
	return true, nil
}

func (s store) put(tx keyring.Tx, kind, name string, v any) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing a %s: %w", kind, err)
	}
	defer clear(plain)
	return s.ring.PutSealed(tx, kind, name, plain)
}

// Generation is a number that goes up whenever a policy or a mount changes, and is
// never that of two states: what a server keeps under it is of that state alone. It is
// not sealed: who turns it back makes a server forget what it kept compiled.
func (s store) Generation(tx Tx) (uint64, error) { return s.number(tx, recordNumber) }

func (store) number(tx Tx, name string) (uint64, error) {
	raw, err := tx.Blob(kindNumber, name)
	if vault.KindOf(err) == vault.KindNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(raw) != 8 {
		return 0, &vault.Error{Kind: vault.KindMalformed, Detail: "the number of the generation is not of its form"}
	}
	return binary.BigEndian.Uint64(raw), nil
}

// changed says that a policy or a mount did.
func (s store) changed(tx Tx) error {
	if err := tx.Notify(`{"what":"` + wire.EventAgain + `"}`); err != nil { // who may see what is different
		return err
	}
	return s.count(tx, recordNumber)
}

// drawn are the lower bits of a number, which are drawn anew each time. Counting alone
// is not enough: transactions of other requests see a change before it is durable, and
// if that fails, the next change would have the number of the one that never was.
const drawn = 24

// count lets a number go up. One of a server that only counted is in the lower bits.
func (s store) count(tx Tx, name string) error {
	n, err := s.number(tx, name)
	if err != nil {
		return err
	}
	var r [4]byte
	_, _ = rand.Read(r[:]) // never fails
	next := (n>>drawn+1)<<drawn | uint64(binary.BigEndian.Uint32(r[:])>>(32-drawn))
	return tx.PutBlob(kindNumber, name, binary.BigEndian.AppendUint64(nil, next))
}

// A policyRecord is a policy as it is kept.
type policyRecord struct {
	Text         string    `json:"text"`
	AllowSlashes bool      `json:"allow_slashes,omitempty"`
	Version      int64     `json:"version,omitempty"` // counted from 1; 0: of a server that did not count
	Modified     time.Time `json:"modified,omitzero"`
	CASRequired  bool      `json:"cas_required,omitempty"`
}

// Policy returns a policy by its name, nil if there is none.
func (s store) Policy(tx Tx, name string) (*policy.Policy, error) {
	if name == policy.WrappingName {
		return wrappingPolicy()
	}
	var r policyRecord
	if there, err := s.get(tx, kindPolicy, name, &r); err != nil || !there {
		return nil, err
	}
	p, err := policy.Parse(name, r.Text)
	if err != nil {
		return nil, err
	}
	p.AllowSlashes = r.AllowSlashes
	return p, nil
}

var wrappingPolicy = sync.OnceValues(func() (*policy.Policy, error) {
	return policy.Parse(policy.WrappingName, policy.WrappingText)
})

// hasPolicy says whether there is a policy of that name.
func (s store) hasPolicy(tx Tx, name string) (bool, error) {
	if name == policy.RootName {
		return true, nil
	}
	return s.has(tx, kindPolicy, name)
}

// has says whether there is a record, without opening it.
func (store) has(tx Tx, kind, name string) (bool, error) {
	_, err := tx.Blob(kind, name)
	if vault.KindOf(err) == vault.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

// own is a transaction in which what a token keeps for itself stands in the place
// of the server's records of one kind.
type own struct {
	Tx
	id token.ID
}

// kindToken is the kind that what a token keeps is sealed for.
func kindToken(id token.ID) string { return "token:" + hex.EncodeToString(id[:]) }

func (o own) Blob(kind, name string) ([]byte, error) {
	if kind != kindToken(o.id) {
		return o.Tx.Blob(kind, name)
	}
	raw, there, err := o.TokenValue(o.id, name)
	if err == nil && !there {
		err = &vault.Error{Kind: vault.KindNotFound, Detail: "the token keeps nothing of that name"}
	}
	return raw, err
}

func (o own) PutBlob(kind, name string, raw []byte) error {
	if kind != kindToken(o.id) {
		return o.Tx.PutBlob(kind, name, raw)
	}
	return o.PutTokenValue(o.id, name, raw)
}

// ofToken reads into v what a token keeps for itself under a name, and says whether
// it is there.
func (s store) ofToken(tx Tx, id token.ID, name string, v any) (bool, error) {
	return s.get(own{tx, id}, kindToken(id), name, v)
}

func (s store) keepFor(tx Tx, id token.ID, name string, v any) error {
	plain, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing what a token keeps: %w", err)
	}
	defer clear(plain)
	return s.ring.PutLoose(own{tx, id}, kindToken(id), name, plain)
}

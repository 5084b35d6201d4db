package keyring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"envrun/auth/agekey"
	"envrun/vault"
	"envrun/vault/seal"
)

// Reader is a transaction that reads.
type Reader interface {
	// Blob returns KindNotFound if there is none.
	Blob(kind, name string) ([]byte, error)
	// AfterCommit runs f when the transaction is durable, and not if it is
	// undone; at once in one that only reads.
	AfterCommit(f func())
}

// Tx is a transaction that writes.
type Tx interface {
	Reader
	PutBlob(kind, name string, raw []byte) error
	DeleteBlob(kind, name string) (bool, error)
	BlobNames(kind string) ([]string, error)
}

// The kinds of blobs that are the keyring's.
const (
	kindRoot = "keyring"
	kindKey  = "key"
	nameRoot = "root"
)

const format = 1

// rootEnv stands in for the environment in the context that a root is sealed with.
const rootEnv = vault.Env("root")

// A Sealer is one way to open the root, as the record has it.
type Sealer struct {
	ID        string    `json:"id"`                  // "age:alice", "shamir", "transit:main"
	Recipient string    `json:"recipient"`           // the age recipient that the root is sealed for
	Threshold int       `json:"threshold,omitempty"` // of Shamir: how many shares are needed
	Shares    int       `json:"shares,omitempty"`    // and how many there are
	Set       uint32    `json:"set,omitempty"`
	Wrapped   []byte    `json:"wrapped,omitempty"`  // of a service: a key, as it wrapped it
	Identity  []byte    `json:"identity,omitempty"` // of Shamir and services: the identity, sealed with what the shares give or the service opens
	Since     time.Time `json:"since"`
	Blob      []byte    `json:"blob"` // the root, sealed
}

type record struct {
	Format  int       `json:"format"`
	Server  string    `json:"server"`
	Gen     uint32    `json:"gen"`
	Since   time.Time `json:"since"` // of this generation
	Sealers []Sealer  `json:"sealers"`
	MAC     []byte    `json:"mac,omitempty"`
}

// A Record is the sealed root as the database has it. It holds no secret.
// Until a Ring was unsealed with it, what it says is what the database says.
type Record struct {
	raw []byte
	r   record
}

// Load reads the record. KindNoVault if the server was never initialised.
func Load(tx Reader) (*Record, error) {
	raw, err := tx.Blob(kindRoot, nameRoot)
	if vault.KindOf(err) == vault.KindNotFound {
		return nil, &vault.Error{Kind: vault.KindNoVault, Detail: "the server is not initialised"}
	}
	if err != nil {
		return nil, err
	}
	rec := &Record{raw: raw}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&rec.r); err != nil || rec.r.Format != format {
		return nil, &vault.Error{Kind: vault.KindMalformed, Detail: "the record of the root key is damaged, or a newer program made it", Err: err}
	}
	return rec, nil
}

// Server is the id of the server, which everything is bound to.
func (rec *Record) Server() string { return rec.r.Server }

// Generation is the number of the root's generation, and Since when it was made.
func (rec *Record) Generation() (gen uint32, since time.Time) { return rec.r.Gen, rec.r.Since }

// Sealers lists the ways to open the root, without what is sealed.
func (rec *Record) Sealers() []Sealer {
	out := slices.Clone(rec.r.Sealers)
	for i := range out {
		out[i].Identity, out[i].Wrapped, out[i].Blob = nil, nil, nil
	}
	return out
}

// Create writes the record of a new server. KindExists if there is one.
func (rec *Record) Create(tx Tx) error {
	switch _, err := tx.Blob(kindRoot, nameRoot); {
	case err == nil:
		return &vault.Error{Kind: vault.KindExists, Detail: "the server is initialised"}
	case vault.KindOf(err) != vault.KindNotFound:
		return err
	}
	return tx.PutBlob(kindRoot, nameRoot, rec.raw)
}

// finish puts the MAC of the root in.
func (rec *Record) finish(root seal.Key) error {
	input, err := rec.input()
	if err != nil {
		return err
	}
	rec.r.MAC = root.MAC(seal.RingMAC, input)
	rec.raw, err = json.Marshal(rec.r)
	return err
}

func (rec *Record) input() ([]byte, error) {
	r := rec.r
	r.MAC = nil
	return json.Marshal(r)
}

func (rec *Record) check(root seal.Key) error {
	input, err := rec.input()
	if err != nil {
		return err
	}
	if !root.CheckMAC(seal.RingMAC, input, rec.r.MAC) {
		return &vault.Error{Kind: vault.KindTampered, Detail: "the record of the root key was changed in the database"}
	}
	return nil
}

func (rec *Record) context(sealer string) []byte {
	return seal.KeyContext(rec.r.Server, rootEnv, rec.r.Gen, sealer)
}

// An AgeSealer is an age recipient that the root is sealed for.
type AgeSealer struct {
	Name      string // of the operator or place that has the identity
	Recipient string
}

// Shares says that the root is opened by Threshold of Shares shares.
type Shares struct{ Shares, Threshold int }

// Options are of a new server.
type Options struct {
	Server   string // its id
	Age      []AgeSealer
	Services []seal.Sealer // asked to wrap a key each
	Shamir   *Shares       // nil: none
	Now      time.Time
}

// Make makes a root key and what is to be written of it, sealed by everything
// that the Options name, of which there must be two: KindInvalid. It returns
// the shares too, if any: they are nowhere else. Nothing is written: that is
// Record.Create's, in the transaction that makes the server.
func Make(ctx context.Context, o Options) (*Ring, *Record, [][]byte, error) {
	rec := &Record{r: record{Format: format, Server: o.Server, Gen: 1, Since: o.Now.UTC()}}
	var enrolled []*Enrolment
	for _, s := range o.Services {
		e, err := Enrol(ctx, o.Server, s)
		if err != nil {
			return nil, nil, nil, err
		}
		enrolled = append(enrolled, e)
	}
	shares, err := rec.add(o.Age, enrolled, o.Shamir, o.Now)
	if err != nil {
		return nil, nil, nil, err
	}
	root, err := rec.sealRoot(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	ring := new(Ring)
	ring.open(rec, root)
	return ring, rec, shares, nil
}

// add adds sealers whose blobs are still missing.
func (rec *Record) add(ages []AgeSealer, services []*Enrolment, shamir *Shares, now time.Time) (shares [][]byte, err error) {
	for _, a := range ages {
		if a.Name == "" {
			return nil, &vault.Error{Kind: vault.KindInvalid, Detail: "a sealer needs a name"}
		}
		if _, err := agekey.ParseRecipient(a.Recipient); err != nil {
			return nil, &vault.Error{Kind: vault.KindInvalid, Detail: "the recipient of " + a.Name, Err: err}
		}
		rec.r.Sealers = append(rec.r.Sealers, Sealer{ID: "age:" + a.Name, Recipient: a.Recipient, Since: now.UTC()})
	}
	for _, e := range services {
		e.s.Since = now.UTC()
		rec.r.Sealers = append(rec.r.Sealers, e.s)
	}
	if shamir != nil {
		key, set, made, err := split(shamir.Threshold, shamir.Shares)
		if err != nil {
			return nil, err
		}
		s := Sealer{ID: "shamir", Threshold: shamir.Threshold, Shares: shamir.Shares, Set: set, Since: now.UTC()}
		if err := s.identify(key, rec.identityRow(set)); err != nil {
			return nil, err
		}
		rec.r.Sealers = append(rec.r.Sealers, s)
		shares = made
	}
	seen := map[string]bool{}
	for _, s := range rec.r.Sealers {
		if seen[s.ID] || seen[s.Recipient] {
			return nil, &vault.Error{Kind: vault.KindInvalid, Detail: "the sealer " + s.ID + " is there twice, or has the recipient of another"}
		}
		seen[s.ID], seen[s.Recipient] = true, true
	}
	if len(rec.r.Sealers) < 2 {
		return nil, &vault.Error{Kind: vault.KindInvalid, Detail: fmt.Sprintf("the root key needs two sealers, and %d would be left: if the only one is lost, everything is", len(rec.r.Sealers))}
	}
	return shares, nil
}

func (rec *Record) identityRow(set uint32) seal.Row {
	return seal.Row{Vault: rec.r.Server, Table: "shamir", Name: fmt.Sprint(set)}
}

// sealRoot makes a root key and seals it with every sealer.
func (rec *Record) sealRoot(ctx context.Context) (seal.Key, error) {
	root, err := seal.NewKey()
	if err != nil {
		return seal.Key{}, err
	}
	for i := range rec.r.Sealers {
		s := &rec.r.Sealers[i]
		to, err := agekey.ParseRecipient(s.Recipient)
		if err != nil {
			return seal.Key{}, &vault.Error{Kind: vault.KindInvalid, Detail: "the recipient of " + s.ID, Err: err}
		}
		if s.Blob, err = seal.AgeSealer(s.ID, to, nil).Seal(ctx, root, rec.context(s.ID)); err != nil {
			return seal.Key{}, err
		}
	}
	return root, rec.finish(root)
}

// CheckShare reports what number a share of this record's sealer has. KindInvalid
// if it was not copied well, KindDenied if it is of another splitting.
func (rec *Record) CheckShare(share []byte) (index int, err error) {
	f, err := parseShare(share)
	if err != nil {
		return 0, err
	}
	if !slices.ContainsFunc(rec.r.Sealers, func(s Sealer) bool { return s.Threshold > 0 && s.Set == f.set && s.Threshold == f.threshold }) {
		return 0, &vault.Error{Kind: vault.KindDenied, Detail: "the share is not of this server's present shares"}
	}
	return f.index, nil
}

// openShamir opens the root with shares.
func (rec *Record) openShamir(ctx context.Context, s Sealer, shares [][]byte) (seal.Key, error) {
	var use [][]byte
	seen := map[int]bool{}
	for _, share := range shares {
		index, err := rec.CheckShare(share)
		if err != nil {
			return seal.Key{}, err
		}
		if !seen[index] {
			use = append(use, share)
		}
		seen[index] = true
	}
	if len(use) < s.Threshold {
		return seal.Key{}, &vault.Error{Kind: vault.KindDenied, Detail: fmt.Sprintf("%d different shares are needed, and there are %d", s.Threshold, len(use))}
	}
	key, err := join(use[:s.Threshold])
	if err != nil {
		return seal.Key{}, err
	}
	root, err := rec.openBy(ctx, s, key, rec.identityRow(s.Set))
	if vault.KindOf(err) == vault.KindTampered {
		err = &vault.Error{Kind: vault.KindDenied, Detail: "the shares do not open the root key: one of them is not genuine, or the record was changed"}
	}
	return root, err
}

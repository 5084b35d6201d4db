package keyring

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"envrun/vault"
	"envrun/vault/seal"
)

// Sys is the id of the key that PutSealed uses.
const Sys = "sys"

// nameSealed is the record that commits to all sealed records.
const nameSealed = "sealed"

// A Head says how far something that is stored has come.
type Head struct {
	Changes uint64 // grows with every change; never smaller again
	Digest  string // of everything that is stored after that change, in hexadecimal
}

// A HeadKeeper is a transaction that is told of each head that it leaves, by the id
// of the key that it is sealed with, so that it is kept where who writes the database
// does not reach.
type HeadKeeper interface {
	KeepHead(id string, h Head)
}

// A commitment is what is sealed there: how many records there are of which
// kind, and a tally of them all, which every change brings forward.
type commitment struct {
	Changes  uint64         `json:"changes"`
	Kinds    map[string]int `json:"kinds"`
	Tally    []byte         `json:"tally"`
	TallyKey []byte         `json:"tally_key"`
}

func (c *commitment) add(kind, name string, plain []byte) {
	t := seal.Tally(c.Tally).Add(c.TallyKey, member(kind, name), plain)
	c.Tally = t[:]
	c.Kinds[kind]++
}

func (c *commitment) take(kind, name string, plain []byte) {
	t := seal.Tally(c.Tally).Take(c.TallyKey, member(kind, name), plain)
	c.Tally = t[:]
	c.Kinds[kind]--
}

func member(kind, name string) string { return fmt.Sprintf("%d %s %s", len(kind), kind, name) }

// readCommitment returns the commitment; where none was ever written it begins one.
func (r *Ring) readCommitment(tx Reader) (*commitment, error) {
	c := &commitment{Kinds: map[string]int{}}
	plain, err := r.GetSealed(tx, kindRoot, nameSealed)
	if vault.KindOf(err) == vault.KindNotFound {
		var zero seal.Tally
		c.Tally = zero[:]
		c.TallyKey, err = seal.NewTallyKey()
		return c, err
	}
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	if err := json.Unmarshal(plain, c); err != nil || len(c.Tally) != len(seal.Tally{}) || len(c.TallyKey) != seal.TallyKeySize || c.Kinds == nil {
		return nil, &vault.Error{Kind: vault.KindVersion, Detail: "the record that commits to the sealed ones is not of a form that this program writes"}
	}
	return c, nil
}

func (c *commitment) head() Head {
	sum := sha256.Sum256(c.Tally)
	return Head{c.Changes, hex.EncodeToString(sum[:])}
}

func (r *Ring) writeCommitment(tx Tx, c *commitment) error {
	c.Changes++
	if k, ok := tx.(HeadKeeper); ok {
		k.KeepHead(Sys, c.head())
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("committing to the sealed records: %w", err)
	}
	defer clear(plain)
	return r.put(tx, kindRoot, nameSealed, plain)
}

// PutSealed keeps a small record under a kind and a name as Tx.PutBlob does,
// sealed with the key Sys and bound to both, so that it can neither be read nor
// changed nor moved in the database; VerifySealed notices one that is removed
// or put back. Its length shows. One that is there must be genuine.
func (r *Ring) PutSealed(tx Tx, kind, name string, plain []byte) error {
	c, err := r.readCommitment(tx)
	if err != nil {
		return err
	}
	switch was, err := r.GetSealed(tx, kind, name); {
	case err == nil:
		c.take(kind, name, was)
		clear(was)
	case vault.KindOf(err) != vault.KindNotFound:
		return err
	}
	c.add(kind, name, plain)
	if err := r.writeCommitment(tx, c); err != nil {
		return err
	}
	return r.put(tx, kind, name, plain)
}

// DeleteSealed removes what PutSealed kept, and says whether it was there.
func (r *Ring) DeleteSealed(tx Tx, kind, name string) (bool, error) {
	was, err := r.GetSealed(tx, kind, name)
	if vault.KindOf(err) == vault.KindNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer clear(was)
	c, err := r.readCommitment(tx)
	if err != nil {
		return false, err
	}
	c.take(kind, name, was)
	if err := r.writeCommitment(tx, c); err != nil {
		return false, err
	}
	return tx.DeleteBlob(kind, name)
}

// PutLoose is PutSealed without the commitment: for what comes and goes with
// something else, such as a token. VerifySealed does not look for it, and
// RotateSys leaves it to its owner.
func (r *Ring) PutLoose(tx Tx, kind, name string, plain []byte) error {
	return r.put(tx, kind, name, plain)
}

func (r *Ring) put(tx Tx, kind, name string, plain []byte) error {
	server, err := r.server()
	if err != nil {
		return err
	}
	gens, err := r.Generations(tx, Sys)
	if err != nil {
		return err
	}
	gen := gens[len(gens)-1]
	key, err := r.Key(tx, Sys, gen)
	if err != nil {
		return err
	}
	sealed, err := key.SealRow(sealedRow(server, kind, name, gen), plain)
	if err != nil {
		return err
	}
	return tx.PutBlob(kind, name, append(binary.BigEndian.AppendUint32(nil, gen), sealed...))
}

func sealedRow(server, kind, name string, gen uint32) seal.Row {
	return seal.Row{Vault: server, Mount: Sys, Table: kind, Name: name, Gen: gen}
}

// GetSealed returns what PutSealed kept. KindNotFound if there is nothing,
// KindTampered if it is not what was kept there.
func (r *Ring) GetSealed(tx Reader, kind, name string) ([]byte, error) {
	raw, err := tx.Blob(kind, name)
	if err != nil {
		return nil, err
	}
	return r.OpenSealed(tx, kind, name, raw)
}

// OpenSealed opens what a blob of that kind and name holds.
func (r *Ring) OpenSealed(tx Reader, kind, name string, raw []byte) ([]byte, error) {
	server, err := r.server()
	if err != nil {
		return nil, err
	}
	if len(raw) < 4 {
		return nil, &vault.Error{Kind: vault.KindTampered, Detail: "a record of kind " + kind + " is cut off"}
	}
	gen := binary.BigEndian.Uint32(raw)
	key, err := r.Key(tx, Sys, gen)
	if err != nil {
		return nil, err
	}
	return key.OpenRow(sealedRow(server, kind, name, gen), raw[4:])
}

// RotateSys makes the next generation of the key Sys and seals every record anew
// under it, in one transaction: they are few. When nothing is left that PutLoose
// kept under the former generation, RetireKeys drops it.
func (r *Ring) RotateSys(tx Tx, now time.Time) error {
	c, err := r.readCommitment(tx)
	if err != nil {
		return err
	}
	if _, err := r.RotateKey(tx, Sys, now); err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Kinds)) {
		names, err := tx.BlobNames(kind)
		if err != nil {
			return err
		}
		for _, name := range names {
			plain, err := r.GetSealed(tx, kind, name)
			if err != nil {
				return err
			}
			err = r.put(tx, kind, name, plain)
			clear(plain)
			if err != nil {
				return err
			}
		}
	}
	return r.writeCommitment(tx, c)
}

// A Lister is a transaction that reads and lists.
type Lister interface {
	Reader
	BlobNames(kind string) ([]string, error)
}

// VerifySealed opens every sealed record and compares them all with what is
// committed to, and that with known, if it is not zero: a head that was kept. It
// returns one finding for each thing wrong, and an error if the database did not
// answer. Without known it does not see that all of them, and the commitment, were put
// back to an earlier state together.
func (r *Ring) VerifySealed(tx Lister, known Head) ([]vault.Finding, error) {
	var findings []vault.Finding
	wrong := func(err error) error {
		switch vault.KindOf(err) {
		case vault.KindTampered, vault.KindVersion, vault.KindNotFound:
			findings = append(findings, vault.Finding{Err: err})
			return nil
		}
		return err
	}
	if _, err := tx.Blob(kindRoot, nameSealed); err != nil {
		return findings, wrong(err)
	}
	c, err := r.readCommitment(tx)
	if err != nil {
		return findings, wrong(err)
	}
	if h := c.head(); h.Changes < known.Changes || h.Changes == known.Changes && known.Digest != "" && h.Digest != known.Digest {
		_ = wrong(&vault.Error{Kind: vault.KindTampered, Detail: "the server's own records were put back to an earlier state than one that was seen"})
	}
	left := &commitment{Kinds: maps.Clone(c.Kinds), Tally: c.Tally, TallyKey: c.TallyKey}
	for _, kind := range slices.Sorted(maps.Keys(c.Kinds)) {
		names, err := tx.BlobNames(kind)
		if err != nil {
			return findings, err
		}
		for _, name := range names {
			plain, err := r.GetSealed(tx, kind, name)
			if err != nil {
				if err := wrong(fmt.Errorf("%s %s: %w", kind, name, err)); err != nil {
					return findings, err
				}
				continue
			}
			left.take(kind, name, plain)
			clear(plain)
		}
		if n := left.Kinds[kind]; n > 0 {
			_ = wrong(&vault.Error{Kind: vault.KindTampered, Detail: fmt.Sprintf("%d records of kind %s were removed", n, kind)})
		}
	}
	if seal.Tally(left.Tally) != (seal.Tally{}) {
		_ = wrong(&vault.Error{Kind: vault.KindTampered, Detail: "sealed records were removed, or put back to an earlier state"})
	}
	return findings, nil
}

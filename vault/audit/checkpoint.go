package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// A Checkpoint is a statement about the whole log at one moment. Signed, it is a
// note in the form of C2SP tlog-checkpoint: origin, size and root, a line each.
type Checkpoint struct {
	Origin string // the name of the log, which is that of the key
	Size   int64  // how many entries it had
	Root   tlog.Hash
}

// signed is a checkpoint with its note.
type signed struct {
	Checkpoint
	note []byte
}

func (c Checkpoint) text() string {
	return c.Origin + "\n" + strconv.FormatInt(c.Size, 10) + "\n" + c.Root.String() + "\n"
}

// OpenCheckpoint reads a signed checkpoint and checks it with the public key
// (note.NewVerifier's text). KindMalformed if it is not one, KindTampered if
// the key did not sign it.
func OpenCheckpoint(signed []byte, key string) (Checkpoint, error) {
	bad := bad("reading a checkpoint")
	v, err := note.NewVerifier(key)
	if err != nil {
		return bad(vault.KindInvalid, "the public key is not of its form")
	}
	return openCheckpoint(signed, v, bad)
}

// bad makes the errors of openCheckpoint.
func bad(op string) func(vault.Kind, string) (Checkpoint, error) {
	return func(kind vault.Kind, detail string) (Checkpoint, error) {
		return Checkpoint{}, &vault.Error{Kind: kind, Op: op, Detail: detail}
	}
}

func openCheckpoint(signed []byte, v note.Verifier, bad func(vault.Kind, string) (Checkpoint, error)) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(v))
	var other *note.UnverifiedNoteError
	var forged *note.InvalidSignatureError
	switch {
	case errors.As(err, &other):
		return bad(vault.KindTampered, fmt.Sprintf("it is not signed with the key of %q", v.Name()))
	case errors.As(err, &forged):
		return bad(vault.KindTampered, fmt.Sprintf("its signature is not one of %q", v.Name()))
	case err != nil:
		return bad(vault.KindMalformed, "it is not a signed note")
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return bad(vault.KindMalformed, "it is not of three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.DecodeString(lines[2])
	c := Checkpoint{Origin: lines[0], Size: size}
	if err != nil || err2 != nil || len(root) != tlog.HashSize {
		return bad(vault.KindMalformed, "its size or root is not of its form")
	}
	copy(c.Root[:], root)
	if size < 0 || c.text() != n.Text || c.Origin != v.Name() {
		return bad(vault.KindMalformed, "it is not in its one form")
	}
	return c, nil
}

// Checkpoint signs what the log is now. Before, it proves to itself that what
// it signed last, or after a start what is stored, is the beginning of that:
// KindTampered if the store was changed behind its back. While the log has not
// grown, the note is the same.
//
// read calls its argument with a snapshot that begins during the call and has
// what is committed, and nothing else.
func (l *Log) Checkpoint(read func(func(Reader) error) error) (text []byte, err error) {
	l.mu.Lock()
	last := l.last // taken before the snapshot, which therefore has all of it
	l.mu.Unlock()
	err = read(func(r Reader) error {
		head, err := r.AuditHead()
		if err != nil {
			return err
		}
		if err := head.check(); err != nil {
			return err
		}
		if last.note == nil {
			if last, err = l.stored(r); err != nil {
				return err
			}
		}
		now := signed{Checkpoint: Checkpoint{Origin: l.signer.Name(), Size: head.Size, Root: head.root()}}
		if last.note != nil {
			if err := grew(r, last.Checkpoint, now.Checkpoint); err != nil {
				return err
			}
			now.note = last.note
		}
		if now.Checkpoint != last.Checkpoint {
			if now.note, err = note.Sign(&note.Note{Text: now.text()}, l.signer); err != nil {
				return fmt.Errorf("signing a checkpoint of the audit log: %w", err)
			}
		}
		text = now.note
		l.mu.Lock()
		defer l.mu.Unlock()
		if now.Size >= l.last.Size {
			l.last = now
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return text, nil
}

// KeepTx is what KeepCheckpoint needs of a transaction.
type KeepTx interface {
	AuditCheckpoint() ([]byte, error)

	// PutAuditCheckpoint stores a note in place of the one before.
	PutAuditCheckpoint(note []byte) error
}

// KeepCheckpoint stores what Checkpoint gave, unless a later one is stored. A
// server does so once a second while its log grows, and when it stops, so that
// a store which was put back or rewritten while it was down is noticed at its
// next start; who rewrites the stored checkpoint too is noticed by the clients (Memory).
func (l *Log) KeepCheckpoint(tx KeepTx, text []byte) error {
	have, err := l.stored(tx)
	if err != nil {
		return err
	}
	c, err := openCheckpoint(text, l.verifier(), bad("storing a checkpoint"))
	if err != nil {
		return err
	}
	if have.note != nil && have.Size >= c.Size {
		return nil
	}
	return tx.PutAuditCheckpoint(text)
}

// stored is the checkpoint in the store, without a note if there is none. One
// that another key signed is none of this log's.
func (l *Log) stored(r interface{ AuditCheckpoint() ([]byte, error) }) (signed, error) {
	text, err := r.AuditCheckpoint()
	if err != nil || text == nil {
		return signed{}, err
	}
	c, err := openCheckpoint(text, l.verifier(), bad("reading the stored checkpoint of the audit log"))
	return signed{c, text}, err
}

// verifier knows a note of the own signer by signing it again: Ed25519 gives
// one signature for one text.
func (l *Log) verifier() note.Verifier { return resigner{l.signer} }

type resigner struct{ note.Signer }

func (v resigner) Verify(msg, sig []byte) bool {
	own, err := v.Sign(msg)
	return err == nil && slices.Equal(own, sig)
}

// grew proves that the log of one checkpoint is the beginning of that of another.
func grew(r Reader, was, is Checkpoint) error {
	switch {
	case is.Size < was.Size:
		return tampered("it had %d entries and has %d: the newest were cut off", was.Size, is.Size)
	case is.Size == was.Size && is.Root != was.Root:
		return tampered("its %d entries are not those that were signed", is.Size)
	case was.Size == 0 || is.Size == was.Size:
		return nil
	}
	proof, err := ProveGrowth(r, was.Size, is.Size)
	if err != nil {
		return err
	}
	if tlog.CheckTree(proof, is.Size, is.Root, was.Size, was.Root) != nil {
		return tampered("its first %d entries are not those that were signed", was.Size)
	}
	return nil
}

// ProveGrowth is the proof that the log of was entries is the beginning of that
// of size, for tlog.CheckTree; it is empty if either was is 0 or they are the same. KindInvalid
// if 0 ≤ was ≤ size does not hold, or the log has not so many.
func ProveGrowth(r Reader, was, size int64) (tlog.TreeProof, error) {
	if err := within(r, was, size); err != nil {
		return nil, err
	}
	if was == 0 || was == size {
		return nil, nil
	}
	return tlog.ProveTree(size, was, nodes(r))
}

// ProveEntry is the proof that entry index is in the log of size entries, for
// tlog.CheckRecord. KindInvalid if index is not below size, or the log has not so many.
func ProveEntry(r Reader, index, size int64) (tlog.RecordProof, error) {
	if err := within(r, max(index, -1)+1, size); err != nil {
		return nil, err
	}
	if index < 0 {
		return nil, &vault.Error{Kind: vault.KindInvalid, Op: "audit log", Detail: "entries are counted from 0"}
	}
	return tlog.ProveRecord(size, index, nodes(r))
}

func within(r Reader, n, size int64) error {
	head, err := r.AuditHead()
	if err != nil {
		return err
	}
	if n < 0 || n > size || size > head.Size {
		return &vault.Error{Kind: vault.KindInvalid, Op: "audit log", Detail: fmt.Sprintf("it has %d entries: a proof of %d in %d is not to be had", head.Size, n, size)}
	}
	return nil
}

// nodes reads the nodes of the tree where Append put them: with the row that
// completes them.
func nodes(r Reader) tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		rows, levels := make([]int64, len(indexes)), make([]int, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			rows[i], levels[i] = (n+1)<<level-1, level
		}
		hashes, err := r.AuditHashes(rows)
		if err != nil {
			return nil, err
		}
		if len(hashes) != len(rows) {
			return nil, tampered("the store gave %d rows of %d", len(hashes), len(rows))
		}
		out := make([]tlog.Hash, len(rows))
		for i, h := range hashes {
			if len(h) <= levels[i] {
				return nil, tampered("entry %d is missing", rows[i])
			}
			out[i] = h[levels[i]]
		}
		return out, nil
	}
}

// Edge is what an export that begins at size needs (see Verify): the roots of the
// complete trees that the entries before it make, the largest first. KindInvalid
// if the log has not so many.
func Edge(r Reader, size int64) ([]tlog.Hash, error) {
	if err := within(r, size, size); err != nil {
		return nil, err
	}
	return edge(r, size)
}

func edge(r Reader, size int64) ([]tlog.Hash, error) {
	var indexes []int64
	for level, before := 62, int64(0); level >= 0; level-- {
		if size&(1<<level) != 0 {
			indexes = append(indexes, tlog.StoredHashIndex(level, before>>level))
			before += 1 << level
		}
	}
	if len(indexes) == 0 {
		return nil, nil
	}
	return nodes(r).ReadHashes(indexes)
}

// PublicKey is the public key (note.NewVerifier's text) of a signer's key as
// note.GenerateKey made it. KindMalformed if it is not one.
func PublicKey(skey string) (string, error) {
	malformed := &vault.Error{Kind: vault.KindMalformed, Op: "audit log", Detail: "the key that signs checkpoints is not of its form"}
	s, err := note.NewSigner(skey)
	if err != nil {
		return "", malformed
	}
	_, text, _ := strings.Cut(skey, "+"+fmt.Sprintf("%08x", s.KeyHash())+"+")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", malformed
	}
	defer clear(raw)
	pub, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", malformed
	}
	return note.NewEd25519VerifierKey(s.Name(), pub)
}

package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// Holds checks that a line is the entry of a number in the log of the checkpoint, and reads
// it. KindTampered if the proof does not lead from it there, KindMalformed if the
// line is no entry.
func (c Checkpoint) Holds(index int64, line string, proof tlog.RecordProof) (Entry, error) {
	if index < 0 || index >= c.Size || len(line) > MaxLine || tlog.CheckRecord(proof, c.Size, c.Root, index, tlog.RecordHash([]byte(line))) != nil {
		return Entry{}, tampered("entry %d is not in the log that was signed", index)
	}
	e, err := parseKnown([]byte(line))
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d: %w", index, err)
	}
	return e, nil
}

// A Proof is one entry and what shows, with the public key of its log and nothing
// else, that it is in there.
type Proof struct {
	Index  int64
	Line   string
	Hashes tlog.RecordProof
	Note   []byte // the checkpoint that they lead to
}

// proofLine is its text: one line, as an export's are.
type proofLine struct {
	Format     int         `json:"envrun_audit_proof"`
	Index      int64       `json:"index"`
	Line       string      `json:"line"`
	Hashes     []tlog.Hash `json:"hashes,omitempty"`
	Checkpoint string      `json:"checkpoint"`
}

// ProofBegins is how the text of a proof begins, by which it is told from an export.
const ProofBegins = `{"envrun_audit_proof":`

const maxProof = 2*MaxLine + 4*maxTop // escapes of escapes, a checkpoint and 63 hashes

// Text is the proof as one line of JSON, without a newline.
func (p Proof) Text() ([]byte, error) {
	return json.Marshal(proofLine{exportFormat, p.Index, p.Line, p.Hashes, string(p.Note)})
}

// A Proved is what CheckProof found to be so.
type Proved struct {
	Checkpoint
	Index int64
	Line  string
	Entry Entry
}

// CheckProof checks a text that Proof.Text gave. The key is that which is given,
// else that which this machine knows the log by; where it knows one, another is
// KindTampered. KindNoIdentity if there is none, KindTampered if the entry is not in the log
// that was signed, or that log is not the one that was seen.
func (m Memory) CheckProof(text []byte, key string) (Proved, error) {
	malformed := &vault.Error{Kind: vault.KindMalformed, Detail: "it is not a proof of an audit entry"}
	var p proofLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if len(text) > maxProof || d.Decode(&p) != nil {
		return Proved{}, malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return Proved{}, malformed
	}
	if p.Format != exportFormat {
		return Proved{}, &vault.Error{Kind: vault.KindVersion, Detail: fmt.Sprintf("the proof is of format %d, and this version knows %d", p.Format, exportFormat)}
	}
	origin, _, _ := strings.Cut(p.Checkpoint, "\n")
	last, known, err := m.log(origin)
	switch {
	case err != nil:
		return Proved{}, err
	case known && key != "" && key != last.Key:
		return Proved{}, denied(origin, "this machine knows it by another public key")
	case known:
		key = last.Key
	case key == "":
		return Proved{}, &vault.Error{Kind: vault.KindNoIdentity, Detail: fmt.Sprintf("the public key of the log %q is not known here", origin)}
	}
	c, err := OpenCheckpoint([]byte(p.Checkpoint), key)
	if err != nil {
		return Proved{}, err
	}
	if known && c.Size == last.Size && c.Root != last.Root {
		return Proved{}, denied(origin, fmt.Sprintf("its %d entries are not those that were seen before", c.Size))
	}
	e, err := c.Holds(p.Index, p.Line, p.Hashes)
	return Proved{c, p.Index, p.Line, e}, err
}

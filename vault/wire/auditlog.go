package wire

import (
	"encoding/json"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// AuditSigned is the state of the audit log that an answer of envrund is about.
type AuditSigned struct {
	Checkpoint string      `json:"checkpoint,omitempty"` // a signed note
	Key        string      `json:"key,omitempty"`        // the public key that it is signed with
	Growth     []tlog.Hash `json:"growth,omitempty"`     // the proof that the log of the size that was asked with has only grown to it
}

// Signed is s, of whatever answer it is in.
func (s AuditSigned) Signed() AuditSigned { return s }

// AuditCheckpoint is the state of the audit log.
type AuditCheckpoint struct {
	AuditSigned
	Size int64 `json:"size"` // of how many entries it is
}

// AuditEntries is a page of the audit log.
type AuditEntries struct {
	Entries []AuditEntry `json:"entries"`
	Next    int64        `json:"next"`           // from where the query goes on
	More    bool         `json:"more"`           // it has something to look at now
	Back    int64        `json:"back,omitempty"` // of the newest: up to where the query goes further back; 0: it has reached the beginning
	Size    int64        `json:"size"`           // of the log

	AuditSigned // with proofs: what they lead to
}

// AuditEntry is one entry in its place.
type AuditEntry struct {
	Index  int64           `json:"index"`
	At     time.Time       `json:"at"` // when it was appended
	Entry  json.RawMessage `json:"entry,omitempty"`
	Line   string          `json:"line,omitempty"`   // the same as the text that was hashed
	Hashes []tlog.Hash     `json:"hashes,omitempty"` // that lead from it to the checkpoint
}

// AuditProof is one entry and its proof.
type AuditProof struct {
	Index  int64       `json:"index"`
	Line   string      `json:"line"`
	Hashes []tlog.Hash `json:"hashes"`
	Size   int64       `json:"size"`

	AuditSigned
}

// AuditHashes are nodes of the tree that the entries make.
type AuditHashes struct {
	Was    int64       `json:"was,omitempty"` // of a proof of growth: the smaller size
	Size   int64       `json:"size"`
	Hashes []tlog.Hash `json:"hashes"`
}

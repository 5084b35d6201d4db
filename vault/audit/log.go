package audit

import (
	"fmt"
	"math/bits"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
)

// Tx is what the log needs of a transaction that appends. An error of it ends
// the append, and the caller the transaction.
type Tx interface {
	// AuditHead is where the log ends, the zero Head for a new one. Until the
	// transaction ends, no other appends: in the same process or another.
	AuditHead() (Head, error)

	// AppendAudit stores rows, which follow each other and the head that
	// AuditHead gave, and the head after them. It keeps none of the slices.
	AppendAudit(rows []Row, head Head) error
}

// Reader is what the log needs of a transaction that reads: one snapshot of it.
// What it returns is not trusted: rows that do not lead to a tree are refused.
type Reader interface {
	// AuditHead is where the log ends, the zero Head for a new one.
	AuditHead() (Head, error)

	// AuditRows returns the rows from, from+1, … of which there are at most
	// limit; fewer only where the log ends.
	AuditRows(from int64, limit int) ([]Row, error)

	// AuditHashes returns the hashes of the rows with these numbers, in their
	// order, a nil slice for a row that is missing.
	AuditHashes(rows []int64) ([][]tlog.Hash, error)

	// AuditCheckpoint is the note that KeepTx.PutAuditCheckpoint stored last, nil for none.
	AuditCheckpoint() ([]byte, error)
}

// A Row is one entry as it is stored.
type Row struct {
	Index  int64       // its place in the log, from 0
	At     time.Time   // when it was appended, UTC; never before the row before it, so that it can be searched
	Line   string      // without the newline
	Hashes []tlog.Hash // the nodes that it completed: of level 0, the leaf, and up; 64 at most, two on average
}

// A Head is the end of the log.
type Head struct {
	Size int64       // how many rows
	At   time.Time   // of the last row
	Edge []tlog.Hash // the roots of the complete trees that the rows make, the largest first: as many as Size has bits set
}

// check reports a head that cannot be one.
func (h Head) check() error {
	if h.Size < 0 || len(h.Edge) != bits.OnesCount64(uint64(h.Size)) {
		return tampered("the end of the log is not of its form")
	}
	return nil
}

// root is the hash of the whole tree.
func (h Head) root() tlog.Hash {
	if h.Size == 0 {
		var none tlog.HashReaderFunc
		root, _ := tlog.TreeHash(0, none) // it reads nothing and cannot fail
		return root
	}
	last := len(h.Edge) - 1
	root := h.Edge[last]
	for i := last - 1; i >= 0; i-- {
		root = tlog.NodeHash(h.Edge[i], root)
	}
	return root
}

// append is the head after one more leaf, and the nodes that it completes. It
// does not change the edge of h.
func (h Head) append(leaf tlog.Hash) (Head, []tlog.Hash) {
	node := leaf
	nodes := make([]tlog.Hash, 1, 1+bits.TrailingZeros64(^uint64(h.Size)))
	nodes[0] = leaf
	edge := h.Edge
	for n := h.Size; n&1 == 1; n >>= 1 {
		node = tlog.NodeHash(edge[len(edge)-1], node)
		edge = edge[:len(edge)-1]
		nodes = append(nodes, node)
	}
	h.Edge = append(edge[:len(edge):len(edge)], node)
	h.Size++
	return h, nodes
}

// A Log appends entries and answers about the tree that they make. The log
// itself is all in the store, and several servers on one database are several
// Logs; what a Log remembers is the last checkpoint, to notice a store that was
// changed behind its back. It is safe for use by several goroutines.
type Log struct {
	signer note.Signer
	now    func() time.Time

	mu   sync.Mutex
	last signed
}

// NewLog makes the log that signs its checkpoints with signer, whose name is
// the origin of the log: one name for each server, as "envrun.example.dev/audit".
// The key of the signer is the caller's to keep sealed.
func NewLog(signer note.Signer, now func() time.Time) *Log {
	return &Log{signer: signer, now: now}
}

// Append appends lines in order, and returns the number of the first. Call it
// as late in the transaction as can be, once for all of its entries: from here to its
// end no other transaction appends.
func (l *Log) Append(tx Tx, lines ...Line) (first int64, err error) {
	head, err := tx.AuditHead()
	if err != nil {
		return 0, fmt.Errorf("appending to the audit log: %w", err)
	}
	if err := head.check(); err != nil {
		return 0, err
	}
	first = head.Size
	// A clock that was set back would make the rows unsearchable by time.
	if now := l.now().UTC(); now.After(head.At) {
		head.At = now
	}
	rows := make([]Row, len(lines))
	for i, line := range lines {
		row := &rows[i]
		row.Index, row.At, row.Line = head.Size, head.At, line.text
		head, row.Hashes = head.append(line.leaf)
	}
	if err := tx.AppendAudit(rows, head); err != nil {
		return 0, fmt.Errorf("appending to the audit log: %w", err)
	}
	return first, nil
}

func tampered(format string, args ...any) error {
	return &vault.Error{Kind: vault.KindTampered, Op: "audit log", Detail: fmt.Sprintf(format, args...)}
}

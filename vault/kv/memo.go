package kv

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"

	"envrun/vault/recent"
)

// A Memo remembers what the records of paths said that reads have opened, so that
// one which is read often is decrypted and parsed once. It is asked by a hash over
// everything that opening a record depends on: an edited, moved or older row is
// another one, and is opened. It holds no value of a secret. It goes with the keys:
// a server that is sealed forgets it. It may be used by several goroutines.
type Memo struct {
	mu     sync.Mutex
	opened recent.Map[[sha256.Size]byte, *meta] // sizes are bytes sealed
}

// NewMemo makes one that remembers nothing yet.
func NewMemo() *Memo {
	return &Memo{opened: recent.Map[[sha256.Size]byte, *meta]{Max: maxMemo}}
}

// maxMemo is how many bytes sealed half of a Memo stands for.
const maxMemo = 2 << 20

// Remember lets reads of the mount use what was opened before. nil: they open each.
func (m *Mount) Remember(memo *Memo) *Mount {
	m.memo = memo
	return m
}

// readKey is openKey for who changes nothing of what it returns.
func (m *Mount) readKey(tx Tx, r KeyRow) (*meta, error) {
	if m.memo == nil {
		k, _, err := m.openKey(tx, r)
		return k, err
	}
	id := m.memoID(r)
	if k := m.memo.get(id); k != nil {
		return k, nil
	}
	k, _, err := m.openKey(tx, r)
	if err == nil {
		m.memo.put(id, k, len(r.Sealed))
	}
	return k, err
}

// memoID is of all that openKey looks at.
func (m *Mount) memoID(r KeyRow) (id [sha256.Size]byte) {
	h := sha256.New()
	var n [8]byte
	for _, s := range []string{m.server, m.id, r.Path} {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		io.WriteString(h, s)
	}
	binary.BigEndian.PutUint64(n[:], uint64(r.Gen))
	h.Write(n[:])
	binary.BigEndian.PutUint64(n[:], uint64(r.Current))
	h.Write(n[:])
	h.Write(r.Sealed)
	h.Sum(id[:0])
	return id
}

func (m *Memo) get(id [sha256.Size]byte) *meta {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, _ := m.opened.Get(id)
	return k
}

func (m *Memo) put(id [sha256.Size]byte, k *meta, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened.Put(id, k, size)
}

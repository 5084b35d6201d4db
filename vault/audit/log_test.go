package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

// store is the tables of the log in memory, with transactions that hold a lock.
type store struct {
	mu   sync.Mutex
	head audit.Head
	rows []audit.Row
	note []byte
}

type tx struct {
	s    *store
	head audit.Head
	rows []audit.Row // appended by this transaction
	note []byte
	fail error // of AppendAudit
}

func (s *store) write(f func(*tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &tx{s: s, head: s.head, note: s.note}
	if err := f(t); err != nil {
		return err
	}
	s.head, s.rows, s.note = t.head, append(s.rows, t.rows...), t.note
	return nil
}

func (s *store) read(f func(*tx) error) error {
	return s.write(func(t *tx) error { return f(t) })
}

func (t *tx) AuditHead() (audit.Head, error) { return t.head, nil }

func (t *tx) AppendAudit(rows []audit.Row, head audit.Head) error {
	if t.fail != nil {
		return t.fail
	}
	for i, r := range rows {
		if r.Index != t.head.Size+int64(i) {
			return fmt.Errorf("row %d appended at %d", r.Index, t.head.Size+int64(i))
		}
		r.Hashes = slices.Clone(r.Hashes)
		t.rows = append(t.rows, r)
	}
	head.Edge = slices.Clone(head.Edge)
	t.head = head
	return nil
}

func (t *tx) row(i int64) (audit.Row, bool) {
	n := int64(len(t.s.rows))
	switch {
	case i < 0 || i >= n+int64(len(t.rows)):
		return audit.Row{}, false
	case i < n:
		return t.s.rows[i], true
	}
	return t.rows[i-n], true
}

func (t *tx) AuditRows(from int64, limit int) ([]audit.Row, error) {
	var rows []audit.Row
	for i := from; len(rows) < limit; i++ {
		r, ok := t.row(i)
		if !ok {
			break
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (t *tx) AuditHashes(rows []int64) ([][]tlog.Hash, error) {
	out := make([][]tlog.Hash, len(rows))
	for i, n := range rows {
		if r, ok := t.row(n); ok {
			out[i] = r.Hashes
		}
	}
	return out, nil
}

func (t *tx) AuditCheckpoint() ([]byte, error)     { return t.note, nil }
func (t *tx) PutAuditCheckpoint(note []byte) error { t.note = note; return nil }

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

var start = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

const origin = "envrun.example.dev/audit"

func newKey(t testing.TB) (note.Signer, string) {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, vkey
}

func newLog(t testing.TB) (*audit.Log, string) {
	t.Helper()
	signer, key := newKey(t)
	return audit.NewLog(signer, (&clock{t: start}).now), key
}

// entry is the n-th of a sequence of different entries.
func entry(n int) audit.Entry {
	env := []string{"dev", "prod"}[n%2]
	return audit.Entry{
		Auth:    audit.Auth{DisplayName: []string{"ann", "bob", "ci"}[n%3], ClientToken: hasher.Hash("t")},
		Request: audit.Request{ID: fmt.Sprintf("id-%d", n), Operation: "read", MountPoint: env + "/", Path: fmt.Sprintf("%s/data/app/%d", env, n%5)},
		Time:    start.Add(time.Duration(n) * time.Second), Type: audit.Intent,
	}
}

// grow appends entries until the log has size of them.
func grow(t testing.TB, l *audit.Log, s *store, size int) {
	t.Helper()
	for n := len(s.rows); n < size; n++ {
		err := s.write(func(tx *tx) error {
			first, err := l.Append(tx, entry(n).Line())
			if err == nil && first != int64(n) {
				err = fmt.Errorf("entry %d was appended at %d", n, first)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The nodes of a row are those that tlog would store.
func TestAppendStoresTheNodesOfATree(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	var want []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, want[i])
		}
		return out, nil
	})
	for n := range 130 {
		grow(t, l, s, n+1)
		row := s.rows[n]
		nodes, err := tlog.StoredHashes(int64(n), []byte(row.Line), reader)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(row.Hashes, nodes) {
			t.Fatalf("row %d: nodes %v, want %v", n, row.Hashes, nodes)
		}
		want = append(want, nodes...)
		if row.Line != entry(n).Line().String() || entry(n).Line().Leaf() != nodes[0] {
			t.Fatalf("row %d is %s", n, row.Line)
		}
	}
}

func TestAppendOfSeveralIsThatOfEach(t *testing.T) {
	l, _ := newLog(t)
	one, many := &store{}, &store{}
	grow(t, l, one, 20)
	for at := 0; at < 20; {
		n := min(1+at%4, 20-at)
		lines := make([]audit.Line, n)
		for i := range lines {
			lines[i] = entry(at + i).Line()
		}
		if err := many.write(func(tx *tx) error {
			first, err := l.Append(tx, lines...)
			if first != int64(at) {
				t.Errorf("appended at %d, want %d", first, at)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		at += n
	}
	if !slices.Equal(one.head.Edge, many.head.Edge) || one.head.Size != many.head.Size {
		t.Errorf("%+v, want %+v", many.head, one.head)
	}
}

func TestAppendThatFailsAppendsNothing(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	grow(t, l, s, 7)
	full := errors.New("no space left")
	err := s.write(func(tx *tx) error {
		tx.fail = full
		_, err := l.Append(tx, entry(7).Line())
		return err
	})
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	// One that was appended and then rolled back has left nothing either.
	err = s.write(func(tx *tx) error {
		if _, err := l.Append(tx, entry(99).Line()); err != nil {
			t.Error(err)
		}
		return full
	})
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	grow(t, l, s, 20)
	clean := &store{}
	grow(t, l, clean, 20)
	if !slices.Equal(s.head.Edge, clean.head.Edge) {
		t.Error("the tree knows of an entry that was rolled back")
	}
}

func TestRowsAreNeverBeforeTheRowBefore(t *testing.T) {
	times := []time.Time{start.Add(time.Hour), start, start.Add(2 * time.Hour)}
	l := audit.NewLog(nil, func() time.Time { now := times[0]; times = times[1:]; return now })
	s := &store{}
	grow(t, l, s, 3)
	for i, want := range []time.Duration{time.Hour, time.Hour, 2 * time.Hour} {
		if got := s.rows[i].At; !got.Equal(start.Add(want)) {
			t.Errorf("row %d at %v", i, got)
		}
	}
}

func TestAppendRefusesAHeadThatCannotBe(t *testing.T) {
	l, _ := newLog(t)
	for _, head := range []audit.Head{{Size: -1}, {Size: 1}, {Size: 3, Edge: make([]tlog.Hash, 1)}, {Edge: make([]tlog.Hash, 1)}} {
		s := &store{head: head}
		err := s.write(func(tx *tx) error { _, err := l.Append(tx, entry(0).Line()); return err })
		if vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%+v: %v", head, err)
		}
	}
}

func TestAppendConcurrently(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 25 {
				if err := s.write(func(tx *tx) error { _, err := l.Append(tx, entry(i).Line()); return err }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.head.Size != 200 || len(s.rows) != 200 {
		t.Errorf("%d rows, head %d", len(s.rows), s.head.Size)
	}
}

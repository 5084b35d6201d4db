package audit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

// proven is a log of so many entries, its checkpoint and its key.
func proven(t *testing.T, size int) (s *store, c audit.Checkpoint, note []byte, key string) {
	t.Helper()
	l, key := newLog(t)
	s = &store{}
	grow(t, l, s, size)
	note, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = audit.OpenCheckpoint(note, key); err != nil {
		t.Fatal(err)
	}
	return s, c, note, key
}

func proofOf(t *testing.T, s *store, n, size int64) tlog.RecordProof {
	t.Helper()
	proof, err := audit.ProveEntry(&tx{s: s, head: s.head}, n, size)
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func TestHolds(t *testing.T) {
	s, c, _, _ := proven(t, 21)
	for n := range int64(21) {
		e, err := c.Holds(n, s.rows[n].Line, proofOf(t, s, n, 21))
		if err != nil || e.Request.ID != entry(int(n)).Request.ID {
			t.Errorf("%d: %+v, %v", n, e, err)
		}
	}
	right := proofOf(t, s, 5, 21)
	for name, f := range map[string]func() (audit.Entry, error){
		"another line":     func() (audit.Entry, error) { return c.Holds(5, s.rows[6].Line, right) },
		"another place":    func() (audit.Entry, error) { return c.Holds(4, s.rows[5].Line, right) },
		"before the first": func() (audit.Entry, error) { return c.Holds(-1, s.rows[5].Line, right) },
		"behind the last":  func() (audit.Entry, error) { return c.Holds(21, s.rows[5].Line, right) },
		"no proof":         func() (audit.Entry, error) { return c.Holds(5, s.rows[5].Line, nil) },
		"half a proof":     func() (audit.Entry, error) { return c.Holds(5, s.rows[5].Line, right[1:]) },
		"a longer one": func() (audit.Entry, error) {
			return c.Holds(5, s.rows[5].Line, append(right[:len(right):len(right)], tlog.Hash{}))
		},
		"a huge line": func() (audit.Entry, error) { return c.Holds(5, strings.Repeat("x", 1<<20), right) },
		"another log": func() (audit.Entry, error) { d := c; d.Root[0] ^= 1; return d.Holds(5, s.rows[5].Line, right) },
	} {
		if _, err := f(); vault.KindOf(err) != vault.KindTampered {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A proof is checked with the key alone, or with the one that is remembered.
func TestCheckProof(t *testing.T) {
	s, _, note, key := proven(t, 9)
	p := audit.Proof{Index: 7, Line: s.rows[7].Line, Hashes: proofOf(t, s, 7, 9), Note: note}
	text, err := p.Text()
	if err != nil || !strings.HasPrefix(string(text), audit.ProofBegins) {
		t.Fatalf("%s, %v", text, err)
	}
	m := audit.Memory{Dir: t.TempDir()}
	if _, err := m.CheckProof(text, ""); vault.KindOf(err) != vault.KindNoIdentity {
		t.Errorf("without a key: %v", err)
	}
	got, err := m.CheckProof(text, key)
	if err != nil || got.Index != 7 || got.Line != p.Line || got.Size != 9 || got.Entry.Request.ID != entry(7).Request.ID {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := m.Meet("srv", key, note, start, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CheckProof(text, ""); err != nil {
		t.Errorf("with the key that is remembered: %v", err)
	}
	_, other := newKey(t)
	if _, err := m.CheckProof(text, other); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another key than is remembered: %v", err)
	}
	if _, err := (audit.Memory{Dir: t.TempDir()}).CheckProof(text, other); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another key: %v", err)
	}
	change := func(f func(map[string]any)) []byte {
		var v map[string]any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		f(v)
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		text []byte
		want vault.Kind
	}{
		"another line":        {change(func(v map[string]any) { v["line"] = s.rows[6].Line }), vault.KindTampered},
		"another number":      {change(func(v map[string]any) { v["index"] = 6 }), vault.KindTampered},
		"no hashes":           {change(func(v map[string]any) { delete(v, "hashes") }), vault.KindTampered},
		"another checkpoint":  {change(func(v map[string]any) { v["checkpoint"] = strings.Replace(string(note), "\n9\n", "\n8\n", 1) }), vault.KindTampered},
		"no checkpoint":       {change(func(v map[string]any) { delete(v, "checkpoint") }), vault.KindNoIdentity},
		"a newer format":      {change(func(v map[string]any) { v["envrun_audit_proof"] = 2 }), vault.KindVersion},
		"a field that is new": {change(func(v map[string]any) { v["more"] = 1 }), vault.KindMalformed},
		"two of them":         {append(append([]byte{}, text...), text...), vault.KindMalformed},
		"a huge one":          {change(func(v map[string]any) { v["line"] = strings.Repeat("x", 1<<20) }), vault.KindMalformed},
		"nothing":             {nil, vault.KindMalformed},
	} {
		if _, err := m.CheckProof(c.text, ""); vault.KindOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A proof in a history of the same size that is not the one that was seen, by the same signer.
func TestCheckProofOfAFork(t *testing.T) {
	signer, key := newKey(t)
	m := audit.Memory{Dir: t.TempDir()}
	of := func(forged int) (text, checkpoint []byte) {
		l, s := l2(signer), &store{}
		for _, e := range others(6, forged) {
			if err := s.write(func(tx *tx) error { _, err := l.Append(tx, e.Line()); return err }); err != nil {
				t.Fatal(err)
			}
		}
		checkpoint, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = (audit.Proof{Index: 2, Line: s.rows[2].Line, Hashes: proofOf(t, s, 2, 6), Note: checkpoint}).Text(); err != nil {
			t.Fatal(err)
		}
		return text, checkpoint
	}
	good, checkpoint := of(-1)
	forked, _ := of(3)
	if _, err := m.Meet("srv", key, checkpoint, start, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CheckProof(good, ""); err != nil {
		t.Error(err)
	}
	if _, err := m.CheckProof(forked, ""); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("%v", err)
	}
}

// A server that keeps nothing begins anew with each start; what comes after it is no surprise.
func TestThrowaway(t *testing.T) {
	m := audit.Memory{Dir: t.TempDir()}
	meet := func(origin string, size int) error {
		skey, key, err := note.GenerateKey(nil, origin)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := note.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		l, s := l2(signer), &store{}
		grow(t, l, s, size)
		text, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		seen, err := m.Meet("srv", key, text, start, nil)
		if err == nil && seen.Size != int64(size) {
			t.Errorf("%+v", seen)
		}
		return err
	}
	for _, c := range []struct {
		origin string
		size   int
		want   vault.Kind
	}{{"a/dev", 5, vault.KindOther}, {"b/dev", 3, vault.KindOther}, {"c/audit", 2, vault.KindOther}, {"d/dev", 9, vault.KindTampered}, {"c/audit", 9, vault.KindTampered}} {
		if err := meet(c.origin, c.size); vault.KindOf(err) != c.want {
			t.Errorf("%s: %v", c.origin, err)
		}
	}
}

// What is remembered is dropped when somebody says so.
func TestForget(t *testing.T) {
	_, _, seen, key := proven(t, 3)
	m := audit.Memory{Dir: t.TempDir()}
	if there, err := m.Forget("srv"); there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if _, err := m.Meet("srv", key, seen, start, nil); err != nil {
		t.Fatal(err)
	}
	_, _, other, otherKey := proven(t, 2)
	if _, err := m.Meet("srv", otherKey, other, start, nil); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("another log: %v", err)
	}
	if there, err := m.Forget("srv"); !there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	if seen, err := m.Meet("srv", otherKey, other, start, nil); err != nil || seen.Size != 2 {
		t.Errorf("%+v, %v", seen, err)
	}
	// What cannot be read can be dropped too.
	files, err := filepath.Glob(filepath.Join(m.Dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Meet("srv", otherKey, other, start, nil); vault.KindOf(err) != vault.KindMalformed {
		t.Errorf("%v", err)
	}
	if there, err := m.Forget("srv"); !there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
}

// Two processes that see two histories at one moment do not both remember theirs.
func TestMeetOfTwo(t *testing.T) {
	signer, key := newKey(t)
	l := l2(signer)
	s, forked := &store{}, &store{}
	grow(t, l, s, 4)
	m := audit.Memory{Dir: t.TempDir()}
	sign := func(l *audit.Log, s *store) []byte {
		note, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	if _, err := m.Meet("srv", key, sign(l, s), start, nil); err != nil {
		t.Fatal(err)
	}
	// A fork that shares the first four entries.
	lf := l2(signer)
	grow(t, lf, forked, 4)
	for _, e := range others(12, 4)[4:] {
		if err := forked.write(func(tx *tx) error { _, err := lf.Append(tx, e.Line()); return err }); err != nil {
			t.Fatal(err)
		}
	}
	grow(t, l, s, 6)
	of := func(s *store) func(was, size int64) (tlog.TreeProof, error) {
		return func(was, size int64) (tlog.TreeProof, error) {
			return audit.ProveGrowth(&tx{s: s, head: s.head}, was, size)
		}
	}
	met := false
	_, err := m.Meet("srv", key, sign(lf, forked), start, func(was, size int64) (tlog.TreeProof, error) {
		if !met { // in between another process meets the true one
			met = true
			if _, err := m.Meet("srv", key, sign(l, s), start, of(s)); err != nil {
				t.Error(err)
			}
		}
		return of(forked)(was, size)
	})
	if vault.KindOf(err) != vault.KindTampered {
		t.Errorf("%v", err)
	}
	if last, _, err := m.Last("srv"); err != nil || last.Size != 6 {
		t.Errorf("%+v, %v", last, err)
	}
}

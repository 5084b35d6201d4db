package audit_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

func (s *store) reader(f func(audit.Reader) error) error {
	return s.read(func(tx *tx) error { return f(tx) })
}

func TestProofs(t *testing.T) {
	l, key := newLog(t)
	s := &store{}
	var roots []tlog.Hash // by size
	for n := range 34 {
		grow(t, l, s, n)
		note, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		c, err := audit.OpenCheckpoint(note, key)
		if err != nil || c.Size != int64(n) || c.Origin != origin {
			t.Fatalf("%+v, %v", c, err)
		}
		roots = append(roots, c.Root)
	}
	for size := int64(1); size < int64(len(roots)); size++ {
		for n := range size {
			proof, err := audit.ProveEntry(&tx{s: s, head: s.head}, n, size)
			if err != nil {
				t.Fatal(err)
			}
			leaf := entry(int(n)).Line().Leaf()
			if err := tlog.CheckRecord(proof, size, roots[size], n, leaf); err != nil {
				t.Errorf("entry %d in %d: %v", n, size, err)
			}
			if other := entry(int(n) + 1).Line().Leaf(); tlog.CheckRecord(proof, size, roots[size], n, other) == nil {
				t.Errorf("entry %d in %d: another one is proven", n, size)
			}
			growth, err := audit.ProveGrowth(&tx{s: s, head: s.head}, n, size)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 && tlog.CheckTree(growth, size, roots[size], n, roots[n]) != nil {
				t.Errorf("%d in %d is not proven", n, size)
			}
		}
	}
}

func TestProofsThatCannotBe(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	grow(t, l, s, 10)
	r := &tx{s: s, head: s.head}
	for _, c := range [][2]int64{{10, 10}, {-1, 10}, {0, 11}, {-1 << 63, 10}, {1<<63 - 1, 10}, {0, 0}, {3, -1}} {
		if _, err := audit.ProveEntry(r, c[0], c[1]); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("entry %d in %d: %v", c[0], c[1], err)
		}
	}
	for _, c := range [][2]int64{{-1, 10}, {0, 11}, {11, 11}, {5, 4}, {1, -1}} {
		if _, err := audit.ProveGrowth(r, c[0], c[1]); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%d in %d: %v", c[0], c[1], err)
		}
	}
	for _, n := range []int64{0, 10} {
		if proof, err := audit.ProveGrowth(r, n, 10); err != nil || len(proof) != 0 {
			t.Errorf("%d in 10: %v, %v", n, proof, err)
		}
	}
}

func TestCheckpointIsSignedOnce(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	note := func() string {
		t.Helper()
		n, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		return string(n)
	}
	empty := note()
	if empty != note() || !strings.HasPrefix(empty, origin+"\n0\n") {
		t.Errorf("%s", empty)
	}
	grow(t, l, s, 3)
	three := note()
	if three == empty || three != note() || !strings.HasPrefix(three, origin+"\n3\n") {
		t.Errorf("%s", three)
	}
}

func TestKeepCheckpoint(t *testing.T) {
	l, _ := newLog(t)
	other, _ := newLog(t)
	s := &store{}
	grow(t, l, s, 3)
	three, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	grow(t, l, s, 5)
	five, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	keep := func(note []byte) error { return s.write(func(tx *tx) error { return l.KeepCheckpoint(tx, note) }) }
	for _, note := range [][]byte{three, five, three} {
		if err := keep(note); err != nil {
			t.Fatal(err)
		}
	}
	if string(s.note) != string(five) {
		t.Errorf("kept is %s", s.note)
	}
	for name, note := range map[string][]byte{"nothing": nil, "text": []byte("x"), "cut": five[:len(five)-3]} {
		if err := keep(note); vault.KindOf(err) != vault.KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	foreign, err := other.Checkpoint(s.reader)
	if vault.KindOf(err) != vault.KindTampered {
		t.Errorf("the log of another key goes on with what is kept: %s, %v", foreign, err)
	}
}

func TestOpenCheckpointRefuses(t *testing.T) {
	signer, key := newKey(t)
	l := audit.NewLog(signer, (&clock{t: start}).now)
	s := &store{}
	grow(t, l, s, 3)
	note, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	_, other := newKey(t)
	good := string(note)
	for name, c := range map[string]struct {
		note, key string
		kind      vault.Kind
	}{
		"another key":      {good, other, vault.KindTampered},
		"no key":           {good, "", vault.KindInvalid},
		"another size":     {strings.Replace(good, "\n3\n", "\n4\n", 1), key, vault.KindTampered},
		"empty":            {"", key, vault.KindMalformed},
		"without its name": {strings.Replace(good, "— "+origin+" ", "— ", 1), key, vault.KindMalformed},
	} {
		if _, err := audit.OpenCheckpoint([]byte(c.note), c.key); err == nil || vault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Texts that the key did sign, and that are no checkpoints.
	hash := good[strings.Index(good, "\n3\n")+3 : strings.Index(good, "\n\n")]
	for _, text := range []string{"x\n", origin + "\n03\n" + hash + "\n", origin + "\n-3\n" + hash + "\n", origin + "\n3\nAAAA\n", origin + "\n3\n" + hash + "\nmore\n", "elsewhere\n3\n" + hash + "\n", origin + "\nx\n" + hash + "\n"} {
		if _, err := audit.OpenCheckpoint([]byte(sign(t, text, signer)), key); vault.KindOf(err) != vault.KindMalformed {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPublicKey(t *testing.T) {
	for range 50 {
		skey, want, err := note.GenerateKey(nil, "envrun-cluster-1/audit")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := audit.PublicKey(skey); err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	for _, skey := range []string{"", "PRIVATE+KEY+x+00000000+AAAA", "hvs.x"} {
		if _, err := audit.PublicKey(skey); vault.KindOf(err) != vault.KindMalformed || strings.Contains(err.Error(), "hvs") {
			t.Errorf("%q: %v", skey, err)
		}
	}
}

// An export that somebody makes of what the API gives is the one that the server would make.
func TestEdge(t *testing.T) {
	l, _ := newLog(t)
	s := &store{}
	grow(t, l, s, 20)
	r := &tx{s: s, head: s.head}
	for size := range int64(21) {
		edge, err := audit.Edge(r, size)
		if err != nil {
			t.Fatal(err)
		}
		part := &store{}
		grow(t, l2(nil), part, int(size))
		if !slices.Equal(edge, part.head.Edge) {
			t.Errorf("%d: %v, want %v", size, edge, part.head.Edge)
		}
	}
	for _, size := range []int64{-1, 21} {
		if _, err := audit.Edge(r, size); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("%d: %v", size, err)
		}
	}
}

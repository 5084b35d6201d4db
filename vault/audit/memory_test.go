package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"envrun/vault"
	"envrun/vault/audit"
)

// A client meets a server's log as it grows, and remembers it.
func TestMemory(t *testing.T) {
	signer, key := newKey(t)
	l := l2(signer)
	s := &store{}
	dir := filepath.Join(t.TempDir(), "state", "audit")
	m := audit.Memory{Dir: dir}
	prove := func(was, size int64) (tlog.TreeProof, error) {
		return audit.ProveGrowth(&tx{s: s, head: s.head}, was, size)
	}
	checkpoint := func() []byte {
		t.Helper()
		note, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	if _, known, err := m.Last("srv"); known || err != nil {
		t.Fatalf("before: %v, %v", known, err)
	}
	if _, err := m.Meet("srv", "", checkpoint(), start, prove); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("first contact without a key: %v", err)
	}
	var five []byte
	for _, size := range []int{0, 1, 5, 5, 9} {
		grow(t, l, s, size)
		note := checkpoint()
		if size == 5 {
			five = note
		}
		seen, err := m.Meet("srv", key, note, start, prove)
		if err != nil || seen.Size != int64(size) {
			t.Fatalf("%d: %+v, %v", size, seen, err)
		}
	}
	// An answer that is older than what another process saw meanwhile.
	seen, err := m.Meet("srv", "", five, start, prove)
	if err != nil || seen.Size != 9 {
		t.Errorf("an older answer: %+v, %v", seen, err)
	}
	last, known, err := m.Last("srv")
	if err != nil || !known || last.Size != 9 || last.Key != key || !last.At.Equal(start) || last.Origin != origin {
		t.Errorf("%+v, %v, %v", last, known, err)
	}
	if _, known, err := m.Last("other"); known || err != nil {
		t.Errorf("another server: %v, %v", known, err)
	}
	if runtime.GOOS != "windows" {
		files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		for _, f := range append(files, dir) {
			if fi, err := os.Stat(f); err != nil || fi.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v", f, fi.Mode(), err)
			}
		}
	}

	forked := &store{}
	if err := forked.write(func(tx *tx) error {
		for _, e := range others(12, 3) {
			if _, err := l.Append(tx, e.Line()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	rewritten := func(size int) []byte {
		small := &store{}
		if err := small.write(func(tx *tx) error {
			for _, e := range others(size, 3) {
				if _, err := l.Append(tx, e.Line()); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		note, err := l2(signer).Checkpoint(small.reader)
		if err != nil {
			t.Fatal(err)
		}
		return note
	}
	proveForked := func(was, size int64) (tlog.TreeProof, error) {
		return audit.ProveGrowth(&tx{s: forked, head: forked.head}, was, size)
	}
	refuses := func(was, size int64) (tlog.TreeProof, error) { return nil, errors.New("404") }
	away := &vault.Error{Kind: vault.KindUnavailable, Detail: "no route"}
	hangs := func(was, size int64) (tlog.TreeProof, error) { return nil, away }
	_, otherKey := newKey(t)
	for _, c := range []struct {
		name  string
		key   string
		note  []byte
		prove func(was, size int64) (tlog.TreeProof, error)
		kind  vault.Kind
		says  string
	}{
		{"rewritten, longer", "", rewritten(12), proveForked, vault.KindTampered, "history was rewritten: the 9 entries"},
		{"rewritten, as long", "", rewritten(9), proveForked, vault.KindTampered, "history was rewritten: its 9 entries"},
		{"rewritten, shorter", "", rewritten(7), proveForked, vault.KindTampered, "history was rewritten"},
		{"no proof of growth", "", rewritten(12), refuses, vault.KindTampered, "no proof"},
		{"cut", "", five, refuses, vault.KindTampered, "had 9 entries when it was last seen and has 5: the newest were cut off"},
		{"no answer", "", rewritten(12), hangs, vault.KindUnavailable, "no route"},
		{"another key", otherKey, five, prove, vault.KindTampered, "another key"},
		{"not a note", "", []byte("x"), prove, vault.KindMalformed, ""},
	} {
		_, err := m.Meet("srv", c.key, c.note, start, c.prove)
		if vault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if last, _, err := m.Last("srv"); err != nil || last.Size != 9 {
			t.Errorf("%s: then %d is remembered, %v", c.name, last.Size, err)
		}
	}
}

func TestMemoryThatCannotBeRead(t *testing.T) {
	signer, key := newKey(t)
	l := l2(signer)
	s := &store{}
	grow(t, l, s, 3)
	note, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(file string, raw []byte) error{
		"empty": func(f string, _ []byte) error { return os.WriteFile(f, nil, 0o600) },
		"cut":   func(f string, raw []byte) error { return os.WriteFile(f, raw[:len(raw)/2], 0o600) },
		"of another": func(f string, raw []byte) error {
			return os.WriteFile(f, []byte(strings.Replace(string(raw), "srv", "evil", 1)), 0o600)
		},
		"forged": func(f string, raw []byte) error {
			return os.WriteFile(f, []byte(strings.Replace(string(raw), `\n3\n`, `\n2\n`, 1)), 0o600)
		},
		"open": func(f string, _ []byte) error {
			if runtime.GOOS == "windows" {
				return os.WriteFile(f, nil, 0o600)
			}
			return os.Chmod(f, 0o666)
		},
		"a folder": func(f string, _ []byte) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o700)) },
	} {
		m := audit.Memory{Dir: t.TempDir()}
		if _, err := m.Meet("srv", key, note, start, nil); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(m.Dir, "*.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		raw, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(files[0], raw); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Meet("srv", key, note, start, nil); vault.KindOf(err) != vault.KindMalformed && vault.KindOf(err) != vault.KindInsecure {
			t.Errorf("%s: it is taken for a first contact: %v", name, err)
		}
	}
}

// Many processes of one machine meet one server.
func TestMemoryOfSeveral(t *testing.T) {
	signer, key := newKey(t)
	l := l2(signer)
	s := &store{}
	var notes [][]byte
	for n := 1; n <= 20; n++ {
		grow(t, l, s, n)
		note, err := l.Checkpoint(s.reader)
		if err != nil {
			t.Fatal(err)
		}
		notes = append(notes, note)
	}
	m := audit.Memory{Dir: t.TempDir()}
	var wg sync.WaitGroup
	for i := range notes {
		wg.Go(func() {
			_, err := m.Meet("srv", key, notes[(i*7)%len(notes)], start, func(was, size int64) (tlog.TreeProof, error) {
				return audit.ProveGrowth(&tx{s: s, head: s.head}, was, size)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if last, _, err := m.Last("srv"); err != nil || last.Size != 20 {
		t.Errorf("%d is remembered, %v", last.Size, err)
	}
}

func TestMemoryVerify(t *testing.T) {
	signer, key := newKey(t)
	_, other := newKey(t)
	l := l2(signer)
	s := &store{}
	grow(t, l, s, 5)
	five := export(t, l, s, 0)
	grow(t, l, s, 9)
	nine, tail := export(t, l, s, 0), export(t, l, s, 8)
	forked := &store{}
	if err := forked.write(func(tx *tx) error {
		for _, e := range others(12, 3) {
			if _, err := l.Append(tx, e.Line()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	fork := export(t, l2(signer), forked, 0)
	m := audit.Memory{Dir: filepath.Join(t.TempDir(), "a", "b")}
	for _, step := range []struct {
		name, file, key string
		kind            vault.Kind
		seen            audit.Standing
		then            int64 // the size that is remembered
	}{
		{"not known", five, "", vault.KindNoIdentity, 0, 0},
		{"first", five, key, 0, audit.Unknown, 5},
		{"known", five, "", 0, audit.Contains, 5},
		{"another key", five, other, vault.KindTampered, 0, 5},
		{"behind what was seen", tail, "", 0, audit.Elsewhere, 5},
		{"grown", nine, key, 0, audit.Contains, 9},
		{"older", five, "", 0, audit.Older, 9},
		{"forked", fork, "", vault.KindTampered, 0, 9},
		{"nothing", "", "", vault.KindMalformed, 0, 9},
	} {
		rep, err := m.Verify(strings.NewReader(step.file), step.key, start)
		if vault.KindOf(err) != step.kind || (err != nil) != (step.kind != 0) || rep.Seen != step.seen {
			t.Errorf("%s: %+v, %v", step.name, rep, err)
		}
		if last, _, err := m.Last(origin); err != nil || last.Size != step.then {
			t.Errorf("%s: then %d is remembered, %v", step.name, last.Size, err)
		}
	}
	// What was seen of the server counts for a file of its log.
	m = audit.Memory{Dir: t.TempDir()}
	note, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Meet("https://vault.example.dev", key, note, start, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Verify(strings.NewReader(fork), "", start); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("forked: %v", err)
	}
}

package audit_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"envrun/vault"
	"envrun/vault/audit"
)

func sign(t testing.TB, text string, signer note.Signer) string {
	t.Helper()
	n, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(n)
}

func export(t testing.TB, l *audit.Log, s *store, from int64) string {
	t.Helper()
	note, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	var w bytes.Buffer
	if err := s.reader(func(r audit.Reader) error { return l.Export(r, &w, from, note) }); err != nil {
		t.Fatal(err)
	}
	return w.String()
}

func TestVerify(t *testing.T) {
	for size := range 20 {
		l, key := newLog(t)
		s := &store{}
		grow(t, l, s, size)
		for from := int64(0); from <= int64(size); from++ {
			file := export(t, l, s, from)
			rep, err := audit.Verify(strings.NewReader(file), key, nil)
			if err != nil {
				t.Fatalf("%d…%d: %v\n%s", from, size, err, file)
			}
			if rep.From != from || rep.Size != int64(size) || rep.Origin != origin || rep.Seen != audit.Unknown {
				t.Errorf("%d…%d: %+v", from, size, rep)
			}
			if n := int64(size) - from; n > 0 && (!rep.First.Equal(entry(int(from)).Time) || !rep.Last.Equal(entry(size-1).Time)) || n == 0 && !rep.First.IsZero() {
				t.Errorf("%d…%d: %v to %v", from, size, rep.First, rep.Last)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	l, key := newLog(t)
	_, other := newLog(t)
	s := &store{}
	grow(t, l, s, 12)
	file := export(t, l, s, 5) // a top, entries 5…11, the checkpoint
	lines := strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	edit := func(f func([]string) []string) string { return strings.Join(f(slices.Clone(lines)), "") }
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(file, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(file, old, new, 1)
	}
	grow(t, l, s, 13)
	later := strings.SplitAfter(export(t, l, s, 5), "\n")
	for _, c := range []struct {
		name, file string
		kind       vault.Kind
		says       string
	}{
		{"empty", "", vault.KindMalformed, "is empty"},
		{"not an export", "hello\n", vault.KindMalformed, "not an export"},
		{"an entry only", lines[1], vault.KindMalformed, "not an export"},
		{"a newer format", replace(`"envrun_audit":1`, `"envrun_audit":2`), vault.KindVersion, "format 2"},
		{"a name changed", replace(`"bob"`, `"eve"`), vault.KindTampered, "not those that were signed"},
		{"a time changed", replace(`"2026-11-23T00:00:06Z"`, `"2026-11-23T00:00:07Z"`), vault.KindTampered, "not those that were signed"},
		{"an entry of another form", replace(`"auth":{`, `"auth": {`), vault.KindMalformed, "2: "},
		{"a line that is nothing", edit(func(l []string) []string { l[3] = "{}\n"; return l }), vault.KindMalformed, "4: "},
		{"an empty line", edit(func(l []string) []string { return slices.Insert(l, 3, "\n") }), vault.KindMalformed, "4: "},
		{"an entry dropped", edit(func(l []string) []string { return slices.Delete(l, 3, 4) }), vault.KindTampered, "7 entries were signed, and there are 6"},
		{"the first dropped", edit(func(l []string) []string { return slices.Delete(l, 1, 2) }), vault.KindTampered, "are missing"},
		{"the last dropped", edit(func(l []string) []string { return slices.Delete(l, 7, 8) }), vault.KindTampered, "are missing"},
		{"an entry twice", edit(func(l []string) []string { return slices.Insert(l, 3, l[3]) }), vault.KindTampered, "were added"},
		{"two exchanged", edit(func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }), vault.KindTampered, "not those that were signed"},
		{"another place", replace(`"from":5`, `"from":6`), vault.KindTampered, "some were added"}, // as many nodes, as it happens
		{"another place and size", replace(`"from":5`, `"from":7`), vault.KindMalformed, "first line"},
		{"other nodes", edit(func(l []string) []string { l[0] = later0(l[0]); return l }), vault.KindTampered, "not those that were signed"},
		{"a checkpoint of later", edit(func(l []string) []string { l[8] = later[9]; return l }), vault.KindTampered, "8 entries were signed, and there are 7"},
		{"cut in a line", file[:len(file)/2], vault.KindMalformed, "cut off"},
		{"cut between lines", edit(func(l []string) []string { return l[:5] }), vault.KindMalformed, "6: it ends without its checkpoint"},
		{"cut in the checkpoint", file[:len(file)-5], vault.KindMalformed, "cut off"},
		{"no newline at the end", file[:len(file)-1], vault.KindMalformed, "cut off"},
		{"two files", file + file, vault.KindMalformed, "something follows"},
		{"a newline more", file + "\n", vault.KindMalformed, "something follows"},
		{"carriage returns", strings.ReplaceAll(file, "\n", "\r\n"), vault.KindMalformed, "1: "},
		{"the checkpoint forged", replace(`\n12\n`, `\n13\n`), vault.KindTampered, "signature"},
		{"the checkpoint of other form", replace(`{"checkpoint":"`, `{"checkpoint": "`), vault.KindMalformed, "9: "},
		{"another log", replace(`"log":"`+origin, `"log":"elsewhere`), vault.KindTampered, "elsewhere"},
		{"a line without end", lines[0] + strings.Repeat("a", 1<<20), vault.KindMalformed, "2: the line is longer"},
		{"zeros", string(make([]byte, 4096)), vault.KindMalformed, "1: "},
	} {
		_, err := audit.Verify(strings.NewReader(c.file), key, nil)
		var ve *vault.Error
		if !errors.As(err, &ve) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		ve.File = "x" // so that its line is said
		if vault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v, %q", c.name, err, c.kind, c.says)
		}
	}
	if _, err := audit.Verify(strings.NewReader(file), other, nil); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("with another key: %v", err)
	}
	if _, err := audit.Verify(strings.NewReader(file), "key", nil); vault.KindOf(err) != vault.KindInvalid {
		t.Errorf("with no key: %v", err)
	}
}

// later0 changes a node.
func later0(top string) string {
	at := strings.Index(top, `"nodes":["`) + len(`"nodes":["`)
	c := byte('A')
	if top[at] == 'A' {
		c = 'B'
	}
	return top[:at] + string(c) + top[at+1:]
}

func TestVerifyAgainstWhatWasSeen(t *testing.T) {
	signer, key := newKey(t)
	l := audit.NewLog(signer, (&clock{t: start}).now)
	s := &store{}
	grow(t, l, s, 8)
	note, err := l.Checkpoint(s.reader)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := audit.OpenCheckpoint(note, key)
	if err != nil {
		t.Fatal(err)
	}
	early := &store{}
	grow(t, l2(signer), early, 5)
	grow(t, l, s, 12)
	for _, c := range []struct {
		file string
		want audit.Standing
	}{
		{export(t, l, s, 0), audit.Contains}, {export(t, l, s, 8), audit.Contains}, {export(t, l, s, 9), audit.Elsewhere}, {export(t, l2(signer), early, 0), audit.Older},
	} {
		if rep, err := audit.Verify(strings.NewReader(c.file), key, &seen); err != nil || rep.Seen != c.want {
			t.Errorf("%v, %v; want %v", rep.Seen, err, c.want)
		}
	}
	// The same key signs another history.
	forked := &store{}
	err = forked.write(func(tx *tx) error {
		for _, e := range others(12, 7) {
			if _, err := l.Append(tx, e.Line()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file := export(t, l2(signer), forked, 0)
	if _, err := audit.Verify(strings.NewReader(file), key, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(strings.NewReader(file), key, &seen); vault.KindOf(err) != vault.KindTampered || !strings.Contains(err.Error(), "the first 8 entries") {
		t.Errorf("a fork: %v", err)
	}
}

func l2(signer note.Signer) *audit.Log { return audit.NewLog(signer, (&clock{t: start}).now) }

func TestExportRefuses(t *testing.T) {
	l, _ := newLog(t)
	b := newBase(t)
	b.grow(l, 0, 10)
	for _, from := range []int64{-1, 11, 1 << 62} {
		if _, err := b.export(l, from); vault.KindOf(err) != vault.KindInvalid {
			t.Errorf("from %d: %v", from, err)
		}
	}
	b.exec(`UPDATE audit SET line = replace(line, '"ann"', '"eve"') WHERE idx = 3`)
	if _, err := b.export(l, 0); vault.KindOf(err) != vault.KindTampered {
		t.Errorf("a line that was rewritten is exported: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	l, key := newLog(f)
	s := &store{}
	grow(f, l, s, 6)
	good := export(f, l, s, 2)
	f.Add(good)
	f.Add(export(f, l, s, 0))
	f.Add(export(f, l, s, 6))
	f.Add("{}\n{}\n")
	f.Fuzz(func(t *testing.T, file string) {
		if _, err := audit.Verify(strings.NewReader(file), key, nil); err == nil && file != good {
			// Only what this log signed is genuine.
			if rep, _ := audit.Verify(strings.NewReader(file), key, nil); export(t, l, s, rep.From) != file {
				t.Errorf("a file that was never exported is taken for genuine:\n%s", file)
			}
		}
	})
}

func TestVerifyOfSQL(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testExport(t, newBase(t)) })
	t.Run("postgres", func(t *testing.T) { testExport(t, newPostgres(t)) })
}

func testExport(t *testing.T, b *base) {
	l, key := newLog(t)
	b.grow(l, 0, 300) // more than one piece
	for _, from := range []int64{0, 1, 255, 256, 299, 300} {
		file, err := b.export(l, from)
		if err != nil {
			t.Fatal(err)
		}
		if rep, err := audit.Verify(strings.NewReader(file), key, nil); err != nil || rep.From != from || rep.Size != 300 {
			t.Errorf("from %d: %+v, %v", from, rep, err)
		}
	}
}

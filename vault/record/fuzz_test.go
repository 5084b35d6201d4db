package record_test

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"

	"envrun/vault"
	"envrun/vault/record"
)

// The law of every kind: what is read is written as the same bytes, but for
// the CR of a line; what is refused says of what kind, and in which line.

func FuzzParseRecord(f *testing.F)  { law(f, "sec") }
func FuzzParseGen(f *testing.F)     { law(f, "gen") }
func FuzzParseGrant(f *testing.F)   { law(f, "grant") }
func FuzzParseSeal(f *testing.F)    { law(f, "seal") }
func FuzzParseRequest(f *testing.F) { law(f, "req") }
func FuzzParseExposed(f *testing.F) { law(f, "list") }

func seeds(f *testing.F, kind string) {
	for name := range good() {
		raw := stored(f, name)
		if kindOf(name) == kind {
			f.Add(crlf(raw))
			f.Add(bytes.Replace(raw, []byte("\nby "), []byte("\n<<<<<<< HEAD\nby "), 1))
			f.Add(bytes.Replace(raw, []byte(" v1\n"), []byte(" v2\n"), 1))
		}
		f.Add(raw)
	}
}

func law(f *testing.F, kind string) {
	seeds(f, kind)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		got, err := parse(kind, raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("the parser changed its input")
		}
		if err != nil {
			refusedWell(t, raw, err)
			if got != nil {
				t.Error("refused, and there is something")
			}
			return
		}
		want := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		if back := got.Marshal(); !bytes.Equal(back, want) {
			t.Fatalf("%q is written as %q", raw, back)
		}
		if err := got.Check(); err != nil {
			t.Errorf("%q is read and does not pass: %v", raw, err)
		}
		if !utf8.Valid(raw) {
			t.Errorf("%q is read and is not UTF-8", raw)
		}
		if r, ok := got.(*record.Record); ok {
			if v := record.PeekVersion(raw); v != r.Version {
				t.Errorf("%q is of version %d, and peeking says %d", raw, r.Version, v)
			}
			if same, err := record.WithKey(raw, r.Gen, r.Key); err != nil || !bytes.Equal(same, want) {
				t.Errorf("%q under its own key is %q: %v", raw, same, err)
			}
			if gen, key, err := record.KeyOf(raw); err != nil || gen != r.Gen || !bytes.Equal(key, r.Key) {
				t.Errorf("%q has key %d %x, and %d %x by itself: %v", raw, r.Gen, r.Key, gen, key, err)
			}
			if other, err := record.WithKey(raw, r.Gen, fill(60, 99)); err != nil || !record.SameBody(raw, other) {
				t.Errorf("%q has another body under another key: %q, %v", raw, other, err)
			}
		}
		m, ok := got.(withMAC)
		if !ok || kind == "req" {
			return
		}
		above, err := record.AboveMAC(raw)
		if err != nil || !bytes.Equal(above, m.MACInput()) {
			t.Errorf("%q: above the MAC is %q, MACInput %q: %v", raw, above, m.MACInput(), err)
		}
		if _, err := record.BodyHash(raw); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

func refusedWell(t *testing.T, raw []byte, err error) {
	t.Helper()
	var e *vault.Error
	if !errors.As(err, &e) || e.Kind != vault.KindMalformed && e.Kind != vault.KindUnmerged && e.Kind != vault.KindVersion {
		t.Fatalf("%q is refused with %v", raw, err)
	}
	if e.Line < 0 || e.Line > bytes.Count(raw, []byte("\n"))+1 {
		t.Errorf("%q is refused for its line %d: %v", raw, e.Line, err)
	}
}

// A header is read of every record that is read, and says the same.
func FuzzParseHeader(f *testing.F) {
	seeds(f, "sec")
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := record.ParseRecord(raw)
		info, gen, err2 := record.ParseHeader(raw)
		if err2 != nil {
			refusedWell(t, raw, err2)
			if err == nil {
				t.Errorf("%q is read in full and not in short: %v", raw, err2)
			}
			return
		}
		if err == nil && (gen != r.Gen || info.Path != r.Path || info.Version != r.Version || len(info.Fields) != len(r.Fields) || info.Deleted != r.Deleted) {
			t.Errorf("%q: %+v", raw, info)
		}
	})
}

// A seal that is read in full is split, and each of its entries found.
func FuzzSplitSeal(f *testing.F) {
	seeds(f, "seal")
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err2 := record.SplitSeal(raw)
		if err2 != nil {
			refusedWell(t, raw, err2)
		} else {
			for _, path := range []vault.Path{"", "a", "mac", "prev", "grant", "~"} {
				_, _, _ = v.Lookup(path) // must come back
			}
		}
		s, err := record.ParseSeal(raw)
		if err != nil {
			return
		}
		if err2 != nil {
			t.Fatalf("%q is read and not split: %v", raw, err2)
		}
		if !bytes.Equal(v.MACInput(), s.MACInput()) || !bytes.Equal(v.Head.MAC, s.MAC) || len(v.Head.Grants) != len(s.Grants) || v.Head.Seq != s.Seq || v.Head.Entries != nil {
			t.Fatalf("%q is split otherwise than read", raw)
		}
		for _, e := range s.Entries {
			if got, ok, err := v.Lookup(e.Path); err != nil || !ok || got != e {
				t.Fatalf("%q: %s is %+v %v %v", raw, e.Path, got, ok, err)
			}
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	seeds(f, "toml")
	f.Add([]byte("# x\nformat=1 # y\n\nvault=\"v_0\""))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := record.ParseManifest(raw)
		if err != nil {
			refusedWell(t, raw, err)
			return
		}
		again, err := record.ParseManifest(m.Marshal())
		if err != nil || *again != *m {
			t.Errorf("%q is read as %+v, then as %+v: %v", raw, m, again, err)
		}
	})
}

func FuzzBodyHash(f *testing.F) {
	seeds(f, "sec")
	f.Fuzz(func(t *testing.T, raw []byte) {
		above, err := record.AboveMAC(raw)
		if _, err2 := record.BodyHash(raw); (err == nil) != (err2 == nil) {
			t.Errorf("%q: %v, %v", raw, err, err2)
		}
		if err != nil {
			refusedWell(t, raw, err)
		} else if !bytes.HasPrefix(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), above) {
			t.Errorf("%q does not begin with %q", raw, above)
		}
	})
}

package redact_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"envrun/envrun/redact"
	"envrun/vault"
)

// reference masks text by the words of the package comment and nothing else:
// all occurrences of all patterns, their union, the name of the leftmost and
// longest. clear is what it leaves.
func reference(m *redact.Masker, text []byte) (masked []byte, clear [][]byte) {
	patterns := m.Patterns()
	// longest[p] is the longest pattern at p.
	longest := make([]*redact.Pattern, len(text))
	for p := range text {
		for i, x := range patterns {
			if !bytes.HasPrefix(text[p:], x.Bytes) {
				continue
			}
			if l := longest[p]; l == nil || len(x.Bytes) > len(l.Bytes) {
				longest[p] = &patterns[i]
			}
		}
	}
	lastEnd, lastToken := -1, ""
	for p := 0; p < len(text); {
		if longest[p] == nil {
			q := p
			for q < len(text) && longest[q] == nil {
				q++
			}
			masked = append(masked, text[p:q]...)
			clear = append(clear, text[p:q])
			p = q
			continue
		}
		token := m.Token(longest[p].Secret)
		end := p
		for q := p; q == p || q < end; q++ {
			if longest[q] != nil {
				end = max(end, q+len(longest[q].Bytes))
			}
		}
		if p != lastEnd || token != lastToken {
			masked = append(masked, token...)
		}
		lastEnd, lastToken = end, token
		p = end
	}
	return masked, clear
}

// inPieces writes text in pieces of the given sizes, over and over.
func inPieces(t testing.TB, m *redact.Masker, text []byte, sizes []int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := m.NewWriter(&out, redact.WriterOptions{})
	for i := 0; len(text) > 0; i++ {
		n := min(max(1, sizes[i%len(sizes)]), len(text))
		if done, err := w.Write(text[:n]); done != n || err != nil {
			t.Fatalf("Write of %d bytes = %d, %v", n, done, err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return out.Bytes()
}

// pieceReader gives its text in pieces.
type pieceReader struct {
	text  []byte
	sizes []int
	i     int
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := min(max(1, r.sizes[r.i%len(r.sizes)]), len(r.text), len(p))
	r.i++
	copy(p, r.text[:n])
	r.text = r.text[n:]
	return n, nil
}

func check(t testing.TB, m *redact.Masker, text []byte, sizes []int) {
	t.Helper()
	before := bytes.Clone(text)
	want, _ := reference(m, text)
	if got := m.Bytes(text); !bytes.Equal(got, want) {
		t.Fatalf("Bytes(%q)\n got %q\nwant %q", text, got, want)
	}
	if !bytes.Equal(text, before) {
		t.Fatalf("Bytes changed its argument")
	}
	if got := inPieces(t, m, text, sizes); !bytes.Equal(got, want) {
		t.Fatalf("Write(%q) in pieces of %v\n got %q\nwant %q", text, sizes, got, want)
	}
	var out bytes.Buffer
	w := m.NewWriter(&out, redact.WriterOptions{})
	if n, err := io.Copy(w, &pieceReader{text: text, sizes: sizes}); n != int64(len(text)) || err != nil {
		t.Fatalf("io.Copy = %d, %v", n, err)
	}
	if err := w.Close(); err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("ReadFrom(%q) in pieces of %v: %v\n got %q\nwant %q", text, sizes, err, out.Bytes(), want)
	}
}

// Few letters make many overlaps, prefixes of each other and near misses.
func TestAgainstReference(t *testing.T) {
	rounds := 1500
	if testing.Short() {
		rounds = 300
	}
	for _, alphabet := range []string{"a", "ab", "abc", "ab'\n", "aA+/= %", "a\\\"\xc3\xa9\xff"} {
		r := seeded(alphabet)
		for range rounds / 6 {
			var secrets []redact.Secret
			yes := true
			for i := range 1 + r.IntN(6) {
				s := redact.Secret{Name: fmt.Sprint(i % 4), Value: vault.NewValueString(randomText(r, alphabet, 1+r.IntN(24)))}
				if r.IntN(3) == 0 {
					s.Mask = &yes
				}
				secrets = append(secrets, s)
			}
			if r.IntN(10) == 0 {
				secrets = append(secrets, redact.Secret{Name: "long", Value: vault.NewValueString(randomText(r, alphabet, 200+r.IntN(400)))})
			}
			m := redact.New(secrets)
			check(t, m, mixture(r, m, secrets, alphabet, 60+r.IntN(300)), pieces(r))
		}
	}
}

// mixture is random text with whole and cut patterns in it.
func mixture(r *rand.Rand, m *redact.Masker, secrets []redact.Secret, alphabet string, n int) []byte {
	patterns := m.Patterns()
	var text []byte
	for len(text) < n {
		switch k := r.IntN(8); {
		case k < 3 && len(patterns) > 0:
			p := patterns[r.IntN(len(patterns))].Bytes
			text = append(text, p...)
		case k < 5 && len(patterns) > 0:
			p := patterns[r.IntN(len(patterns))].Bytes
			from := r.IntN(len(p))
			text = append(text, p[from:from+r.IntN(len(p)-from+1)]...)
		case k == 5:
			text = append(text, secrets[r.IntN(len(secrets))].Value.Reveal()...)
		default:
			text = append(text, randomText(r, alphabet, r.IntN(20))...)
		}
	}
	return text
}

func pieces(r *rand.Rand) []int {
	sizes := make([]int, 1+r.IntN(5))
	for i := range sizes {
		sizes[i] = 1 + r.IntN([]int{1, 4, 30, 300}[r.IntN(4)])
	}
	return sizes
}

// Text longer than what is masked at a time, with matches across its borders.
func TestAgainstReferenceAtBorders(t *testing.T) {
	secrets := realistic(12)
	m := redact.New(secrets)
	r := seeded("borders")
	patterns := slices.DeleteFunc(m.Patterns(), func(p redact.Pattern) bool { return len(p.Bytes) < 30 })
	text := []byte(randomText(r, alphanumeric, 140<<10))
	for range 12 {
		p := patterns[r.IntN(len(patterns))].Bytes
		for _, border := range []int{64 << 10, 128 << 10} {
			for i := range text[border-600 : border+600] {
				text[border-600+i] = '.'
			}
			copy(text[border-r.IntN(len(p)):], p)
		}
		got := inPieces(t, m, text, []int{len(text)})
		want := m.Bytes(text)
		if !bytes.Equal(got, want) {
			t.Fatalf("one Write differs from Bytes")
		}
		// Reference over the interesting parts only: it is slow.
		for _, border := range []int{64 << 10, 128 << 10} {
			ref, _ := reference(m, text[border-600:border+600])
			if !bytes.Contains(got, ref) {
				t.Fatalf("border %d: %q not in output", border, ref)
			}
		}
		if got := inPieces(t, m, text, []int{32 << 10}); !bytes.Equal(got, want) {
			t.Fatalf("pieces of 32 KiB differ from Bytes")
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add([]byte("the key is hunter2-hunter2\n"), []byte("hunter2-hunter2"), []byte{3}, byte(0))
	f.Add([]byte("aaaaaaaaaaaaaaaaaaaaaaaab"), []byte("aaaaaaaa\x00aaaaaaaaab"), []byte{1}, byte(1))
	f.Add([]byte("abcdefghijklmnop"), []byte("abcdefgh\x00efghijklmnop\x00ijkl"), []byte{5, 1}, byte(255))
	f.Add([]byte(`{"a":"line one\nline two","b":["x"]}`), []byte("{\"a\":\"line one\\nline two\"}\x00line one\nline two"), []byte{7, 2}, byte(2))
	f.Add([]byte("postgres://u:p%40ss-word-1@h/d p@ss-word-1 cEBzcy13b3JkLTE="), []byte("postgres://u:p%40ss-word-1@h/d"), []byte{200}, byte(0))
	f.Fuzz(func(t *testing.T, text, values, sizes []byte, force byte) {
		if len(text) > 2000 || len(values) > 1200 {
			return
		}
		var secrets []redact.Secret
		yes := true
		for i, v := range bytes.SplitN(values, []byte{0}, 8) {
			s := redact.Secret{Name: fmt.Sprint(i % 3), Value: vault.NewValue(bytes.Clone(v))}
			if force>>i&1 != 0 {
				s.Mask = &yes
			}
			secrets = append(secrets, s)
		}
		m := redact.New(secrets)
		cuts := []int{1}
		for i, s := range sizes {
			if i == 0 {
				cuts = cuts[:0]
			}
			cuts = append(cuts, int(s))
		}
		check(t, m, text, cuts)

		// What is left in clear holds no value, and is the text around the matches.
		masked, clear := reference(m, text)
		if len(clear) == 1 && len(clear[0]) == len(text) && !bytes.Equal(masked, text) {
			t.Fatalf("no match, but %q became %q", text, masked)
		}
		skipped := m.Skipped()
		for i, s := range secrets {
			v := bytes.TrimSpace(s.Value.Reveal())
			if len(v) < 8 || slices.ContainsFunc(skipped, func(k redact.Skipped) bool { return !k.Partly && k.Name == s.Name }) {
				continue
			}
			for _, c := range clear {
				if bytes.Contains(c, v) {
					t.Fatalf("secret %d, %q, is left in %q", i, v, c)
				}
			}
		}
	})
}

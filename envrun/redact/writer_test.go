package redact_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"envrun/envrun/redact"
	"envrun/vault"
)

func named(pairs ...string) *redact.Masker {
	var secrets []redact.Secret
	for i := 0; i < len(pairs); i += 2 {
		secrets = append(secrets, redact.Secret{Name: pairs[i], Value: vault.NewValueString(pairs[i+1])})
	}
	return redact.New(secrets)
}

// clock has one timer, which runs out when the test says so.
type clock struct {
	f    func()
	d    time.Duration
	runs bool
}

func (c *clock) AfterFunc(d time.Duration, f func()) redact.Timer {
	if c.f != nil {
		panic("a second timer")
	}
	c.f, c.d, c.runs = f, d, true
	return c
}

func (c *clock) Reset(d time.Duration) bool {
	was := c.runs
	c.d, c.runs = d, true
	return was
}

func (c *clock) Stop() bool {
	was := c.runs
	c.runs = false
	return was
}

func (c *clock) expire() {
	if c.runs {
		c.runs = false
		c.f()
	}
}

func TestTerminal(t *testing.T) {
	yes := true
	m := redact.New([]redact.Secret{
		{Name: "A", Value: vault.NewValueString("secret-value")},
		{Name: "B", Value: vault.NewValueString("hunter22")},
		{Name: "C", Value: vault.NewValueString("hunter22-and-more")},
		{Name: "D", Value: vault.NewValueString("xyz"), Mask: &yes},
		{Name: "E", Value: vault.NewValueString("xyz-12345")},
		{Name: "F", Value: vault.NewValueString("12345-67890")},
	})
	const later = "…" // the time runs out here
	tests := []struct {
		name string
		in   []string
		out  []string // what there is to see after each
	}{
		{"a prompt without a start of a value", []string{"name: "}, []string{"name: "}},
		{"a prompt that ends like a value", []string{"is se", later, "X"}, []string{"is ", "is se", "is seX"}},
		{"slow, but not a value", []string{"se", later, "cr", later, "!"}, []string{"", "se", "se", "secr", "secr!"}},
		{"a slow value shows 7 bytes at most", []string{"secre", later, "t-", later, "v", later, "alue", later, "."},
			[]string{"", "secre", "secre", "secret-", "secret-", "secret-", "secret-[A]", "secret-[A]", "secret-[A]."}},
		{"8 bytes wait for more", []string{"> secret-v", later, later, "ain"}, []string{"> ", "> ", "> ", "> secret-vain"}},
		{"a value waits for a longer one", []string{"hunter22", later, "-and", later, "-more", "."},
			[]string{"", "[B]", "[B]", "[B]", "[B]", "[B]."}},
		{"it is not the longer one", []string{"hunter22", later, "-and", later, "-or"},
			[]string{"", "[B]", "[B]", "[B]", "[B]-and-or"}},
		{"a longer one in time", []string{"hunter22", "-and-more", later}, []string{"", "[C]", "[C]"}},
		{"a short value in a longer one", []string{"xyz", later, "-12", later, "34", later, "5", "-678", later, "90 "},
			[]string{"", "[D]", "[D]", "[D]-12", "[D]-12", "[D]-12", "[D]-12", "[D]-12", "[D]-12", "[D]-12 "}},
		{"values in a row", []string{"xyz-12345-67890xyzhunter22", later, "hunter22"},
			[]string{"[E][D]", "[E][D][B]", "[E][D][B]"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			var c clock
			w := m.NewWriter(&out, redact.WriterOptions{TTY: true, AfterFunc: c.AfterFunc})
			for i, s := range tt.in {
				if s == later {
					c.expire()
				} else if _, err := io.WriteString(w, s); err != nil {
					t.Fatal(err)
				}
				if out.String() != tt.out[i] {
					t.Fatalf("after %q: %q, want %q", tt.in[:i+1], &out, tt.out[i])
				}
			}
			if c.f != nil && c.d != 50*time.Millisecond {
				t.Errorf("the timer ran for %v", c.d)
			}
		})
	}
}

func TestTerminalTimer(t *testing.T) {
	var out bytes.Buffer
	var c clock
	w := named("A", "secret-value").NewWriter(&out, redact.WriterOptions{TTY: true, Hold: time.Second, AfterFunc: c.AfterFunc})
	_, _ = io.WriteString(w, "nothing to hold\n")
	if c.f != nil {
		t.Error("a timer was made for nothing")
	}
	_, _ = io.WriteString(w, "sec")
	if !c.runs || c.d != time.Second {
		t.Errorf("timer runs %v for %v", c.runs, c.d)
	}
	_, _ = io.WriteString(w, "ond\n")
	if c.runs {
		t.Error("the timer still runs with nothing held")
	}

	// The timer's call comes too late: what is held now has its own time.
	_, _ = io.WriteString(w, "se")
	c.runs = false // it has fired, and waits for the lock
	_, _ = io.WriteString(w, "ven\nsec")
	c.f()
	if want := "nothing to hold\nsecond\nseven\n"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
	c.expire()
	if want := "nothing to hold\nsecond\nseven\nsec"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
	_, _ = io.WriteString(w, "ret-val")
	if err := w.Close(); err != nil || c.runs {
		t.Errorf("Close: %v, timer runs %v", err, c.runs)
	}
	if want := "nothing to hold\nsecond\nseven\nsecret-val"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
	c.f()
}

// However slowly a value comes, its bytes from the eighth on are not seen.
func TestTerminalRandom(t *testing.T) {
	r := seeded("terminal")
	const lower, upper = "abc", "ABC"
	for range 1000 {
		var secrets []redact.Secret
		for i := range 1 + r.IntN(4) {
			v := randomText(r, lower, 1+r.IntN(7)) + randomText(r, upper, 7+r.IntN(5))
			secrets = append(secrets, redact.Secret{Name: fmt.Sprint(i), Value: vault.NewValueString(v)})
		}
		// Values in full and beginnings without capitals, so that no capital may be seen.
		var text []byte
		for range 30 {
			if r.IntN(3) == 0 {
				text = append(text, secrets[r.IntN(len(secrets))].Value.Reveal()...)
			} else {
				text = append(text, randomText(r, lower, 1+r.IntN(6))...)
			}
		}
		var out bytes.Buffer
		var c clock
		w := redact.New(secrets).NewWriter(&out, redact.WriterOptions{TTY: true, AfterFunc: c.AfterFunc})
		for rest := text; len(rest) > 0; {
			n := min(1+r.IntN(8), len(rest))
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
			if r.IntN(2) == 0 {
				c.expire()
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			// Seven bytes may be seen, in which there may be capitals.
			if seen := s.Value.Reveal()[:8]; bytes.Contains(out.Bytes(), seen) {
				t.Fatalf("%q shows %q of %q", &out, seen, text)
			}
		}
	}
}

func TestPipeHoldsUntilClose(t *testing.T) {
	var out bytes.Buffer
	w := named("A", "secret-value").NewWriter(&out, redact.WriterOptions{AfterFunc: func(time.Duration, func()) redact.Timer {
		t.Error("a pipe has no timer")
		return nil
	}})
	_, _ = io.WriteString(w, "a secret")
	if out.String() != "a " {
		t.Errorf("got %q", &out)
	}
	if err := w.Close(); err != nil || out.String() != "a secret" {
		t.Errorf("after Close, %v: %q", err, &out)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if _, err := w.ReadFrom(strings.NewReader("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ReadFrom after Close: %v", err)
	}
}

func TestOverlaps(t *testing.T) {
	tests := []struct {
		name, text, want string
		pairs            []string
	}{
		{"one the start of the other", "abcdefghij abcdefghijkl", "[A] [B]", []string{"A", "abcdefghij", "B", "abcdefghijkl"}},
		{"one inside the other", "12abcdefgh34", "[B]", []string{"A", "abcdefgh", "B", "12abcdefgh34"}},
		{"one inside a cut other", "12abcdefgh3", "12[A]3", []string{"A", "abcdefgh", "B", "12abcdefgh34"}},
		{"the tail of one starts the other", "abcdefghijklmnop", "[A]", []string{"A", "abcdefghij", "B", "efghijklmnop"}},
		{"a chain", "abcdefghijklmnopqrstuvwx.", "[A].", []string{"A", "abcdefghij", "B", "fghijklmno", "C", "klmnopqrstuvwx"}},
		{"side by side", "abcdefgh12345678", "[A][B]", []string{"A", "abcdefgh", "B", "12345678"}},
		{"twice the same", "abcdefghabcdefgh", "[A]", []string{"A", "abcdefgh"}},
		{"equal values", "abcdefgh", "[A]", []string{"A", "abcdefgh", "B", "abcdefgh"}},
		{"a value that contains a token", "x[A]y123 abcdefgh x[A]y12", "[B] [A] x[A]y12", []string{"A", "abcdefgh", "B", "x[A]y123"}},
		{"a token that completes a value", "12abcdefgh3456", "12[A]3456", []string{"A", "abcdefgh", "B", "12[A]3456"}},
		{"a value in the name of another", "abcdefgh", "[12345678]", []string{"12345678", "abcdefgh", "B", "12345678"}},
		{"a run of one letter", strings.Repeat("a", 1500) + "b", "[A]b", []string{"A", strings.Repeat("a", 900)}},
		{"nearly", strings.Repeat("a", 899), "[A]", []string{"A", strings.Repeat("a", 900)}},
	}
	for _, tt := range tests {
		m := named(tt.pairs...)
		if got := string(m.Bytes([]byte(tt.text))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		for size := 1; size < 20; size += 3 {
			if got := string(inPieces(t, m, []byte(tt.text), []int{size})); got != tt.want {
				t.Errorf("%s, in pieces of %d: got %q, want %q", tt.name, size, got, tt.want)
			}
		}
	}
}

// A long value is cut in patterns, and still shows as one.
func TestLongValues(t *testing.T) {
	r := seeded("long")
	for _, n := range []int{255, 256, 257, 511, 513, 4000, 100_000, vault.MaxValue} {
		v := randomText(r, alphanumeric, n)
		m := one(v)
		text := "<" + v + ">" + v[:n/2] + "|"
		got := string(m.Bytes([]byte(text)))
		if !strings.HasPrefix(got, "<[S]>") || n > 256 && !strings.HasPrefix(got, "<[S]>[S]") {
			t.Errorf("%d bytes: %.100q", n, got)
		}
		if got2 := string(inPieces(t, m, []byte(text), []int{1000, 1, 70_000})); got2 != got {
			t.Errorf("%d bytes in pieces: %.100q", n, got2)
		}
	}
	lines := pemKey(r, 700_000) // 15,000 lines
	m := one(lines)
	if got := string(m.Bytes([]byte("<" + lines))); got != "<[S]\n" {
		t.Errorf("a file of many lines: %.100q", got)
	}
	if s := m.Skipped(); len(s) != 1 || !s[0].Partly {
		t.Errorf("Skipped %v", s)
	}
}

// Whatever is not a match passes as it came.
func TestBinaryIsIdentical(t *testing.T) {
	m := redact.New(realistic(100))
	for _, c := range corpora() {
		if c.name == "leaky" {
			continue
		}
		text := c.make(512 << 10)
		h := sha256.New()
		w := m.NewWriter(h, redact.WriterOptions{})
		if _, err := io.Copy(w, &pieceReader{text: text, sizes: []int{1, 4096, 70_000, 17, 100}}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(text); !bytes.Equal(h.Sum(nil), want[:]) {
			t.Errorf("%s changed", c.name)
		}
	}
}

// Texts that make a simple masker quadratic; BenchmarkWorst says how fast they are.
func TestWorstCases(t *testing.T) {
	for _, tt := range worstCases(128 << 10) {
		if got := string(tt.m.Bytes(tt.text)); got != tt.want {
			t.Errorf("%s: %d bytes, %.40q", tt.name, len(got), got)
		}
		if got := string(inPieces(t, tt.m, tt.text, []int{4096})); got != tt.want {
			t.Errorf("%s, in pieces: %d bytes, %.40q", tt.name, len(got), got)
		}
	}
}

type worstCase struct {
	name string
	m    *redact.Masker
	text []byte
	want string
}

func worstCases(n int) []worstCase {
	as := bytes.Repeat([]byte("a"), n)
	steps := []string{}
	for i := 8; i < 256; i += 4 {
		steps = append(steps, "S", strings.Repeat("a", i)+"b")
	}
	return []worstCase{
		{"all match", named("A", strings.Repeat("a", 300)), as, "[A]"},
		{"short and long", named("A", strings.Repeat("a", 8), "B", strings.Repeat("a", 200)), as, "[B]"},
		{"none match", named("A", strings.Repeat("a", 255)+"b"), as, string(as)},
		{"many that nearly match", named(steps...), as, string(as)},
		{"the tail differs", named("A", "b"+strings.Repeat("a", 250)), as, string(as)},
		{"a period", named("A", strings.Repeat("ab", 100)+"c"), bytes.Repeat([]byte("ab"), n/2), strings.Repeat("ab", n/2)},
	}
}

// limited takes n bytes at a time, and max in all.
type limited struct {
	bytes.Buffer
	n, max int
	err    error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.Len() >= l.max {
		return 0, l.err
	}
	p = p[:min(len(p), l.n, l.max-l.Len())]
	return l.Buffer.Write(p)
}

func TestErrors(t *testing.T) {
	m := named("A", "secret-value")
	broken := errors.New("broken pipe")

	short := &limited{n: 3, max: 1 << 20}
	w := m.NewWriter(short, redact.WriterOptions{})
	if n, err := io.WriteString(w, "take it secret-value bit by bit"); n != 31 || err != nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if err := w.Close(); err != nil || short.String() != "take it [A] bit by bit" {
		t.Errorf("Close: %v; got %q", err, short)
	}

	for _, tt := range []struct{ err, want error }{{broken, broken}, {nil, io.ErrShortWrite}} {
		w = m.NewWriter(&limited{n: 4, max: 10, err: tt.err}, redact.WriterOptions{})
		if n, err := io.WriteString(w, "0123456789abcdef"); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("Write = %d, %v", n, err)
		}
		if n, err := io.WriteString(w, "more"); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("next Write = %d, %v", n, err)
		}
		if n, err := w.ReadFrom(strings.NewReader("more")); !errors.Is(err, tt.want) {
			t.Errorf("ReadFrom = %d, %v", n, err)
		}
		if err := w.Close(); !errors.Is(err, tt.want) {
			t.Errorf("Close = %v", err)
		}
	}

	// An error of the timer's write is told by the next call.
	var c clock
	w = m.NewWriter(&limited{err: broken}, redact.WriterOptions{TTY: true, AfterFunc: c.AfterFunc})
	if _, err := io.WriteString(w, "sec"); err != nil {
		t.Errorf("held Write: %v", err)
	}
	c.expire()
	if _, err := io.WriteString(w, "x"); !errors.Is(err, broken) {
		t.Errorf("Write after a broken release: %v", err)
	}

	// The error of the reader is returned, and does not end the stream.
	var out bytes.Buffer
	w = m.NewWriter(&out, redact.WriterOptions{})
	if n, err := w.ReadFrom(io.MultiReader(strings.NewReader("secret-"), errReader{broken})); n != 7 || !errors.Is(err, broken) {
		t.Errorf("ReadFrom = %d, %v", n, err)
	}
	_, _ = io.WriteString(w, "value")
	if err := w.Close(); err != nil || out.String() != "[A]" {
		t.Errorf("Close: %v, %q", err, &out)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestConcurrentWrites(t *testing.T) {
	m := named("A", "secret-value")
	var out bytes.Buffer // guarded by the Writer's lock
	w := m.NewWriter(&out, redact.WriterOptions{TTY: true, Hold: time.Microsecond})
	line := []byte("one line with secret-value in it, se\n")
	const writers, lines = 4, 200
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range lines {
				_, _ = w.Write(line)
				_, _ = w.Write([]byte("secr"))
			}
		})
	}
	wg.Go(func() {
		_, _ = w.ReadFrom(&pieceReader{text: bytes.Repeat(line, lines), sizes: []int{len(line)}})
	})
	wg.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "one line with [A] in it, se\n"); n != (writers+1)*lines {
		t.Errorf("%d lines, want %d", n, (writers+1)*lines)
	}
	if bytes.Contains(out.Bytes(), []byte("secret-v")) {
		t.Error("the value is seen")
	}
}

func TestWriteDoesNotAllocate(t *testing.T) {
	m := redact.New(realistic(100))
	secret := realistic(1)[0].Value.Reveal()
	var c clock
	for _, o := range []redact.WriterOptions{{}, {TTY: true, AfterFunc: c.AfterFunc}} {
		w := m.NewWriter(io.Discard, o)
		line := append(append([]byte("a line of text with "), secret...), " in it and a start: sk_live"...)
		write := func() { _, _ = w.Write(line) }
		write()
		write()
		if n := testing.AllocsPerRun(100, write); n != 0 {
			t.Errorf("TTY %v: %v allocations for each Write", o.TTY, n)
		}
	}
}

func TestPrintsNoValue(t *testing.T) {
	m := named("A", "secret-value")
	w := m.NewWriter(io.Discard, redact.WriterOptions{})
	_, _ = io.WriteString(w, "secret-va")
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, x := range []any{m, w, []any{m, w}, struct {
			M any
			W any
		}{m, w}} {
			if s := fmt.Sprintf(format, x); strings.Contains(s, "secret") || strings.Contains(s, "736563") || strings.Contains(s, "115 101") {
				t.Errorf("%s prints %s", format, s)
			}
		}
	}
}

func TestNothingToMask(t *testing.T) {
	for _, m := range []*redact.Masker{redact.New(nil), named("SHORT", "1234")} {
		text := []byte("anything 1234")
		if got := m.Bytes(text); !bytes.Equal(got, text) {
			t.Errorf("Bytes = %q", got)
		}
		if got := inPieces(t, m, text, []int{3}); !bytes.Equal(got, text) {
			t.Errorf("Write: %q", got)
		}
		var out bytes.Buffer
		w := m.NewWriter(&out, redact.WriterOptions{TTY: true})
		if _, err := w.ReadFrom(bytes.NewReader(text)); err != nil || !bytes.Equal(out.Bytes(), text) {
			t.Errorf("ReadFrom: %v, %q", err, &out)
		}
	}
}

func TestValuesMayBeWiped(t *testing.T) {
	v := vault.NewValueString("secret-value")
	m := redact.New([]redact.Secret{{Name: "A", Value: v}})
	v.Wipe()
	if got := string(m.Bytes([]byte("secret-value"))); got != "[A]" {
		t.Errorf("got %q", got)
	}
}

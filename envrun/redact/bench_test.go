package redact_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"envrun/envrun/redact"
	"envrun/vault"
)

func seeded(name string) *rand.Rand {
	sum := sha256.Sum256([]byte(name))
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), 1))
}

func randomText(r *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// realistic returns n secrets as projects have them: tokens, keys in base64,
// passwords with punctuation, database URLs, hex, and now and then a PEM key
// and a JSON document.
func realistic(n int) []redact.Secret {
	r := seeded("secrets")
	secrets := make([]redact.Secret, n)
	for i := range secrets {
		var v string
		switch i % 10 {
		case 0, 1, 2:
			v = "sk_live_" + randomText(r, alphanumeric, 24+r.IntN(40))
		case 3, 4:
			v = randomText(r, alphanumeric+"+/", 40)
		case 5, 6:
			v = randomText(r, alphanumeric+`!@#$%^&*()-_=+[]{};:'",.<>/?\|`, 12+r.IntN(20))
		case 7:
			v = fmt.Sprintf("postgres://app:%s@db-%d.internal:5432/app?sslmode=require", randomText(r, alphanumeric, 20), i)
		case 8:
			v = hex.EncodeToString([]byte(randomText(r, alphanumeric, 32)))
		case 9:
			if i%20 == 9 {
				v = pemKey(r, 600)
			} else {
				v = fmt.Sprintf(`{"type":"service_account","key_id":%q,"email":"svc-%d@example.com","token":%q}`,
					randomText(r, "0123456789abcdef", 40), i, randomText(r, alphanumeric, 64))
			}
		}
		secrets[i] = redact.Secret{Name: fmt.Sprintf("SECRET_%d", i), Value: vault.NewValueString(v)}
	}
	return secrets
}

func pemKey(r *rand.Rand, n int) string {
	der := make([]byte, n)
	for i := range der {
		der[i] = byte(r.Uint32())
	}
	text := base64.StdEncoding.EncodeToString(der)
	var b strings.Builder
	b.WriteString("-----BEGIN PRIVATE KEY-----\n")
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	b.WriteString(text + "\n-----END PRIVATE KEY-----\n")
	return b.String()
}

type corpus struct {
	name string
	make func(n int) []byte
}

func corpora() []corpus {
	return []corpus{
		{"log", func(n int) []byte {
			r := seeded("log")
			words := strings.Fields("GET POST /api/v1/users /healthz 200 404 request completed in connection from upstream timeout while reading response header handler=index level=info level=warn retrying worker job queued https://example.com/assets/app.js cache miss for key session expired")
			var b bytes.Buffer
			for b.Len() < n {
				fmt.Fprintf(&b, "2026-09-%02dT%02d:%02d:%02d.%03dZ [%d] ", 1+r.IntN(30), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), r.IntN(30000))
				for range 4 + r.IntN(10) {
					b.WriteString(words[r.IntN(len(words))])
					b.WriteByte(' ')
				}
				fmt.Fprintf(&b, "id=%016x\n", r.Uint64())
			}
			return b.Bytes()[:n]
		}},
		{"base64", func(n int) []byte {
			return []byte(randomText(seeded("base64"), alphanumeric+"+/", n))
		}},
		{"hex", func(n int) []byte {
			return []byte(randomText(seeded("hex"), "0123456789abcdef", n))
		}},
		{"random", func(n int) []byte {
			r := seeded("random")
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}},
		{"zeros", func(n int) []byte { return make([]byte, n) }},
		{"leaky", func(n int) []byte { // one line in a hundred has a secret
			r := seeded("leaky")
			secrets := realistic(100)
			var b bytes.Buffer
			for i := 0; b.Len() < n; i++ {
				fmt.Fprintf(&b, "2026-09-01T12:00:00Z level=info msg=%q id=%016x\n", randomText(r, alphanumeric+" ", 40), r.Uint64())
				if i%100 == 0 {
					fmt.Fprintf(&b, "token=%s\n", secrets[r.IntN(len(secrets))].Value.Reveal())
				}
			}
			return b.Bytes()[:n]
		}},
	}
}

// Masking in memory, in pieces as a pipe gives them.
func BenchmarkWriter(b *testing.B) {
	m := redact.New(realistic(100))
	for _, c := range corpora() {
		for _, piece := range []int{100, 4 << 10, 32 << 10} {
			b.Run(fmt.Sprintf("%s/%d", c.name, piece), func(b *testing.B) {
				text := c.make(4 << 20)
				w := m.NewWriter(io.Discard, redact.WriterOptions{})
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					for p := text; len(p) > 0; p = p[min(piece, len(p)):] {
						_, _ = w.Write(p[:min(piece, len(p))])
					}
				}
			})
		}
	}
}

func BenchmarkWorst(b *testing.B) {
	for _, c := range worstCases(4 << 20) {
		b.Run(c.name, func(b *testing.B) {
			w := c.m.NewWriter(io.Discard, redact.WriterOptions{})
			b.SetBytes(int64(len(c.text)))
			for b.Loop() {
				for p := c.text; len(p) > 0; p = p[min(32<<10, len(p)):] {
					_, _ = w.Write(p[:min(32<<10, len(p))])
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{1, 100} {
		secrets := realistic(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				redact.New(secrets)
			}
		})
	}
	big := []redact.Secret{{Name: "BIG", Value: vault.NewValueString(pemKey(seeded("big"), 770_000))}}
	b.Run("1MiB", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			redact.New(big)
		}
	})
}

// The same stream through the same two pipes on one processor, copied and
// masked: speed is what masking leaves of the speed of copying.
func BenchmarkPipe(b *testing.B) {
	m := redact.New(realistic(100))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, c := range corpora() {
		text := c.make(64 << 20)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			var plain, masked time.Duration
			for b.Loop() {
				b.StopTimer()
				plain += through(b, text, func(w io.Writer, r io.Reader) error {
					// Without the wrapping, io.Copy would splice the pipes inside the kernel.
					_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 64<<10))
					return err
				})
				b.StartTimer()
				masked += through(b, text, func(w io.Writer, r io.Reader) error {
					mw := m.NewWriter(w, redact.WriterOptions{})
					if _, err := io.Copy(mw, r); err != nil {
						return err
					}
					return mw.Close()
				})
			}
			b.ReportMetric(float64(len(text))*float64(b.N)/plain.Seconds()/1e6, "plainMB/s")
			b.ReportMetric(plain.Seconds()/masked.Seconds(), "speed")
		})
	}
}

// through sends text through a pipe, copier and a second pipe.
func through(b *testing.B, text []byte, copier func(io.Writer, io.Reader) error) time.Duration {
	b.Helper()
	r1, w1, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	done := make(chan error, 3)
	go func() {
		_, err := w1.Write(text)
		w1.Close()
		done <- err
	}()
	go func() {
		err := copier(w2, r1)
		r1.Close()
		w2.Close()
		done <- err
	}()
	go func() {
		room := make([]byte, 64<<10)
		for {
			if _, err := r2.Read(room); err != nil {
				r2.Close()
				if err == io.EOF {
					err = nil
				}
				done <- err
				return
			}
		}
	}()
	for range 3 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

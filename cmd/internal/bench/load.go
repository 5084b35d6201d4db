//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httputil"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A load is requests of one kind over some connections, each of which sends the
// next one when it has the answer to the last. It is for any server of the Vault
// API, over plain HTTP/1.1. It does as little as can be done by itself: it runs on
// the same processors as what it measures.
type load struct {
	addr  string // host:port
	token string
	conns int
	// next appends one whole request to buf; it is called by one goroutine for each connection.
	next func(r *rand.Rand, buf []byte) []byte
	// from is the address of this machine that is asked from; "" is any.
	from string
	// refused says that an error is an answer too.
	refused bool
	// pause is waited for after each answer.
	pause time.Duration
	// each, if not nil, is given the body of an answer, to be used before it returns.
	each func(body []byte) error
}

// tookAll are how long requests took, the shortest first.
type tookAll []time.Duration

func (t tookAll) at(part float64) time.Duration {
	return t[min(len(t)-1, int(part*float64(len(t))))]
}

// during sends requests for a while, or until total were sent if that is not 0.
func (l load) during(d time.Duration, total int) (tookAll, error) {
	var wg sync.WaitGroup
	took := make([]tookAll, l.conns)
	errs := make([]error, l.conns)
	until := time.Now().Add(d)
	for i := range l.conns {
		wg.Go(func() {
			most := total / l.conns
			if i < total%l.conns {
				most++
			}
			took[i], errs[i] = l.one(until, most, total > 0)
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no request was answered")
	}
	return all, nil
}

// one is what a connection does.
func (l load) one(until time.Time, most int, counts bool) (took tookAll, err error) {
	var dial net.Dialer
	if l.from != "" {
		dial.LocalAddr = &net.TCPAddr{IP: net.ParseIP(l.from)}
	}
	c, err := dial.Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	r := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	var request, body []byte
	for n := 0; counts && n < most || !counts && time.Now().Before(until); n++ {
		request = l.next(r, request[:0])
		began := time.Now()
		if err := c.SetDeadline(began.Add(time.Minute)); err != nil {
			return nil, err
		}
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		var status int
		if status, body, err = response(in, body[:0]); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		time.Sleep(l.pause)
		if status != 200 && status != 204 && !l.refused {
			line, _, _ := bytes.Cut(request, []byte("\r\n"))
			return nil, fmt.Errorf("%s: %d %.200s", line, status, body)
		}
		if l.each != nil {
			if err := l.each(body); err != nil {
				return nil, err
			}
		}
	}
	return took, nil
}

// response reads one answer of HTTP/1.1 and appends its body to buf.
func response(in *bufio.Reader, buf []byte) (status int, body []byte, err error) {
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch name, value, _ := bytes.Cut(line, []byte(":")); {
		case first:
			if _, err := fmt.Sscanf(string(line), "HTTP/1.1 %d", &status); err != nil {
				return 0, nil, fmt.Errorf("not an answer of HTTP/1.1: %.80q", line)
			}
		case len(line) == 0:
			if chunked {
				all, err := io.ReadAll(httputil.NewChunkedReader(in))
				if err != nil {
					return 0, nil, err
				}
				_, err = in.Discard(len("\r\n"))
				return status, append(buf, all...), err
			}
			buf = slices.Grow(buf, length)[:length]
			_, err = io.ReadFull(in, buf)
			return status, buf, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
}

// request appends a request with a body, "" for none.
func (l load) request(buf []byte, method, path, body string) []byte {
	buf = append(append(append(buf, method...), " /v1/"...), path...)
	buf = append(append(append(buf, " HTTP/1.1\r\nHost: "...), l.addr...), "\r\nX-Vault-Token: "...)
	buf = append(append(buf, l.token...), "\r\n"...)
	if body != "" {
		buf = append(strconv.AppendInt(append(buf, "Content-Type: application/json\r\nContent-Length: "...), int64(len(body)), 10), "\r\n"...)
	}
	return append(append(buf, "\r\n"...), body...)
}

// valueSize is that of each secret's only value.
const valueSize = 1 << 10

// payload is what writes a secret.
func payload(r *rand.Rand) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	value := make([]byte, valueSize)
	for i := range value {
		value[i] = letters[r.Uint32()%64]
	}
	return `{"data":{"value":"` + string(value) + `"}}`
}

// secretPath is where the secret with a number lies in a mount of KV version 2.
func secretPath(mount string, n int) string {
	return fmt.Sprintf("%s/data/team-%03d/service-%05d", mount, n/100, n)
}

// reading is reads of any of n secrets.
func reading(addr, token, mount string, n, conns int) load {
	l := load{addr: addr, token: token, conns: conns}
	l.next = func(r *rand.Rand, buf []byte) []byte { return l.request(buf, "GET", secretPath(mount, r.IntN(n)), "") }
	return l
}

// writing is writes of any of n secrets.
func writing(addr, token, mount string, n, conns int) load {
	l := load{addr: addr, token: token, conns: conns}
	l.next = func(r *rand.Rand, buf []byte) []byte {
		return l.request(buf, "POST", secretPath(mount, r.IntN(n)), payload(r))
	}
	return l
}

// filling writes the secrets from the first to the last, each once, in order.
func filling(addr, token, mount string, n, conns int) error {
	l := load{addr: addr, token: token, conns: conns}
	var mu sync.Mutex
	next := 0
	l.next = func(r *rand.Rand, buf []byte) []byte {
		mu.Lock()
		i := next
		next++
		mu.Unlock()
		return l.request(buf, "POST", secretPath(mount, i), payload(r))
	}
	_, err := l.during(0, n)
	return err
}

// loadAny measures any server of the Vault API:
//
//	bench load -addr 127.0.0.1:8200 -mount secret -secrets 1000 -work read < token
func loadAny(args []string) error {
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	addr := f.String("addr", "127.0.0.1:8200", "host and port; it speaks plain HTTP")
	mount := f.String("mount", "secret", "a mount of KV version 2")
	n := f.Int("secrets", 1000, "how many secrets are read or written")
	conns := f.Int("connections", 32, "that ask at a time")
	d := f.Duration("for", 5*time.Second, "how long")
	what := f.String("work", "read", "fill, read or write")
	pid := f.Int("pid", 0, "of the server, to say what processor time it took")
	if err := f.Parse(args); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 4096))
	if err != nil {
		return err
	}
	token := strings.TrimSpace(string(text))
	var l load
	switch *what {
	case "fill":
		return filling(*addr, token, *mount, *n, *conns)
	case "read":
		l = reading(*addr, token, *mount, *n, *conns)
	case "write":
		l = writing(*addr, token, *mount, *n, *conns)
	default:
		return fmt.Errorf("there is no work %q", *what)
	}
	var before time.Duration
	if *pid > 0 {
		before, _ = cpuOf(*pid)
	}
	began := time.Now()
	took, err := l.during(*d, 0)
	if err != nil {
		return err
	}
	wall := time.Since(began)
	out := map[string]any{
		"requests": len(took), "per_second": float64(len(took)) / wall.Seconds(),
		"median_ms": took.at(0.5).Seconds() * 1e3, "p99_ms": took.at(0.99).Seconds() * 1e3,
	}
	if after, ok := cpuOf(*pid); ok {
		out["per_cpu_second"] = float64(len(took)) / (after - before).Seconds()
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// acts are what this program does when it is the other end of a pipe.
var acts = map[string]func([]string) error{
	"produce": produce,
	"copy":    copyOf,
	"sink":    sink,
	"peak":    peakOf,
	"load":    loadAny,
}

const (
	streamSize = 256 << 20
	pieceSize  = 1 << 20
	// pumpSize is how much envrun reads at once of what it masks.
	pumpSize = 32 << 10
)

// mask is a stream through envrun, which masks 100 values in it, against the
// same stream through a program that copies it. Everything runs on one
// processor, so that no time is hidden beside another's.
func (b *bench) mask() ([]line, error) {
	dir, err := b.project(project{name: "mask", own: 100})
	if err != nil {
		return nil, err
	}
	piece := filepath.Join(b.dir, "piece")
	secret, err := b.output(dir, nil, b.envrun, "get", "SECRET_42")
	if err != nil {
		return nil, err
	}
	secret = bytes.TrimSpace(secret)
	if err := os.WriteFile(piece, logLines(pieceSize, string(secret)), 0o600); err != nil {
		return nil, err
	}
	producer := func(size int) []string { return []string{b.self, "produce", piece, strconv.Itoa(size)} }
	masked := func(size int) []string {
		return append([]string{b.envrun, "--mask", "always", "--"}, producer(size)...)
	}

	out, err := b.output(dir, nil, masked(pieceSize)...)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(out, secret) || !bytes.Contains(out, []byte("request served")) {
		return nil, errors.New("envrun has not masked what it should")
	}

	var s []samples
	err = onOneProcessor(func() (err error) {
		s, err = b.interleave(b.rounds,
			variant{run: func() (*sample, error) { return b.stream(dir, masked(streamSize)) }},
			variant{run: func() (*sample, error) {
				return b.stream(dir, append([]string{b.self, "copy"}, producer(streamSize)...))
			}})
		return err
	})
	if err != nil {
		return nil, err
	}
	speed := func(s samples) string { return fmt.Sprintf("%.0f MiB/s", streamSize/float64(1<<20)/s.median(wall)) }
	p := promise{"≥", 0.25}
	ratio, best := s[1].median(wall)/s[0].median(wall), s[1].best(wall)/s[0].best(wall)
	return []line{{
		what: "masking 100 values in 256 MiB of output", mine: speed(s[0]), against: speed(s[1]) + " copying",
		ratio: times(ratio), best: times(best), promise: p.String(), met: p.met(ratio, best),
	}}, nil
}

// stream runs argv with its output piped into a sink.
func (b *bench) stream(dir string, argv []string) (*sample, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	began := time.Now()
	end, err := os.StartProcess(b.self, []string{b.self, "sink", strconv.Itoa(streamSize / 2)}, &os.ProcAttr{Env: b.env, Files: []*os.File{r, null, os.Stderr}})
	if err != nil {
		return nil, err
	}
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Dir: dir, Env: b.env, Files: []*os.File{null, w, os.Stderr}})
	r.Close()
	w.Close()
	if err != nil {
		_, _ = end.Wait()
		return nil, err
	}
	state, err := p.Wait()
	ended, endErr := end.Wait()
	took := time.Since(began)
	if err := errors.Join(err, endErr); err != nil {
		return nil, err
	}
	if !state.Success() || !ended.Success() {
		return nil, fmt.Errorf("%s: %s; sink: %s", filepath.Base(argv[0]), state, ended)
	}
	return usage(state, took), nil
}

// logLines is text as servers write it, with one value in each 64 KiB.
func logLines(size int, value string) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var out bytes.Buffer
	next := 0
	for n := 0; out.Len() < size; n++ {
		fmt.Fprintf(&out, `{"time":"2026-01-02T15:04:%02d.%06dZ","level":"info","msg":"request served","method":"GET","path":"/v1/users/%d/orders","status":200,"duration_ms":%d,"trace":"%016x%016x"}`+"\n",
			n%60, r.IntN(1e6), r.IntN(1e6), r.IntN(300), r.Uint64(), r.Uint64())
		if out.Len() >= next {
			fmt.Fprintf(&out, "connecting with the token %s\n", value)
			next = out.Len() + 64<<10
		}
	}
	return out.Bytes()
}

// produce writes a file again and again, up to so many bytes.
func produce(args []string) error {
	if len(args) != 2 {
		return errors.New("produce FILE BYTES")
	}
	left, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	for left > 0 {
		for rest := text[:min(left, len(text))]; len(rest) > 0; {
			n := min(len(rest), 64<<10)
			if _, err := os.Stdout.Write(rest[:n]); err != nil {
				return err
			}
			rest, left = rest[n:], left-n
		}
	}
	return nil
}

// copyOf supervises as envrun does, but for the masking: it reads what the
// program writes and writes it on, in pieces of the same size. io.Copy would
// leave the copying to the kernel.
func copyOf(argv []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{os.Stdin, w, os.Stderr}})
	w.Close()
	if err != nil {
		return err
	}
	buf := make([]byte, pumpSize)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := os.Stdout.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s: %s", argv[0], state)
	}
	return err
}

// sink reads all there is, which must be so many bytes at least.
func sink(args []string) error {
	if len(args) != 1 {
		return errors.New("sink BYTES")
	}
	least, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for total := 0; ; {
		n, err := os.Stdin.Read(buf)
		total += n
		if err == io.EOF {
			if total < least {
				return fmt.Errorf("only %d bytes came", total)
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

//go:build unix

package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// tui is the interface with 100,000 names against bubbles/list with the same, in
// rows of one line. The benchmarks are those of package tui: each is run in a
// process of its own, in turn with its peer, and says itself what it took.
func (b *bench) tui() ([]line, error) {
	const peer = "bubbles/list"
	var lines []line
	s, err := b.interleave(b.rounds/4, b.screen("Cursor/envrun-100000", 300), b.screen("Cursor/bubbles-100000", 3), b.screen("Cursor/envrun-1000", 300))
	if err != nil {
		return nil, err
	}
	lines = append(lines,
		compare("moving the cursor in 100,000 names", s[0], s[1], peer, promise{"≥", 100}),
		compare("the same", s[0], s[2], "in 1,000", promise{"≤", 1.5}))
	for _, key := range []struct{ name, what string }{
		{"first", "the first key of a filter, 100,000 names"}, {"fourth", "the fourth"}, {"narrowing", "one that narrows"},
	} {
		s, err := b.interleave(b.rounds/4, b.screen("Filter/envrun-"+key.name, 20), b.screen("Filter/bubbles-"+key.name, 1))
		if err != nil {
			return lines, err
		}
		lines = append(lines, compare(key.what, s[0], s[1], peer, promise{"≥", 10}))
	}
	for _, m := range []struct {
		bench, what, unit string
		bound             float64
		promise           string
	}{
		{"BytesPerMove", "what a move of the cursor writes", "bytes/move", 1 << 10, "≤ 1 KiB"},
		{"Heap", "memory for 100,000 names, beside the names", "bytes/100k-names", 10 << 20, "≤ 10 MiB"},
	} {
		n, err := b.reported(m.bench, 1, m.unit)
		if err != nil {
			return lines, err
		}
		l := line{what: m.what, mine: fmt.Sprintf("%s bytes", number(int(n))), promise: m.promise, met: "NOT met"}
		if n <= m.bound {
			l.met = "met"
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// screen is one benchmark of tui, so many times in one process.
func (b *bench) screen(name string, times int) variant {
	return variant{run: func() (*sample, error) {
		ns, err := b.reported(name, times, "ns/op")
		return &sample{wall: time.Duration(ns)}, err
	}}
}

// reported is what a benchmark says of itself, in one of its units.
func (b *bench) reported(name string, times int, unit string) (float64, error) {
	pattern := "^Benchmark" + strings.ReplaceAll(name, "/", "$/^") + "$"
	out, err := b.output(b.dir, nil, b.screens, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", strconv.Itoa(times)+"x")
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`([0-9.]+) ` + regexp.QuoteMeta(unit)).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("the benchmark %s says no %s: %.200s", name, unit, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

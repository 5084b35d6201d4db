//go:build unix

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// profile says where envrun -- true spends its time: what each part of a start
// costs, which packages initialise how long, and what the kernel is asked for.
func (b *bench) profile() error {
	dir, err := b.project(thirty)
	if err != nil {
		return err
	}
	for _, part := range []func(string) error{b.parts, b.inits, b.calls} {
		if err := part(dir); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// parts compares starts that do less or do it otherwise.
func (b *bench) parts(dir string) error {
	runTrue := func(env ...string) variant {
		v := b.runTrue(dir)
		v.env = env
		return v
	}
	list := []struct {
		name string
		variant
	}{
		{baseName, b.onlyTrue(dir)},
		{"envrun version", variant{argv: []string{b.envrun, "version"}, dir: dir}},
		{"envrun list (no key is opened)", variant{argv: []string{b.envrun, "list"}, dir: dir}},
		{"envrun -- true", runTrue()},
		{"… with GOGC=off", runTrue("GOGC=off")},
		{"… with GOMAXPROCS=1", runTrue("GOMAXPROCS=1")},
		{"… with --supervise", variant{argv: []string{b.envrun, "--supervise", "--", "true"}, dir: dir}},
	}
	variants := make([]variant, len(list))
	for i, l := range list {
		variants[i] = l.variant
	}
	s, err := b.interleave(5*b.rounds, variants...)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tmedian\tbest\tprocessor\tbest\tpage faults\twaits")
	for i, l := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.0f\t%.0f\n", l.name, ms(s[i].median(wall)), ms(s[i].best(wall)), ms(s[i].median(cpu)), ms(s[i].best(cpu)), s[i].median(faults), s[i].median(waits))
	}
	return w.Flush()
}

// initLine is what the runtime says with GODEBUG=inittrace=1:
// init crypto/fips140 @0.51 ms, 0.02 ms clock, 1024 bytes, 12 allocs
var initLine = regexp.MustCompile(`^init (\S+) @([0-9.]+) ms, ([0-9.]+) ms clock, (\d+) bytes, (\d+) allocs`)

// inits lists the packages that initialise longest.
func (b *bench) inits(dir string) error {
	type pkg struct {
		name          string
		clock         []float64 // ms
		bytes, allocs string
	}
	pkgs := map[string]*pkg{}
	var sums, ends []float64
	for range b.rounds {
		// The trace goes to stderr; true says nothing.
		_, said, err := b.said(dir, []string{"GODEBUG=inittrace=1"}, b.envrun, "--", "true")
		if err != nil {
			return err
		}
		var sum, end float64
		lines := bufio.NewScanner(bytes.NewReader(said))
		for lines.Scan() {
			m := initLine.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			at, _ := strconv.ParseFloat(m[2], 64)
			clock, _ := strconv.ParseFloat(m[3], 64)
			p := pkgs[m[1]]
			if p == nil {
				p = &pkg{name: m[1]}
				pkgs[m[1]] = p
			}
			p.clock, p.bytes, p.allocs = append(p.clock, clock), m[4], m[5]
			sum, end = sum+clock, max(end, at+clock)
		}
		sums, ends = append(sums, sum), append(ends, end)
	}
	if len(pkgs) == 0 {
		return errors.New("the runtime has traced no package")
	}
	list := slices.SortedFunc(maps.Values(pkgs), func(a, b *pkg) int {
		return cmp.Or(cmp.Compare(middle(b.clock), middle(a.clock)), cmp.Compare(a.name, b.name))
	})
	fmt.Printf("Packages: %d initialise something, %.3f ms in all; the last is ready %.3f ms after the start of the runtime (medians of %d, slowed by the tracing itself).\n", len(list), middle(sums), middle(ends), b.rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "package\tmedian ms\tbest ms\tbytes\tallocations")
	for _, p := range list[:min(20, len(list))] {
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%s\t%s\n", p.name, middle(p.clock), slices.Min(p.clock), p.bytes, p.allocs)
	}
	return w.Flush()
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// traceLine is a line of strace -f -ttt -o: "1234 1700000000.000123 openat(…) = 3".
var traceLine = regexp.MustCompile(`^(\d+)\s+([0-9.]+) (\w+)\((.*)$`)

// calls counts what the kernel is asked for until envrun becomes true, and
// says which files are opened when.
func (b *bench) calls(dir string) error {
	strace, err := lookPath(os.Getenv("PATH"), "strace")
	if err != nil {
		fmt.Println("System calls: no strace here (Debian: apt-get install strace)")
		return nil
	}
	trace := filepath.Join(b.dir, "trace")
	if _, err := b.output(dir, nil, strace, "-f", "-qq", "-ttt", "-s", "200", "-o", trace, b.envrun, "--", "true"); err != nil {
		fmt.Println("System calls: strace may not trace here:", err)
		return nil
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return err
	}
	counts := map[string]int{}
	var total, threads int
	var first, last float64
	var files []string
	for _, l := range strings.Split(string(text), "\n") {
		m := traceLine.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		at, _ := strconv.ParseFloat(m[2], 64)
		if first == 0 {
			first = at
		}
		name, args := m[3], m[4]
		if name == "execve" && total > 0 && !strings.Contains(l, "ENOENT") {
			last = at
			break
		}
		counts[name]++
		total++
		switch {
		case name == "clone" || name == "clone3":
			threads++
		case strings.Contains(args, `"`) && name != "execve" && name != "write":
			args = strings.ReplaceAll(args, b.dir, "…")
			files = append(files, fmt.Sprintf("%8.3f ms  %s(%s", (at-first)*1e3, name, args))
		}
	}
	if total == 0 {
		return fmt.Errorf("reading %s: %w", trace, fs.ErrInvalid)
	}
	fmt.Printf("System calls: %d and %d more threads until envrun becomes true, %.1f ms after its start under strace.\n", total, threads, (last-first)*1e3)
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	fmt.Println(strings.Join(names, ", "))
	fmt.Println("Files:")
	for _, f := range files {
		fmt.Println(" ", f)
	}
	return nil
}

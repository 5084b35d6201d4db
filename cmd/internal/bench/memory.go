//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// peakRuns is how often a peak is taken; the largest counts.
const peakRuns = 10

// memory is the most that envrun, or the program it becomes, ever had in memory.
func (b *bench) memory() ([]line, error) {
	const bound = 25 << 20
	dir, err := b.project(thirty)
	if err != nil {
		return nil, err
	}
	mine, err := b.peak(b.runTrue(dir))
	if err != nil {
		return nil, err
	}
	floor, err := b.peak(b.onlyTrue(dir))
	if err != nil {
		return nil, err
	}
	lines := []line{{
		what: "peak memory of envrun -- true", mine: mib(mine), against: mib(floor) + " " + baseName,
		promise: "≤ 25 MiB", met: "met",
	}}
	if mine > bound {
		lines[0].met = "NOT met"
	}
	for _, p := range b.others() {
		v, err := p.prepare(b)
		if err != nil {
			return lines, err
		}
		if v == nil {
			continue // row peers has said so
		}
		n, err := b.peak(*v)
		if err != nil {
			return lines, err
		}
		lines = append(lines, line{what: "peak memory of " + p.name, mine: mib(mine), against: mib(n) + " " + p.name, ratio: times(float64(n) / float64(mine))})
	}
	return lines, nil
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// peak is the largest peak of several runs. The memory of whoever starts a
// program counts into that program's peak until the exec, so the runs are
// started by a fresh and small process of this program.
func (b *bench) peak(v variant) (int64, error) {
	out, err := b.output(v.dir, v.env, append([]string{b.self, "peak"}, v.argv...)...)
	if err != nil {
		return 0, err
	}
	var n int64
	err = json.Unmarshal(out, &n)
	return n, err
}

// peakOf prints the peak of the program that its arguments are.
func peakOf(argv []string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	var most int64
	for range peakRuns {
		p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{null, null, null}})
		if err != nil {
			return err
		}
		state, err := p.Wait()
		if err != nil {
			return err
		}
		if !state.Success() {
			return fmt.Errorf("%s: %s", argv[0], state)
		}
		most = max(most, usage(state, time.Second).peak)
	}
	_, err = fmt.Println(most)
	return err
}

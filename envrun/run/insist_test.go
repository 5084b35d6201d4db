//go:build !windows

package run

import (
	"testing"
	"time"
)

// Runner S4.
func TestInsist(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name      string
		sameGroup bool
		at        []time.Duration
		want      []bool
	}{
		{"once", true, []time.Duration{0}, []bool{false}},
		{"third, in our group", true, []time.Duration{0, 1, time.Hour}, []bool{false, false, true}},
		{"second, in another", false, []time.Duration{0, 2 * time.Second}, []bool{false, true}},
		{"second, too late", false, []time.Duration{0, 3 * time.Second, 4 * time.Second}, []bool{false, false, true}},
		{"and so on", true, []time.Duration{0, 1, 2, time.Hour}, []bool{false, false, true, true}},
	} {
		var i interrupts
		for n, at := range test.at {
			if got := i.insist(begun.Add(at), test.sameGroup); got != test.want[n] {
				t.Errorf("%s: interrupt %d passed on: %v", test.name, n+1, got)
			}
		}
	}
}

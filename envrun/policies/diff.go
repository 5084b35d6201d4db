package policies

import (
	"fmt"
	"slices"
	"strings"
)

// An edit is one line of a comparison: ' ' in both, '-' only before, '+' only after.
type edit struct {
	op   byte
	text string
}

// maxTable bounds the table of a comparison. What is larger is shown as all of it
// gone and all of it new, which is true.
const maxTable = 4 << 20

// compare finds lines that both texts have, as many as there can be.
func compare(was, now []string) []edit {
	var head, tail []edit
	for len(was) > 0 && len(now) > 0 && was[0] == now[0] {
		head = append(head, edit{' ', was[0]})
		was, now = was[1:], now[1:]
	}
	n, m := len(was), len(now)
	for n > 0 && m > 0 && was[n-1] == now[m-1] {
		n, m = n-1, m-1
		tail = append(tail, edit{' ', was[n]})
	}
	slices.Reverse(tail)
	was, now = was[:n], now[:m]
	common := make([][]uint32, n+1) // of what is left from i and j on
	if n*m <= maxTable {
		for i := range common {
			common[i] = make([]uint32, m+1)
		}
		for i := n - 1; i >= 0; i-- {
			for j := m - 1; j >= 0; j-- {
				if was[i] == now[j] {
					common[i][j] = common[i+1][j+1] + 1
				} else {
					common[i][j] = max(common[i+1][j], common[i][j+1])
				}
			}
		}
	}
	i, j := 0, 0
	for i < n || j < m {
		switch {
		case i < n && j < m && common[i] != nil && was[i] == now[j]:
			head = append(head, edit{' ', was[i]})
			i, j = i+1, j+1
		case i < n && (j == m || common[i] == nil || common[i+1][j] >= common[i][j+1]):
			head = append(head, edit{'-', was[i]})
			i++
		default:
			head = append(head, edit{'+', now[j]})
			j++
		}
	}
	return append(head, tail...)
}

func linesOf(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		return lines[:len(lines)-1]
	}
	lines[len(lines)-1] += "\n\\ No newline at end of file"
	return lines
}

// around is how many lines are shown before and after what changes.
const around = 3

// Unified is the difference of two texts as diff -u and git show it; empty if there is none.
func Unified(was, now, wasName, nowName string) string {
	if was == now {
		return ""
	}
	all := compare(linesOf(was), linesOf(now))
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", wasName, nowName)
	lineWas, lineNow := 1, 1
	for i := 0; i < len(all); {
		if all[i].op == ' ' {
			i, lineWas, lineNow = i+1, lineWas+1, lineNow+1
			continue
		}
		begin, end := max(0, i-around), i
		for last := i; end < len(all) && end-last <= 2*around; end++ {
			if all[end].op != ' ' {
				last = end
			}
		}
		for end > i && all[end-1].op == ' ' { // no more than a few behind the last
			end--
		}
		end = min(len(all), end+around)
		lineWas, lineNow = lineWas-(i-begin), lineNow-(i-begin)
		var hunk strings.Builder
		var inWas, inNow int
		for _, e := range all[begin:end] {
			if e.op != '+' {
				inWas++
			}
			if e.op != '-' {
				inNow++
			}
			fmt.Fprintf(&hunk, "%c%s\n", e.op, e.text)
		}
		fmt.Fprintf(&b, "@@ -%s +%s @@\n%s", span(lineWas, inWas), span(lineNow, inNow), hunk.String())
		i, lineWas, lineNow = end, lineWas+inWas, lineNow+inNow
	}
	return b.String()
}

func span(line, count int) string {
	if count == 0 {
		line--
	}
	if count == 1 {
		return fmt.Sprint(line)
	}
	return fmt.Sprintf("%d,%d", line, count)
}

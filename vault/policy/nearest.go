package policy

import "strings"

// nearest is the one of known that was probably meant by word: one slip away
// for every three letters at most, letter case aside; "" if none is. For
// messages alone.
func nearest(word string, known []string) string {
	best, limit := "", max(1, len(word)/3)
	if len(word) > 64 {
		return ""
	}
	for _, k := range known {
		if k == word || len(k) > 64 {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d <= limit && d < len(k) {
			if best == "" || d < limit {
				best, limit = k, d
			}
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap between two short words.
func distance(a, b string) int {
	above2, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := above[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(above[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], above2[j-2]+1)
			}
		}
		above2, above, row = above, row, above2
	}
	return above[len(b)]
}

// Package near finds the name that was probably meant by one that is not there.
//
// It is for messages alone: nothing may act on what it returns.
package near

// Nearest returns the candidate that was probably meant by name, or "" if none
// is near: at most one typing slip (a letter missing, doubled, wrong, or two
// swapped) for every three letters, letter case counting as nothing, or one
// the beginning of the other ("prod", "production").
func Nearest[S ~string](name string, candidates []S) S {
	var best S
	limit := max(1, len(name)/3)
	for _, c := range candidates {
		if len(c) == 0 || string(c) == name {
			continue
		}
		if d := slips(name, string(c), limit); d <= limit && d < len(c) {
			if best == "" || d < limit {
				best, limit = c, d
			}
			if d == 0 {
				break
			}
		}
	}
	return best
}

// Names returns up to most candidates near to name, nearest first, those equally
// near in the order given.
func Names[S ~string](name string, candidates []S, most int) []S {
	var out []S
	rest := candidates
	for len(out) < most {
		n := Nearest(name, rest)
		if n == "" {
			break
		}
		out = append(out, n)
		without := make([]S, 0, len(rest))
		for _, c := range rest {
			if c != n {
				without = append(without, c)
			}
		}
		rest = without
	}
	return out
}

// slips is the distance, with a common beginning counting as one slip.
func slips(a, b string, limit int) int {
	d := distance(a, b, limit)
	if n := min(len(a), len(b)); d > 1 && n >= 3 && distance(a[:n], b[:n], 0) == 0 {
		return 1
	}
	return d
}

// distance is the Damerau-Levenshtein distance (optimal string alignment) of
// two strings, letter case folded for ASCII. What is above limit is not worked
// out: limit+1 is returned instead.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > 256 {
		return limit + 1
	}
	// Three rows: the one being filled, the one above, and the one above that
	// for swapped letters.
	above2 := make([]int, len(b)+1)
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			x, y := fold(a[i-1]), fold(b[j-1])
			cost := 1
			if x == y {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && x == fold(b[j-2]) && fold(a[i-2]) == y {
				row[j] = min(row[j], above2[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > limit {
			return limit + 1
		}
		above2, above, row = above, row, above2
	}
	return above[len(b)]
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

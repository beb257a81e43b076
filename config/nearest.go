package config

import "strings"

// nearest returns the candidate that name was probably meant to be, or "": at most two edits
// away (fewer for short names), else sharing a beginning of four letters or all of the shorter.
func nearest(name string, candidates []string) string {
	name = strings.ToLower(name)
	best, bestDistance := "", 3
	for _, c := range candidates {
		lower := strings.ToLower(c)
		if d := distance(name, lower); d < bestDistance && 2*d <= max(len(name), len(c)) {
			best, bestDistance = c, d
		}
	}
	if best != "" {
		return best
	}
	longest := 0
	for _, c := range candidates {
		n := commonPrefix(name, strings.ToLower(c))
		if n > longest && (n >= 4 || n >= 2 && n == min(len(name), len(c))) {
			best, longest = c, n
		}
	}
	return best
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// swapped reports whether two neighbours are the other way round, which is one slip of the fingers.
func swapped(a, b string) bool {
	n := commonPrefix(a, b)
	return len(a) == len(b) && n+1 < len(a) && a[n] == b[n+1] && a[n+1] == b[n] && a[n+2:] == b[n+2:]
}

// distance is the Levenshtein distance in bytes, 1 where two neighbours are swapped, 3 where it is 3
// or more.
func distance(a, b string) int {
	if swapped(a, b) {
		return 1
	}
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal, least := row[0], i
		row[0] = i
		for j := 1; j <= len(b); j++ {
			above := row[j]
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, above, row[j-1])
			}
			diagonal, row[j] = above, cost
			least = min(least, cost)
		}
		if least > 2 {
			return 3
		}
	}
	return min(row[len(b)], 3)
}

package cli

import "strings"

// Nearest returns the candidate, in lower case, that is most similar to word, or "" if
// none is similar.
func Nearest(word string, candidates []string) string {
	best, found := 1+len(word)/4, ""
	for _, candidate := range candidates {
		if len(word) > len(candidate)+best {
			continue // too different, and word may be as long as a file
		}
		if d := distance(strings.ToLower(word), candidate); d <= best && (found == "" || d < best) {
			best, found = d, candidate
		}
	}
	return found
}

// NearestFlag is Nearest for the name of a flag.
func NearestFlag(word string, flags []Flag) string {
	names := make([]string, 0, len(flags))
	for _, f := range flags {
		names = append(names, f.Name)
	}
	return Nearest(word, names)
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

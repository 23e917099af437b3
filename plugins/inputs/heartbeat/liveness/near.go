package liveness

import (
	"slices"
	"strings"
)

// unknownGoodbye reports whether b is a goodbye for a peer that is not known, of a
// sender that is not known either: nobody leaves then. The first word of a job
// that ended at once is its goodbye too; it has an exit code.
func (t *Tracker) unknownGoodbye(b *Beat) bool {
	if b.Status != SaysLeaving || b.HasExitCode || t.known(b) != nil {
		return false
	}
	host := t.bySource[b.ID.Source]
	if host == nil || b.life() == "" {
		return true
	}
	return !host.hears(b.life()) && !slices.ContainsFunc(host.peers[:min(maxNearby, len(host.peers))], func(p *peer) bool { return p.life == b.life() })
}

const (
	// maxNearby is how many peers of one host, or hosts, are looked at for what
	// may have been meant: the lock is held meanwhile.
	maxNearby = 10_000
	// maxNear is how many of those are named.
	maxNear = 3
	// nearby is by how many letters they differ at the most.
	nearby = 2
)

// Near returns the names of peers, at most three, that a mistyped id may have
// meant: other services of its host or, where that is not known, other hosts.
func (t *Tracker) Near(id ID) []string {
	var near []string
	if h := t.bySource[id.Source]; h != nil {
		for _, p := range h.peers[:min(maxNearby, len(h.peers))] {
			if !p.expected && distance(id.Service, p.id.Service) <= nearby && len(near) < maxNear {
				near = append(near, p.id.String())
			}
		}
		return near
	}
	for _, h := range t.hosts[:min(maxNearby, len(t.hosts))] {
		if source := h.peers[0].id.Source; distance(id.Source, source) <= nearby && len(near) < maxNear {
			near = append(near, source)
		}
	}
	return near
}

// distance returns how many letters have to be put in, taken out, changed or
// swapped with the next one to make b of a (the optimal string alignment
// distance), or more than nearby if that is more.
func distance(a, b string) int {
	if d := len(a) - len(b); d > nearby || d < -nearby {
		return nearby + 1
	}
	if strings.EqualFold(a, b) {
		return 0
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

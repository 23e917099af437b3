package api

import "strconv"

// A Peer is one peer as it is now. Times are in Unix seconds, with fractions; spans are in
// seconds.
type Peer struct {
	Source   string            `json:"source"`
	Service  string            `json:"service,omitempty"`  // empty for a peer that is known by its pid
	PID      uint32            `json:"pid"`                // of the process that beat last; 0 if none is known
	IP       string            `json:"ip,omitempty"`       // the one that applies: see 'ip_from'
	Observed string            `json:"observed,omitempty"` // where its latest beat really came from; absent on Unix sockets
	Tags     map[string]string `json:"tags,omitempty"`     // of 'tag_keys'

	State  string  `json:"state"`
	Reason string  `json:"reason"`
	Since  float64 `json:"since"`
	Status string  `json:"status,omitempty"` // ok, warning, critical, other: its own report

	Heard float64 `json:"heard,omitempty"` // the last beat; 0 for never
	Age   float64 `json:"age_seconds"`     // since then
	// The silence after which it is suspect, and dead.
	SuspectAfter float64 `json:"suspect_after_seconds,omitempty"`
	DeadAfter    float64 `json:"dead_after_seconds"`
	Left         float64 `json:"left_seconds,omitempty"`  // of silence until it is dead; absent without a deadline
	Suspicion    float64 `json:"suspicion"`               // 0 until a beat is due, 1 when it is dead
	Rule         string  `json:"rule"`                    // what set DeadAfter
	Schedule     string  `json:"schedule,omitempty"`      // when its beats are due, with the time zone
	Due          float64 `json:"due,omitempty"`           // the next of them
	Grace        float64 `json:"grace_seconds,omitempty"` // beyond Due or an interval, if a rule or a check sets it
	Hours        string  `json:"hours,omitempty"`         // when it is expected, with the time zone
	OffUntil     float64 `json:"off_until,omitempty"`     // it is not expected before then; absent if it is expected now
	Class        string  `json:"class,omitempty"`         // ephemeral: if it falls silent, it has left
	Promised     float64 `json:"back_in_seconds,omitempty"`
	Connected    bool    `json:"connected"`
	Flapping     bool    `json:"flapping"`
	HeardBy      string  `json:"heard_by,omitempty"` // the collector that received its latest beat; absent for this one
	ExitCode     *int64  `json:"exit_code,omitempty"`
	Runs         int     `json:"runs,omitempty"` // that began and have not ended

	Beats       uint64  `json:"beats_total"`
	Lost        uint64  `json:"lost_total"`
	Late        uint64  `json:"late_total"`
	Duplicates  uint64  `json:"duplicates_total"`
	Limited     uint64  `json:"limited_total"`
	Restarts    uint64  `json:"restarts_total"`
	Deaths      uint64  `json:"deaths_total"`
	Mistakes    uint64  `json:"mistakes_total"`
	Conflicts   uint64  `json:"conflicts_total"`
	DeadSeconds float64 `json:"dead_seconds_total"`
}

// Name returns a name as in logs: web-1/nginx, or 10.0.0.5/4711 for a peer that is known by
// its pid.
func (p *Peer) Name() string { return name(p.Source, p.Service, p.PID) }

func name(source, service string, pid uint32) string {
	if service == "" {
		return source + "/" + strconv.FormatUint(uint64(pid), 10)
	}
	return source + "/" + service
}

// Peers is the answer of PathPeers: the peers that match, the most urgent state first, then by
// source, service and pid.
type Peers struct {
	Peers []Peer `json:"peers"`
	Next  string `json:"next,omitempty"` // 'after' of the next page; absent on the last one
	Total int    `json:"total"`          // of the matches on all pages
}

// Package api is what a collector tells about its peers over HTTP, in JSON. Both sides know
// it: the collector that answers, and the commands that ask. It knows names and numbers as
// they are printed, and never how a peer is judged or where a request comes from.
package api

// The paths. Peer has the host and the service of a peer behind it.
const (
	PathPeers     = "/api/peers"
	PathPeer      = "/api/peers/"
	PathCollector = "/api/collector"
	PathHealth    = "/health"
)

// Limits of Peers.
const (
	DefaultLimit = 500
	MaxLimit     = 5000
)

// A Collector is how the collector itself is.
type Collector struct {
	ID       string         `json:"id"`
	Name     string         `json:"name,omitempty"` // among its mates
	Now      float64        `json:"now"`
	Started  float64        `json:"started"`
	Isolated bool           `json:"isolated"`
	Stalled  float64        `json:"stall_seconds_total"`
	Refused  int64          `json:"refused_total"`
	Panics   int64          `json:"panics_total"`
	Peers    map[string]int `json:"peers"` // by state; all states are there
	State    *State         `json:"state_file,omitempty"`
	Mates    *Mates         `json:"mates,omitempty"`
}

// State is how it stands with the state file.
type State struct {
	Saved bool    `json:"saved"` // all that has changed
	Age   float64 `json:"age_seconds"`
}

// Mates is how it stands with other collectors.
type Mates struct {
	Reachable []string `json:"reachable"`
	Differ    int      `json:"differ"`
	Speaks    bool     `json:"speaks"`
}

// An Error is the body of every refusal.
type Error struct {
	Error string `json:"error"`
}

// Package api is the JSON API of a collector. Both sides use it: the collector that answers,
// and the commands that ask. It knows names and numbers as they are printed. It never knows
// how a peer is judged or where a request comes from.
package api

// The paths. The host and the service of a peer follow PathPeer.
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

// A Collector is the status of the collector itself.
type Collector struct {
	ID       string         `json:"id"`
	Name     string         `json:"name,omitempty"` // among its mates
	Now      float64        `json:"now"`
	Started  float64        `json:"started"`
	Isolated bool           `json:"isolated"`
	Stalled  float64        `json:"stall_seconds_total"`
	Refused  int64          `json:"refused_total"`
	Panics   int64          `json:"panics_total"`
	Peers    map[string]int `json:"peers"` // by state; all states are present
	State    *State         `json:"state_file,omitempty"`
	Mates    *Mates         `json:"mates,omitempty"`
}

// State is the status of the state file.
type State struct {
	Saved bool    `json:"saved"` // all changes are saved
	Age   float64 `json:"age_seconds"`
}

// Mates is the status of the other collectors.
type Mates struct {
	Reachable []string `json:"reachable"`
	Differ    int      `json:"differ"`
	Speaks    bool     `json:"speaks"`
}

// An Error is the body of every refusal.
type Error struct {
	Error string `json:"error"`
}

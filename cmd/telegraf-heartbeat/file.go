package main

import (
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// states are all states, in the order of their numbers.
var states = func() (names []string) {
	for _, state := range liveness.States {
		names = append(names, state.String())
	}
	return names
}()

// readFile returns the listing of a state file. The collector may be using the
// file.
func readFile(path string, now time.Time) (*listing, error) {
	state, err := statefile.Read(path, now)
	if err != nil {
		return nil, err
	}
	l := &listing{place: path, written: state.Last, counts: make(map[string]int)}
	if state.Trouble != nil {
		l.notes = append(l.notes, state.Trouble.Error())
	}
	l.peers = make([]peer, 0, len(state.Peers))
	for i := range state.Peers {
		p := peerOf(&state.Peers[i], now)
		l.counts[p.State]++
		l.peers = append(l.peers, p)
	}
	l.sort()
	return l, nil
}

// peerOf returns a record as a collector would report it.
func peerOf(r *liveness.Record, now time.Time) peer {
	p := peer{
		// The file says that the peer was alive, but not when each beat came.
		inTime: r.Guessed || r.Foreign && r.State == liveness.Alive,
		Peer: &api.Peer{
			Source: r.ID.Source, Service: r.ID.Service, PID: r.Process.PID,
			State: r.State.String(), Reason: r.Reason.String(), Since: unixSeconds(r.Since), Status: r.Health.String(),
			DeadAfter: r.Dead.Seconds(), Rule: r.Rule, Promised: r.Window.Seconds(), HeardBy: r.HeardBy, Runs: len(r.Jobs),
			Beats: r.Beats, Lost: r.Lost, Late: r.Late, Duplicates: r.Duplicates, Limited: r.Limited,
			Restarts: r.Restarts, Deaths: r.Deaths, Mistakes: r.Mistakes, Conflicts: r.Conflicts, DeadSeconds: r.DeadFor.Seconds(),
		},
	}
	if r.ID.Nameless() {
		p.PID = r.ID.PID
	}
	if r.Addr.IsValid() {
		p.IP = r.Addr.String()
	}
	for _, label := range r.Labels {
		if p.Tags == nil {
			p.Tags = make(map[string]string)
		}
		p.Tags[label.Key] = label.Value
	}
	if !r.Expected {
		p.Heard, p.Age = unixSeconds(r.Heard), max(now.Sub(r.Heard), 0).Seconds()
	}
	if !r.Due.IsZero() {
		p.Due, p.Grace = unixSeconds(r.Due), r.Patience.Seconds()
	}
	if r.State == liveness.Dead {
		p.Suspicion = 1
		p.DeadSeconds += max(now.Sub(r.Since), 0).Seconds()
	}
	if r.HasExitCode {
		p.ExitCode = &r.ExitCode
	}
	return p
}

// unixSeconds returns a time in Unix seconds, as the API does.
func unixSeconds(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }

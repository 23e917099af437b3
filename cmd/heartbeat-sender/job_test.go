package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/probe"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

func TestWhatIsSaidOfAJob(t *testing.T) {
	peer := sender.Peer{Host: "web-1", Service: "backup", PID: 7, Watched: true}
	for name, tt := range map[string]struct {
		end    job.End
		status string
		backIn time.Duration
		exit   sender.Exit
	}{
		"success":                 {job.End{}, sender.StatusLeaving, time.Hour, sender.Exit{HasCode: true}},
		"failure":                 {job.End{Code: 3}, sender.StatusDead, 0, sender.Exit{HasCode: true, Code: 3}},
		"signal":                  {job.End{Code: 137, Signal: "SIGKILL"}, sender.StatusDead, 0, sender.Exit{Signal: "SIGKILL"}},
		"asked":                   {job.End{Code: 143, Signal: "SIGTERM", Asked: true}, sender.StatusLeaving, time.Hour, sender.Exit{Signal: "SIGTERM"}},
		"too long":                {job.End{Code: 143, Signal: "SIGTERM", Overran: true}, sender.StatusDead, 0, sender.Exit{Signal: "SIGTERM"}},
		"too long, but polite":    {job.End{Overran: true}, sender.StatusDead, 0, sender.Exit{HasCode: true}},
		"too long, and asked too": {job.End{Code: 1, Asked: true, Overran: true}, sender.StatusDead, 0, sender.Exit{HasCode: true, Code: 1}},
	} {
		said := endReport(peer, tt.end, time.Hour)
		want := peer
		want.Status, want.BackIn, want.Exit = tt.status, tt.backIn, tt.exit
		require.Equal(t, want, said, name)
	}
}

func TestWhatIsSaidOfATarget(t *testing.T) {
	peer := sender.Peer{Host: "web-1", Service: "nginx", Status: "fine", Silent: true, Watched: true}
	process, exit := watch.Process{PID: 7, StartMS: 8}, watch.Exit{HasCode: true, Code: 3}
	for name, tt := range map[string]struct {
		phase  watch.Phase
		status string
		silent bool
		exit   sender.Exit
	}{
		"not seen yet": {watch.Starting, "fine", true, sender.Exit{}},
		"running":      {watch.Running, "fine", false, sender.Exit{}},
		"away":         {watch.Away, statusRestarting, false, sender.Exit{}},
		"stopped":      {watch.Stopped, sender.StatusLeaving, false, sender.Exit{}},
		"dead":         {watch.Dead, sender.StatusDead, false, sender.Exit{HasCode: true, Code: 3}},
	} {
		said := peer
		setReport(&said, watch.State{Phase: tt.phase, Process: process, Exit: exit})
		want := peer
		want.PID, want.StartMS = 7, 8
		want.Status, want.Silent, want.Exit = tt.status, tt.silent, tt.exit
		require.Equal(t, want, said, name)
	}
}

// A probe that fails when the sender begins says nothing: its service may be dead since before.
func TestWhatIsSaidOfAProbe(t *testing.T) {
	fail, dead, ok := probe.State{Status: probe.Fail, Code: 2}, probe.State{Status: probe.Fail, Code: 2, Dead: true}, probe.State{Status: probe.OK}
	for name, tt := range map[string]struct {
		states []probe.State
		said   []string
	}{
		"it fails from the start":         {[]probe.State{fail, dead, ok}, []string{"", "dead 2", "OK 0"}},
		"it fails once, and then is well": {[]probe.State{fail, ok, fail, dead}, []string{"", "OK 0", "FAIL 0", "dead 2"}},
		"it is well from the start":       {[]probe.State{ok, fail, ok}, []string{"OK 0", "FAIL 0", "OK 0"}},
	} {
		peer := sender.Peer{Service: "disk", Silent: true}
		var all []string
		for _, state := range tt.states {
			text := ""
			if peer = nextReport(peer, state); !peer.Silent {
				text = fmt.Sprint(peer.Status, " ", peer.Exit.Code)
			}
			all = append(all, text)
		}
		require.Equal(t, tt.said, all, name)
	}
}

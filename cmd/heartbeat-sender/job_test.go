//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// Whether an end was asked for decides between a planned end and a death.
func TestEndThatWasAskedFor(t *testing.T) {
	failed := jobEnd{code: 1}
	for name, tt := range map[string]struct {
		signal os.Signal
		waits  time.Duration // until the end
		end    jobEnd
		want   bool
	}{
		"nobody asked":                 {nil, 0, failed, false},
		"TERM":                         {syscall.SIGTERM, 0, jobEnd{by: syscall.SIGTERM}, true},
		"TERM, its own exit code":      {syscall.SIGTERM, time.Second, failed, true},
		"INT":                          {syscall.SIGINT, time.Minute, failed, true},
		"TERM, but it went on":         {syscall.SIGTERM, stopTime, failed, false},
		"TERM, killed as it was slow":  {syscall.SIGTERM, stopTime - 1, jobEnd{by: syscall.SIGKILL}, true},
		"HUP":                          {syscall.SIGHUP, time.Hour, jobEnd{by: syscall.SIGHUP}, true},
		"HUP for a reload, then crash": {syscall.SIGHUP, time.Second, failed, false},
		"QUIT for a dump, then crash":  {syscall.SIGQUIT, time.Second, jobEnd{by: syscall.SIGSEGV}, false},
		"USR1":                         {syscall.SIGUSR1, 0, jobEnd{by: syscall.SIGUSR1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked asking
				if tt.signal != nil {
					asked.note(tt.signal)
				}
				time.Sleep(tt.waits)
				require.Equal(t, tt.want, asked.explains(tt.end))
			})
		})
	}
}

// A signal that reached the job before us is waited for a moment, one that has
// come already is always seen.
func TestSignalThatComesLate(t *testing.T) {
	for name, tt := range map[string]struct {
		end   jobEnd
		comes time.Duration // the signal, after the end; negative for before
		want  bool
		waits time.Duration
	}{
		"before an exit code":   {jobEnd{code: 1}, -1, true, 0},
		"after an exit code":    {jobEnd{code: 1}, time.Millisecond, false, 0},
		"before the signal":     {jobEnd{by: syscall.SIGTERM, signal: "SIGTERM"}, -1, true, 0},
		"after the signal":      {jobEnd{by: syscall.SIGTERM, signal: "SIGTERM"}, 5 * time.Millisecond, true, 5 * time.Millisecond},
		"long after the signal": {jobEnd{by: syscall.SIGTERM, signal: "SIGTERM"}, time.Second, false, askDelay},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &job{signals: make(chan os.Signal, 3)}
				if tt.comes < 0 {
					j.signals <- syscall.SIGUSR1
					j.signals <- syscall.SIGTERM
				} else {
					time.AfterFunc(tt.comes, func() { j.signals <- syscall.SIGTERM })
				}
				var asked asking
				begin := time.Now()
				j.drain(&asked, tt.end)
				require.Equal(t, tt.waits, time.Since(begin))
				require.Equal(t, tt.want, asked.explains(tt.end))
				time.Sleep(2 * time.Second)
			})
		})
	}
}

func TestWhatIsSaidOfAJob(t *testing.T) {
	peer := sender.Peer{Host: "web-1", Service: "backup", PID: 7, Watched: true}
	for name, tt := range map[string]struct {
		end    jobEnd
		status string
		backIn time.Duration
		exit   sender.Exit
	}{
		"success":                 {jobEnd{}, sender.StatusLeaving, time.Hour, sender.Exit{HasCode: true}},
		"failure":                 {jobEnd{code: 3}, sender.StatusDead, 0, sender.Exit{HasCode: true, Code: 3}},
		"signal":                  {jobEnd{code: 137, signal: "SIGKILL"}, sender.StatusDead, 0, sender.Exit{Signal: "SIGKILL"}},
		"asked":                   {jobEnd{code: 143, signal: "SIGTERM", asked: true}, sender.StatusLeaving, time.Hour, sender.Exit{Signal: "SIGTERM"}},
		"too long":                {jobEnd{code: 143, signal: "SIGTERM", overran: true}, sender.StatusDead, 0, sender.Exit{Signal: "SIGTERM"}},
		"too long, but polite":    {jobEnd{overran: true}, sender.StatusDead, 0, sender.Exit{HasCode: true}},
		"too long, and asked too": {jobEnd{code: 1, asked: true, overran: true}, sender.StatusDead, 0, sender.Exit{HasCode: true, Code: 1}},
	} {
		said := tt.end.of(peer, time.Hour)
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
		said := seen(peer, watch.State{Phase: tt.phase, Process: process, Exit: exit})
		want := peer
		want.PID, want.StartMS = 7, 8
		want.Status, want.Silent, want.Exit = tt.status, tt.silent, tt.exit
		require.Equal(t, want, said, name)
	}
}

//go:build windows

package winservice

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// A manager is the service manager of a test.
type manager struct {
	t        *testing.T
	requests chan svc.ChangeRequest
	statuses chan svc.Status
	ended    chan uint32
}

func start(t *testing.T, work Work) *manager {
	t.Helper()
	events, err := eventlog.Open("winservice-test")
	require.NoError(t, err)
	t.Cleanup(func() { events.Close() })
	m := &manager{t, make(chan svc.ChangeRequest), make(chan svc.Status), make(chan uint32, 1)}
	h := &handler{work, &Log{events}}
	go func() { // ends with work
		specific, code := h.Execute(nil, m.requests, m.statuses)
		if !specific {
			panic("an exit code of ours would be read as one of Windows")
		}
		m.ended <- code
	}()
	require.Equal(t, svc.StartPending, (<-m.statuses).State)
	return m
}

func (m *manager) ask(c svc.Cmd) {
	m.requests <- svc.ChangeRequest{Cmd: c, CurrentStatus: svc.Status{State: svc.Running, CheckPoint: 7}}
}

// The goodbye is said when Windows shuts down, too: that is asked for before the network goes.
func TestServiceStopsWhenAsked(t *testing.T) {
	for name, request := range map[string]svc.Cmd{"stop": svc.Stop, "shutdown": svc.PreShutdown} {
		t.Run(name, func(t *testing.T) {
			goodbye := make(chan struct{})
			m := start(t, func(ctx context.Context, running func(), _ *Log) int {
				running()
				<-ctx.Done()
				<-goodbye
				return 0
			})
			require.Equal(t, svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptPreShutdown}, <-m.statuses)
			m.ask(svc.Interrogate)
			require.EqualValues(t, 7, (<-m.statuses).CheckPoint, "it is told what it said last")
			m.ask(svc.SessionChange) // means nothing
			for range 2 {            // impatient
				m.ask(request)
				require.Equal(t, svc.Status{State: svc.StopPending, WaitHint: 5000}, <-m.statuses)
			}
			require.Empty(t, m.ended, "it has not said goodbye yet")
			close(goodbye)
			require.Zero(t, <-m.ended)
		})
	}
}

// What is wrong with the settings is the end of the service, with an exit code.
func TestServiceThatFailsNeverRuns(t *testing.T) {
	m := start(t, func(context.Context, func(), *Log) int { return 3 })
	require.EqualValues(t, 3, <-m.ended)
}

// A service that is stopped while it starts does not run any more.
func TestServiceThatIsStoppedEarlyNeverRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		m := start(t, func(ctx context.Context, running func(), _ *Log) int {
			<-ctx.Done()
			running()
			<-end
			return 0
		})
		m.ask(svc.Stop)
		require.Equal(t, svc.StopPending, (<-m.statuses).State)
		synctest.Wait()
		select {
		case status := <-m.statuses:
			require.Fail(t, "it says more", "%v", status)
		default:
		}
		close(end)
		require.Zero(t, <-m.ended)
	})
}

// Each line is an event with the priority that it begins with, and its text is kept.
func TestLinesBecomeEvents(t *testing.T) {
	for line, want := range map[string]event{
		"<3>cannot: 5 > 3\n":   {eventlog.Error, 3, "cannot: 5 > 3"},
		"<4>slow\n":            {eventlog.Warning, 4, "slow"},
		"<6>connected\n":       {eventlog.Info, 6, "connected"},
		"no priority > here\n": {eventlog.Info, 6, "no priority > here"},
	} {
		require.Equal(t, want, eventOf(line))
	}
}

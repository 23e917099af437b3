package watch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const grace = 10 * time.Second

var (
	first  = Process{PID: 100, StartMS: 1000}
	second = Process{PID: 200, StartMS: 2000}
	killed = Exit{Signal: "SIGKILL"}
	code3  = Exit{HasCode: true, Code: 3}
)

// A step is what is seen at a time, and what is believed then.
type step struct {
	at   time.Duration
	seen sighting
	want State
}

func runs(p Process) sighting { return sighting{kind: running, process: p} }

func seen(k kind) sighting { return sighting{kind: k} }

func with(k kind, exit Exit) sighting { return sighting{kind: k, exit: exit} }

func TestBelief(t *testing.T) {
	var (
		starting = State{Phase: Starting}
		isFirst  = State{Phase: Running, Process: first}
		isSecond = State{Phase: Running, Process: second}
		away     = State{Phase: Away, Process: first}
		stop     = State{Phase: Stopped, Process: first}
		dead     = State{Phase: Dead, Process: first}
		deadBy   = State{Phase: Dead, Process: first, Exit: killed}
	)
	tests := []struct {
		name  string
		steps []step
	}{
		{"a process that is gone for good is dead at once", []step{
			{0, runs(first), isFirst},
			{1, with(failed, killed), deadBy},
		}},
		{"whoever is not there at first is dead at once if nobody else can come", []step{
			{0, seen(failed), State{Phase: Dead}},
		}},
		{"back within the grace is a restart", []step{
			{0, runs(first), isFirst},
			{5 * time.Second, with(absent, killed), away},
			{14 * time.Second, seen(absent), away},
			{14 * time.Second, runs(second), isSecond},
		}},
		{"another process at once is no end", []step{
			{0, runs(first), isFirst},
			{1, sighting{kind: running, process: second, exit: killed}, isSecond},
			{2, seen(failed), State{Phase: Dead, Process: second}},
		}},
		{"not back within the grace is dead, and it is remembered how", []step{
			{0, runs(first), isFirst},
			{5 * time.Second, with(absent, killed), away},
			{15*time.Second - 1, seen(absent), away},
			{15 * time.Second, seen(absent), deadBy},
			{time.Hour, seen(absent), deadBy},
		}},
		{"each absence has a grace of its own", []step{
			{0, runs(first), isFirst},
			{1 * time.Second, seen(absent), away},
			{9 * time.Second, runs(first), isFirst},
			{20 * time.Second, seen(absent), away},
			{29 * time.Second, seen(absent), away},
		}},
		{"who cannot look learns nothing, and says so", []step{
			{0, seen(unseen), State{Unseen: true}},
			{1, seen(between), starting},
			{2, seen(unseen), State{Unseen: true}},
			{3, runs(first), isFirst},
			{4, seen(unseen), State{Phase: Running, Process: first, Unseen: true}},
			{5, with(ended, killed), away},
			{time.Hour, seen(unseen), State{Phase: Away, Process: first, Unseen: true}},
			{time.Hour, seen(failed), deadBy},
			{2 * time.Hour, seen(unseen), State{Phase: Dead, Process: first, Exit: killed, Unseen: true}},
			{2 * time.Hour, seen(stopped), State{Phase: Stopped, Process: first, Exit: killed}},
			{3 * time.Hour, seen(unseen), State{Phase: Stopped, Process: first, Exit: killed, Unseen: true}},
		}},
		{"the dead may come back", []step{
			{0, seen(failed), State{Phase: Dead}},
			{1, runs(first), isFirst},
		}},
		{"how one ended is not said of the next", []step{
			{0, runs(first), isFirst},
			{1, with(failed, killed), deadBy},
			{2, runs(second), isSecond},
			{3, seen(failed), State{Phase: Dead, Process: second}},
		}},
		{"a pid file without a process is starting for the grace, then dead", []step{
			{0, seen(absent), starting},
			{grace - 1, seen(absent), starting},
			{grace, seen(absent), State{Phase: Dead}},
		}},
		{"a pid file whose process stopped stays so", []step{
			{0, runs(first), isFirst},
			{1, seen(stopped), stop},
			{time.Hour, seen(absent), stop},
			{2 * time.Hour, seen(absent), stop},
		}},
		{"only what is seen kills: nobody dies of a question without an answer", []step{
			{0, runs(first), isFirst},
			{1 * time.Second, seen(ended), away},
			{time.Hour, runs(second), isSecond},
		}},
		{"an end that systemd has not noticed is no death", []step{
			{0, runs(first), isFirst},
			{1 * time.Second, with(ended, killed), away},
			{time.Hour, seen(ended), away},
			{time.Hour, seen(stopped), State{Phase: Stopped, Process: first, Exit: killed}},
		}},
		{"the grace begins with the end, not with what systemd says of it", []step{
			{0, runs(first), isFirst},
			{0, with(ended, killed), away},
			{grace - 1, seen(between), away},
			{grace, seen(between), deadBy},
		}},
		{"a restart by systemd that takes longer than the grace is a death", []step{
			{0, runs(first), isFirst},
			{0, seen(between), away},
			{grace, seen(between), dead},
			{grace + 1, seen(between), dead},
			{grace + 2, seen(held), dead},
			{grace + 3, seen(ended), dead},
			{grace + 4, runs(second), isSecond},
		}},
		{"a stop or restart on purpose may take any time", []step{
			{0, runs(first), isFirst},
			{1, with(ended, code3), away},
			{time.Hour, seen(held), away},
			{2 * time.Hour, seen(held), away},
			{2 * time.Hour, seen(between), away},
			{2*time.Hour + grace - 1, seen(between), away},
			{2*time.Hour + grace, seen(between), State{Phase: Dead, Process: first, Exit: code3}},
		}},
		{"a unit that systemd gave up is dead within the grace", []step{
			{0, runs(first), isFirst},
			{1, seen(ended), away},
			{2, with(failed, killed), deadBy},
		}},
		{"systemd knows better how it ended", []step{
			{0, runs(first), isFirst},
			{1, with(ended, code3), away},
			{2, with(failed, killed), deadBy},
		}},
		{"the dead can be stopped", []step{
			{0, seen(failed), State{Phase: Dead}},
			{1, seen(stopped), State{Phase: Stopped}},
		}},
		{"a unit never seen running has all the time that systemd gives it", []step{
			{0, seen(between), starting},
			{time.Hour, seen(between), starting},
			{time.Hour, seen(held), starting},
			{time.Hour, seen(ended), starting},
			{time.Hour, runs(first), isFirst},
		}},
		{"so has one that was stopped", []step{
			{0, runs(first), isFirst},
			{1, with(stopped, code3), State{Phase: Stopped, Process: first, Exit: code3}},
			{2, seen(between), State{Phase: Starting, Process: first}},
			{time.Hour, seen(between), State{Phase: Starting, Process: first}},
			{time.Hour, seen(stopped), State{Phase: Stopped, Process: first, Exit: code3}},
			{time.Hour, seen(ended), State{Phase: Starting, Process: first}},
			{time.Hour, runs(second), isSecond},
		}},
		{"a start that fails is dead", []step{
			{0, seen(between), starting},
			{1, with(failed, code3), State{Phase: Dead, Exit: code3}},
		}},
		{"a stop forgets the grace", []step{
			{0, runs(first), isFirst},
			{0, seen(absent), away},
			{1, seen(stopped), stop},
			{1, runs(first), isFirst},
			{time.Hour, seen(absent), away},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var b belief
			for i, s := range tt.steps {
				b = b.after(s.seen, grace, start.Add(s.at))
				require.Equal(t, s.want, b.State, "step %d", i)
				if b.Phase != Starting && b.Phase != Away {
					require.Zero(t, b.until, "step %d: a grace runs out", i)
				}
			}
		})
	}
}

func TestStrangerHasTheNumberButIsNotNamedAnew(t *testing.T) {
	b := belief{}.after(sighting{kind: running, process: first, mark: 7}, grace, time.Time{})
	for _, k := range []kind{ended, absent, between, stopped, failed} {
		over := b.after(seen(k), grace, time.Time{})
		require.True(t, over.isStranger(first.PID, 7))
		require.False(t, over.isStranger(first.PID, 8), "it was named anew")
		require.False(t, over.isStranger(second.PID, 7), "it has another number")
	}
	require.False(t, belief{}.isStranger(first.PID, 0), "nobody was there before")
}

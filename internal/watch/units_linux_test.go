package watch

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ours is a unit with a main process.
func ours(t *testing.T) (*systemd, *child) {
	t.Helper()
	s, c := newSystemd(t), sleeper(t)
	s.unit("x.service", "active running success", mainPID(c))
	return s, c
}

func runUnit(t *testing.T, grace time.Duration) *watched {
	t.Helper()
	w := run(t, Target{Unit: "x", Grace: grace})
	require.Equal(t, Running, w.next().Phase)
	return w
}

func TestUnitThatIsRestartedIsNeverDead(t *testing.T) {
	s, one := ours(t)
	two := sleeper(t)
	w := runUnit(t, time.Hour)
	one.kill()
	require.Equal(t, Away, w.next().Phase)
	s.unit("x.service", "activating auto-restart signal")
	s.unit("x.service", "active running success", mainPID(two), "ExecMainStartTimestampMonotonic=2")
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
}

func TestUnitThatIsNotBackInTimeIsDead(t *testing.T) {
	s, c := ours(t)
	w := runUnit(t, time.Millisecond)
	s.unit("x.service", "activating auto-restart signal")
	c.kill()
	require.Equal(t, Away, w.next().Phase)
	require.Equal(t, Dead, w.next().Phase)
}

func TestUnitThatFailsIsDeadAtOnce(t *testing.T) {
	s, c := ours(t)
	w := runUnit(t, time.Hour)
	process := c.process()
	s.unit("x.service", "failed failed signal", "ExecMainCode=3", "ExecMainStatus=6")
	c.kill()
	require.Equal(t, Away, w.next().Phase)
	require.Equal(t, State{Phase: Dead, Process: process, Exit: Exit{Signal: "SIGABRT"}}, w.next())
}

func TestUnitThatIsStoppedIsNotDead(t *testing.T) {
	s, c := ours(t)
	w := runUnit(t, 0) // not even without any grace
	c.kill()           // and systemd has not noticed yet
	require.Equal(t, Away, w.next().Phase)
	s.unit("x.service", "deactivating stop-post success")
	s.unit("x.service", "inactive dead success", "ExecMainCode=1", "ExecMainStatus=0")
	require.Equal(t, Exit{HasCode: true}, w.until(Stopped).Exit)
	w.requireNever(Dead)
}

func TestUnitWithAJobIsWaitedFor(t *testing.T) {
	s, one := ours(t)
	two := sleeper(t)
	w := runUnit(t, time.Millisecond)
	s.unit("x.service", "inactive dead success", "Job=77")
	one.kill()
	require.Equal(t, Away, w.next().Phase)
	asked := len(s.calls())
	require.Eventually(t, func() bool { return len(s.calls()) > asked+3 }, patience, time.Millisecond)
	s.unit("x.service", "active running success", mainPID(two), "ExecMainStartTimestampMonotonic=2")
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
}

func TestStrangerWithTheNumberOfTheMainProcessIsNotTaken(t *testing.T) {
	s, c := ours(t)
	statuses, err := showUnits(t.Context(), []string{"x.service"})
	require.NoError(t, err)
	w := watchOf(Target{Unit: "x"})
	defer w.forget()
	w.applyStatus(t.Context(), &statuses[0])
	require.Equal(t, Running, w.belief.Phase)
	same := w.process
	w.applyStatus(t.Context(), &statuses[0])
	require.Equal(t, Running, w.belief.Phase)
	require.Same(t, same, w.process)

	end := unitEnd{watch: w, process: w.process}
	end.apply(t.Context()) // let it be another one from now on
	w.applyStatus(t.Context(), &statuses[0])
	require.Equal(t, Away, w.belief.Phase)

	s.unit("x.service", "active running success", mainPID(c), "ExecMainStartTimestampMonotonic=2")
	statuses, err = showUnits(t.Context(), []string{"x.service"})
	require.NoError(t, err)
	w.applyStatus(t.Context(), &statuses[0])
	require.Equal(t, Running, w.belief.Phase)
}

func TestEndOfAProcessThatHandedOverIsNoEnd(t *testing.T) {
	ours(t)
	statuses, err := showUnits(t.Context(), []string{"x.service"})
	require.NoError(t, err)
	w := watchOf(Target{Unit: "x"})
	defer w.forget()
	w.applyStatus(t.Context(), &statuses[0])
	end := unitEnd{watch: w, process: &process{}}
	end.apply(t.Context())
	require.Equal(t, Running, w.belief.Phase)
}

// Systemd may leave a process alone when it stops the unit.
func TestUnitThatIsStoppedHasNoMainProcess(t *testing.T) {
	s, _ := ours(t)
	w := watchOf(Target{Unit: "x"})
	look := func() Phase {
		require.NoError(t, checkUnitsOnce(t.Context(), []*watch{w}))
		return w.belief.Phase
	}
	require.Equal(t, Running, look())
	s.unit("x.service", "inactive dead success")
	require.Equal(t, Stopped, look())
	require.Nil(t, w.process)
}

func TestSlowSystemctlIsNoMistakeToMend(t *testing.T) {
	s, _ := ours(t)
	s.set("hanging", "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.NoError(t, (&Watcher{Targets: []Target{{Unit: "x"}}}).Check(ctx))
}

func TestSystemctlThatFailsKillsNobody(t *testing.T) {
	for _, trouble := range []string{"broken", "hanging"} {
		t.Run(trouble, func(t *testing.T) {
			s, one := ours(t)
			two := sleeper(t)
			w := runUnit(t, 0)
			ended := one.process()
			s.set(trouble, "")
			one.kill()
			require.Equal(t, Away, w.next().Phase, "that is known without systemctl")
			if trouble == "broken" {
				require.Equal(t, `cannot ask systemd about x.service: systemctl show: exit status 1: "Failed to connect to bus"`, w.warning())
				require.Equal(t, State{Phase: Away, Process: ended, Unseen: true}, w.next())
				asked := len(s.calls())
				require.Eventually(t, func() bool { return len(s.calls()) > asked+3 }, patience, time.Millisecond)
				require.Empty(t, w.warnings, "once a minute is enough")
			}
			s.unit("x.service", "active running success", mainPID(two), "ExecMainStartTimestampMonotonic=2")
			s.remove(trouble)
			require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
		})
	}
}

// Systemd that turns a watcher away tells it nothing, from the first look on. A
// unit of which nothing is known is Unseen, not dead and not away.
func TestUnitThatCannotBeLookedAtIsUnseen(t *testing.T) {
	s, c := ours(t)
	s.set("broken", "")
	w := run(t, Target{Unit: "x"})
	require.Equal(t, State{Unseen: true}, w.next())
	s.remove("broken")
	require.Equal(t, State{Phase: Running, Process: c.process()}, w.next())
	require.Len(t, w.history, 2)
}

// What dbus-daemon does to a user that is in no file says nothing to who reads it.
func TestUserThatTheBusDoesNotKnowIsTold(t *testing.T) {
	s, _ := ours(t)
	s.set("broken", "Failed to get properties: Transport endpoint is not connected")
	_, err := showUnits(t.Context(), []string{"x.service", "y.service", "z.service"})
	require.ErrorIs(t, err, ErrUnseen)
	require.EqualError(t, err, `cannot ask systemd about x.service and 2 more: systemctl show: exit status 1: `+
		`"Failed to get properties: Transport endpoint is not connected" `+
		`(the bus does not know this user: give the unit a static user, not DynamicUser=yes)`)
}

func TestRunEndsWhileSystemctlHangs(t *testing.T) {
	s, _ := ours(t)
	s.set("hanging", "")
	w := run(t, Target{Unit: "x"})
	require.Eventually(t, func() bool { return len(s.calls()) > 0 }, patience, time.Millisecond)
	w.stop()
	require.Empty(t, w.states)
	require.Empty(t, w.warnings)
}

func TestUnitThatStartsIsStarting(t *testing.T) {
	s, c := ours(t)
	s.unit("x.service", "activating start-pre success", "Job=1")
	w := run(t, Target{Unit: "x"})
	require.Equal(t, State{}, w.next())
	s.unit("x.service", "activating start success", "Job=1", mainPID(c))
	require.Equal(t, State{Phase: Running, Process: c.process()}, w.next())
}

func TestAllUnitsAreAskedAboutInOneCall(t *testing.T) {
	s, c := newSystemd(t), sleeper(t)
	targets := make([]Target, 50)
	names := make([]string, 50)
	for i := range targets {
		targets[i].Unit = fmt.Sprintf("x%d", i)
		names[i] = targets[i].Unit + ".service"
		s.unit(names[i], "active running success", mainPID(c))
	}
	w := run(t, targets...)
	for range targets {
		require.Equal(t, Running, w.next().Phase)
	}
	require.Equal(t, []string{
		"C show --no-pager --property=" + unitProperties + " -- " + strings.Join(names, " "),
	}, s.calls())
}

func TestUnitsAreAskedAboutMoreAndMoreRarely(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pauses := func(p Phase) []time.Duration {
		w := &watch{}
		w.belief.Phase = p
		var all []time.Duration
		for range 9 {
			w.plan(now)
			all = append(all, w.due.Sub(now).Round(time.Millisecond)/time.Millisecond)
		}
		return all
	}
	require.Equal(t, []time.Duration{20, 40, 80, 160, 320, 500, 500, 500, 500}, pauses(Away))
	require.Equal(t, []time.Duration{20, 40, 80, 160, 320, 640, 1280, 2560, 5000}, pauses(Starting))
	require.Equal(t, []time.Duration{10000, 10000}, pauses(Running)[:2])
	require.Equal(t, []time.Duration{5000, 5000}, pauses(Stopped)[:2])
	require.Equal(t, []time.Duration{5000, 5000}, pauses(Dead)[:2])
}

func TestUnitsStayDueTogether(t *testing.T) {
	var all []*watch
	for range 3 {
		all = append(all, &watch{Target: new(Target), report: func(State) {}})
	}
	answer := unitAnswer{asked: all, err: context.DeadlineExceeded}
	answer.apply(t.Context(), t.Logf)
	require.Equal(t, all, dueAt(all, all[0].due))
	require.Empty(t, dueAt(all, all[0].due.Add(-1)))
}

func TestUnitWithoutMainProcessIsNamedOnce(t *testing.T) {
	s := newSystemd(t)
	s.unit("x.service", "active exited success", "MainPID=0")
	w := run(t, Target{Unit: "x"})
	require.Equal(t, State{}, w.next())
	require.Equal(t, "unit x.service is active but has no main process: there is nothing to watch", w.warning())
}

func TestUnitThatStaysActiveWithoutMainProcessIsStopped(t *testing.T) {
	s, c := ours(t)
	w := runUnit(t, time.Hour)
	s.unit("x.service", "active exited success", "MainPID=0")
	c.kill()
	w.until(Stopped)
	w.requireNever(Dead)
}

func TestUnitThatIsRemovedIsStopped(t *testing.T) {
	s, c := ours(t)
	w := runUnit(t, time.Hour)
	s.unit("x.service", "inactive dead success", "LoadState=not-found")
	c.kill()
	w.until(Stopped)
	w.requireNever(Dead)
}

func TestUnitThatRanIsNotSaidToHaveNothingToWatch(t *testing.T) {
	warned := 0
	w := &watch{Target: &Target{Unit: "x"}, warnf: func(string, ...any) { warned++ }}
	hollow := &unitStatus{active: "active", sub: "exited"}
	w.warnIfWithoutProcess(hollow)
	require.Equal(t, 1, warned)
	w.belief.Process = first
	w.warnIfWithoutProcess(hollow)
	require.Equal(t, 1, warned)
}

func TestCheckNamesWhatIsWrongWithUnits(t *testing.T) {
	s, c := ours(t)
	s.unit("missing.service", "inactive dead success", "LoadState=not-found")
	s.unit("removed.service", "active running success", "LoadState=not-found", mainPID(c))
	s.unit("postgresql.service", "active exited success", "MainPID=0")
	s.unit("stopped.service", "inactive dead success")
	s.set("list-units", "postgresql@15-main.service loaded active running PostgreSQL\n"+
		"postgresql@16-main.service loaded inactive dead PostgreSQL\n")
	check := func(unit string) error {
		return (&Watcher{Targets: []Target{{Unit: unit}}}).Check(t.Context())
	}
	for _, unit := range []string{"x", "stopped", "removed"} {
		require.NoError(t, check(unit))
	}
	require.EqualError(t, check("missing"), "there is no unit missing.service")
	require.EqualError(t, check("postgresql"), "unit postgresql.service is active but has no main process: "+
		"did you mean postgresql@15-main.service or postgresql@16-main.service?")
	calls := s.calls()
	require.Contains(t, calls[len(calls)-1], "list-units --plain --no-legend --no-pager --all --type=service -- postgresql@*")

	s.set("list-units", "")
	require.EqualError(t, check("postgresql"),
		"unit postgresql.service is active but has no main process, so there is nothing to watch")

	s.set("broken", "")
	require.ErrorContains(t, check("x"), "Failed to connect to bus")
	t.Setenv("PATH", t.TempDir())
	require.ErrorContains(t, check("x"), `"systemctl": executable file not found`)
}

func TestAnswersThatDoNotFitAreRefused(t *testing.T) {
	s := newSystemd(t)
	s.unit("x.service", "active running success")
	s.set("y.service", "Id=y.service\n\nId=z.service\n")
	_, err := showUnits(t.Context(), []string{"x.service", "y.service"})
	require.EqualError(t, err, "cannot ask systemd about x.service and 1 more: systemctl show: 3 answers for 2 units")
}

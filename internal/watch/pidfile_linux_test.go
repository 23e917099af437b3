package watch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// writePID writes a pid file.
func writePID(t *testing.T, path string, c *child) {
	t.Helper()
	replace(t, path, strconv.Itoa(int(c.pid()))+"\n")
}

func pidFileOf(t *testing.T, c *child) string {
	t.Helper()
	newSystemd(t)
	path := filepath.Join(t.TempDir(), "x.pid")
	writePID(t, path, c)
	return path
}

func TestPIDFileWithAnotherProcessInTimeIsARestart(t *testing.T) {
	one, two := sleeper(t), sleeper(t)
	path := pidFileOf(t, one)
	w := run(t, Target{PIDFile: path, Grace: time.Hour})
	require.Equal(t, State{Phase: Running, Process: one.process()}, w.next())
	process := one.process()
	one.kill()
	require.Equal(t, State{Phase: Away, Process: process}, w.next())
	writePID(t, path, two)
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
}

func TestPIDFileIsReadAtOnceWhenItsProcessEnds(t *testing.T) {
	one, two := sleeper(t), sleeper(t)
	path := pidFileOf(t, one)
	w := run(t, Target{PIDFile: path}) // without any grace
	require.Equal(t, State{Phase: Running, Process: one.process()}, w.next())
	writePID(t, path, two)
	one.kill()
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
}

func TestPIDFileMayNameAnotherWhileTheFirstLives(t *testing.T) {
	one, two := sleeper(t), sleeper(t)
	path := pidFileOf(t, one)
	w := run(t, Target{PIDFile: path})
	require.Equal(t, State{Phase: Running, Process: one.process()}, w.next())
	writePID(t, path, two)
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
	one.kill()
	two.kill()
	require.Equal(t, two.pid(), w.until(Dead).Process.PID)
}

func TestPIDFileWhoseProcessDoesNotComeBackIsDead(t *testing.T) {
	requireExits(t)
	one, two := sleeper(t), sleeper(t)
	path := pidFileOf(t, one)
	w := run(t, Target{PIDFile: path, Grace: time.Millisecond})
	require.Equal(t, Running, w.next().Phase)
	process := one.process()
	one.kill()
	require.Equal(t, Away, w.next().Phase)
	require.Equal(t, State{Phase: Dead, Process: process, Exit: Exit{Signal: "SIGKILL"}}, w.next())
	writePID(t, path, two)
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
}

func TestPIDFileWithoutProcessIsStartingThenDead(t *testing.T) {
	gone := sleeper(t)
	gone.kill()
	directory := t.TempDir()
	for name, text := range map[string]string{"empty": "", "garbage": "x", "stale": strconv.Itoa(int(gone.pid()))} {
		replace(t, filepath.Join(directory, name), text)
	}
	newSystemd(t)
	for _, name := range []string{"missing", "empty", "garbage", "stale"} {
		t.Run(name, func(t *testing.T) {
			w := run(t, Target{PIDFile: filepath.Join(directory, name), Grace: time.Millisecond})
			require.Equal(t, State{}, w.next())
			require.Equal(t, State{Phase: Dead}, w.next())
			if name == "garbage" {
				require.Contains(t, w.warning(), `garbage": "x" is not a process ID`)
			}
		})
	}
}

// Who may not look into a file has not seen that nobody is there.
func TestPIDFileThatCannotBeReadKillsNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	replace(t, file, "1")
	w := watchOf(Target{PIDFile: file + "/x.pid"})
	warned := 0
	w.warnf = func(string, ...any) { warned++ }
	for range 2 {
		w.updateFromFile(t.Context(), newPIDFile(w.PIDFile), Exit{})
	}
	require.Equal(t, State{Unseen: true}, w.belief.State, "whether it runs is not known")
	require.Equal(t, 2, warned)
	w.belief.Process = Process{PID: 1} // it ran, so it has ended
	w.belief.Phase = Away
	w.belief.until = time.Now()
	w.updateFromFile(t.Context(), newPIDFile(w.PIDFile), Exit{})
	require.Equal(t, Dead, w.belief.Phase)
}

// blocking are files that block whoever opens them, or are none at all.
var blocking = map[string]func(t *testing.T) string{
	"FIFO": func(t *testing.T) string {
		name := filepath.Join(t.TempDir(), "fifo")
		require.NoError(t, unix.Mkfifo(name, 0o600))
		return name
	},
	"hung mount": func(t *testing.T) string { return testkit.MountHanging(t) + "/x.pid" },
	"device":     func(*testing.T) string { return "/dev/zero" },
	"directory":  func(*testing.T) string { return "/" },
}

// What takes the place of a pid file hides no end, here or of another target,
// and holds up no stop.
func TestPIDFileThatBlocksIsInTheWayOfNothing(t *testing.T) {
	for name, file := range blocking {
		t.Run(name, func(t *testing.T) {
			one, other := sleeper(t), sleeper(t)
			path := pidFileOf(t, one)
			w := run(t, Target{PIDFile: path, Grace: time.Millisecond}, Target{PID: other.pid()})
			running := []State{{Phase: Running, Process: one.process()}, {Phase: Running, Process: other.process()}}
			require.ElementsMatch(t, running, []State{w.next(), w.next()})

			require.NoError(t, os.Symlink(file(t), path+"~"))
			require.NoError(t, os.Rename(path+"~", path))
			require.Contains(t, w.warning(), "pid file: ", "it is read now")
			other.kill()
			require.Equal(t, other.pid(), w.until(Dead).Process.PID)
			one.kill()
			require.Equal(t, one.pid(), w.until(Dead).Process.PID)
			w.stop()
		})
	}
}

// A look ends, and sees the other targets, whatever blocks.
func TestLookAndCheckPassByWhatBlocks(t *testing.T) {
	newSystemd(t)
	c := sleeper(t)
	for name, file := range blocking {
		t.Run(name, func(t *testing.T) {
			w := &Watcher{Warnf: t.Logf}
			for range 10 {
				w.Targets = append(w.Targets, Target{PIDFile: file(t)})
			}
			w.Targets = append(w.Targets, Target{PID: c.pid()})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := w.Check(ctx)
			if name == "hung mount" {
				require.NoError(t, err, "nothing that a person could mend")
			} else {
				require.ErrorContains(t, err, "is not a regular file")
			}
			states, err := w.Look(ctx)
			require.NoError(t, err)
			require.Equal(t, State{Phase: Running, Process: c.process()}, states[10])
			require.Equal(t, State{Unseen: true}, states[0])
		})
	}
}

// Who writes the file decides what a warning says, not how many there are.
func TestPIDFileCausesOneWarningAMinute(t *testing.T) {
	const minutes = 2
	path := filepath.Join(t.TempDir(), "x.pid")
	write := func(text string) { replace(t, path, text) }
	synctest.Test(t, func(t *testing.T) {
		var warnings []string
		watcher := &Watcher{Warnf: func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }}
		warnf := func(format string, args ...any) { watcher.Warnf(format, args...) }
		w := &watch{Target: &Target{PIDFile: path, Grace: time.Hour}, report: func(State) {}, warnf: watcher.warner(warnf)}
		file := newPIDFile(path)
		end := time.Now().Add(minutes * time.Minute)
		for i := 0; time.Now().Before(end); i++ {
			write(fmt.Sprintf("nonsense %d", i))
			w.updateFromFile(t.Context(), file, Exit{})
			time.Sleep(fileAwayPause)
		}
		require.Len(t, warnings, minutes)
		watcher.warner(warnf)("of another target")
		require.Len(t, warnings, minutes+1)
	})
}

// Who loses its pid file is alive as long as its process is.
func TestProcessSurvivesItsPIDFile(t *testing.T) {
	c := sleeper(t)
	path := pidFileOf(t, c)
	file := newPIDFile(path)
	w := watchOf(Target{PIDFile: path})
	defer w.forget()
	look := func() Phase {
		w.updateFromFile(t.Context(), file, Exit{})
		return w.belief.Phase
	}
	require.Equal(t, Running, look())
	replace(t, path, "garbage")
	require.Equal(t, Running, look())
	require.NoError(t, os.Remove(path))
	require.Equal(t, Running, look())
	c.kill()
	w.forget()
	require.Equal(t, Away, look())
}

// A number may be given to another process before the file is written anew.
func TestStrangerWithTheNumberInThePIDFileIsNotTaken(t *testing.T) {
	stranger := sleeper(t)
	path := pidFileOf(t, stranger)
	file := newPIDFile(path)
	w := watchOf(Target{PIDFile: path, Grace: time.Hour})
	defer w.forget()
	look := func() Phase {
		w.updateFromFile(t.Context(), file, Exit{})
		return w.belief.Phase
	}
	require.Equal(t, Running, look())
	w.forget() // let it be another one from now on
	w.belief.Process.StartMS--
	require.Equal(t, Away, look())
	require.Equal(t, Away, look())

	writePID(t, path, stranger)
	require.Equal(t, Running, look())
	require.Equal(t, stranger.process(), w.belief.Process)
}

func TestLookTellsHowAllAreNow(t *testing.T) {
	c := sleeper(t)
	path := pidFileOf(t, c)
	s := newSystemd(t)
	s.unit("up.service", "active running success", mainPID(c))
	s.unit("down.service", "failed failed exit-code", "ExecMainCode=1", "ExecMainStatus=3")
	watcher := &Watcher{Targets: []Target{
		{PID: c.pid()}, {PID: maxPID}, {PIDFile: path}, {PIDFile: path + "x"}, {Unit: "up"}, {Unit: "down"},
	}}
	up := State{Phase: Running, Process: c.process()}
	want := []State{
		up,
		{Phase: Dead},
		up,
		{Phase: Starting},
		up,
		{Phase: Dead, Exit: Exit{HasCode: true, Code: 3}},
	}
	before := descriptors(t)
	states, err := watcher.Look(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, states)
	require.LessOrEqual(t, descriptors(t), before+2, "but for those of the poller")

	s.set("broken", "")
	want[4], want[5] = State{Unseen: true}, State{Unseen: true}
	states, err = watcher.Look(t.Context())
	require.ErrorContains(t, err, `systemctl show: exit status 1: "Failed to connect to bus"`)
	require.Equal(t, want, states)
}

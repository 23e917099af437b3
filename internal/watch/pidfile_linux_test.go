package watch

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writePID writes a pid file.
func writePID(t *testing.T, path string, c *child) {
	t.Helper()
	replace(t, path, strconv.Itoa(int(c.pid()))+"\n")
}

func newPIDFile(t *testing.T, c *child) string {
	t.Helper()
	newSystemd(t)
	path := filepath.Join(t.TempDir(), "x.pid")
	writePID(t, path, c)
	return path
}

func TestPIDFileWithAnotherProcessInTimeIsARestart(t *testing.T) {
	one, two := sleeper(t), sleeper(t)
	path := newPIDFile(t, one)
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
	path := newPIDFile(t, one)
	w := run(t, Target{PIDFile: path}) // without any grace
	require.Equal(t, State{Phase: Running, Process: one.process()}, w.next())
	writePID(t, path, two)
	one.kill()
	require.Equal(t, State{Phase: Running, Process: two.process()}, w.next())
}

func TestPIDFileMayNameAnotherWhileTheFirstLives(t *testing.T) {
	one, two := sleeper(t), sleeper(t)
	path := newPIDFile(t, one)
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
	path := newPIDFile(t, one)
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
				require.Contains(t, w.warning(), `garbage: "x" is not the number of a process`)
			}
		})
	}
}

// Who may not look into a file has not seen that nobody is there.
func TestPIDFileThatCannotBeReadKillsNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	replace(t, file, "1")
	w := (&Watcher{Targets: []Target{{PIDFile: file + "/x.pid"}}}).watches(func(int, State) {})[0]
	warned := 0
	for range 2 {
		w.lookAtFile(t.Context(), &pidFile{path: w.PIDFile}, Exit{}, func(string, ...any) { warned++ })
	}
	require.Equal(t, State{Unseen: true}, w.belief.State, "whether it runs is not known")
	require.Equal(t, 2, warned)
	w.belief.Process = Process{PID: 1} // it ran, so it has ended
	w.belief.Phase = Away
	w.belief.until = time.Now()
	w.lookAtFile(t.Context(), &pidFile{path: w.PIDFile}, Exit{}, t.Logf)
	require.Equal(t, Dead, w.belief.Phase)
}

// Who loses its pid file is alive as long as its process is.
func TestProcessSurvivesItsPIDFile(t *testing.T) {
	c := sleeper(t)
	path := newPIDFile(t, c)
	file := &pidFile{path: path}
	w := (&Watcher{Targets: []Target{{PIDFile: path}}}).watches(func(int, State) {})[0]
	defer w.letGo()
	look := func() Phase {
		w.lookAtFile(t.Context(), file, Exit{}, t.Logf)
		return w.belief.Phase
	}
	require.Equal(t, Running, look())
	replace(t, path, "garbage")
	require.Equal(t, Running, look())
	require.NoError(t, os.Remove(path))
	require.Equal(t, Running, look())
	c.kill()
	w.letGo()
	require.Equal(t, Away, look())
}

// A number may be given to another process before the file is written anew.
func TestStrangerWithTheNumberInThePIDFileIsNotTaken(t *testing.T) {
	stranger := sleeper(t)
	path := newPIDFile(t, stranger)
	file := &pidFile{path: path}
	w := (&Watcher{Targets: []Target{{PIDFile: path, Grace: time.Hour}}}).watches(func(int, State) {})[0]
	defer w.letGo()
	look := func() Phase {
		w.lookAtFile(t.Context(), file, Exit{}, t.Logf)
		return w.belief.Phase
	}
	require.Equal(t, Running, look())
	w.letGo() // let it be another one from now on
	w.belief.Process.StartMS--
	require.Equal(t, Away, look())
	require.Equal(t, Away, look())

	writePID(t, path, stranger)
	require.Equal(t, Running, look())
	require.Equal(t, stranger.process(), w.belief.Process)
}

func TestLookTellsHowAllAreNow(t *testing.T) {
	c := sleeper(t)
	path := newPIDFile(t, c)
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

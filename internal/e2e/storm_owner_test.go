//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
)

// service is the user that a service runs as: nobody.
const service = "65534"

// relieveAs is relieve as another user.
func (p *post) relieveAs(user string) {
	p.t.Helper()
	if os.Getuid() != 0 {
		p.t.Skip("needs root, to be another user")
	}
	for _, path := range []string{filepath.Dir(p.dir), p.dir, filepath.Dir(filepath.Dir(p.config)), filepath.Dir(p.config)} {
		require.NoError(p.t, os.Chmod(path, 0o755))
	}
	require.NoError(p.t, os.Chmod(p.config, 0o644))
	p.relieve("setpriv", "--reuid", user, "--regid", user, "--clear-groups")
}

// tryAsRoot is what somebody does who wants to see whether it works.
func (p *post) tryAsRoot() {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "telegraf.conf")
	text := fmt.Sprintf("[[inputs.execd]]\ncommand = [%q, \"-config\", %q]\nsignal = \"STDIN\"\ndata_format = \"influx\"\n[[outputs.discard]]\n",
		testkit.Program(p.t, "telegraf-heartbeat"), p.config)
	require.NoError(p.t, os.WriteFile(file, []byte(text), 0o600))
	try := testkit.StartProgram(p.t, "telegraf-stock", "--config", file, "--test", "--test-wait", "2")
	require.Zero(p.t, try.Exit())
}

// A try as root, before the first start of the service, between two or while it
// runs, costs the service none of its memory.
func TestTryAsRootCostsNoMemory(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, which tries")
	}
	uid, err := strconv.Atoi(service)
	require.NoError(t, err)
	require.NoError(t, os.Chown(p.dir, uid, uid))
	requireKept := func(when string) {
		t.Helper()
		peers := p.look(2)
		require.EqualValues(t, 1, number(t, peers["web-1/job"], "dead"), when)
		require.EqualValues(t, 1, number(t, peers["web-1/job"], "deaths_total"), when)
		require.EqualValues(t, 0, number(t, peers["web-2/job"], "dead"), when)
		p.now().Until("the memory to work "+when, func() bool {
			p.now().Say("\n")
			return p.now().Stdout.Says("state_saved=1i")
		})
		require.Empty(t, p.now().Stderr.With("W! "), when)
	}
	p.tryAsRoot()
	p.relieveAs(service)
	c := dial(t, p.address)
	c.beat(map[string]any{"host": "web-1", "service": "job", "pid": 7, "status": "dead", "exit_code": 3})
	c.beat(map[string]any{"host": "web-2", "service": "job", "pid": 7, "interval_ms": 3600000})
	requireKept("after a try before the first start")
	for range 2 {
		p.stop()
		p.tryAsRoot()
		p.relieveAs(service)
		requireKept("after a try between two starts")
		p.tryAsRoot()
		requireKept("after a try beside it")
	}
	require.Len(t, p.events("source", "web-1"), 1, "told once")
	for _, file := range []string{p.state, p.state + ".lock"} {
		info, err := os.Lstat(file)
		require.NoError(t, err)
		require.EqualValues(t, uid, info.Sys().(*syscall.Stat_t).Uid, file)
	}
	require.NoFileExists(t, p.state+".bad")
}

// A file that the service cannot read is not damaged: the log says what to do,
// and once that is done the service goes on from what is in it.
func TestFileOfRootIsSaidAndHelped(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, whose file it is")
	}
	uid, err := strconv.Atoi(service)
	require.NoError(t, err)
	require.NoError(t, os.Chown(p.dir, uid, uid))
	p.relieveAs(service)
	dial(t, p.address).beat(map[string]any{"host": "web-1", "service": "job", "pid": 7, "status": "dead"})
	p.look(1)
	p.stop()
	require.NoError(t, os.Chown(p.state, 0, 0))
	require.NoError(t, os.Chmod(p.state, 0o640))

	p.relieveAs(service)
	c := p.now()
	c.Until("it to say so", func() bool { return c.Stderr.Says("W! ") })
	require.Contains(t, c.Stderr.With("W! ")[0], "permission denied. Run: chown nobody "+p.state)
	c.Say("\n")
	c.Until("it to tell that there is no memory", func() bool { return c.Stdout.Says("state_saved=0i") })
	require.NoFileExists(t, p.state+".bad")
	require.NoError(t, os.Chown(p.state, uid, uid))
	c.Until("the memory to work", func() bool {
		c.Say("\n")
		return c.Stdout.Says("state_saved=1i")
	})
	require.EqualValues(t, 1, number(t, p.look(1)["web-1/job"], "dead"))
	require.Len(t, p.events("source", "web-1"), 1)
}

// The same block twice: at each reload one of them is the collector, with the
// memory of the one before, and the other one waits for it.
func TestSameBlockTwiceForgetsNobody(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	block := fmt.Sprintf("[[inputs.execd]]\ncommand = [%q, \"-config\", %q]\nsignal = \"STDIN\"\nrestart_delay = \"1s\"\ndata_format = \"influx\"\n",
		testkit.Program(t, "telegraf-heartbeat"), p.config)
	written, file := filepath.Join(t.TempDir(), "written"), filepath.Join(t.TempDir(), "telegraf.conf")
	text := "[agent]\ninterval = \"1s\"\nflush_interval = \"1s\"\n" + block + block + fmt.Sprintf("[[outputs.file]]\nfiles = [%q]\ndata_format = \"influx\"\n", written)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	run := &collector{Process: testkit.StartProgram(t, "telegraf-stock", "--config", file), written: written}
	run.Until("one to listen", func() bool { return len(run.listened()) == 1 })
	c := dial(t, p.address)
	c.beat(map[string]any{"host": "web-1", "service": "job", "pid": 7, "status": "dead", "exit_code": 3})
	known := func() int { return len(run.metrics("heartbeat_peer", "source", "web-1")) }
	run.Until("the death to be known", func() bool { return known() > 0 })

	for reload := range size(8, 30) {
		listened := len(run.listened())
		run.Signal(syscall.SIGHUP)
		run.Until("one to listen again", func() bool { return len(run.listened()) > listened })
		before := known()
		run.Until("the dead to be known", func() bool { return known() > before })
		peer := last(run.metrics("heartbeat_peer", "source", "web-1"))
		require.EqualValues(t, 1, number(t, peer, "dead"), "reload %d", reload)
	}
	// The other one may have the port for a moment, until it is told to end.
	require.Len(t, run.Stderr.With("Restored 1 peer from"), len(run.listened())-1, "who listens has the memory")
	require.Len(t, run.metrics("heartbeat_event", "source", "web-1"), 1, "told once")
	require.NotEmpty(t, run.Stderr.With("configured twice?"))
	require.Empty(t, run.Stderr.With("will not survive"))
}

// traced is what a trace tells of the writing to the files of a state.
type traced struct{ calls, appended, remade int }

// trace counts the writing to the state of a collector from now on.
func (p *post) trace(d time.Duration) traced {
	p.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		p.t.Skip("needs strace")
	}
	file := filepath.Join(p.t.TempDir(), "trace")
	s := testkit.Start(p.t, "strace", exec.Command("strace", "-f", "-y", "-s", "0", "-o", file,
		"-e", "trace=write,pwrite64,fsync,fdatasync", "-p", strconv.Itoa(p.now().PID())))
	s.Until("it to trace", func() bool { return s.Stderr.Says("attached") })
	pause(d)
	s.Signal(syscall.SIGINT)
	s.Exit()
	text, err := os.ReadFile(file)
	require.NoError(p.t, err)
	var seen traced
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "<"+p.state) {
			continue
		}
		seen.calls++
		_, result, _ := strings.Cut(line, ") = ")
		if n, err := strconv.Atoi(strings.TrimSpace(result)); err == nil {
			if strings.Contains(line, ".tmp>") {
				seen.remade += n
			} else {
				seen.appended += n
			}
		}
	}
	p.t.Logf("in %s: %+v", d, seen)
	return seen
}

// While all are well next to nothing is written.
func TestStateOfTheWellIsHardlyWritten(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	p.relieve()
	startFleet(t, p.address, 1, 10*time.Second)
	p.untilAll(1)
	pause(size(20*time.Second, time.Minute))
	watched := size(30*time.Second, time.Hour)
	seen := p.trace(watched)
	// In the first minute it also notes its first beats, and ever more seldom for how
	// long it has listened: two writes, and more on a machine that keeps it waiting.
	// One who wrote at each tick, or at each second, would be at thirty or more.
	require.LessOrEqual(t, seen.calls, size(10, 20))
}

func TestStateOfManyIsWrittenLittle(t *testing.T) {
	t.Parallel()
	const peers = 10_000
	p := newPost(t, alone, "max_beats_per_second = 0")
	c := p.relieve()
	client := dial(t, p.address)
	beats := func(number int) {
		var text []byte
		for i := range peers {
			// They beat every 10 s, and are not late where the machine is: that would be written.
			text = append(text, frameOf(beatOf(fmt.Sprintf("web-%05d", i), int64(number), 30*time.Second))...)
			if len(text) > 1<<16 || i == peers-1 {
				client.send(string(text))
				text = text[:0]
			}
		}
	}
	done := make(chan struct{})
	go func() { // reads the acknowledgements, until the end of the test
		defer close(done)
		for {
			if _, err := client.answers.Next(); err != nil {
				return
			}
		}
	}()
	defer func() {
		client.Close()
		<-done
	}()
	const first = 6 // of which a collector saves more
	for number := range first {
		beats(number + 1)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // until stop
		defer close(stopped)
		for number := first + 1; ; number++ {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Second):
				beats(number)
			}
		}
	}()
	p.untilKept(c, peers)
	c.Until("all that is new to be saved", func() bool {
		before, err := os.Stat(p.state)
		require.NoError(t, err)
		pause(3 * time.Second)
		after, err := os.Stat(p.state)
		require.NoError(t, err)
		return before.Size() == after.Size()
	})
	watched := size(30*time.Second, 10*time.Minute)
	seen := p.trace(watched)
	close(stop)
	<-stopped
	// The file is made anew when as much was appended as it needs, so that costs no
	// more in the end than what was appended.
	require.LessOrEqual(t, 2*seen.appended, int(watched/time.Second)*50_000)
}

// untilKept waits until n peers are in the state file.
func (p *post) untilKept(c *testkit.Process, n int) {
	p.t.Helper()
	c.Until(fmt.Sprintf("%d peers to be saved", n), func() bool {
		state, err := statefile.Read(p.state, time.Now())
		return err == nil && len(state.Peers) == n
	})
}

// A collector that is killed every two seconds tells a death on time, once, and
// no other.
func TestKilledCollectorTellsADeathOnTime(t *testing.T) {
	t.Parallel()
	const alive, interval, every = 20, 10 * time.Second, 2 * time.Second
	p := newPost(t)
	p.relieve()
	startFleet(t, p.address, alive, interval)
	dead := dial(t, p.address)
	dead.beat(map[string]any{"host": "web-1", "service": "job", "pid": 7, "watched": true, "interval_ms": interval.Milliseconds(), "run": "r", "seq": 1})
	p.untilAll(alive + 1)
	p.untilKept(p.now(), alive+1)
	began, told := time.Now(), time.Duration(0)
	for time.Since(began) < 2*time.Minute {
		p.now().Kill()
		p.relieve()
		pause(every)
		if told == 0 && len(p.events("state", "dead", "source", "web-1")) > 0 {
			told = time.Since(began)
		}
	}
	t.Logf("%d lives, told after %s: %v", len(p.lives), told.Round(time.Second), p.states("web-1", "job"))
	require.NotZero(t, told, "it was never told")
	// Its silence may last 35 s, and 10 s more because of the restarts; of each
	// life at most half is lost.
	require.LessOrEqual(t, told, 2*(silence(interval)+interval))
	require.Len(t, p.events("state", "dead", "source", "web-1"), 1)
	require.Len(t, p.events("state", "dead"), 1, "nobody else is dead")
	require.Zero(t, total(t, p.look(alive+1), "mistakes_total"))
}

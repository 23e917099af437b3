package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pauseBefore is the pause before each process is ended. Without the pause, a process may be
// killed before it has read its answer, and then its connection is reset. A reset is weaker
// evidence than a close, so the death would be reported later.
const pauseBefore = 100 * time.Millisecond

// A delay is a measurement: the time from the end of a process until one of its states is
// reported.
type delay struct {
	what   string
	kind   string // which processes are ended: trial.kind
	state  string
	budget time.Duration // budget of the median
}

const grace, soon = 5 * time.Second, 100 * time.Millisecond // grace is the default of disconnect_grace

var delays = []delay{
	{"kill -9 -> suspect", "killed", "suspect", 2 * time.Millisecond},
	{"kill -9 -> dead", "killed", "dead", grace + 250*time.Millisecond},
	{"SIGTERM -> left", "stopped", "left", soon},
	{"kill -9 of a -pid target -> dead", "watched", "dead", soon},
}

// A trial is a process that will be ended.
type trial struct {
	kind, service string
	victim        *process
	end           os.Signal
	beat          string    // the process is ended only after this beat
	at            time.Time // time of its end
}

func latencyCommand(set *flag.FlagSet) func() {
	n := set.Int("n", 20, "number of processes that end in each way")
	return func() {
		plugin := startPlugin("bin/telegraf-heartbeat")
		defer plugin.stop()
		reports := follow(plugin.out)
		var trials []*trial
		for i := range *n {
			for _, kind := range []string{"killed", "stopped", "watched"} {
				t := &trial{kind: kind, service: fmt.Sprint(kind, "-", i), end: os.Kill, beat: "seq=2i"}
				defer t.start(plugin)()
				trials = append(trials, t)
			}
		}
		for _, t := range trials {
			reports.await(t.service, t.beat)
			time.Sleep(pauseBefore)
			t.at = time.Now()
			check(t.victim.cmd.Process.Signal(t.end))
		}
		header("from -> to", "n", "median", "min", "max", "budget", "")
		for _, d := range delays {
			var took []time.Duration
			for _, t := range trials {
				if t.kind == d.kind {
					took = append(took, reports.await(t.service, "state="+d.state).Sub(t.at))
				}
			}
			fmt.Println(d.row(took))
			note("latency/"+d.what, float64(median(took))/1e6)
		}
	}
}

// start starts the process and, if needed, its watcher. The end of a connection counts only if
// the connection is long-lived, which is the case after the second beat. The watcher of a watched
// victim cannot get its exit code, because nothing reaps the victim.
func (t *trial) start(plugin *process) (stop func()) {
	flags := []string{"-host", "bench", "-service", t.service, "-interval", "10s"}
	switch t.kind {
	case "stopped":
		t.end = syscall.SIGTERM
	case "watched":
		t.victim, t.beat = start("", "sleep", "3600"), "seq=1i"
		watcher := startSender(plugin, append(flags, "-pid", strconv.Itoa(t.victim.cmd.Process.Pid))...)
		return func() { t.victim.stop(); watcher.stop() }
	}
	t.victim = startSender(plugin, flags...)
	return t.victim.stop
}

// row returns the row of the table for a delay.
func (d *delay) row(took []time.Duration) string {
	verdict, middle := "met", median(took)
	if middle > d.budget {
		verdict = "missed"
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s |", d.what, len(took),
		ms(middle), ms(slices.Min(took)), ms(slices.Max(took)), ms(d.budget), verdict)
}

// reports has the lines that a plugin has emitted, and when each line was read.
type reports struct {
	mu    sync.Mutex
	lines []string
	at    []time.Time
}

// follow reads the output of a plugin in the background.
func follow(output *bufio.Reader) *reports {
	r := &reports{}
	go func() { // ends with the output
		for lines := bufio.NewScanner(output); lines.Scan(); {
			now := time.Now()
			r.mu.Lock()
			r.lines, r.at = append(r.lines, lines.Text()), append(r.at, now)
			r.mu.Unlock()
		}
	}()
	return r
}

// await waits until something is reported about a service, and returns the time of the first
// report.
func (r *reports) await(service, what string) time.Time {
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		lines, at := r.lines, r.at
		r.mu.Unlock()
		if i := slices.IndexFunc(lines, func(line string) bool { return isAbout(line, service, what) }); i >= 0 {
			return at[i]
		}
	}
	fail("%s: never reported %q", service, what)
	return time.Time{}
}

// isAbout reports whether a line of the plugin is about a certain beat of a service (such as
// seq=2i), or about its change to a state (such as state=dead).
func isAbout(line, service, what string) bool {
	series, rest, _ := strings.Cut(line, " ")
	fields, _, _ := strings.Cut(rest, " ")
	if !strings.Contains(series, ",service="+service+",") {
		return false
	}
	if strings.HasPrefix(series, "heartbeat_event,") {
		return strings.HasSuffix(series, ","+what)
	}
	return strings.HasPrefix(series, "heartbeat,") && strings.Contains(","+fields+",", ","+what+",")
}

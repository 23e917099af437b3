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

// pauseBefore is the time between two ends, and at least from a beat to an end: a process
// that is killed before it has read its answer resets its connection. That says less,
// so its death is reported later.
const pauseBefore = 100 * time.Millisecond

// A delay is what is measured: how long after the end of a process a state of it is
// reported.
type delay struct {
	what   string
	kind   string // of trials
	state  string
	budget time.Duration // of the median
}

const grace, soon = 5 * time.Second, 100 * time.Millisecond // grace is the default of disconnect_grace

var delays = []delay{
	{"kill -9 -> suspect", "killed", "suspect", 2 * time.Millisecond},
	{"kill -9 -> dead", "killed", "dead", grace + 250*time.Millisecond},
	{"SIGTERM -> left", "stopped", "left", soon},
	{"kill -9 of a -pid target -> dead", "watched", "dead", soon},
}

// A trial is a process that is going to end.
type trial struct {
	kind, service string
	victim        *process
	end           os.Signal
	beat          string    // before which it does not end
	at            time.Time // of its end
}

func latencyCommand(set *flag.FlagSet) func() {
	n := set.Int("n", 20, "how many processes end in each way")
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

// start starts the process, and its watcher. A connection has to be a long one for its
// end to say something, which is so after the second beat. Nothing reaps a victim that is
// watched, so its watcher waits in vain for how it ended.
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

// row returns a row of the table.
func (d *delay) row(took []time.Duration) string {
	verdict, middle := "met", median(took)
	if middle > d.budget {
		verdict = "missed"
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s |", d.what, len(took),
		ms(middle), ms(slices.Min(took)), ms(slices.Max(took)), ms(d.budget), verdict)
}

// reports is what a plugin has emitted so far, and when each line was read.
type reports struct {
	mu    sync.Mutex
	lines []string
	at    []time.Time
}

// follow reads the output of a plugin as it comes.
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

// await waits until something is reported of a service, and returns when it first was.
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

// isAbout reports whether a line of the plugin is about a beat of a service, by its number
// (seq=2i), or about its change to a state (state=dead).
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

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

// apart is the time between two ends, and at least from a beat to an end: a process
// that is killed before it has read its answer resets its connection. That says less,
// so its death is reported later.
const apart = 100 * time.Millisecond

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
	{"kill -9 -> suspect", "killed", "suspect", soon},
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
				t := &trial{kind: kind, service: fmt.Sprint(kind, "-", i), end: os.Kill, beat: "beat 2"}
				defer t.start(plugin)()
				trials = append(trials, t)
			}
		}
		for _, t := range trials {
			reports.await(report{t.service, t.beat})
			time.Sleep(apart)
			t.at = time.Now()
			check(t.victim.cmd.Process.Signal(t.end))
		}
		header("from -> to", "n", "median", "min", "max", "budget", "")
		missed := false
		for _, d := range delays {
			var took []time.Duration
			for _, t := range trials {
				if t.kind == d.kind {
					took = append(took, reports.await(report{t.service, d.state}).Sub(t.at))
				}
			}
			row, holds := d.row(took)
			fmt.Println(row)
			missed = missed || !holds
		}
		if missed {
			fail("a budget is missed")
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
		t.victim, t.beat = start("", "sleep", "3600"), "beat 1"
		watcher := startSender(plugin, append(flags, "-pid", strconv.Itoa(t.victim.cmd.Process.Pid))...)
		return func() { t.victim.stop(); watcher.stop() }
	}
	t.victim = startSender(plugin, flags...)
	return t.victim.stop
}

// row returns a row of the table, and whether the budget holds.
func (d *delay) row(took []time.Duration) (row string, holds bool) {
	verdict, middle := "holds", median(took)
	if middle > d.budget {
		verdict = "MISSED"
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s |", d.what, len(took),
		ms(middle), ms(slices.Min(took)), ms(slices.Max(took)), ms(d.budget), verdict), middle <= d.budget
}

// A report is a state that a service is reported to be in, or "beat" with its number.
type report struct{ service, what string }

// reports is when each was first read.
type reports struct {
	mu    sync.Mutex
	first map[report]time.Time
}

// follow reads the output of a plugin as it comes.
func follow(output *bufio.Reader) *reports {
	r := &reports{first: make(map[report]time.Time)}
	go func() { // ends with the output
		for lines := bufio.NewScanner(output); lines.Scan(); {
			now := time.Now()
			if told, ok := parse(lines.Text()); ok {
				r.mu.Lock()
				if r.first[told].IsZero() {
					r.first[told] = now
				}
				r.mu.Unlock()
			}
		}
	}()
	return r
}

// await waits until there is such a report, and returns when it came.
func (r *reports) await(wanted report) time.Time {
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		at := r.first[wanted]
		r.mu.Unlock()
		if !at.IsZero() {
			return at
		}
		if time.Now().After(limit) {
			fail("%s: never reported %q", wanted.service, wanted.what)
		}
	}
}

// parse returns what a line protocol of the plugin reports, if it is one that counts.
func parse(line string) (report, bool) {
	series, fields, _ := strings.Cut(line, " ")
	measurement, tags, _ := strings.Cut(series, ",")
	service := value(tags, "service")
	switch measurement {
	case "heartbeat":
		return report{service, "beat " + strings.TrimSuffix(value(fields, "seq"), "i")}, true
	case "heartbeat_event":
		return report{service, value(tags, "state")}, true
	}
	return report{}, false
}

// value returns what a list of key=value, with commas, has for key.
func value(list, key string) string {
	list, _, _ = strings.Cut(list, " ")
	for pair := range strings.SplitSeq(list, ",") {
		if v, ok := strings.CutPrefix(pair, key+"="); ok {
			return v
		}
	}
	return ""
}

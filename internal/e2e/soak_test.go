//go:build linux

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var soakTime = flag.Duration("soak", 20*time.Second, "how long the soak lasts, but for its beginning and end")

const (
	soakHonest   = 60
	soakInterval = 2 * time.Second

	// unsaved is, with ten times the slack, how old what a collector knows may
	// be and not yet be in its state file. With kill -9 that is lost.
	unsaved = 10 * time.Second
)

// Honest senders and all others share a collector, which is restarted again and
// again for a quarter of the time and then lives on. What it told is judged at
// the end: nobody honest was dead, everybody who died was told dead once, and
// nothing was left behind.
func TestSoak(t *testing.T) {
	t.Parallel()
	p := newPost(t, alone, `forget_dead_after = "30s"`, `forget_left_after = "10s"`, `read_timeout = "5s"`)
	p.relieve()
	pause(2 * time.Second) // it opens its state file once it listens
	descriptors := openDescriptors(t, p.now())
	goroutines := p.dump()
	s := &soak{post: p, died: make(map[string]time.Time), left: make(map[string]time.Time), visits: make(map[string]int)}

	p.relieve()
	ctx, stop := context.WithCancel(t.Context())
	var honest, visitors sync.WaitGroup
	for i := range soakHonest {
		honest.Go(func() { // ends with stop
			if err := fleetSender(i, p.address, soakInterval).Run(ctx); err != nil {
				t.Errorf("sender %d: %v", i, err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		honest.Wait()
	})
	p.untilAll(soakHonest)
	for kind, visit := range odd {
		honest.Go(func() { s.keepVisiting(ctx, kind, visit) }) // likewise
	}
	visiting, leave := context.WithCancel(t.Context())
	defer visitors.Wait()
	defer leave()
	for kind, visit := range visits {
		visitors.Go(func() { s.keepVisiting(visiting, kind, visit) }) // ends with leave
	}

	begin := time.Now()
	s.restarts(begin.Add(*soakTime / 4))
	memory := s.watch(begin.Add(*soakTime))
	leave()
	visitors.Wait()
	p.now().until("every death to be told", func() bool { return len(s.untold()) == 0 })
	pause(silence(soakInterval))
	s.judge()
	memory.judge(t)

	stop()
	honest.Wait()
	p.now().until("all descriptors to be closed", func() bool { return openDescriptors(t, p.now()) <= descriptors })
	after := p.dump()
	t.Logf("at the end %d descriptors, as at the beginning, and %d goroutines, at the beginning %d", descriptors, after, goroutines)
	require.LessOrEqual(t, after, goroutines+keptWorkers, "goroutines")
}

// keptWorkers is how many workers a collector keeps for what comes next, at the
// most: maxIdle of its crew.
const keptWorkers = 16

// A soak is what was done to the collectors of a post.
type soak struct {
	*post
	kills []time.Time // kill -9

	mu     sync.Mutex           // guards the rest
	died   map[string]time.Time // who ended without a word, and when the last beat was acknowledged
	left   map[string]time.Time // who said goodbye, and when that was acknowledged
	visits map[string]int       // by kind, that came to their end
}

// restarts restarts the collector, by turns as systemd does and by kill -9.
func (s *soak) restarts(until time.Time) {
	const times = 8
	every := time.Until(until) / times
	for i := range times {
		pause(every)
		if i%2 == 0 {
			s.stop()
		} else {
			s.now().kill()
			s.kills = append(s.kills, time.Now())
		}
		s.relieve()
	}
}

// watch returns how much memory the collector has until then.
func (s *soak) watch(until time.Time) footprint {
	every := max(time.Until(until)/200, 100*time.Millisecond)
	var all footprint
	for time.Now().Before(until) {
		pause(every)
		all = append(all, residentKiB(s.t, s.now()))
	}
	return all
}

// keepVisiting lets visitors of a kind come one after the other. One whose
// connection is ended by a restart is followed by the next.
func (s *soak) keepVisiting(ctx context.Context, kind string, visit func(context.Context, *soak, string) error) {
	for i := 0; ctx.Err() == nil; i++ {
		if visit(ctx, s, fmt.Sprintf("%s-%d", kind, i)) == nil {
			s.mu.Lock()
			s.visits[kind]++
			s.mu.Unlock()
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// note writes down when something of a visitor was acknowledged.
func (s *soak) note(what map[string]time.Time, who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what[who] = time.Now()
}

// forget strikes out whoever did not die after all.
func (s *soak) forget(who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.died, who)
}

// nearKill reports whether a collector was killed so soon after that it may not
// have saved what it knew then.
func (s *soak) nearKill(at time.Time) bool {
	return slices.ContainsFunc(s.kills, func(kill time.Time) bool {
		return !kill.Before(at) && kill.Sub(at) < unsaved
	})
}

// deaths returns when who was told dead.
func (s *soak) deaths() map[string][]time.Time {
	all := make(map[string][]time.Time)
	for _, m := range s.events("state", "dead") {
		source, _ := m.GetTag("source")
		all[source] = append(all[source], m.Time())
	}
	return all
}

// untold returns who died and was not told dead, but should have been.
func (s *soak) untold() []string {
	var names []string
	told := s.deaths()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, last := range s.died {
		if len(told[name]) == 0 && !s.nearKill(last) {
			names = append(names, name)
		}
	}
	return names
}

// judge requires that everything told is true, and told once.
func (s *soak) judge() {
	s.t.Helper()
	told := s.deaths()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, times := range told {
		kind, _, _ := strings.Cut(name, "-")
		if _, mayDie := visits[kind]; !mayDie {
			s.t.Errorf("%s is honest and was told dead: %v", name, s.states(name, "shop"))
		}
		if at, left := s.left[name]; left && !s.nearKill(at) {
			s.t.Errorf("%s said goodbye and was told dead: %v", name, s.states(name, "shop"))
		}
		if len(times) > 1 && !s.nearKill(times[0]) {
			s.t.Errorf("%s was told dead %d times: %v", name, len(times), s.states(name, "shop"))
		}
	}
	for _, m := range s.events() {
		source, _ := m.GetTag("source")
		kind, _, _ := strings.Cut(source, "-")
		require.NotContains(s.t, []string{"loris", "liar"}, kind, "%v", m)
	}
	for kind := range visits {
		require.Positive(s.t, s.visits[kind], "visits of kind %s", kind)
	}
	s.t.Logf("%d lives of the collector, %d ended by kill -9; visits: %v", len(s.lives)-1, len(s.kills), s.visits)
	s.t.Logf("%d died and %d said goodbye; %d were told dead, none of them of the %d honest ones",
		len(s.died), len(s.left), len(told), soakHonest+len(odd))
}

// A footprint is how much memory a process had, from time to time, in KiB.
type footprint []int

// judge requires that it does not grow: the first quarter is for warming up.
func (all footprint) judge(t *testing.T) {
	t.Helper()
	rest := all[len(all)/4:]
	third := len(rest) / 3
	first, last := median(rest[:third]), median(rest[2*third:])
	t.Logf("memory, median: %d KiB in the first third, %d KiB in the last; at most %d KiB", first, last, slices.Max(all))
	require.Less(t, last, 3*first/2, "KiB in the last third, %d in the first", first)
}

func median(all []int) int {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func residentKiB(t testing.TB, p *process) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSuffix(memory(p.pid()), " KiB"))
	require.NoError(t, err)
	return n
}

func openDescriptors(t testing.TB, p *process) int {
	t.Helper()
	names, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.pid()), "fd"))
	require.NoError(t, err)
	return len(names)
}

// dump ends the collector by SIGQUIT and returns how many goroutines it had
// beside those of the runtime.
func (p *post) dump() int {
	p.t.Helper()
	p.now().signal(syscall.SIGQUIT)
	require.Equal(p.t, 2, p.now().exit())
	created := p.now().stderr.with("created by ")
	ours := slices.DeleteFunc(created, func(line string) bool { return strings.HasPrefix(line, "created by runtime.") })
	require.NotEmpty(p.t, ours)
	return len(ours)
}

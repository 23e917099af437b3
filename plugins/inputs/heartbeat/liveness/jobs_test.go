package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// If many jobs begin and never end, the oldest are forgotten, and so are the oldest ended
// jobs.
func TestJobsAreBounded(t *testing.T) {
	r := newRig(t)
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour}
	r.observe(ping)
	for i := range 10 * maxJobs {
		begin, end := ping, ping
		begin.Begins, begin.MaxRuntime, begin.Job, end.Job = true, time.Hour, fmt.Sprint("begun ", i), fmt.Sprint("ended ", i)
		r.observe(begin)
		r.observe(end)
	}
	p := r.tracker.lookUp(shop)
	require.Len(t, p.jobs.open, maxJobs)
	require.Len(t, p.jobs.ended, maxJobs)
	require.Equal(t, "begun 0", p.jobs.open[0].id, "its limit applies")
	require.Equal(t, fmt.Sprint("ended ", 10*maxJobs-1), p.jobs.ended[maxJobs-1].id)
}

// The start of a job may reach one collector and its end another, because clients try the next
// address.
func TestJobsAreKnownToAll(t *testing.T) {
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour}
	begin, end, failure := ping, ping, ping
	begin.Begins, begin.MaxRuntime, failure.Status = true, time.Minute, SaysDead
	for _, c := range []struct {
		name string
		end  *Beat // received by the other collector
		want string
	}{
		{"it succeeds", &end, "alive beat"},
		{"it fails", &failure, "dead exited"},
		{"it does not end", nil, "dead overrun"},
	} {
		for _, job := range []string{"", "c0ffee"} {
			for _, both := range []bool{false, true} { // both have received a beat of the peer before
				p := newPair(t)
				begin.Job = job
				p.one.observe(ping)
				if both {
					p.two.observe(ping)
				}
				p.pass(time.Second)
				p.one.observe(begin)
				p.pass(30 * time.Second)
				if c.end != nil {
					c.end.Job = job
					p.two.observe(*c.end)
					p.pass(time.Second)
					p.two.observe(*c.end)
				}
				p.pass(time.Minute)
				for i, r := range []*rig{p.one, p.two} {
					v := r.view(shop)
					name := fmt.Sprintf("%s, job %q, heard by both: %t, collector %d", c.name, job, both, i+1)
					require.Equal(t, c.want, fmt.Sprint(v.State, " ", v.Reason), name)
					require.LessOrEqual(t, v.Deaths, uint64(1), name)
				}
			}
		}
	}
}

// When collectors that were separated or stopped meet again, each learns what it has missed
// about jobs.
func TestJobsThatAMateHasMissed(t *testing.T) {
	ping := Beat{ID: shop, Interval: 3 * time.Second, Margin: 3 * time.Second}
	for _, job := range []string{"", "c0ffee"} {
		begin, end := ping, ping
		begin.Begins, begin.MaxRuntime, begin.Job, end.Job = true, 20*time.Second, job, job
		meet := func() *pair {
			p := newPair(t)
			p.one.observe(ping)
			p.two.observe(ping)
			p.pass(time.Second)
			return p
		}
		states := func(p *pair) (all []string) {
			for _, r := range []*rig{p.one, p.two} {
				v := r.view(shop)
				all = append(all, fmt.Sprint(v.State, " ", v.Reason, " ", v.Deaths))
			}
			return all
		}

		p := meet() // the end
		p.one.observe(begin)
		p.pass(time.Second)
		p.parted = true
		p.two.observe(end)
		p.pass(time.Second)
		p.parted = false
		p.round()
		require.Empty(t, p.one.tracker.lookUp(shop).jobs.open, job)
		p.pass(2 * time.Second)
		require.Equal(t, []string{"alive beat 0", "alive beat 0"}, states(p), job)

		p = meet() // the beginning
		p.parted = true
		p.one.observe(begin)
		p.pass(time.Second)
		p.parted = false
		p.round()
		p.pass(15 * time.Second)
		require.Equal(t, []string{"alive beat 0", "alive beat 0"}, states(p), job)
		p.pass(10 * time.Second)
		require.Equal(t, []string{"dead overrun 1", "dead overrun 1"}, states(p), job)
	}
}

// If a collector reports a peer dead because it missed the start of a job, collectors that
// received the start do not follow.
func TestRunningJobIsNotDead(t *testing.T) {
	ping := Beat{ID: shop, Interval: 3 * time.Second, Margin: 3 * time.Second}
	begin := ping
	begin.Begins, begin.MaxRuntime = true, time.Minute
	p := newPair(t)
	p.one.observe(ping)
	p.two.observe(ping)
	p.pass(time.Second)
	p.parted = true
	p.one.observe(begin)
	p.pass(8 * time.Second)
	require.Equal(t, Dead, p.two.view(shop).State)
	p.parted = false
	p.round()
	p.pass(time.Second)
	require.Equal(t, Alive, p.one.view(shop).State)
}

// No collector listened while both were restarted: a job may have ended.
func TestJobMayHaveEndedWhileAllWereRestarted(t *testing.T) {
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour}
	begin := ping
	begin.Begins, begin.MaxRuntime = true, time.Minute
	p := newPair(t)
	p.one.observe(ping)
	p.two.observe(ping)
	p.one.observe(begin)
	p.pass(time.Second)
	p.one.restart(time.Second)
	p.two.restart(time.Second)
	p.round()
	p.pass(2 * time.Minute)
	for _, r := range []*rig{p.one, p.two} {
		require.Equal(t, "unknown restored", fmt.Sprint(r.view(shop).State, " ", r.view(shop).Reason))
		require.Zero(t, r.view(shop).Deaths)
	}
}

// A client may use one id forever: the end of yesterday's job is not the end of the job that
// is running.
func TestJobsOfOneIDAreKeptApart(t *testing.T) {
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour, Job: "c0ffee"}
	begin := ping
	begin.Begins, begin.MaxRuntime = true, 10*time.Minute
	p := newPair(t)
	p.one.observe(ping)
	p.two.observe(ping)
	p.pass(2 * lateStart)
	p.parted = true
	p.one.observe(begin)
	p.pass(time.Second)
	p.parted = false
	p.round()
	for i, r := range []*rig{p.one, p.two} {
		require.Len(t, r.tracker.lookUp(shop).jobs.open, 1, "collector %d", i+1)
	}
	p.parted = true
	p.pass(2 * lateStart)
	p.two.observe(ping)
	p.pass(time.Second)
	p.parted = false
	p.round()
	for i, r := range []*rig{p.one, p.two} {
		require.Empty(t, r.tracker.lookUp(shop).jobs.open, "collector %d", i+1)
	}
}

// The age of an event does not depend on how long a collector was stopped.
func TestJobThatEndedWhileACollectorWasStopped(t *testing.T) {
	for _, job := range []string{"", "c0ffee"} {
		ping := Beat{ID: shop, Interval: time.Minute, Margin: 5 * time.Second}
		begin, end := ping, ping
		begin.Begins, begin.MaxRuntime, begin.Job, end.Job = true, 14*time.Second, job, job
		p := newPair(t)
		p.one.observe(ping)
		p.two.observe(ping)
		p.pass(time.Second)
		p.one.observe(begin)
		p.pass(time.Second)
		p.two.observe(end)
		p.one.stall(6 * time.Second)
		p.two.pass(6 * time.Second)
		p.two.tracker.TakeSaid(p.two.now) // its messages are lost
		p.pass(time.Second)
		p.round()
		p.pass(20 * time.Second)
		for i, r := range []*rig{p.one, p.two} {
			require.Empty(t, r.tracker.lookUp(shop).jobs.open, "job %q, collector %d", job, i+1)
			require.Equal(t, "alive beat", fmt.Sprint(r.view(shop).State, " ", r.view(shop).Reason), "job %q, collector %d", job, i+1)
		}
	}
}

// A mate that has listened knows whether a job has ended while this collector was restarted.
func TestMateIsSureOfAJob(t *testing.T) {
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour}
	begin := ping
	begin.Begins, begin.MaxRuntime = true, time.Minute
	p := newPair(t)
	p.one.observe(ping)
	p.two.observe(ping)
	p.one.observe(begin)
	p.pass(time.Second)
	p.one.restart(time.Second)
	p.two.pass(time.Second)
	p.round()
	p.pass(2 * time.Minute)
	for i, r := range []*rig{p.one, p.two} {
		require.Equal(t, "dead overrun", fmt.Sprint(r.view(shop).State, " ", r.view(shop).Reason), "collector %d", i+1)
	}
}

package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Of many jobs that begin and never end the oldest are forgotten, of those that have ended too.
func TestJobsAreBounded(t *testing.T) {
	r := newRig(t)
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour}
	r.observe(ping)
	for i := range 10 * maxJobs {
		begin, end := ping, ping
		begin.Begins, begin.Job, end.Job = true, fmt.Sprint("begun ", i), fmt.Sprint("ended ", i)
		r.observe(begin)
		r.observe(end)
	}
	p := r.tracker.peers[shop]
	require.Len(t, p.jobs.open, maxJobs)
	require.Len(t, p.jobs.ended, maxJobs)
	require.Equal(t, fmt.Sprint("begun ", 9*maxJobs), p.jobs.open[0].id)
	require.Equal(t, fmt.Sprint("ended ", 10*maxJobs-1), p.jobs.ended[maxJobs-1])
}

// A job that begins at one collector ends at another one: clients try the next address.
func TestJobsAreKnownToAll(t *testing.T) {
	ping := Beat{ID: shop, Interval: 24 * time.Hour, Margin: time.Hour}
	begin, end, failure := ping, ping, ping
	begin.Begins, begin.MaxRuntime, failure.Status = true, time.Minute, SaysDead
	for _, c := range []struct {
		name string
		end  *Beat // at the other one
		want string
	}{
		{"it succeeds", &end, "alive beat"},
		{"it fails", &failure, "dead exited"},
		{"it does not end", nil, "dead overrun"},
	} {
		for _, job := range []string{"", "c0ffee"} {
			for _, both := range []bool{false, true} { // have heard it before
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

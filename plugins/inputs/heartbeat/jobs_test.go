package heartbeat

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A crontab is a host with a job that pings, in a bubble of synctest. Its requests take no time.
type crontab struct {
	t     *testing.T
	begin time.Time
	state string // file
	check Check

	h     *Heartbeat
	acc   *testutil.Accumulator
	stop  func()
	pipes atomic.Pointer[pipeListener] // nil while no collector runs
	told  []string                     // by collectors that were stopped
}

// newCrontab starts a collector with a check, and pings it once.
func newCrontab(t *testing.T, check Check) *crontab {
	c := &crontab{t: t, begin: time.Now(), state: filepath.Join(t.TempDir(), "state"), check: check}
	c.startCollector()
	c.ping("")
	return c
}

func (c *crontab) startCollector() {
	c.h = newPlugin(c.t)
	c.h.StateFile = c.state
	c.h.ServiceAddresses = []string{"http://127.0.0.1:0"}
	c.check.Token, c.check.Peer = secretOf(backupToken), "web-1/backup" // a secret is used up
	c.h.Checks = []Check{c.check}
	var end func()
	c.acc, _, end = startInBubble(c.t, c.h)
	pipes := newPipes()
	options := c.h.websites.options
	options.Recorded = func(net.Conn) {}
	options.Refused = func(_ wire.Reason, _, text string) { c.t.Error("refused: ", text) }
	options.Panicked = func(_ string, cause any) { c.t.Error(cause) }
	site := web.New(pipes, &options)
	site.Start()
	c.stop = func() {
		site.End()
		end()
		c.pipes.Store(nil)
	}
	c.pipes.Store(pipes) // the last: a ping may wait for it
}

// at lets time pass until so long after the begin.
func (c *crontab) at(since time.Duration) { time.Sleep(time.Until(c.begin.Add(since))) }

// try pings once, and reports whether a collector was there.
func (c *crontab) try(what string) bool {
	pipes := c.pipes.Load()
	if pipes == nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		pipes.conns <- far
		return near, nil
	}}}
	answer, err := client.Get("http://collector/ping/" + backupToken + what)
	require.NoError(c.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(c.t, err)
	require.Equal(c.t, "OK", string(body))
	return true
}

// ping pings as curl does with --retry 5 --retry-connrefused.
func (c *crontab) ping(what string) {
	pause := time.Second
	for range 5 {
		if c.try(what) {
			return
		}
		time.Sleep(pause)
		pause *= 2
	}
	require.True(c.t, c.try(what), "all retries were in vain")
}

// stopCollector stops it, as before another one is started with its state.
func (c *crontab) stopCollector() {
	gather(c.t, c.h)
	c.stop()
	for _, m := range metricsOf(c.acc, "heartbeat_event", "source", "web-1") {
		at := m.Time().Sub(c.begin).Round(time.Second).String()
		c.told = append(c.told, at+" "+m.Tags()["state"]+" "+m.Tags()["reason"])
	}
}

// field returns the latest value of a field of the job.
func (c *crontab) field(measurement, name string) any {
	gather(c.t, c.h)
	metrics := metricsOf(c.acc, measurement, "source", "web-1")
	require.NotEmpty(c.t, metrics)
	value, _ := metrics[len(metrics)-1].GetField(name)
	return value
}

// Each story is of a job that runs every day. Its events are emitted as they happened, at the right
// time, and nothing else is.
func TestJobsAreToldAsTheyWere(t *testing.T) {
	t.Parallel()
	const a, b = "?rid=6f9619ff-8b86-4011-b42d-00c04fc964ff", "?rid=0ea7ab45-3fa4-4c2c-8a5c-0a1d7be66d05"
	const hour, minute = time.Hour, time.Minute
	for name, c := range map[string]struct {
		story func(*crontab)
		want  []string
	}{
		"every day, never quite at the same time": {func(c *crontab) {
			for day, off := range []time.Duration{10 * minute, -3 * minute} {
				c.at(time.Duration(day+1)*24*hour + off)
				c.ping("/start")
				c.at(time.Duration(day+1)*24*hour + off + 12*minute)
				c.ping("/0")
			}
		}, nil},
		"it is late": {func(c *crontab) {
			c.at(25*hour + 30*minute)
			c.ping("")
		}, []string{"24h15m0s suspect silence", "25h0m0s dead silence", "25h30m0s alive beat"}},
		"it takes longer than it may be silent": {func(c *crontab) {
			c.at(24 * hour)
			c.ping("/start")
			c.at(25*hour + 50*minute)
			c.ping("/0")
		}, nil},
		"it begins and never ends": {func(c *crontab) {
			c.at(1 * hour)
			c.ping("/start")
			c.at(4 * hour)
		}, []string{"3h0m0s dead overrun"}},
		"it fails with 3": {func(c *crontab) {
			c.at(1 * hour)
			c.ping("/start")
			c.at(1*hour + 10*minute)
			c.ping("/3")
			require.EqualValues(c.t, 3, c.field("heartbeat_down", "exit_code"))
			c.at(2 * hour)
			c.ping("/start") // which is no success
			c.at(2*hour + 10*minute)
			c.ping("/0")
		}, []string{"1h10m0s dead exited", "2h10m0s alive beat"}},
		"two overlap": {func(c *crontab) {
			c.at(1 * hour)
			c.ping("/start" + a)
			c.at(2 * hour)
			c.ping("/start" + b)
			c.at(2*hour + 30*minute)
			c.ping("/0" + a)
			c.at(3*hour + 30*minute)
			c.ping("/0" + b)
			c.at(5 * hour)
		}, nil},
		"two overlap, and one never ends": {func(c *crontab) {
			c.at(1 * hour)
			c.ping("/start" + a)
			c.at(1*hour + 30*minute)
			c.ping("/start" + b)
			c.at(2 * hour)
			c.ping("/0" + a)
			c.at(5 * hour)
		}, []string{"3h30m0s dead overrun"}},
		"its pings are sent again": {func(c *crontab) {
			c.at(1 * hour)
			c.ping("/start" + a)
			c.ping("/start" + a)
			c.at(2 * hour)
			c.ping("/3" + a)
			c.ping("/3" + a)
			c.at(3 * hour)
			c.ping("/0" + b)
			c.ping("/3" + a) // very late
			require.EqualValues(c.t, 1, c.field("heartbeat_peer", "deaths_total"))
		}, []string{"2h0m0s dead exited", "3h0m0s alive beat"}},
		"it pings while its collector is restarted": {func(c *crontab) {
			c.at(1 * hour)
			c.stopCollector()
			started := make(chan struct{})
			go func() { // ends within the ping
				defer close(started)
				c.at(1*hour + 10*time.Second)
				c.startCollector()
			}()
			c.ping("")
			<-started
			require.EqualValues(c.t, 2, c.field("heartbeat_peer", "beats_total"))
		}, nil},
		"its collector is restarted while it runs": {func(c *crontab) {
			c.at(1 * hour)
			c.ping("/start")
			c.at(1*hour + 30*minute)
			c.stopCollector()
			c.at(1*hour + 31*minute)
			c.startCollector()
			c.at(2*hour + 30*minute)
			c.ping("/0")
			c.at(5 * hour)
		}, nil},
		"it is not to run for a while": {func(c *crontab) {
			c.ping("/leave?back_in=2h")
			c.at(1*hour + 50*minute)
			c.ping("")
			c.at(3 * hour)
		}, []string{"0s left leaving", "1h50m0s alive beat"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a day is a million ticks
			synctest.Test(t, func(t *testing.T) {
				host := newCrontab(t, Check{Every: hours(24), Grace: hours(1), MaxRuntime: hours(2)})
				c.story(host)
				host.stopCollector()
				require.Equal(t, append([]string{"0s alive beat"}, c.want...), host.told)
			})
		})
	}
}

// A job that runs by a calendar: at 02:15 of New York, which is 07:15 for the collector, Monday to
// Friday. The bubble begins on a Saturday.
func TestJobsByCalendarAreToldAsTheyWere(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	const monday = 2*24*time.Hour + 7*time.Hour + 15*time.Minute // when it is due first
	for name, c := range map[string]struct {
		story func(*crontab)
		want  []string
	}{
		"it runs": {func(c *crontab) {
			c.at(monday + 40*time.Second)
			c.ping("")
			c.at(monday + 24*hour)
		}, nil},
		"it does not run": {func(c *crontab) {
			c.at(monday + 2*hour)
		}, []string{"56h15m0s dead silence"}},
		"the collector is restarted over a weekend": {func(c *crontab) {
			c.at(24 * hour)
			c.stopCollector()
			c.at(25 * hour)
			c.startCollector()
			c.at(monday + 2*hour)
		}, []string{"56h15m0s dead silence"}},
		"the collector is restarted when it is due": {func(c *crontab) {
			c.at(monday - 10*time.Second)
			c.stopCollector()
			c.at(monday + 10*time.Second)
			c.startCollector()
			c.at(monday + 2*hour)
			require.EqualValues(c.t, 0, c.field("heartbeat_peer", "alive"))
			c.at(monday + 24*hour)
			c.ping("")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				host := newCrontab(t, Check{Schedule: "15 2 * * 1-5", Timezone: "America/New_York"})
				c.story(host)
				host.stopCollector()
				told := slices.DeleteFunc(host.told, func(event string) bool { return strings.Contains(event, "suspect") })
				require.Equal(t, append([]string{"0s alive beat"}, c.want...), told)
			})
		})
	}
}

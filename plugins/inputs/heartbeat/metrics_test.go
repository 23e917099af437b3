package heartbeat

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

// story lets a few peers live and die, and returns all metrics of it.
func story(t *testing.T, h *Heartbeat) []telegraf.Metric {
	acc, connect, stop := startInBubble(t, h)
	framed, bare := connect(), connect()
	seq := 0
	nginx := func(pid int, more string) {
		seq++
		framed.send(frame(fmt.Sprintf(`{"host":"web-1","ip":"10.0.0.7","service":"nginx","pid":%d,"run":"r","seq":%d,"interval_ms":10000,`+
			`"sent_ms":%d,"rtt_us":800,"tags":{"site":"north","secret":"x"}%s}`, pid, seq, time.Now().UnixMilli()-1500, more)))
	}
	nginx(100, "")
	synctest.Wait()
	bare.send(`{"ip": "10.0.0.5", "status": "alive", "pid": 4711}`)
	time.Sleep(10500 * time.Millisecond)
	nginx(200, `,"status":"WARN","fields":{"load":1,"ok":true,"text":"fine"}`)
	framed.send(frame(`{"host":"gone","ip":"10.0.0.8","pid":0,"status":"leaving","exit_code":0}`))
	framed.send(frame(`{"host":"job","ip":"10.0.0.9","service":"backup","pid":9,"status":"dead","exit_code":137,"signal":"KILL"}`))
	time.Sleep(time.Minute)
	synctest.Wait()
	gather(t, h)
	framed.Close()
	bare.Close()
	stop()
	return acc.GetTelegrafMetrics()
}

func TestMetricsOfAStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.TagKeys = []string{"site"}
		var got []string
		for _, m := range story(t, h) {
			if m.Name() == "heartbeat" || m.Name() == "heartbeat_event" || m.Name() == "heartbeat_down" {
				got = append(got, text(m))
			}
		}
		//nolint:lll // a metric is a line
		require.Equal(t, strings.TrimSpace(`
heartbeat_event reason=started: lasted_seconds=0
heartbeat_event previous=unknown reason=beat service=nginx site=north source=web-1 state=alive: last_pid=100 lasted_seconds=0
heartbeat ip=10.0.0.7 pid=100 service=nginx site=north source=web-1: interval_seconds=10 lost=0 rtt_seconds=0.0008 seq=1 skew_seconds=1.5 status=alive
heartbeat_event ip=10.0.0.5 pid=4711 previous=unknown reason=beat source=10.0.0.5 state=alive: last_pid=4711 lasted_seconds=0
heartbeat ip=10.0.0.5 pid=4711 source=10.0.0.5: lost=0 status=alive
heartbeat_event previous=alive reason=restarted service=nginx site=north source=web-1 state=alive: last_pid=200 lasted_seconds=0
heartbeat ip=10.0.0.7 pid=200 service=nginx site=north source=web-1: gap_seconds=10.5 interval_seconds=10 jitter_seconds=0.5 lost=0 rtt_seconds=0.0008 seq=2 skew_seconds=1.5 status=WARN x_load=1 x_ok=1 x_text_text=fine
heartbeat_event previous=unknown reason=finished service=host source=gone state=left: exit_code=0 last_pid=0 lasted_seconds=0
heartbeat ip=10.0.0.8 pid=0 service=host source=gone: lost=0 status=leaving
heartbeat_event previous=unknown reason=exited service=backup source=job state=dead: exit_code=137 last_pid=9 lasted_seconds=0
heartbeat_down ip=10.0.0.9 pid=9 reason=exited service=backup source=job state=dead: down_seconds=0 exit_code=137 since_timestamp_seconds=946684810.5
heartbeat ip=10.0.0.9 pid=9 service=backup source=job: lost=0 status=dead
heartbeat_event previous=alive reason=silence service=nginx site=north source=web-1 state=suspect: last_pid=200 lasted_seconds=26.8
heartbeat_down ip=10.0.0.7 pid=200 reason=silence service=nginx site=north source=web-1 state=suspect: down_seconds=0 since_timestamp_seconds=946684826.8
heartbeat_event previous=suspect reason=silence service=nginx site=north source=web-1 state=dead: last_pid=200 lasted_seconds=18.8
heartbeat_down ip=10.0.0.7 pid=200 reason=silence service=nginx site=north source=web-1 state=dead: down_seconds=0 since_timestamp_seconds=946684845.6
heartbeat_down ip=10.0.0.9 pid=9 reason=exited service=backup source=job state=dead: down_seconds=60 exit_code=137 since_timestamp_seconds=946684810.5
heartbeat_down ip=10.0.0.7 pid=200 reason=silence service=nginx site=north source=web-1 state=dead: down_seconds=24.9 since_timestamp_seconds=946684845.6
`), strings.Join(got, "\n"))
	})
}

// text prints a metric without its stamp, without the id of an event and without
// what differs from run to run.
func text(m telegraf.Metric) string {
	join := func(parts []string) string { slices.Sort(parts); return strings.Join(parts, " ") }
	var tags, fields []string //nolint:prealloc // short
	for key, value := range m.Tags() {
		tags = append(tags, key+"="+value)
	}
	for key, value := range m.Fields() {
		if key != "id" && (key != "last_pid" || m.HasTag("source")) {
			if number, ok := value.(float64); ok {
				value = strconv.FormatFloat(number, 'f', -1, 64)
			}
			fields = append(fields, fmt.Sprintf("%s=%v", key, value))
		}
	}
	return m.Name() + " " + join(tags) + ": " + join(fields)
}

// series names what a database would store a metric in.
func series(m telegraf.Metric) string {
	name, _, _ := strings.Cut(text(m), ": ")
	return name
}

func TestGaugesOfAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := story(t, newPlugin(t))
		last := make(map[string]telegraf.Metric)
		for _, m := range metrics {
			if m.Name() == "heartbeat_peer" {
				require.Equal(t, telegraf.Gauge, m.Type())
				last[m.Tags()["source"]] = m
			}
		}
		codes := make(map[string]string)
		for source, m := range last {
			f := m.Fields()
			codes[source] = fmt.Sprintf("alive=%v dead=%v state=%v reason=%v", f["alive"], f["dead"], f["state_code"], f["reason_code"])
		}
		require.Equal(t, map[string]string{
			"web-1":    "alive=0 dead=1 state=3 reason=2",
			"10.0.0.5": "alive=1 dead=0 state=1 reason=1",
			"gone":     "alive=0 dead=0 state=4 reason=10",
			"job":      "alive=0 dead=1 state=3 reason=7",
		}, codes)
		require.Equal(t, map[string]any{
			"alive": int64(0), "dead": int64(1), "state_code": int64(3), "reason_code": int64(2),
			"status_code": int64(1), "since_timestamp_seconds": 946684845.6, "age_seconds": 60.0, "dead_after_seconds": 35.0,
			"flapping": int64(0), "last_pid": int64(200), "beats_total": int64(2), "lost_total": int64(0),
			"restarts_total": int64(1), "deaths_total": int64(1), "dead_seconds_total": 24.9,
			"mistakes_total": int64(0), "conflicts_total": int64(0),
		}, last["web-1"].Fields())
	})
}

func TestPluginTellsAboutItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(map[string]string)
		for _, m := range story(t, newPlugin(t)) {
			switch {
			case m.Name() == "heartbeat_collector" && m.HasTag("state"):
				got["state "+m.Tags()["state"]] = text(m)
			case m.HasTag("kind"):
				require.Equal(t, telegraf.Counter, m.Type())
				got["kind "+m.Tags()["kind"]] = text(m)
			case m.Name() == "heartbeat_collector" || m.Name() == "heartbeat_listener":
				got[m.Name()+" "+m.Tags()["reason"]] = text(m)
			}
		}
		require.Equal(t, "heartbeat_collector state=dead: peers=2", got["state dead"])
		require.Equal(t, "heartbeat_collector state=left: peers=1", got["state left"])
		require.Equal(t, "heartbeat_collector state=alive: peers=1", got["state alive"])
		require.Equal(t, "heartbeat_collector state=suspect: peers=0", got["state suspect"])
		require.Equal(t, "heartbeat_collector : coalesced_total=0 isolated=0 panics_total=0 refused_total=0 "+
			"stall_seconds_total=0 unnamed_total=0", got["heartbeat_collector "])
		for _, kind := range []string{"late", "duplicate", "limited"} {
			require.Equal(t, "heartbeat_collector kind="+kind+": beats_total=0", got["kind "+kind])
		}
		require.Regexp(t, `^heartbeat_listener address=tcp://127.0.0.1:7878: beats_total=5 bytes_total=[0-9]{3,4} connections=2$`,
			got["heartbeat_listener "])
		require.Equal(t, "heartbeat_listener address=tcp://127.0.0.1:7878 reason=json: refused_total=0", got["heartbeat_listener json"])
	})
}

// Beats without a metric of their own are counted for all peers together, even for peers that
// are forgotten.
func TestBeatsWithoutAMetricAreCountedByKind(t *testing.T) {
	h := newPlugin(t)
	h.MaxBeatsPerSecond = 1
	acc := start(t, h)
	c := dial(t, h)
	for _, seq := range []int{1, 2, 5, 5, 5, 4, 6, 7, 8} {
		c.beat(fmt.Sprintf(`{"host":"a","pid":0,"run":"r","seq":%d,"ack":true}`, seq))
	}
	c.beat(`{"host":"a","pid":0,"run":"r","seq":5,"ack":true,"check":true}`)
	gather(t, h)
	got := make(map[string]any)
	for _, kind := range []string{"late", "duplicate", "limited"} {
		got[kind] = metricsOf(acc, "heartbeat_collector", "kind", kind)[0].Fields()["beats_total"]
	}
	require.Equal(t, map[string]any{"late": int64(1), "duplicate": int64(2), "limited": int64(4)}, got)
	require.Len(t, metricsOf(acc, "heartbeat", "source", "a"), 2)
}

// A word of a sender makes the code of its peer, and the last one counts.
func TestStatusCodes(t *testing.T) {
	h := newPlugin(t)
	acc := start(t, h)
	c := dial(t, h)
	want := make(map[string]any)
	for word, code := range map[string]any{
		"alive": nil, "ALIVE": nil, "leaving": nil, "dead": nil, "ok": int64(0), "Up": int64(0), "warn": int64(1), "warning": int64(1),
		"DEGRADED": int64(1), "fail": int64(2), "error": int64(2), "critical": int64(2), "busy": int64(3), "undefined": int64(3),
	} {
		want[strings.ToLower(word)] = code
		c.beat(fmt.Sprintf(`{"host":%q,"pid":0,"ack":true}`, word))
		c.beat(fmt.Sprintf(`{"host":%q,"pid":0,"status":%q,"ack":true}`, word, word))
	}
	c.beat(`{"host":"warn-then-alive","pid":0,"status":"warn","ack":true}`)
	c.beat(`{"host":"warn-then-alive","pid":0,"ack":true}`)
	want["warn-then-alive"] = int64(0)
	gather(t, h)
	got := make(map[string]any)
	for _, m := range acc.GetTelegrafMetrics() {
		if m.Name() == "heartbeat_peer" {
			got[m.Tags()["source"]] = m.Fields()["status_code"]
		}
	}
	require.Equal(t, want, got)
}

// Events have unique ids, including those of the collector itself.
func TestEachEventHasAnID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := make(map[any]string)
		for _, m := range story(t, newPlugin(t)) {
			if m.Name() != "heartbeat_event" {
				continue
			}
			id := m.Fields()["id"]
			require.IsType(t, int64(0), id)
			require.Less(t, id, int64(1<<53))
			require.Positive(t, id)
			require.Empty(t, ids[id], text(m))
			ids[id] = text(m)
		}
		require.Len(t, ids, 8)
	})
}

// The stamps of each series grow by at least a millisecond, in the order in
// which the metrics leave.
func TestStampsOfASeriesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := make(map[string]time.Time)
		for _, m := range story(t, newPlugin(t)) {
			if m.HasTag("source") {
				require.GreaterOrEqual(t, m.Time().Sub(last[series(m)]), time.Millisecond, series(m))
				last[series(m)] = m.Time()
			}
		}
	})
}

// InfluxQL (all keywords), Flux, and what PostgreSQL and DataFusion reserve.
const keywords = `all alter any as asc begin by cardinality continuous create database databases default delete desc destinations
diagnostics distinct drop duration end every explain field for from grant grants group groups in inf insert into key keys kill limit
measurement measurements name offset on order password policy policies privileges queries query read replication resample retention
revoke select series set shard shards show slimit soffset stats subscription subscriptions tag to user users values where with write
and import not return option test empty or builtin then package exists if else testcase
analyse analyze array asymmetric both case cast check collate column constraint current_date deferrable do except false fetch foreign
having initially intersect lateral leading null only placing primary references session_user some symmetric table trailing true union
unique using variadic when window time fill interval now`

func TestNoNameIsAKeyword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reserved := strings.Fields(keywords)
		for _, m := range story(t, newPlugin(t)) {
			for _, name := range slices.Concat(slices.Collect(maps.Keys(m.Tags())), slices.Collect(maps.Keys(m.Fields()))) {
				require.NotContains(t, reserved, name, m.Name())
				require.Regexp(t, `^[a-z][a-z0-9_]*$`, name)
			}
			require.NotContains(t, m.Tags(), "host", "that tag is Telegraf's")
		}
	})
}

// Only "heartbeat" has strings, where they cannot disturb a gauge.
func TestStringsStandWithBeatsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, m := range story(t, newPlugin(t)) {
			for key, value := range m.Fields() {
				if _, ok := value.(string); ok {
					require.Equal(t, "heartbeat", m.Name(), key)
				}
			}
		}
	})
}

// A field has one type, whoever sends it: InfluxDB refuses a whole beat for one
// field of another type than it knows.
func TestFreeFieldsHaveOneTypeWhoeverSendsThem(t *testing.T) {
	h := newPlugin(t)
	h.MaxBeatsPerSecond = 0
	acc := start(t, h)
	c := dial(t, h)
	for _, name := range []string{"load", "load_text", "load_text_text", "load_number", "load_text_number", "text", "_text", "x_load"} {
		for _, value := range []string{`1`, `1.5`, `-3e300`, `9007199254740991`, `true`, `false`, `"busy"`} {
			c.beat(fmt.Sprintf(`{"host":"a","service":"s","pid":1,"ack":true,"fields":{%q:%s}}`, name, value))
		}
	}
	gather(t, h)
	types := make(map[string]string)
	for _, m := range metricsOf(acc, "heartbeat", "source", "a") {
		free := 0
		for key, value := range m.Fields() {
			if !strings.HasPrefix(key, "x_") {
				continue
			}
			free++
			kind := fmt.Sprintf("%T", value)
			require.Contains(t, []string{"float64", "string"}, kind, key)
			require.Contains(t, []string{"", kind}, types[key], "%s changed its type", key)
			types[key] = kind
		}
		require.Equal(t, 1, free, "a field was lost")
	}
	require.Equal(t, "float64", types["x_load"])
	require.Equal(t, "string", types["x_load_text"])
	require.Equal(t, "float64", types["x_load_text_number"])
}

// A sender that uses every name of ours freely, with every type, changes
// nothing but its own fields.
func TestFreeNamesTouchNothingOfOurs(t *testing.T) {
	names := map[string]bool{"alive": true}
	synctest.Test(t, func(t *testing.T) {
		for _, m := range story(t, newPlugin(t)) {
			for _, name := range slices.Concat(slices.Collect(maps.Keys(m.Tags())), slices.Collect(maps.Keys(m.Fields()))) {
				names[strings.TrimPrefix(name, "x_")] = true
				names[strings.TrimPrefix(m.Name(), "heartbeat_")+"_"+name] = true // heartbeat + peer_dead
			}
		}
	})
	h := newPlugin(t)
	h.MaxBeatsPerSecond = 0 // or most of them make no metric
	acc := start(t, h)
	c := dial(t, h)
	for name := range names {
		for _, value := range []any{1, 1.5, true, "text"} {
			free, err := json.Marshal(map[string]any{name: value})
			require.NoError(t, err)
			label, err := json.Marshal(map[string]string{name: "label"})
			require.NoError(t, err)
			require.Contains(t, c.beat(fmt.Sprintf(`{"host":"a","service":"s","pid":1,"ack":true,"tags":%s,"fields":%s}`, label, free)), `"ack"`)
		}
	}
	gather(t, h)
	types := make(map[string]string)
	for _, m := range acc.GetTelegrafMetrics() {
		require.NotContains(t, slices.Collect(maps.Values(m.Tags())), "label")
		for key, value := range m.Fields() {
			if own, free := strings.CutPrefix(key, "x_"); free {
				require.Equal(t, "heartbeat", m.Name())
				text, number := strings.TrimSuffix(own, "_text"), strings.TrimSuffix(own, "_number")
				require.True(t, names[own] || names[text] || names[number], key)
			}
			kind := fmt.Sprintf("%T", value)
			require.Contains(t, []string{"", kind}, types[m.Name()+key], "%s of %s changed its type", key, m.Name())
			types[m.Name()+key] = kind
		}
	}
}

func TestPIDIsAFieldUnlessItIsATag(t *testing.T) {
	h := newPlugin(t)
	h.TagWith = nil
	acc := start(t, h)
	c := dial(t, h)
	c.beat(`{"host":"a","service":"s","pid":7,"ack":true}`)
	c.beat(`{"ip":"10.0.0.5","pid":8,"ack":true}`)
	gather(t, h)
	named := metricsOf(acc, "heartbeat", "source", "a")[0]
	require.NotContains(t, named.Tags(), "pid")
	require.EqualValues(t, 7, named.Fields()["last_pid"])
	require.Equal(t, "8", metricsOf(acc, "heartbeat", "source", "10.0.0.5")[0].Tags()["pid"], "peers known by it would write over each other")
}

func TestEmitBeatsNone(t *testing.T) {
	h := newPlugin(t)
	h.EmitBeats = "none"
	acc := start(t, h)
	dial(t, h).beat(`{"host":"a","service":"s","pid":7,"ack":true}`)
	gather(t, h)
	require.Empty(t, metricsOf(acc, "heartbeat", "source", "a"))
	require.NotEmpty(t, metricsOf(acc, "heartbeat_peer", "source", "a"))
}

func TestNamedServiceRestartedFourTimesIsOneSeries(t *testing.T) {
	h := newPlugin(t)
	acc := start(t, h)
	c := dial(t, h)
	for pid := range 5 {
		c.beat(fmt.Sprintf(`{"host":"a","ip":"10.0.0.%d","service":"s","pid":%d,"ack":true}`, pid+1, pid+1))
	}
	gather(t, h)
	all := make(map[string]bool)
	var last telegraf.Metric
	for _, last = range metricsOf(acc, "heartbeat_peer", "source", "a") {
		all[series(last)] = true
	}
	require.Len(t, all, 1)
	require.EqualValues(t, 4, last.Fields()["restarts_total"])
}

// The clock of a host is emitted as skew and has no other effect.
func TestClockOfTheHostKillsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		for i := range 100 {
			sent := time.Now().Add([]time.Duration{0, time.Hour, -time.Hour}[i%3]).UnixMilli()
			if i%10 == 9 {
				sent = 12345 // 1970
			}
			c.send(frame(fmt.Sprintf(`{"host":"a","pid":0,"run":"r","seq":%d,"interval_ms":10000,"sent_ms":%d}`, i+1, sent)))
			time.Sleep(10 * time.Second)
		}
		gather(t, h)
		require.Equal(t, []string{"alive beat"}, eventsOf(acc, "a"))
		c.Close()
		stop()
		require.InDelta(t, -3600, metricsOf(acc, "heartbeat", "source", "a")[1].Fields()["skew_seconds"], 0.1)
	})
}

// Three of the article's clients at one address are three peers. One is
// killed and comes back with another pid: one restart, no ghost, and its old
// series ends with a point that is neither alive nor dead.
func TestArticlesClientRestartedLeavesNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		acc, connect, stop := startInBubble(t, h)
		article := func(pid int) (beat func(), c *client) {
			c = connect()
			return func() { c.send(fmt.Sprintf(`{"ip": "10.0.0.5", "status": "alive", "pid": %d}`, pid)) }, c
		}
		first, one := article(1)
		second, two := article(2)
		third, three := article(3)
		for range 3 {
			first()
			second()
			third()
			time.Sleep(50 * time.Second)
		}
		two.Close() // killed
		time.Sleep(time.Second)
		reborn, again := article(22)
		for range 20 {
			first()
			third()
			reborn()
			time.Sleep(50 * time.Second)
		}
		gather(t, h)
		told := eventsOf(acc, "10.0.0.5")
		for _, c := range []*client{one, three, again} {
			c.Close()
		}
		stop()

		last := make(map[string]string)
		for _, m := range metricsOf(acc, "heartbeat_peer", "source", "10.0.0.5") {
			f := m.Fields()
			last[m.Tags()["pid"]] = fmt.Sprintf("alive=%v dead=%v restarts=%v deaths=%v",
				f["alive"], f["dead"], f["restarts_total"], f["deaths_total"])
		}
		require.Equal(t, map[string]string{
			"1":  "alive=1 dead=0 restarts=0 deaths=0",
			"2":  "alive=0 dead=0 restarts=0 deaths=0",
			"3":  "alive=1 dead=0 restarts=0 deaths=0",
			"22": "alive=1 dead=0 restarts=1 deaths=0",
		}, last)
		require.Equal(t, []string{
			"alive beat", "alive beat", "alive beat", "suspect conn_closed", "left replaced", "alive beat", "alive restarted",
		}, told)
	})
}

// One sender cannot flood the outputs, neither with beats nor with changes.
func TestFloodOfChangesMakesFewMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		c.send(frame(`{"host":"a","pid":0}`))
		for range 100 {
			c.send(strings.Repeat(frame(`{"host":"a","pid":0,"status":"leaving"}`)+frame(`{"host":"a","pid":0}`), 50))
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		gather(t, h)
		c.Close()
		stop()
		require.Less(t, len(acc.GetTelegrafMetrics()), 250, "of 10,000 beats in a second")
		last := metricsOf(acc, "heartbeat_peer", "source", "a")
		require.EqualValues(t, 10001, last[len(last)-1].Fields()["beats_total"])
		require.EqualValues(t, 1, last[len(last)-1].Fields()["alive"])
	})
}

func TestConflictsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &testutil.CaptureLogger{}
		h := newPlugin(t)
		h.Log = log
		acc, connect, stop := startInBubble(t, h)
		c := connect()
		for range 3 {
			for host := range 50 {
				for pid := range 2 {
					c.send(frame(fmt.Sprintf(`{"host":"h%d","ip":"10.0.0.%d","service":"s","pid":%d,"interval_ms":60000}`, host, pid+1, pid+1)))
				}
			}
			time.Sleep(20 * time.Second)
		}
		gather(t, h)
		require.Equal(t, []string{"alive beat", "alive restarted", "alive conflict"}, eventsOf(acc, "h7"))
		c.Close()
		stop()
		require.Len(t, log.Warnings(), 1)
		require.Contains(t, log.Warnings()[0], "Two processes beat as h0/s, from 10.0.0.2 and 10.0.0.1")
	})
}

package judge

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// The measurements. All series of a peer, except the series of its beats, have only the tags that
// identify the peer. So these series continue after a restart of the peer or the collector, and
// after a change of address.
const (
	measurementBeat      = "heartbeat"           // each beat
	measurementPeer      = "heartbeat_peer"      // each peer, at each Gather and change
	measurementDown      = "heartbeat_down"      // likewise, but only peers that are down
	measurementEvent     = "heartbeat_event"     // each change
	measurementCollector = "heartbeat_collector" // the plugin
	measurementListener  = "heartbeat_listener"  // each socket
)

// OwnTags are the tag keys that the tags of a sender must not use.
var OwnTags = []string{"host", "ip", "pid", "source", "service", "state", "previous", "reason", "address"}

// OwnFields are the names of our fields. A tag must not have the same name as a field.
var OwnFields = []string{
	"status", "seq", "interval_seconds", "gap_seconds", "jitter_seconds", "lost", "rtt_seconds", "skew_seconds", "last_pid",
	"alive", "dead", "state_code", "reason_code", "status_code", "since_timestamp_seconds", "age_seconds", "dead_after_seconds",
	"flapping", "beats_total", "lost_total", "restarts_total", "deaths_total", "dead_seconds_total", "mistakes_total",
	"conflicts_total", "down_seconds", "exit_code", "lasted_seconds", "id",
}

// fieldPrefix is the prefix of the names of fields that a sender chooses. The prefix makes them
// differ from our own fields in every output. Without it, a field "peer_dead" of "heartbeat" would
// become heartbeat_peer_dead in Prometheus, like our own metric.
const fieldPrefix = "x_"

// textSuffix is the suffix of the names of a sender's fields that are strings. All other fields of
// a sender are floats.
const textSuffix = "_text"

// For frequent metrics, the tags and fields are added one by one: passing a map would need twice
// the memory and two thirds more time (decision 0016).

// beatMetric returns the metric of one beat.
func beatMetric(o *Beat, out *liveness.Outcome, pidField bool) telegraf.Metric {
	b := o.wire
	m := metric.New(measurementBeat, nil, nil, out.At)
	m.AddTag("source", o.ID.Source)
	if o.Addr.IsValid() {
		m.AddTag("ip", o.Addr.String())
	}
	if !o.ID.Nameless() {
		m.AddTag("service", o.ID.Service)
	}
	for _, label := range o.Labels {
		m.AddTag(label.Key, label.Value)
	}
	m.AddField("status", b.Status)
	m.AddField("lost", out.Lost)
	// Without this tag, the metrics of peers identified only by their pid would overwrite each other.
	if pid := uint64(o.Process.PID); pidField && !o.ID.Nameless() {
		m.AddField("last_pid", int64(pid))
	} else {
		m.AddTag("pid", strconv.FormatUint(pid, 10))
	}
	if b.Seq > 0 {
		m.AddField("seq", b.Seq)
	}
	if o.Interval > 0 {
		m.AddField("interval_seconds", o.Interval.Seconds())
	}
	if out.Gap > 0 {
		m.AddField("gap_seconds", out.Gap.Seconds())
		if o.Interval > 0 {
			m.AddField("jitter_seconds", out.Jitter.Seconds())
		}
	}
	if b.RTTMicros > 0 {
		m.AddField("rtt_seconds", float64(b.RTTMicros)/1e6)
	}
	if b.SentMS > 0 {
		m.AddField("skew_seconds", float64(out.At.UnixMilli()-b.SentMS)/1e3)
	}
	for _, field := range b.Fields {
		m.AddField(freeField(field))
	}
	return m
}

// freeField returns the name and value that are emitted for a field of a sender. The name depends
// on the type, because InfluxDB rejects a whole beat if one field has a different type than before.
func freeField(field wire.Field) (name string, value any) {
	name, value = fieldPrefix+field.Key, field.Value
	if _, ok := value.(string); ok {
		return name + textSuffix, value
	}
	if is, ok := value.(bool); ok {
		value = float64(flag(is))
	}
	if strings.HasSuffix(name, textSuffix) { // only strings may have that suffix
		name += "_number"
	}
	return name, value
}

// A peerField is one field of the metric of a peer.
type peerField struct {
	name string
	of   func(*liveness.View) any // returns an int64 or a float64, or nil if the peer has no such value
}

// peerFields are all fields of the metric of a peer.
var peerFields = []peerField{
	{"alive", func(v *liveness.View) any { return flag(v.State == liveness.Alive || v.State == liveness.Suspect) }},
	{"dead", func(v *liveness.View) any { return flag(v.State == liveness.Dead) }},
	{"state_code", func(v *liveness.View) any { return int64(v.State) }},
	{"reason_code", func(v *liveness.View) any { return int64(v.Reason) }},
	{"status_code", statusCode},
	{"since_timestamp_seconds", func(v *liveness.View) any { return timestamp(v.Since) }},
	{"age_seconds", func(v *liveness.View) any { return v.Age.Seconds() }},
	// This is rounded to the tick, like deaths: the adaptive margin changes with each beat, and
	// InfluxDB stores a float that changes each time in 10 bytes instead of 2.
	{"dead_after_seconds", func(v *liveness.View) any { return v.DeadAfter.Round(liveness.TickInterval).Seconds() }},
	{"flapping", func(v *liveness.View) any { return flag(v.Flapping) }},
	{"last_pid", func(v *liveness.View) any { return int64(v.PID) }},
	{"beats_total", func(v *liveness.View) any { return int64(v.Beats) }},
	{"lost_total", func(v *liveness.View) any { return int64(v.Lost) }},
	{"restarts_total", func(v *liveness.View) any { return int64(v.Restarts) }},
	{"deaths_total", func(v *liveness.View) any { return int64(v.Deaths) }},
	{"dead_seconds_total", func(v *liveness.View) any { return v.DeadFor.Seconds() }},
	{"mistakes_total", func(v *liveness.View) any { return int64(v.Mistakes) }},
	{"conflicts_total", func(v *liveness.View) any { return int64(v.Conflicts) }},
}

func statusCode(v *liveness.View) any {
	if code, told := v.Health.Code(); told {
		return code
	}
	return nil
}

// A peerTemplate is a template for the metrics of peers. Copying it and filling in the values needs
// half the time of building a metric field by field.
type peerTemplate struct {
	fields []peerField
	empty  telegraf.Metric
	free   sync.Pool // of *reusable
}

var (
	templateWithStatus    = newPeerTemplate(peerFields)
	templateWithoutStatus = newPeerTemplate(slices.DeleteFunc(slices.Clone(peerFields), func(f peerField) bool {
		return f.of(new(liveness.View)) == nil
	}))
)

func newPeerTemplate(fields []peerField) *peerTemplate {
	f := &peerTemplate{fields: fields, empty: metric.New(measurementPeer, nil, nil, time.Time{}, telegraf.Gauge)}
	for _, field := range fields {
		f.empty.AddField(field.name, int64(0))
	}
	return f
}

// fill turns m, which was made from this template, into the metric of a peer.
func (f *peerTemplate) fill(m telegraf.Metric, v *liveness.View) telegraf.Metric {
	m.SetTime(v.At)
	addIdentity(m, v)
	for i, field := range m.FieldList() {
		field.Value = f.fields[i].of(v)
	}
	return m
}

func templateOf(v *liveness.View) *peerTemplate {
	if statusCode(v) != nil {
		return templateWithStatus
	}
	return templateWithoutStatus
}

// peerMetric returns the metric of one peer.
func peerMetric(v *liveness.View) telegraf.Metric {
	f := templateOf(v)
	return f.fill(f.empty.Copy(), v)
}

// isDown reports whether a metric heartbeat_down is emitted for a peer.
func isDown(v *liveness.View) bool {
	held := v.State == liveness.Unknown &&
		slices.Contains([]liveness.Reason{liveness.ReasonIsolated, liveness.ReasonHost, liveness.ReasonMateLost}, v.Reason)
	return held || v.State == liveness.Suspect || v.State == liveness.Dead
}

// downMetric returns the metric for a peer that is down. The metric says when the peer went down,
// and why.
func downMetric(v *liveness.View) telegraf.Metric {
	m := metric.New(measurementDown, nil, nil, v.At, telegraf.Gauge)
	addIdentity(m, v)
	if v.Addr.IsValid() {
		m.AddTag("ip", v.Addr.String())
	}
	m.AddTag("pid", strconv.FormatUint(uint64(v.PID), 10))
	m.AddTag("state", v.State.String())
	m.AddTag("reason", v.Reason.String())
	m.AddField("since_timestamp_seconds", timestamp(v.Since))
	m.AddField("down_seconds", v.Lasting.Seconds())
	if v.HasExitCode {
		m.AddField("exit_code", v.ExitCode)
	}
	return m
}

// eventMetric returns the event of a peer.
func eventMetric(tr *liveness.Transition) telegraf.Metric {
	m := metric.New(measurementEvent, nil, nil, tr.At)
	addIdentity(m, &tr.View)
	m.AddTag("state", tr.State.String())
	m.AddTag("previous", tr.Previous.String())
	m.AddTag("reason", tr.Reason.String())
	pid, exitCode, hasExitCode := tr.PID, tr.ExitCode, tr.HasExitCode
	switch tr.Event {
	case liveness.Changed:
	case liveness.Ended:
		m.AddTag("reason", tr.Ending.Reason.String())
		pid, exitCode, hasExitCode = tr.Ending.PID, tr.Ending.ExitCode, tr.Ending.HasExitCode
	default:
		m.AddTag("reason", tr.Event.String())
	}
	m.AddField("last_pid", int64(pid))
	m.AddField("lasted_seconds", tr.Lasted.Seconds())
	if hasExitCode {
		m.AddField("exit_code", exitCode)
	}
	m.AddField("id", tr.EventID)
	return m
}

// startedMetric returns the event that the collector has started to listen.
func startedMetric(now time.Time) telegraf.Metric {
	return ownEvent(map[string]string{"reason": "started"}, 0, now)
}

// isolatedMetric returns the event that the collector has probably become isolated, or is no longer
// isolated.
func isolatedMetric(isolated bool, lasted time.Duration, now time.Time) telegraf.Metric {
	state := map[bool]string{true: "on", false: "off"}[isolated]
	return ownEvent(map[string]string{"reason": liveness.ReasonIsolated.String(), "state": state}, lasted, now)
}

// ownEvent returns an event of the collector itself. The id of the event is a 53-bit hash of its
// reason and time. So it is in the same range as the ids of peers' events.
func ownEvent(tags map[string]string, lasted time.Duration, now time.Time) telegraf.Metric {
	hash := fnv.New64a()
	fmt.Fprint(hash, tags["reason"], now.UnixNano())
	return metric.New(measurementEvent, tags, map[string]any{
		"last_pid": int64(os.Getpid()), "lasted_seconds": lasted.Seconds(), "id": int64(hash.Sum64() % (1 << 53)),
	}, now)
}

// beatKinds are the kinds of beats that are not emitted as metrics. The measurement
// heartbeat_collector counts them.
var beatKinds = [...]struct {
	fate liveness.Fate
	kind string
}{{liveness.Late, "late"}, {liveness.Duplicate, "duplicate"}, {liveness.Limited, "limited"}}

// Own is the part of the collector's state that the Judge does not know itself.
type Own struct {
	Refused   int64 // total of refused payloads and connections
	Unnamed   int64 // total of accepted signed beats that did not name their collector
	Memory    Memory
	Mates     *Mates // nil if this collector is alone
	Listeners []Listener
}

// Mates is a summary of the other collectors of a cluster.
type Mates struct {
	Reachable int   // how many mates are reachable
	Differ    int   // how many mates have another version, other options or another clock
	Speaks    bool  // this collector emits the events of peers
	Asked     int64 // total of peers about which mates were asked
	Spared    int64 // total of peers not declared dead because a mate had later news
}

// Memory says whether a state file is in use, and how current it is.
type Memory struct {
	Wanted bool          // a state file is configured
	Works  bool          // all changes are saved
	Saved  bool          // all changes were saved at some time
	Age    time.Duration // the time since all changes were last saved
}

// A Listener is the state of one address on which the collector listens.
type Listener struct {
	Address     string
	Connections int // how many are open
	Beats       int64
	Bytes       int64
	Refused     map[wire.Reason]int64
}

// fateCounts are the numbers of beats with each fate since the start of the Judge.
type fateCounts [liveness.Begun + 1]int64

// health is the state of the Judge itself.
type health struct {
	stalled   time.Duration
	isolated  bool
	coalesced int64
	panics    int64
	peers     [len(liveness.States)]int
	beats     fateCounts
}

// collectorMetrics returns the metrics about the collector itself.
func collectorMetrics(health health, own *Own, now time.Time) []telegraf.Metric {
	metrics := make([]telegraf.Metric, 0, 1+len(liveness.States)+len(beatKinds))
	fields := map[string]any{
		"isolated":            flag(health.isolated),
		"stall_seconds_total": health.stalled.Seconds(),
		"refused_total":       own.Refused,
		"unnamed_total":       own.Unnamed,
		"coalesced_total":     health.coalesced,
		"panics_total":        health.panics,
	}
	if own.Memory.Wanted {
		fields["state_saved"] = flag(own.Memory.Works)
	}
	if own.Memory.Saved {
		fields["state_file_age_seconds"] = own.Memory.Age.Seconds()
	}
	if mates := own.Mates; mates != nil {
		fields["mates"], fields["mates_differ"], fields["speaks"] = int64(mates.Reachable), int64(mates.Differ), flag(mates.Speaks)
		fields["asked_total"], fields["spared_total"] = mates.Asked, mates.Spared
	}
	metrics = append(metrics, metric.New(measurementCollector, nil, fields, now, telegraf.Gauge))
	for i, state := range liveness.States {
		metrics = append(metrics, metric.New(measurementCollector, map[string]string{"state": state.String()},
			map[string]any{"peers": int64(health.peers[i])}, now, telegraf.Gauge))
	}
	for _, of := range beatKinds {
		metrics = append(metrics, metric.New(measurementCollector, map[string]string{"kind": of.kind},
			map[string]any{"beats_total": health.beats[of.fate]}, now, telegraf.Counter))
	}
	return metrics
}

// listenerMetrics returns the metrics of one listener. If nothing was refused for a reason, the
// count 0 is emitted for that reason. Otherwise a rate would miss the first refusal.
func listenerMetrics(l *Listener, now time.Time) []telegraf.Metric {
	metrics := make([]telegraf.Metric, 0, 1+len(l.Refused))
	metrics = append(metrics, metric.New(measurementListener, map[string]string{"address": l.Address}, map[string]any{
		"connections": int64(l.Connections),
		"beats_total": l.Beats,
		"bytes_total": l.Bytes,
	}, now, telegraf.Gauge))
	for _, reason := range slices.Sorted(maps.Keys(l.Refused)) {
		metrics = append(metrics, metric.New(measurementListener, map[string]string{"address": l.Address, "reason": string(reason)},
			map[string]any{"refused_total": l.Refused[reason]}, now, telegraf.Counter))
	}
	return metrics
}

// addIdentity adds the tags that identify a peer.
func addIdentity(m telegraf.Metric, v *liveness.View) {
	m.AddTag("source", v.ID.Source)
	for _, label := range v.Labels {
		m.AddTag(label.Key, label.Value)
	}
	if !v.ID.Nameless() {
		m.AddTag("service", v.ID.Service)
		return
	}
	m.AddTag("pid", strconv.FormatUint(uint64(v.ID.PID), 10))
	if _, err := netip.ParseAddr(v.ID.Source); err == nil {
		m.AddTag("ip", v.ID.Source)
	}
}

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

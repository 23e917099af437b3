package heartbeat

import (
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/metric"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// The measurements. All series of a peer but those of its beats are tagged by
// what it is known by, so that a restart, a new address or a restart of the
// collector go on in the same series.
const (
	measurementBeat      = "heartbeat"           // each beat
	measurementPeer      = "heartbeat_peer"      // each peer, at each Gather and change
	measurementDown      = "heartbeat_down"      // the same, of those that are not well
	measurementEvent     = "heartbeat_event"     // each change
	measurementCollector = "heartbeat_collector" // the plugin
	measurementListener  = "heartbeat_listener"  // each socket
)

// ownTags are the keys that no label of a sender may use.
var ownTags = []string{"host", "ip", "pid", "source", "service", "state", "previous", "reason", "address"}

// ownFields are the names of fields beside which a tag of that name would
// stand.
var ownFields = []string{
	"status", "seq", "interval_seconds", "gap_seconds", "jitter_seconds", "lost", "rtt_seconds", "skew_seconds", "last_pid",
	"alive", "dead", "state_code", "reason_code", "since_timestamp_seconds", "age_seconds", "deadline_seconds", "suspicion",
	"connected", "flapping", "beats_total", "lost_total", "late_total", "duplicates_total", "limited_total", "restarts_total",
	"deaths_total", "dead_seconds_total", "mistakes_total", "conflicts_total", "down_seconds", "exit_code", "lasted_seconds",
}

// fieldPrefix keeps what a sender names freely apart from what we name, in
// every output: "heartbeat" with a field "peer_dead" would be
// heartbeat_peer_dead in Prometheus.
const fieldPrefix = "x_"

// naming is how the operator wants metrics to be named.
type naming struct {
	beats    bool // each beat makes a metric
	pidField bool // its pid is a field
}

// beatMetric returns the metric of one beat.
func (n *naming) beatMetric(o *observation, out *liveness.Outcome) telegraf.Metric {
	b := o.wire
	tags := make(map[string]string, 4+len(o.Labels))
	tags["source"] = o.ID.Source
	if o.Addr.IsValid() {
		tags["ip"] = o.Addr.String()
	}
	if !o.ID.Nameless() {
		tags["service"] = o.ID.Service
	}
	for _, label := range o.Labels {
		tags[label.Key] = label.Value
	}
	fields := map[string]any{"status": b.Status, "lost": out.Lost}
	// Peers known by their pid only would write over each other without it.
	if pid := uint64(b.PID); n.pidField && !o.ID.Nameless() {
		fields["last_pid"] = int64(pid)
	} else {
		tags["pid"] = strconv.FormatUint(pid, 10)
	}
	if b.Seq > 0 {
		fields["seq"] = b.Seq
	}
	if o.Interval > 0 {
		fields["interval_seconds"] = o.Interval.Seconds()
	}
	if out.Gap > 0 {
		fields["gap_seconds"] = out.Gap.Seconds()
		if o.Interval > 0 {
			fields["jitter_seconds"] = out.Jitter.Seconds()
		}
	}
	if b.RTTMicros > 0 {
		fields["rtt_seconds"] = float64(b.RTTMicros) / 1e6
	}
	if b.SentMS > 0 {
		fields["skew_seconds"] = float64(out.At.UnixMilli()-b.SentMS) / 1e3
	}
	for _, field := range b.Fields {
		fields[fieldPrefix+field.Key] = field.Value
	}
	return metric.New(measurementBeat, tags, fields, out.At)
}

// peerMetric returns the gauges of one peer.
func peerMetric(v *liveness.View) telegraf.Metric {
	return metric.New(measurementPeer, identity(v, 0), map[string]any{
		"alive":                   flag(v.State == liveness.Alive || v.State == liveness.Suspect),
		"dead":                    flag(v.State == liveness.Dead),
		"state_code":              int64(v.State),
		"reason_code":             int64(v.Reason),
		"since_timestamp_seconds": timestamp(v.Since),
		"age_seconds":             v.Age.Seconds(),
		"deadline_seconds":        v.Deadline.Seconds(),
		"suspicion":               v.Suspicion,
		"connected":               flag(v.Connected),
		"flapping":                flag(v.Flapping),
		"last_pid":                int64(v.PID),
		"beats_total":             int64(v.Beats),
		"lost_total":              int64(v.Lost),
		"late_total":              int64(v.Late),
		"duplicates_total":        int64(v.Duplicates),
		"limited_total":           int64(v.Limited),
		"restarts_total":          int64(v.Restarts),
		"deaths_total":            int64(v.Deaths),
		"dead_seconds_total":      v.DeadFor.Seconds(),
		"mistakes_total":          int64(v.Mistakes),
		"conflicts_total":         int64(v.Conflicts),
	}, v.At, telegraf.Gauge)
}

// isDown tells for which states there is a heartbeat_down.
func isDown(v *liveness.View) bool {
	held := v.State == liveness.Unknown && (v.Reason == liveness.ReasonIsolated || v.Reason == liveness.ReasonHost)
	return held || v.State == liveness.Suspect || v.State == liveness.Dead
}

// downMetric returns who is not well, since when and why, as one row.
func downMetric(v *liveness.View) telegraf.Metric {
	tags := identity(v, 4)
	if v.Addr.IsValid() {
		tags["ip"] = v.Addr.String()
	}
	tags["pid"] = strconv.FormatUint(uint64(v.PID), 10)
	tags["state"] = v.State.String()
	tags["reason"] = v.Reason.String()
	fields := map[string]any{
		"since_timestamp_seconds": timestamp(v.Since),
		"down_seconds":            v.Lasting.Seconds(),
	}
	if v.HasExitCode {
		fields["exit_code"] = v.ExitCode
	}
	return metric.New(measurementDown, tags, fields, v.At, telegraf.Gauge)
}

// eventMetric returns what happened to a peer.
func eventMetric(tr *liveness.Transition) telegraf.Metric {
	tags := identity(&tr.View, 3)
	tags["state"] = tr.State.String()
	tags["previous"] = tr.Previous.String()
	tags["reason"] = tr.Reason.String()
	if tr.Event != liveness.Changed {
		tags["reason"] = tr.Event.String()
	}
	fields := map[string]any{"last_pid": int64(tr.PID), "lasted_seconds": tr.Lasted.Seconds()}
	if tr.HasExitCode {
		fields["exit_code"] = tr.ExitCode
	}
	return metric.New(measurementEvent, tags, fields, tr.At)
}

// startedMetric tells that the collector began to listen.
func startedMetric(now time.Time) telegraf.Metric {
	return metric.New(measurementEvent, map[string]string{"reason": "started"},
		map[string]any{"last_pid": int64(os.Getpid()), "lasted_seconds": 0.0}, now)
}

// isolatedMetric tells that the collector seems to be cut off, or is no more.
func isolatedMetric(isolated bool, lasted time.Duration, now time.Time) telegraf.Metric {
	state := map[bool]string{true: "on", false: "off"}[isolated]
	return metric.New(measurementEvent, map[string]string{"reason": liveness.ReasonIsolated.String(), "state": state},
		map[string]any{"last_pid": int64(os.Getpid()), "lasted_seconds": lasted.Seconds()}, now)
}

// collectorMetrics tells how the plugin itself is. saved is how old the saved
// state is; a negative one is not told.
func collectorMetrics(own health, refused int64, saved time.Duration, now time.Time) []telegraf.Metric {
	metrics := make([]telegraf.Metric, 0, 1+len(liveness.States))
	fields := map[string]any{
		"isolated":            flag(own.isolated),
		"stall_seconds_total": own.stalled.Seconds(),
		"refused_total":       refused,
		"coalesced_total":     own.coalesced,
	}
	if saved >= 0 {
		fields["state_file_age_seconds"] = saved.Seconds()
	}
	metrics = append(metrics, metric.New(measurementCollector, nil, fields, now, telegraf.Gauge))
	for i, state := range liveness.States {
		metrics = append(metrics, metric.New(measurementCollector, map[string]string{"state": state.String()},
			map[string]any{"peers": int64(own.peers[i])}, now, telegraf.Gauge))
	}
	return metrics
}

// listenerMetrics tells what came in at one socket. Reasons that did not
// occur are told as 0, or the first one would be invisible to a rate.
func listenerMetrics(l *listener, now time.Time) []telegraf.Metric {
	reasons := allReasons()
	metrics := make([]telegraf.Metric, 0, 1+len(reasons))
	metrics = append(metrics, metric.New(measurementListener, map[string]string{"address": l.address}, map[string]any{
		"connections": int64(l.connections()),
		"beats_total": l.beats.Load(),
		"bytes_total": l.bytes.Load(),
	}, now, telegraf.Gauge))
	for _, reason := range reasons {
		metrics = append(metrics, metric.New(measurementListener, map[string]string{"address": l.address, "reason": string(reason)},
			map[string]any{"rejected_total": l.refused[reason].Load()}, now, telegraf.Counter))
	}
	return metrics
}

// identity returns the tags by which a peer is known, with room for more.
func identity(v *liveness.View, more int) map[string]string {
	tags := make(map[string]string, 3+len(v.Labels)+more)
	tags["source"] = v.ID.Source
	for _, label := range v.Labels {
		tags[label.Key] = label.Value
	}
	if !v.ID.Nameless() {
		tags["service"] = v.ID.Service
		return tags
	}
	tags["pid"] = strconv.FormatUint(uint64(v.ID.PID), 10)
	if _, err := netip.ParseAddr(v.ID.Source); err == nil {
		tags["ip"] = v.ID.Source
	}
	return tags
}

func flag(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

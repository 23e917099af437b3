package heartbeat

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/metric"
	"github.com/influxdata/telegraf/plugins/serializers/carbon2"
	"github.com/influxdata/telegraf/plugins/serializers/graphite"
	"github.com/influxdata/telegraf/plugins/serializers/influx"
	"github.com/influxdata/telegraf/plugins/serializers/prometheus"
	"github.com/influxdata/telegraf/plugins/serializers/wavefront"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// No text of a sender becomes a second line, in any format in which Telegraf writes it.
func TestWhatIsAcceptedIsOneLineInEveryFormat(t *testing.T) {
	said := acceptedPayloads(t)
	h := newPlugin(t)
	h.MaxBeatsPerSecond = 0
	h.MaxFrameSize = config.Size(wire.DefaultMaxFrame)
	h.TagKeys = labelKeys(t, said)
	acc := start(t, h)
	c := dial(t, h)
	for _, payload := range said {
		c.send(frame(payload))
	}
	c.send(frame(`{"host":"last","pid":0,"ack":true}`))
	for answer := ""; !strings.Contains(answer, `"id":"last/host"`); {
		answer = c.answer()
	}
	gather(t, h)

	values := oneByOne(acc.GetTelegrafMetrics())
	require.Greater(t, len(values), 1000)
	for name, s := range serializers(t) {
		numbers := 0
		for _, m := range values {
			lines := serialized(t, s, m)
			require.LessOrEqual(t, len(lines), 1, "%s makes %q of %v", name, lines, m)
			if isNumber(m) {
				numbers++
				require.Len(t, lines, 1, "%s makes nothing of %v", name, m)
			}
			for _, line := range lines {
				require.False(t, strings.ContainsFunc(line, unicode.IsControl), "%s: %q", name, line)
			}
		}
		require.Positive(t, numbers)
	}
}

// acceptedPayloads returns those of the torture table.
func acceptedPayloads(t *testing.T) []string {
	t.Helper()
	var said []string
	for _, row := range payloads() {
		if row.want == "" {
			said = append(said, row.payload)
		}
	}
	require.Greater(t, len(said), 100)
	return said
}

// labelKeys returns all that may become tags.
func labelKeys(t *testing.T, said []string) []string {
	t.Helper()
	keys := make(map[string]bool)
	for _, payload := range said {
		b, err := wire.Decode([]byte(payload))
		require.NoError(t, err)
		for _, tag := range b.Tags {
			keys[tag.Key] = true
		}
	}
	for _, own := range slices.Concat(judge.OwnTags, judge.OwnFields) {
		delete(keys, own)
	}
	return slices.Sorted(maps.Keys(keys))
}

func serializers(t *testing.T) map[string]telegraf.Serializer {
	t.Helper()
	all := map[string]telegraf.Serializer{
		"influx":     &influx.Serializer{},
		"graphite":   &graphite.Serializer{TagSupport: true},
		"carbon2":    &carbon2.Serializer{Format: "field_separate"},
		"wavefront":  &wavefront.Serializer{},
		"prometheus": &prometheus.Serializer{FormatConfig: prometheus.FormatConfig{StringAsLabel: true}},
	}
	for name, s := range all {
		if s, ok := s.(telegraf.Initializer); ok {
			require.NoError(t, s.Init(), name)
		}
	}
	return all
}

// oneByOne returns a metric for each field.
func oneByOne(all []telegraf.Metric) []telegraf.Metric {
	var values []telegraf.Metric
	for _, m := range all {
		for key, value := range m.Fields() {
			values = append(values, metric.New(m.Name(), m.Tags(), map[string]any{key: value}, m.Time(), m.Type()))
		}
	}
	return values
}

func isNumber(m telegraf.Metric) bool {
	switch m.FieldList()[0].Value.(type) {
	case int64, uint64, float64:
		return true
	}
	return false
}

// serialized returns the lines of a metric without comments.
func serialized(t *testing.T, s telegraf.Serializer, m telegraf.Metric) []string {
	t.Helper()
	text, err := s.Serialize(m)
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		require.True(t, strings.HasSuffix(line, "\n"), "%q", line)
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

package execd

import (
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

// listenConfig returns the configuration for -listen: the defaults, but with the
// given address and without a state file.
func listenConfig(url string, create inputs.Creator) (*configFile, error) {
	t := table{plugin: create()}
	_, err := toml.Decode(`state_file = "none"
service_addresses = [`+cli.Quote(url)+`]`, t.plugin)
	return &configFile{tables: []table{t}}, err
}

// A listenError is an error of -listen. It names the flag instead of the option.
type listenError struct{ error }

func (e listenError) Error() string {
	return strings.ReplaceAll(e.error.Error(), "'service_addresses'", "'-listen'")
}
func (e listenError) Unwrap() error { return e.error }

// encodeEvent formats a transition for a person, e.g.
//
//	12:00:05 dead web-1/nginx conn_closed after 2m3s
//
// and nothing for any other metric. "after" is how long the previous state lasted,
// if there was one. A metric without a source is about the collector itself.
func encodeEvent(m telegraf.Metric) ([]byte, error) {
	if m.Name() != "heartbeat_event" {
		return nil, nil
	}
	tag := func(key string) string {
		value, _ := m.GetTag(key)
		return value
	}
	words := []string{m.Time().Local().Format(time.TimeOnly)}
	if source := tag("source"); source == "" {
		words = append(words, "collector", tag("state"), tag("reason"))
	} else {
		words = append(words, tag("state"), peerName(source, tag("service"), tag("pid")), tag("reason"))
	}
	if lasted := lastedSeconds(m); lasted > 0 && tag("previous") != "unknown" {
		words = append(words, "after", lasted.String())
	}
	line := strings.Join(strings.Fields(strings.Join(words, " ")), " ")
	return []byte(line + "\n"), nil
}

// peerName is a peer as people write it: source/service, or source/pid.
func peerName(source, service, pid string) string {
	switch {
	case service != "":
		return source + "/" + service
	case pid != "":
		return source + "/" + pid
	default:
		return source
	}
}

// lastedSeconds returns how long the previous state lasted, rounded for a person.
func lastedSeconds(m telegraf.Metric) time.Duration {
	value, _ := m.GetField("lasted_seconds")
	seconds, _ := value.(float64)
	lasted := time.Duration(seconds * float64(time.Second))
	if lasted < time.Second {
		return lasted.Round(time.Millisecond)
	}
	return lasted.Round(time.Second)
}

package heartbeat

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// README.md is right about metrics, states, reasons and timeouts.
func TestReadmeTellsEveryMetric(t *testing.T) {
	documented := metricsInReadme(t)
	emitted := make(map[string]map[string]bool)
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.StateFile = filepath.Join(t.TempDir(), "state")
		for _, m := range story(t, h) {
			if emitted[m.Name()] == nil {
				emitted[m.Name()] = make(map[string]bool)
			}
			for _, name := range slices.Concat(slices.Collect(maps.Keys(m.Tags())), slices.Collect(maps.Keys(m.Fields()))) {
				if _, free := strings.CutPrefix(name, "x_"); free && strings.HasSuffix(name, "_text") {
					name = "x_NAME_text"
				} else if free {
					name = "x_NAME"
				}
				emitted[m.Name()][name] = true
			}
		}
	})
	for _, name := range judge.OwnFields {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Values(emitted)), func(names map[string]bool) bool { return names[name] }), name)
	}
	for _, measurement := range []string{"heartbeat", "heartbeat_peer", "heartbeat_down", "heartbeat_event"} {
		for name := range emitted[measurement] {
			require.True(t, slices.Contains(judge.OwnFields, name) || slices.Contains(judge.OwnTags, name) || strings.HasPrefix(name, "x_"), name)
		}
	}
	emitted["heartbeat"]["last_pid"] = true // without tag_with, which has its own test
	for _, name := range fieldsOfMates {    // with a cluster, likewise
		emitted["heartbeat_collector"][name] = true
	}
	require.Equal(t, emitted, documented)
}

// metricsInReadme returns the names at the beginning of each item in the list of metrics.
func metricsInReadme(t *testing.T) map[string]map[string]bool {
	_, section, found := strings.Cut(source(t, "README.md"), "\n## Metrics\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	item := regexp.MustCompile(`^( *)- ([a-zA-Z_, ]+)`)
	metrics := make(map[string]map[string]bool)
	var names map[string]bool
	for line := range strings.Lines(section) {
		match := item.FindStringSubmatch(line)
		switch {
		case match == nil:
		case match[1] == "":
			name := strings.TrimSpace(match[2])
			if metrics[name] == nil {
				metrics[name] = make(map[string]bool)
			}
			names = metrics[name]
		case match[1] == "    " && !strings.Contains(match[2], "labels"):
			for name := range strings.SplitSeq(match[2], ",") {
				names[strings.TrimSpace(name)] = true
			}
		}
	}
	return metrics
}

func TestReadmeTellsEveryCode(t *testing.T) {
	readme := regexp.MustCompile(` +`).ReplaceAllString(source(t, "README.md"), " ")
	for _, state := range liveness.States {
		require.Contains(t, readme, "| `"+state.String()+"` | "+string('0'+rune(state))+" |")
	}
	for reason := liveness.ReasonBeat; reason <= liveness.ReasonMateLost; reason++ {
		if !reason.Valid() {
			continue
		}
		code := strconv.Itoa(int(reason))
		require.Contains(t, readme, "| `"+reason.String()+"` | "+code+" |")
	}
}

func TestReadmeTellsTheSilencesOfTheDefaults(t *testing.T) {
	tracker := liveness.New(newPlugin(t).liveness(nil), time.Now())
	rows := regexp.MustCompile(`(?m)^\| ([0-9a-z ]+?) +\| ([0-9a-z. ]+?) +\| ([0-9][0-9a-z. ]*?) +\|$`).FindAllStringSubmatch(source(t, "README.md"), -1)
	require.Len(t, rows, 10)
	for _, row := range rows {
		allowed := tracker.SilenceFor(&liveness.Beat{Interval: duration(t, row[1])})
		require.Equal(t, allowed.Suspect, duration(t, row[2]), row[0])
		require.Equal(t, allowed.Dead, duration(t, row[3]), row[0])
	}
}

// The reasons of the protocol are in its document, all others in a table of the README,
// which has no others.
func TestReadmeTellsEveryReasonOfARefusal(t *testing.T) {
	_, table, found := strings.Cut(source(t, "README.md"), "The reasons of `heartbeat_listener`")
	require.True(t, found)
	protocol := source(t, "wire/PROTOCOL.md")
	for _, reason := range allReasons() {
		told := strings.Contains(table, "\n| `"+string(reason)+"` ")
		if slices.Contains(wire.Reasons(), reason) {
			told = told || strings.Contains(protocol, "\n| `"+string(reason)+"` ")
		}
		require.True(t, told, "'%s' is not explained", reason)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` ").FindAllStringSubmatch(table, -1) {
		require.Contains(t, allReasons(), wire.Reason(row[1]))
	}
}

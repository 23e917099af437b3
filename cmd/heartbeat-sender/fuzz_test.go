package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// Whatever stands in the file, it is refused in one line that says where, or
// it is TOML in which each key is an option, and has the value that a naive
// reading finds.
func FuzzFile(f *testing.F) {
	sample, err := os.ReadFile("../../deploy/heartbeat-sender.toml")
	require.NoError(f, err)
	f.Add(string(sample))
	const server, table = "server = \"tcp://hb:7878\"\n", "[[watch]]\nsystemd_unit = \"nginx\"\n"
	for _, text := range []string{
		"", server, "server = [\"tcp://hb:1\", 'udp://hb:2']\ninterval = \"1m\"\nback_in = \"15m\"\nquiet = true\n", "intervall = \"10s\"",
		"host = \"Web-1\"\nip = \"2001:DB8::1\"\nservice = \"shop\"\nstatus = \"busy\"\ntag = [\"site=b\", \"a=b=c\"]\n",
		server + table + "service = \"a\"\nrestart_grace = \"0s\"\ntag = \"k=v\"\n[[watch]]\npid_file = \"/run/b.pid\"\nstatus = \"x\"", table + table,
		table + "interval = \"1s\"", "[watch]\npid = 7", "watch = [{pid = 1, service = \"init\"}]", "pid = 7\nsystemd_unit = \"a\"", "pid = 7.0\nservice = \"\"",
		"timeout = \"2s\"\nsplay = \"1m\"\nmax_runtime = \"6h\"\ntls_ca = \"a\"\ntls_cert = \"b\"\ntls_key = \"c\"\ntls_server_name = \"d\"\nkey_id = \"e\"\nkey_file = \"f\"",
		"interval = 10", "interval = 10s", "host = \"\"\"\nweb-1\\\n\"\"\"", "\"a\\u001b[31m\\nb\" = 1", "host = \"\\u202e\"", "tag.site = \"a\"", "Host = \"a\"\nhost = \"b\"",
		"\xef\xbb\xbfa\x00 = \xff", "\"\\", "every = \"1m\"", "server = []\ntag = [1]", "quiet = \"true\"\nrestart_grace = -1", "config = \"x\"", "a = [[[1,\n", "status = \"Leaving\"",
	} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "x.toml")
	f.Fuzz(func(t *testing.T, text string) {
		os.Remove(path) // some file systems wait for the disk when a file is written over
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		var got settings
		if err := got.readFile(t.Context(), commandNamed("run"), path); err != nil {
			requireOneLine(t, oneLine(err.Error()), path, text)
			return
		}
		var values map[string]any
		_, err := toml.Decode(text, &values)
		require.NoError(t, err, "it is no TOML")
		tables := tablesIn(values["watch"])
		require.Len(t, got.watches, len(tables))
		for i, table := range tables {
			requireWatch(t, table, &got, i)
		}
		delete(values, "watch")
		for key, value := range values {
			requireSetting(t, key, value, &got)
		}
	})
}

// requireOneLine checks how a mistake is told: what is wrong in a line that
// the file has, and nothing that a log or a terminal would take for more.
func requireOneLine(t *testing.T, message, path, text string) {
	t.Helper()
	require.False(t, strings.ContainsFunc(message, func(c rune) bool { return !unicode.IsPrint(c) }), "%q", message)
	require.Less(t, len(message), len(path)+1000)
	what, ok := strings.CutPrefix(message, path+":")
	require.True(t, ok, message)
	number, _, _ := strings.Cut(what, ":")
	line, err := strconv.Atoi(number)
	require.NoError(t, err, message)
	require.Positive(t, line, message)
	require.LessOrEqual(t, line, 1+strings.Count(text, "\n"), message)
}

func tablesIn(value any) []map[string]any {
	tables, _ := value.([]map[string]any)
	inLine, _ := value.([]any)
	for _, element := range inLine {
		tables = append(tables, element.(map[string]any))
	}
	return tables
}

// requireWatch checks what table number i was read as.
func requireWatch(t *testing.T, values map[string]any, all *settings, i int) {
	t.Helper()
	got := &all.watches[i]
	require.NotZero(t, got.target)
	require.NotContains(t, []string{"", hostService}, got.peer.Service)
	require.False(t, slices.ContainsFunc(all.watches[:i], func(other settings) bool { return other.peer.Service == got.peer.Service }))
	for key, value := range values {
		require.Contains(t, []string{"pid", "pid_file", "restart_grace", "service", "status", "systemd_unit", "tag"}, key)
		requireSetting(t, key, value, got)
	}
}

// requireSetting compares what was set with a value of the file.
func requireSetting(t *testing.T, key string, value any, got *settings) {
	t.Helper()
	if value == "" {
		return // says nothing
	}
	switch key {
	case "pid":
		require.Equal(t, watch.Target{PID: got.target.PID}, got.target)
		require.Equal(t, fmt.Sprint(value), strconv.Itoa(int(got.target.PID)))
	case "pid_file":
		require.Equal(t, watch.Target{PIDFile: value.(string)}, got.target)
	case "systemd_unit":
		require.Equal(t, watch.Target{Unit: value.(string)}, got.target)
	case "interval", "back_in", "restart_grace", "timeout", "splay", "max_runtime":
		requireSpan(t, key, value, got)
	case "server":
		require.Equal(t, textsOf(value), append([]string{}, got.servers...))
	case "tag":
		requireTags(t, textsOf(value), got.peer.Tags)
	case "ip":
		require.Equal(t, netip.MustParseAddr(value.(string)), got.peer.IP)
	case "host":
		require.Equal(t, strings.ToLower(value.(string)), got.peer.Host)
	case "quiet":
		require.Equal(t, value, got.quiet)
	default:
		field, ok := map[string]string{
			"service": got.peer.Service, "status": got.peer.Status, "tls_ca": got.trust.ca, "tls_cert": got.trust.cert, "tls_key": got.trust.key,
			"tls_server_name": got.trust.serverName, "key_file": got.trust.signKey, "key_id": got.trust.signID,
		}[key]
		require.True(t, ok, "%q is no option", key)
		require.Equal(t, value, field, key)
	}
}

// requireSpan also checks those of other commands, which set nothing.
func requireSpan(t *testing.T, key string, value any, got *settings) {
	t.Helper()
	want, err := time.ParseDuration(value.(string))
	require.NoError(t, err)
	require.GreaterOrEqual(t, want, time.Duration(0))
	require.LessOrEqual(t, want, 31*24*time.Hour)
	if set, ok := map[string]time.Duration{"interval": got.interval, "back_in": got.backIn, "restart_grace": got.grace}[key]; ok {
		require.Equal(t, want, set, key)
	}
}

func requireTags(t *testing.T, texts []string, got []sender.Tag) {
	t.Helper()
	require.Len(t, got, len(texts))
	for i, tag := range got {
		require.Equal(t, texts[i], tag.Key+"="+tag.Value)
	}
}

// textsOf returns the texts of a list, or the only one.
func textsOf(value any) []string {
	if text, ok := value.(string); ok {
		return []string{text}
	}
	texts := make([]string, 0)
	for _, element := range value.([]any) {
		texts = append(texts, element.(string))
	}
	return texts
}

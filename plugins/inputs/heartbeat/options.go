package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/influxdata/telegraf/config"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// longest is more than anybody waits, and little enough to be added to a time.
const longest = 10 * 365 * 24 * time.Hour

// longestKeepAlive is the longest that Linux takes (tcp(7), TCP_KEEPIDLE).
const longestKeepAlive = 32767 * time.Second

// Init checks all options and contacts nothing.
func (h *Heartbeat) Init() error {
	if len(h.ServiceAddresses) == 0 {
		return errors.New("'service_addresses' must name at least one address, like \"tcp://:7878\"")
	}
	for i, address := range h.ServiceAddresses {
		if _, _, err := splitAddress(address); err != nil {
			return fmt.Errorf("'service_addresses': %q %w", address, err)
		}
		if slices.Contains(h.ServiceAddresses[:i], address) {
			return fmt.Errorf("'service_addresses': %q is there twice", address)
		}
	}
	err := firstOf(
		atLeast("dead_after", h.DeadAfter, liveness.MinSilence),
		atLeastOrNone("max_dead_after", h.MaxDeadAfter, liveness.MinSilence),
		atLeast("disconnect_grace", h.DisconnectGrace, 0),
		atLeast("isolation_hold", h.IsolationHold, time.Second),
		within("keep_alive_idle", h.KeepAliveIdle, time.Second, longestKeepAlive),
		within("keep_alive_interval", h.KeepAliveInterval, time.Second, longestKeepAlive),
		atLeastOrNone("forget_dead_after", h.ForgetDeadAfter, time.Second),
		atLeastOrNone("forget_left_after", h.ForgetLeftAfter, time.Second),
		atLeast("frame_timeout", h.FrameTimeout, 100*time.Millisecond),
		between("missed_beats", int64(h.MissedBeats), 1, 1000),
		between("max_frame_size", int64(h.MaxFrameSize), 64, wire.MaxFrame),
		between("max_connections", int64(h.MaxConnections), 0, 1<<30),
		between("max_connections_per_ip", int64(h.MaxPerIP), 0, 1<<30),
		between("read_buffer_size", int64(h.ReadBufferSize), 0, 1<<30),
		checkSocketMode(h.SocketMode),
		between("max_peers", int64(h.MaxPeers), 1, 1<<30),
		between("max_peers_per_host", int64(h.MaxPeersPerHost), 0, 1<<30),
		between("max_beats_per_second", int64(h.MaxBeatsPerSecond), 0, 1<<30),
		checkRatio("isolation_ratio", h.IsolationRatio),
		oneOf("detector", h.Detector, "adaptive", "interval"),
		oneOf("emit_beats", h.EmitBeats, "all", "none"),
		oneOf("pid_as", h.PIDAs, "tag", "field"),
		oneOf("ip_from", h.IPFrom, "beat", "connection", "verified"),
		oneOf("host_from", h.HostFrom, "beat", "verified"),
		atLeast("replay_window", h.ReplayWindow, time.Second),
		h.checkTLS(),
		h.checkKeys(),
		h.checkVerified(),
		checkTagKeys(h.TagKeys),
		checkExpected(h.Expect),
	)
	if err != nil {
		return err
	}
	if h.allowed, err = parseSources(h.AllowedSources); err != nil {
		return err
	}
	if h.ownNames, err = parseNames(h.Names); err != nil {
		return err
	}
	return h.compileRules()
}

// Check returns what is wrong with the files that Start reads, each line for
// itself. It is for a plugin that Init has found right and that does not run.
func (h *Heartbeat) Check() []error {
	wrong := (&watcher{plugin: h}).read(context.Background()).wrong
	for _, id := range slices.Sorted(maps.Keys(h.Keys)) {
		if _, err := openKeys(map[string]*config.Secret{id: h.Keys[id]}, h.Log); err != nil {
			wrong = append(wrong, err)
		}
	}
	if h.TLSCert == "" {
		return wrong
	}
	if _, err := openCertificates(&h.ServerConfig, h.Log); err != nil {
		wrong = append(wrong, fmt.Errorf("cannot read what 'tls_cert', 'tls_key' and 'tls_allowed_cacerts' name: %w", err))
	}
	return wrong
}

func (h *Heartbeat) compileRules() error {
	h.compiled = nil
	for i := range h.Rules {
		rule, err := h.Rules[i].compile(i+1, h.terms())
		if err != nil {
			return err
		}
		h.compiled = append(h.compiled, rule)
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// networks are what can be listened on.
var networks = []string{"tcp", "tcp4", "tcp6", "tls", "udp", "udp4", "udp6", "unix", "unixgram"}

func isUnix(network string) bool { return network == "unix" || network == "unixgram" }

func isDatagram(network string) bool {
	return strings.HasPrefix(network, "udp") || network == "unixgram"
}

// checkSocketMode takes permissions as chmod does, like "0660".
func checkSocketMode(mode string) error {
	if _, err := strconv.ParseUint(mode, 8, 9); err != nil && mode != "" {
		return fmt.Errorf("'socket_mode' must be permissions like \"0660\", not %q", mode)
	}
	return nil
}

// splitAddress returns network and address of a URL like tcp://:7878.
func splitAddress(url string) (network, address string, err error) {
	scheme, address, ok := strings.Cut(url, "://")
	if !ok {
		return "", "", fmt.Errorf("lacks a scheme: write \"tcp://%s\"", url)
	}
	if !slices.Contains(networks, scheme) {
		return "", "", fmt.Errorf("has scheme %q: use one of %s", scheme, strings.Join(networks, ", "))
	}
	if isUnix(scheme) {
		if address == "" {
			return "", "", fmt.Errorf("has no path: write \"%s:///run/telegraf/heartbeat.sock\"", scheme)
		}
		return scheme, address, nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("is not an address with a port: write \"%s://:7878\"", scheme)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("has port %q: use 0 to 65535", port)
	}
	return scheme, address, nil
}

func atLeast(option string, value config.Duration, least time.Duration) error {
	return within(option, value, least, longest)
}

func within(option string, value config.Duration, least, most time.Duration) error {
	if time.Duration(value) < least || time.Duration(value) > most {
		return fmt.Errorf("'%s' must be at least %s and at most %s, not %s", option, written(least), written(most), written(time.Duration(value)))
	}
	return nil
}

// written returns d as an option is written, like "2s", "90m" or "7d".
func written(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d != 0 && d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d != 0 && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d != 0 && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

func atLeastOrNone(option string, value config.Duration, least time.Duration) error {
	if value == 0 {
		return nil
	}
	return atLeast(option, value, least)
}

func between(option string, value, low, high int64) error {
	if value < low || value > high {
		return fmt.Errorf("'%s' must be between %d and %d, not %d", option, low, high, value)
	}
	return nil
}

func checkRatio(option string, value float64) error {
	if !(value >= 0 && value < 1) || value > 0 && value < 0.01 {
		return fmt.Errorf("'%s' must be 0, or at least 0.01 and less than 1, not %v", option, value)
	}
	return nil
}

func oneOf(option, value string, choices ...string) error {
	if !slices.Contains(choices, value) {
		return fmt.Errorf("'%s' must be one of %q, not %q", option, choices, value)
	}
	return nil
}

func checkTagKeys(keys []string) error {
	for _, key := range keys {
		if slices.Contains(ownTags, key) {
			return fmt.Errorf("'tag_keys' names %q, which is a tag of the plugin or of Telegraf", key)
		}
		if slices.Contains(ownFields, key) {
			return fmt.Errorf("'tag_keys' names %q, which is a field of the plugin: databases cannot have both", key)
		}
		label := wire.Beat{Tags: []wire.Label{{Key: key, Value: "x"}}}
		if err := label.Validate(); err != nil {
			return fmt.Errorf("'tag_keys' names %q, which no beat can carry: %w", key, err)
		}
	}
	return nil
}

package heartbeat

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/influxdata/telegraf/config"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// This file checks the values of options. Errors name the option and the value.

// longest is the longest duration of an option. Adding it to a time does not overflow.
const longest = 10 * 365 * 24 * time.Hour

// longestKeepAlive is the longest that Linux accepts (tcp(7), TCP_KEEPIDLE).
const longestKeepAlive = 32767 * time.Second

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func atLeast(option string, value config.Duration, least time.Duration) error {
	return within(option, value, least, longest)
}

func within(option string, value config.Duration, least, most time.Duration) error {
	if time.Duration(value) < least || time.Duration(value) > most {
		return fmt.Errorf("'%s' must be at least %s and at most %s, not %s",
			option, formatDuration(least), formatDuration(most), formatDuration(time.Duration(value)))
	}
	return nil
}

func atLeastOrNone(option string, value config.Duration, least time.Duration) error {
	if value == 0 {
		return nil
	}
	return atLeast(option, value, least)
}

// formatDuration formats d as in an option, like "2s", "90m" or "7d".
func formatDuration(d time.Duration) string {
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

// checkSocketMode accepts permissions in chmod's form, like "0660".
func checkSocketMode(mode string) error {
	if _, err := serve.ParseSocketMode(mode); err != nil && mode != "" {
		return fmt.Errorf("'socket_mode' must be permissions like \"0660\", not %q", mode)
	}
	return nil
}

func checkTagKeys(keys []string) error {
	for _, key := range keys {
		if slices.Contains(judge.OwnTags, key) {
			return fmt.Errorf("'tag_keys' names %q, which is a tag of the plugin or of Telegraf", key)
		}
		if slices.Contains(judge.OwnFields, key) {
			return fmt.Errorf("'tag_keys' names %q, which is a field of the plugin: a name cannot be both", key)
		}
		label := wire.Beat{Tags: []wire.Label{{Key: key, Value: "x"}}}
		if err := label.Validate(); err != nil {
			return fmt.Errorf("'tag_keys' names %q, which no beat can have: %w", key, err)
		}
	}
	return nil
}

// checkTagWith accepts the parts of a beat that may be a tag or a field.
func checkTagWith(all []string) error {
	for _, name := range all {
		if name != "pid" {
			return fmt.Errorf("'tag_with' can only contain \"pid\", not %q", name)
		}
	}
	return nil
}

func checkExpected(entries []string) error {
	for _, entry := range entries {
		if _, err := judge.ParseExpected(entry); err != nil {
			return fmt.Errorf("'expect': %.80q %w", entry, err)
		}
	}
	return nil
}

// parseNames parses the names of this collector.
func parseNames(names []string) ([]string, error) {
	all := make([]string, 0, len(names))
	for _, text := range names {
		name, err := wire.Host(text)
		if err != nil {
			return nil, fmt.Errorf("'names': %q is not a valid host name: %w", text, err)
		}
		all = append(all, name)
	}
	return all, nil
}

// parseSources parses addresses and networks.
func parseSources(option string, texts []string) ([]netip.Prefix, error) {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("'%s': %q is neither an address nor a network like \"10.0.0.0/8\"", option, text)
		}
		all = append(all, prefix)
	}
	return all, nil
}

// parsePrefix parses a network, or an address as a network of one address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if addr := prefix.Addr(); err == nil && addr.Is4In6() && prefix.Bits() >= 96 {
		return addr.Unmap().Prefix(prefix.Bits() - 96) // the addresses of senders are unmapped too
	}
	return prefix.Masked(), err
}

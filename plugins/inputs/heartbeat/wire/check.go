package wire

import (
	"math"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Texts that may become tags or strings in a database pass one of these allow-lists, so
// that no serializer and no query has to escape them.

func isStatusByte(c byte) bool { return isWord(c) || c == '.' || c == '-' }

func isHostByte(c byte) bool { return isStatusByte(c) || c == ':' }

func isServiceByte(c byte) bool { return isHostByte(c) || c == '@' || c == '/' }

func isSignalByte(c byte) bool { return isStatusByte(c) || c == '+' }

// isOpaqueByte is for texts that are only compared.
func isOpaqueByte(c byte) bool { return 0x20 < c && c < 0x7f && c != '"' && c != '\\' }

func isWord(c byte) bool {
	return isDigit(c) || c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// checkText refuses a text that is empty, is longer than limit or has a byte that is not
// allowed.
func checkText[T string | []byte](key string, text T, limit int, allowed func(byte) bool) error {
	if len(text) == 0 || len(text) > limit {
		return refuse(ReasonValue, "%s: %s has %d bytes, allowed are 1 to %d", key, quote(text), len(text), limit)
	}
	for i := range len(text) {
		if !allowed(text[i]) {
			char, _ := utf8.DecodeRuneInString(string(text[i:]))
			return refuse(ReasonValue, "%s: %q in %s is not allowed", key, char, quote(text))
		}
	}
	return nil
}

// checkLabelValue accepts only printable text without quotes and backslashes. The text
// must be valid UTF-8.
func checkLabelValue[T string | []byte](key string, text T) error {
	if len(text) == 0 || len(text) > MaxLabelValue {
		return refuse(ReasonValue, "%s: %s has %d bytes, allowed are 1 to %d", key, quote(text), len(text), MaxLabelValue)
	}
	for _, char := range string(text) {
		if char == utf8.RuneError || !unicode.IsPrint(char) || strings.ContainsRune("\"'`\\", char) {
			return refuse(ReasonValue, "%s: %q in %s is not allowed", key, char, quote(text))
		}
	}
	return nil
}

func checkRange(key string, n, low, high int64) error {
	if n < low || n > high {
		return refuse(ReasonValue, "%s: %d is not in %d..%d", key, n, low, high)
	}
	return nil
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, refuse(ReasonValue, "ip: %s is not an IP address without a zone", quote(text))
	}
	return addr.Unmap(), nil
}

// Validate refuses a beat that no collector would accept.
func (b *Beat) Validate() error {
	if _, ok := canonicalStatus(b.Status); !ok {
		return refuseStatus(b.Status)
	}
	return firstError(
		optional("status", b.Status, MaxStatus, isStatusByte),
		optionalHost("host", b.Host),
		optional("service", b.Service, MaxService, isServiceByte),
		optional("run", b.Run, MaxRun, isOpaqueByte),
		optional("boot", b.Boot, MaxBoot, isOpaqueByte),
		optional("signal", b.Signal, MaxSignal, isSignalByte),
		checkRange("seq", b.Seq, 0, MaxInteger),
		checkRange("sent_ms", b.SentMS, 0, MaxInteger),
		optionalHost("to", b.To),
		checkRange("start_ms", b.StartMS, 0, MaxInteger),
		checkInterval(b.IntervalMS),
		checkRange("back_in_ms", b.BackInMS, 0, MaxBackInMS),
		checkRange("grace_ms", b.GraceMS, 0, MaxGraceMS),
		checkRange("exit_code", b.ExitCode, math.MinInt32, math.MaxUint32),
		checkRange("rtt_us", b.RTTMicros, 0, MaxInteger),
		within("tags", checkTags(b.Tags)),
		within("fields", checkFields(b.Fields)),
	)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func optional(key, text string, limit int, allowed func(byte) bool) error {
	if text == "" {
		return nil
	}
	return checkText(key, text, limit, allowed)
}

func optionalHost(key, text string) error {
	if text == "" {
		return nil
	}
	_, err := hostOf(key, text)
	return err
}

func checkInterval(ms int64) error {
	if ms == 0 {
		return nil
	}
	return checkRange("interval_ms", ms, MinIntervalMS, MaxIntervalMS)
}

func checkTags(tags []Label) error {
	seen := make(map[string]bool, len(tags))
	for _, label := range tags {
		if err := firstError(checkKey(seen, label.Key), checkLabelValue(label.Key, label.Value)); err != nil {
			return err
		}
	}
	return nil
}

func checkFields(fields []Field) error {
	seen := make(map[string]bool, len(fields))
	for _, field := range fields {
		if err := firstError(checkKey(seen, field.Key), checkFieldValue(field)); err != nil {
			return err
		}
	}
	return nil
}

// checkKey checks a key and adds it to seen.
func checkKey(seen map[string]bool, key string) error {
	switch {
	case seen[key]:
		return refuse(ReasonDuplicateKey, "duplicate key %s", quote(key))
	case len(seen) == MaxEntries:
		return tooMany(MaxEntries + 1)
	}
	seen[key] = true
	return checkText("key", key, MaxLabelKey, isWord)
}

func checkFieldValue(field Field) error {
	switch value := field.Value.(type) {
	case bool:
		return nil
	case string:
		return checkLabelValue(field.Key, value)
	case float64:
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return refuse(ReasonValue, "%s: %v is not a JSON number", field.Key, value)
		}
		return nil
	default:
		return refuse(ReasonType, "%s: %T is not a number, boolean or string", field.Key, value)
	}
}

func tooMany(n int) error {
	return refuse(ReasonLimit, "%d entries, the limit is %d", n, MaxEntries)
}

func refuseStatus[T string | []byte](status T) error {
	return refuse(ReasonValue, "status: %s is ambiguous: use \"dead\" or \"leaving\"", quote(status))
}

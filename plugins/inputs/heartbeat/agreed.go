package heartbeat

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
)

// agreed returns a hash of each option that affects verdicts or series: these options must be the
// same on all collectors of a cluster. Options that are not set are left out, so that a new option
// of a later version changes nothing until it is set.
func (o *Options) agreed() map[string]uint64 {
	rules := make([]map[string]any, 0, len(o.Rules))
	for i := range o.Rules {
		rules = append(rules, o.Rules[i].agreed())
	}
	checks := make([]map[string]any, 0, len(o.Checks))
	for i := range o.Checks {
		checks = append(checks, o.Checks[i].agreed())
	}
	options := onlySet(map[string]any{
		"host_from":            o.HostFrom,
		"require_signature":    o.RequireSignature,
		"replay_window":        o.ReplayWindow,
		"require_recipient":    o.RequireRecipient,
		"dead_after":           o.DeadAfter,
		"missed_beats":         o.MissedBeats,
		"disconnect_grace":     o.DisconnectGrace,
		"isolation_ratio":      o.IsolationRatio,
		"isolation_hold":       o.IsolationHold,
		"expect":               sorted(o.Expect),
		"accept":               o.Accept,
		"forget_dead_after":    o.ForgetDeadAfter,
		"forget_left_after":    o.ForgetLeftAfter,
		"tag_with":             sorted(o.TagWith),
		"ip_from":              o.IPFrom,
		"tag_keys":             sorted(o.TagKeys),
		"max_peers":            o.MaxPeers,
		"max_peers_per_host":   o.peersPerHost(),
		"max_beats_per_second": o.MaxBeatsPerSecond,
		"rule":                 rules,
		"check":                checks,
	})
	if o.Accept == "all" { // as before the option existed
		delete(options, "accept")
	}
	hashes := make(map[string]uint64, len(options))
	for name, value := range options {
		hash := fnv.New64a()
		json.NewEncoder(hash).Encode(value) //nolint:errcheck,errchkjson // strings and numbers always encode, and a hash never fails
		hashes[name] = hash.Sum64()
	}
	return hashes
}

// agreed returns the options of a rule that are set.
func (r *Rule) agreed() map[string]any {
	return onlySet(map[string]any{
		"host":              r.Host,
		"service":           r.Service,
		"ip":                r.IP,
		"dead_after":        r.DeadAfter,
		"max_dead_after":    r.MaxDeadAfter,
		"missed_beats":      r.MissedBeats,
		"disconnect_grace":  r.DisconnectGrace,
		"forget_dead_after": r.ForgetDeadAfter,
		"schedule":          r.Schedule,
		"grace":             r.Grace,
		"hours":             r.Hours,
		"timezone":          r.Timezone,
		"class":             r.Class,
	})
}

// onlySet returns options without the ones that are not set.
func onlySet(options map[string]any) map[string]any {
	maps.DeleteFunc(options, func(_ string, value any) bool {
		v := reflect.ValueOf(value)
		return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
	})
	return options
}

// sorted sorts a list whose order has no meaning.
func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }

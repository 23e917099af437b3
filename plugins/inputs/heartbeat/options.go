package heartbeat

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/telegraf/config"
	common_tls "github.com/influxdata/telegraf/plugins/common/tls"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Options are the options that sample.conf documents.
type Options struct {
	ServiceAddresses []string `toml:"service_addresses"`
	AllowedSources   []string `toml:"allowed_sources"`

	common_tls.ServerConfig

	HostFrom          string                    `toml:"host_from"`
	RequireSignature  bool                      `toml:"require_signature"`
	ReplayWindow      config.Duration           `toml:"replay_window"`
	KeysDir           string                    `toml:"keys_dir"`
	Names             []string                  `toml:"names"`
	RequireRecipient  bool                      `toml:"require_recipient"`
	SocketMode        string                    `toml:"socket_mode"`
	ReadBufferSize    config.Size               `toml:"read_buffer_size"`
	AllowedReaders    []string                  `toml:"allowed_readers"`
	BasicUsername     string                    `toml:"basic_username"`
	BasicPassword     *config.Secret            `toml:"basic_password"`
	TrustedProxies    []string                  `toml:"trusted_proxies"`
	CheckFiles        []string                  `toml:"check_files"`
	DeadAfter         config.Duration           `toml:"dead_after"`
	MissedBeats       int                       `toml:"missed_beats"`
	DisconnectGrace   config.Duration           `toml:"disconnect_grace"`
	IsolationRatio    float64                   `toml:"isolation_ratio"`
	IsolationHold     config.Duration           `toml:"isolation_hold"`
	StateFile         string                    `toml:"state_file"`
	Expect            []string                  `toml:"expect"`
	ExpectFiles       []string                  `toml:"expect_files"`
	Accept            string                    `toml:"accept"`
	ForgetDeadAfter   config.Duration           `toml:"forget_dead_after"`
	ForgetLeftAfter   config.Duration           `toml:"forget_left_after"`
	EmitBeats         string                    `toml:"emit_beats"`
	TagWith           []string                  `toml:"tag_with"`
	IPFrom            string                    `toml:"ip_from"`
	TagKeys           []string                  `toml:"tag_keys"`
	Welcome           string                    `toml:"welcome"`
	ReadTimeout       config.Duration           `toml:"read_timeout"`
	MaxFrameSize      config.Size               `toml:"max_frame_size"`
	MaxConnections    int                       `toml:"max_connections"`
	MaxPerIP          int                       `toml:"max_connections_per_ip"`
	MaxPeers          int                       `toml:"max_peers"`
	MaxPeersPerHost   int                       `toml:"max_peers_per_host"`
	MaxBeatsPerSecond int                       `toml:"max_beats_per_second"`
	KeepAliveIdle     config.Duration           `toml:"keep_alive_idle"`
	KeepAliveInterval config.Duration           `toml:"keep_alive_interval"`
	Rules             []Rule                    `toml:"rule"`
	Checks            []Check                   `toml:"check"`
	Cluster           *ClusterOptions           `toml:"cluster"`
	Keys              map[string]*config.Secret `toml:"keys"`

	former
}

// former are options that were removed or renamed before the first release. Setting one is an error
// that names its replacement. They are never suggested for a misspelt option.
type former struct {
	Detector     *string          `toml:"detector" former:""`
	MaxDeadAfter *config.Duration `toml:"max_dead_after" former:""`
	PIDAs        *string          `toml:"pid_as" former:""`
	FrameTimeout *config.Duration `toml:"frame_timeout" former:""`
}

func (f *former) check() error {
	switch {
	case f.Detector != nil:
		return errors.New("'detector' was removed: the margin always adapts to how late the beats of a peer are; " +
			"to limit it, set 'max_dead_after' in a [[inputs.heartbeat.rule]]")
	case f.MaxDeadAfter != nil:
		return errors.New("'max_dead_after' was moved to rules: set it in a [[inputs.heartbeat.rule]] with host = \"*\"")
	case f.PIDAs != nil:
		return errors.New("'pid_as' was renamed to 'tag_with': write tag_with = [\"pid\"] for a tag, or [] for a field")
	case f.FrameTimeout != nil:
		return errors.New("'frame_timeout' was renamed to 'read_timeout'")
	}
	return nil
}

func defaults() Options {
	return Options{
		ServiceAddresses:  []string{"tcp://:7878"},
		HostFrom:          "beat",
		ReplayWindow:      config.Duration(5 * time.Minute),
		DeadAfter:         config.Duration(210 * time.Second),
		MissedBeats:       3,
		DisconnectGrace:   config.Duration(5 * time.Second),
		IsolationRatio:    0.3,
		IsolationHold:     config.Duration(time.Minute),
		Accept:            "all",
		ForgetDeadAfter:   config.Duration(14 * 24 * time.Hour),
		ForgetLeftAfter:   config.Duration(time.Hour),
		EmitBeats:         "all",
		TagWith:           []string{"pid"},
		IPFrom:            "beat",
		ReadTimeout:       config.Duration(10 * time.Second),
		MaxFrameSize:      wire.DefaultMaxFrame,
		MaxConnections:    100000,
		MaxPeers:          100000,
		MaxBeatsPerSecond: 10,
		KeepAliveIdle:     config.Duration(15 * time.Second),
		KeepAliveInterval: config.Duration(5 * time.Second),
	}
}

// valid are the parsed values of checked options.
type valid struct {
	allowed []netip.Prefix
	readers []netip.Prefix
	proxies []netip.Prefix
	names   []string // of this collector
	rules   []*rule
}

// check checks all options.
func (o *Options) check() (v valid, err error) {
	err = firstError(
		o.checkAddresses(),
		o.former.check(),
		atLeast("dead_after", o.DeadAfter, liveness.MinSilence),
		atLeast("disconnect_grace", o.DisconnectGrace, 0),
		atLeast("isolation_hold", o.IsolationHold, time.Second),
		within("keep_alive_idle", o.KeepAliveIdle, time.Second, longestKeepAlive),
		within("keep_alive_interval", o.KeepAliveInterval, time.Second, longestKeepAlive),
		atLeastOrNone("forget_dead_after", o.ForgetDeadAfter, time.Second),
		atLeastOrNone("forget_left_after", o.ForgetLeftAfter, time.Second),
		atLeast("read_timeout", o.ReadTimeout, 100*time.Millisecond),
		between("missed_beats", int64(o.MissedBeats), 1, 1000),
		between("max_frame_size", int64(o.MaxFrameSize), 64, wire.MaxFrame),
		between("max_connections", int64(o.MaxConnections), 0, 1<<30),
		between("max_connections_per_ip", int64(o.MaxPerIP), 0, 1<<30),
		between("read_buffer_size", int64(o.ReadBufferSize), 0, 1<<30),
		checkSocketMode(o.SocketMode),
		between("max_peers", int64(o.MaxPeers), 1, 1<<30),
		between("max_peers_per_host", int64(o.MaxPeersPerHost), 0, 1<<30),
		between("max_beats_per_second", int64(o.MaxBeatsPerSecond), 0, 1<<30),
		checkRatio("isolation_ratio", o.IsolationRatio),
		oneOf("emit_beats", o.EmitBeats, "all", "none"),
		checkTagWith(o.TagWith),
		oneOf("ip_from", o.IPFrom, "beat", "connection", "verified"),
		oneOf("host_from", o.HostFrom, "beat", "verified"),
		atLeast("replay_window", o.ReplayWindow, time.Second),
		o.checkTLS(),
		o.checkKeys(),
		o.checkVerified(),
		o.checkHTTP(),
		checkTagKeys(o.TagKeys),
		checkExpected(o.Expect),
		oneOf("accept", o.Accept, "all", "known"),
		o.Cluster.check(),
	)
	if err != nil {
		return v, err
	}
	if v.allowed, err = parseSources("allowed_sources", o.AllowedSources); err != nil {
		return v, err
	}
	if v.readers, err = parseSources("allowed_readers", o.AllowedReaders); err != nil {
		return v, err
	}
	if v.proxies, err = parseSources("trusted_proxies", o.TrustedProxies); err != nil {
		return v, err
	}
	if v.names, err = parseNames(o.Names); err != nil {
		return v, err
	}
	v.rules, err = compileRules(o.Rules, o.terms())
	return v, err
}

func (o *Options) checkAddresses() error {
	if len(o.ServiceAddresses) == 0 {
		return errors.New("'service_addresses' must name at least one address, like \"tcp://:7878\"")
	}
	for i, address := range o.ServiceAddresses {
		if _, _, err := serve.SplitAddress(address); err != nil {
			return fmt.Errorf("'service_addresses': %q %w", address, err)
		}
		if slices.Contains(o.ServiceAddresses[:i], address) {
			return fmt.Errorf("'service_addresses': %q is listed twice", address)
		}
	}
	return nil
}

// terms returns the terms of peers that match no rule.
func (o *Options) terms() liveness.Terms {
	return liveness.Terms{
		DeadAfter:  time.Duration(o.DeadAfter),
		Margin:     liveness.MarginOf(o.MissedBeats),
		Grace:      time.Duration(o.DisconnectGrace),
		ForgetDead: time.Duration(o.ForgetDeadAfter),
	}
}

// liveness returns the options that decide verdicts.
func (o *Options) liveness(rules []*rule) liveness.Options {
	return liveness.Options{
		Terms:             o.terms(),
		TermsOf:           termsOf(rules),
		MinSilence:        liveness.MinSilence,
		ForgetLeft:        time.Duration(o.ForgetLeftAfter),
		IsolationPercent:  int(math.Round(100 * o.IsolationRatio)),
		IsolationHold:     time.Duration(o.IsolationHold),
		KnownOnly:         o.Accept == "known",
		MaxPeers:          o.MaxPeers,
		MaxPeersPerHost:   o.peersPerHost(),
		MaxBeatsPerSecond: o.MaxBeatsPerSecond,
		ReplayWindow:      time.Duration(o.ReplayWindow),
		OnlyVerified:      o.RequireSignature || o.HostFrom == "verified",
	}
}

// peersPerHost returns the limit of peers of one host: by default a tenth of all peers,
// but at least 1000, which is enough for any usual host.
func (o *Options) peersPerHost() int {
	if o.MaxPeersPerHost > 0 {
		return o.MaxPeersPerHost
	}
	return max(o.MaxPeers/10, 1000)
}

// keepAlive returns the TCP keepalive settings of a connection before its peers are known.
func (o *Options) keepAlive() serve.KeepAlive {
	return serve.KeepAlive{
		Idle:     time.Duration(o.KeepAliveIdle),
		Interval: time.Duration(o.KeepAliveInterval),
		GiveUp:   2 * time.Duration(o.DeadAfter),
	}
}

// verifyRules returns the rules that beats must satisfy.
func (o *Options) verifyRules(keys *verify.Keys, recipient *verify.Recipient) verify.Rules {
	return verify.Rules{
		Keys: keys, Host: o.HostFrom == "verified", IP: o.IPFrom == "verified", Signature: o.RequireSignature, Recipient: recipient,
	}
}

// isOpen reports whether anyone may send beats.
func (o *Options) isOpen(secure bool) bool {
	certified := secure && len(o.TLSAllowedCACerts) > 0
	return len(o.AllowedSources) == 0 && !o.RequireSignature && o.HostFrom != "verified" && !certified
}

// hasKeys reports whether there are any keys.
func (o *Options) hasKeys() bool { return len(o.Keys) > 0 || o.KeysDir != "" }

// openKeys reads the secrets of the keys with these ids, and the keys in dir unless it is "".
func (o *Options) openKeys(ids []string, dir string, log verify.Logger) (*verify.Keys, error) {
	texts := make(map[string]string, len(ids))
	for _, id := range ids {
		buffer, err := o.Keys[id].Get()
		if err != nil {
			return nil, fmt.Errorf("key %q of 'keys': %w", id, err)
		}
		texts[id] = strings.Clone(buffer.String())
		buffer.Destroy()
	}
	return verify.OpenKeys(texts, dir, log)
}

// openCertificates reads the TLS files.
func (o *Options) openCertificates(log serve.Logger) (*serve.Certificates, error) {
	files := append([]string{o.TLSCert, o.TLSKey}, o.TLSAllowedCACerts...)
	return serve.OpenCertificates(files, o.ServerConfig.TLSConfig, log)
}

// checkTLS returns an error if the TLS options are wrong. It reads no files.
func (o *Options) checkTLS() error {
	secure := slices.IndexFunc(o.ServiceAddresses, func(url string) bool {
		return strings.HasPrefix(url, "tls://") || strings.HasPrefix(url, "https://")
	})
	switch {
	case secure >= 0 && (o.TLSCert == "" || o.TLSKey == ""):
		scheme, _, _ := strings.Cut(o.ServiceAddresses[secure], ":")
		return fmt.Errorf("'service_addresses': %s:// needs 'tls_cert' and 'tls_key'", scheme)
	case secure < 0 && (o.TLSCert != "" || o.TLSKey != "" || len(o.TLSAllowedCACerts) > 0):
		return errors.New("'tls_cert', 'tls_key' and 'tls_allowed_cacerts' need an address tls:// or https:// in 'service_addresses'")
	case len(o.TLSAllowedDNSNames) > 0 && len(o.TLSAllowedCACerts) == 0:
		return errors.New("'tls_allowed_dns_names' needs 'tls_allowed_cacerts'")
	}
	return nil
}

// checkVerified returns an error if these options cannot verify hosts or addresses as demanded.
func (o *Options) checkVerified() error {
	if o.HostFrom == "verified" && len(o.TLSAllowedCACerts) == 0 && !o.hasKeys() && !o.hasChecks() {
		return errors.New("'host_from' = \"verified\" needs 'tls_allowed_cacerts', 'keys' or 'keys_dir', or a [[inputs.heartbeat.check]]")
	}
	if o.IPFrom != "verified" || o.RequireSignature {
		return nil
	}
	for _, url := range o.ServiceAddresses {
		if strings.HasPrefix(url, "udp") {
			return fmt.Errorf("'ip_from' = \"verified\" with %q needs 'require_signature': the source address of a datagram can be forged", url)
		}
	}
	return nil
}

// checkKeys returns an error if the options for signatures are wrong.
func (o *Options) checkKeys() error {
	seen := make(map[string]string)
	for _, id := range slices.Sorted(maps.Keys(o.Keys)) {
		if err := (wire.Key{ID: id, Secret: make([]byte, wire.MinSecret)}).Validate(); err != nil {
			return fmt.Errorf("'keys': %w", err)
		}
		if other, twice := seen[verify.KeyName(id)]; twice {
			return fmt.Errorf("'keys': %q and %q are the same key id, because case and a final dot do not count: remove one of them", other, id)
		}
		seen[verify.KeyName(id)] = id
	}
	switch {
	case o.hasKeys():
	case o.RequireSignature && !o.hasChecks():
		return errors.New("'require_signature' needs 'keys' or 'keys_dir', or a [[inputs.heartbeat.check]]")
	case o.RequireRecipient:
		return errors.New("'require_recipient' needs 'keys' or 'keys_dir': it applies only to signed beats")
	default:
		return nil
	}
	// Once a peer is forgotten, a copy of its last beat is accepted as new while it is recent enough.
	// The clock that sent it may have been ahead by the window, so it stays recent enough for two
	// windows.
	least := 2 * o.ReplayWindow
	check := func(name string, forget config.Duration) error {
		if forget == 0 || forget >= least {
			return nil
		}
		return fmt.Errorf("'%s' must be at least twice 'replay_window', %s", name, time.Duration(least))
	}
	for i := range o.Rules {
		if forget := o.Rules[i].ForgetDeadAfter; forget != nil {
			if err := check("forget_dead_after", *forget); err != nil {
				return inRule(i+1, err)
			}
		}
	}
	return firstError(check("forget_dead_after", o.ForgetDeadAfter), check("forget_left_after", o.ForgetLeftAfter))
}

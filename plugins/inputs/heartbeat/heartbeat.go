//go:generate ../../../tools/readme_config_includer/generator

// Package heartbeat is a Telegraf service input that receives heartbeats of
// hosts and processes and tells who is alive and who is dead.
//
// This file says what can be configured and when the plugin runs. Sockets are
// in listener.go, one connection is in conn.go, what becomes of a beat is in
// intake.go, and metrics.go is the only file that names a measurement, a tag
// or a field.
package heartbeat

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/config"
	common_tls "github.com/influxdata/telegraf/plugins/common/tls"
	"github.com/influxdata/telegraf/plugins/inputs"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

//go:embed sample.conf
var sampleConfig string

// Heartbeat is the plugin. Its fields are the options of sample.conf.
type Heartbeat struct {
	ServiceAddresses  []string        `toml:"service_addresses"`
	DeadAfter         config.Duration `toml:"dead_after"`
	Detector          string          `toml:"detector"`
	MissedBeats       int             `toml:"missed_beats"`
	MaxDeadAfter      config.Duration `toml:"max_dead_after"`
	DisconnectGrace   config.Duration `toml:"disconnect_grace"`
	IsolationRatio    float64         `toml:"isolation_ratio"`
	IsolationHold     config.Duration `toml:"isolation_hold"`
	ForgetDeadAfter   config.Duration `toml:"forget_dead_after"`
	ForgetLeftAfter   config.Duration `toml:"forget_left_after"`
	StateFile         string          `toml:"state_file"`
	Expect            []string        `toml:"expect"`
	ExpectFiles       []string        `toml:"expect_files"`
	EmitBeats         string          `toml:"emit_beats"`
	PIDAs             string          `toml:"pid_as"`
	IPFrom            string          `toml:"ip_from"`
	TagKeys           []string        `toml:"tag_keys"`
	Welcome           string          `toml:"welcome"`
	FrameTimeout      config.Duration `toml:"frame_timeout"`
	MaxFrameSize      config.Size     `toml:"max_frame_size"`
	MaxConnections    int             `toml:"max_connections"`
	MaxPerIP          int             `toml:"max_connections_per_ip"`
	AllowedSources    []string        `toml:"allowed_sources"`
	SocketMode        string          `toml:"socket_mode"`
	ReadBufferSize    config.Size     `toml:"read_buffer_size"`
	MaxPeers          int             `toml:"max_peers"`
	MaxPeersPerHost   int             `toml:"max_peers_per_host"`
	MaxBeatsPerSecond int             `toml:"max_beats_per_second"`
	KeepAliveIdle     config.Duration `toml:"keep_alive_idle"`
	KeepAliveInterval config.Duration `toml:"keep_alive_interval"`
	HostFrom          string          `toml:"host_from"`
	RequireSignature  bool            `toml:"require_signature"`
	ReplayWindow      config.Duration `toml:"replay_window"`
	Names             []string        `toml:"names"`
	RequireRecipient  bool            `toml:"require_recipient"`
	Rules             []Rule          `toml:"rule"`

	Keys map[string]*config.Secret `toml:"keys"`
	common_tls.ServerConfig

	Log telegraf.Logger `toml:"-"`

	compiled  []*compiledRule
	allowed   []netip.Prefix
	ownNames  []string // Names in their one spelling
	recipient *recipient
	refusals  *refusals
	intake    *intake
	keeper    *keeper
	listeners []*listener
	doors     *doors
	crew      *crew
	ring      *keyRing

	certificates *certificates // nil without tls://
	lastConn     atomic.Uint64

	running atomic.Pointer[intake] // for Gather; nil while not running
	stop    func()                 // ends what run began; nil likewise
}

// SampleConfig returns the documentation of all options.
func (*Heartbeat) SampleConfig() string {
	return sampleConfig
}

// Start opens the sockets, then the state file: who waits for an address must
// not keep the file from the collector that has both. Stop releases them the
// other way round.
func (h *Heartbeat) Start(acc telegraf.Accumulator) error {
	if err := h.unlock(); err != nil {
		return err
	}
	h.prepare(time.Now())
	for _, address := range h.ServiceAddresses {
		l, err := listen(h, address)
		if err != nil {
			h.closeListeners()
			return fmt.Errorf("listening on %q of 'service_addresses' failed: %w", address, err)
		}
		h.listeners = append(h.listeners, l)
	}
	if err := h.keeper.open(time.Now()); err != nil {
		h.closeListeners()
		return err
	}
	h.announce()
	h.run(acc)
	return nil
}

// StatePath returns the file in which the plugin keeps its state, or "" if it
// keeps none.
func (h *Heartbeat) StatePath() string { return statePath(h.StateFile, os.Getenv) }

// unlock reads what is secret.
func (h *Heartbeat) unlock() (err error) {
	if h.ring, err = openKeys(h.Keys, h.Log); err != nil {
		return err
	}
	if h.TLSCert == "" {
		return nil
	}
	if h.certificates, err = openCertificates(&h.ServerConfig, h.Log); err != nil {
		return fmt.Errorf("reading the certificates failed: %w", err)
	}
	return nil
}

// prepare sets up what all connections share.
func (h *Heartbeat) prepare(now time.Time) {
	h.refusals = newRefusals(h.Log)
	h.recipient = newRecipient(h)
	h.intake = newIntake(h.options(), h.naming(), h.Log, now)
	h.keeper = newKeeper(h.StatePath(), h.intake, h.Log)
	h.doors = newDoors(h)
	h.crew = newCrew()
}

// run serves the listeners until Stop.
func (h *Heartbeat) run(acc telegraf.Accumulator) {
	in, keeper, crew, own := h.intake, h.keeper, h.crew, h.ownOf()
	ring := h.ring
	in.listeners = slices.Clone(h.listeners)
	watch := &watcher{plugin: h}
	watch.look()
	var clock, emitter sync.WaitGroup
	ticking, endClock := context.WithCancel(context.Background())
	emitting, endEmitter := context.WithCancel(context.Background())
	clock.Go(func() { in.keepTime(ticking) })       // ends with ticking
	clock.Go(func() { keeper.keep(ticking) })       // likewise
	clock.Go(func() { watch.keepLooking(ticking) }) // likewise
	if ring != nil {
		clock.Go(func() { ring.keepLooking(ticking) }) // likewise
	}
	emitter.Go(func() { in.emit(emitting, acc, own) }) // ends with emitting, when the queue is empty
	for _, l := range h.listeners {
		l.serve() // until it is closed
	}
	h.stop = func() { // the emitter last: what the others told is still emitted
		crew.dismiss()
		endClock()
		clock.Wait()
		keeper.close()
		endEmitter()
		emitter.Wait()
	}
	h.running.Store(in)
}

// Gather emits what is believed of every peer. It does so through the
// accumulator of Start, in line with everything else: the one of Gather
// rounds stamps, so that a state could seem to come before its cause.
func (h *Heartbeat) Gather(telegraf.Accumulator) error {
	if in := h.running.Load(); in != nil {
		in.gather()
	}
	return nil
}

// Stop closes all sockets and returns when nothing is emitted any more. It
// may be called at any time and more than once.
func (h *Heartbeat) Stop() {
	h.running.Store(nil)
	for _, l := range h.listeners {
		l.end()
	}
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
	h.closeListeners()
}

// closeListeners gives their addresses back. Nothing is served any more.
func (h *Heartbeat) closeListeners() {
	for _, l := range h.listeners {
		l.closeSocket()
	}
	h.listeners = nil
}

// ownOf returns what makes the metrics about the plugin itself.
func (h *Heartbeat) ownOf() func(time.Time) []telegraf.Metric {
	in, keeper, refusals, recipient := h.intake, h.keeper, h.refusals, h.recipient
	return func(now time.Time) []telegraf.Metric {
		metrics := collectorMetrics(in.health(), refusals.total(), recipient.unnamed.Load(), keeper.health(now), now)
		for _, l := range in.listeners {
			metrics = append(metrics, listenerMetrics(l, now)...)
		}
		return metrics
	}
}

// announce says where the plugin listens, and warns if anybody may beat.
func (h *Heartbeat) announce() {
	for _, l := range h.listeners {
		h.Log.Infof("Listening on %s", l.address)
	}
	if h.takesAnyRecipient() {
		h.Log.Warnf("Signed datagrams are accepted whatever collector they are for, because 'names' is empty: list the names by which senders reach this collector")
	}
	for _, l := range h.listeners {
		if !l.local() && l.isOpen() {
			h.Log.Warnf("Anyone who can reach %s can send heartbeats for any host: see 'allowed_sources', 'keys' and 'tls_allowed_cacerts'", l.address)
			return
		}
	}
}

// takesAnyRecipient reports whether a recording of what was signed for another
// collector is worth something here: in datagrams, which are not answered.
func (h *Heartbeat) takesAnyRecipient() bool {
	return len(h.Keys) > 0 && len(h.Names) == 0 &&
		slices.ContainsFunc(h.listeners, func(l *listener) bool { return l.datagrams != nil })
}

// terms returns what all peers are allowed that no rule names.
func (h *Heartbeat) terms() liveness.Terms {
	return liveness.Terms{
		DeadAfter:    time.Duration(h.DeadAfter),
		MaxDeadAfter: time.Duration(h.MaxDeadAfter),
		Margin:       liveness.MarginOf(h.MissedBeats),
		Grace:        time.Duration(h.DisconnectGrace),
		ForgetDead:   time.Duration(h.ForgetDeadAfter),
	}
}

func (h *Heartbeat) options() liveness.Options {
	return liveness.Options{
		Terms:             h.terms(),
		TermsOf:           termsOf(h.compiled),
		Adaptive:          h.Detector == "adaptive",
		MinSilence:        liveness.MinSilence,
		ForgetLeft:        time.Duration(h.ForgetLeftAfter),
		IsolationPercent:  int(math.Round(100 * h.IsolationRatio)),
		IsolationHold:     time.Duration(h.IsolationHold),
		MaxPeers:          h.MaxPeers,
		MaxPeersPerHost:   h.peersPerHost(),
		MaxBeatsPerSecond: h.MaxBeatsPerSecond,
		ReplayWindow:      time.Duration(h.ReplayWindow),
	}
}

// peersPerHost returns what one host may have: by default so much that the fleet
// needs no more than one of ten hosts, and every usual host gets along with it.
func (h *Heartbeat) peersPerHost() int {
	if h.MaxPeersPerHost > 0 {
		return h.MaxPeersPerHost
	}
	return max(h.MaxPeers/10, 1000)
}

func (h *Heartbeat) naming() naming {
	return naming{
		beats:    h.EmitBeats == "all",
		pidField: h.PIDAs == "field",
	}
}

func init() {
	inputs.Add("heartbeat", func() telegraf.Input {
		return &Heartbeat{
			ServiceAddresses:  []string{"tcp://:7878"},
			DeadAfter:         config.Duration(210 * time.Second),
			Detector:          "adaptive",
			MissedBeats:       3,
			DisconnectGrace:   config.Duration(5 * time.Second),
			IsolationRatio:    0.3,
			IsolationHold:     config.Duration(time.Minute),
			ForgetDeadAfter:   config.Duration(72 * time.Hour),
			ForgetLeftAfter:   config.Duration(time.Hour),
			EmitBeats:         "all",
			PIDAs:             "tag",
			IPFrom:            "beat",
			HostFrom:          "beat",
			ReplayWindow:      config.Duration(5 * time.Minute),
			FrameTimeout:      config.Duration(10 * time.Second),
			MaxFrameSize:      wire.DefaultMaxFrame,
			MaxConnections:    100000,
			MaxPeers:          100000,
			MaxBeatsPerSecond: 10,
			KeepAliveIdle:     config.Duration(15 * time.Second),
			KeepAliveInterval: config.Duration(5 * time.Second),
		}
	})
}

//go:generate ../../../tools/readme_config_includer/generator

// Package heartbeat is a Telegraf service input that receives heartbeats of hosts
// and processes and reports which are alive and which are dead.
//
// This package has the options and the lifecycle of the plugin. It connects the packages
// below and judges nothing itself. A beat goes from serve (sockets) through take.go to
// verify, which decodes it and decides whether to believe it, and to judge, which asks
// liveness for the verdict and emits it. When a deadline passes, the clock of judge asks
// liveness too. statefile keeps the state over a restart. No package below knows this one.
package heartbeat

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/statefile"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/page"
)

//go:embed sample.conf
var sampleConfig string

// Heartbeat is the plugin.
type Heartbeat struct {
	Options

	Log telegraf.Logger `toml:"-"`

	valid     valid
	server    *serve.Server
	judge     *judge.Judge
	keeper    *statefile.Keeper
	keys      *verify.Keys
	recipient *verify.Recipient
	refused   *refusals
	websites  *websites        // nil without an http:// or https:// address
	cluster   *cluster.Cluster // nil if this collector is alone
	page      *page.Page
	readers   func() *web.Socket // starts to answer readers on this host; nil without a state file
	socket    *web.Socket        // of readers; nil until they are answered

	running atomic.Pointer[judge.Judge] // for Gather; nil while not running
	stop    func()                      // ends what run started; nil while not running
}

// SampleConfig returns the documentation of all options.
func (*Heartbeat) SampleConfig() string { return sampleConfig }

// Init checks all options. It opens no file and no socket.
func (h *Heartbeat) Init() (err error) {
	h.valid, err = h.check()
	return err
}

// Check returns the problems with the files that Start reads and with the connections to the mates,
// one error for each line. Call it after Init, while the plugin is not running.
func (h *Heartbeat) Check() []error {
	wrong := judge.NewExpecter(nil, h.Expect, h.ExpectFiles, h.Log).Problems()
	if _, err := h.password(); err != nil {
		wrong = append(wrong, err)
	}
	if checks, err := h.openChecks(h.Log); err != nil {
		wrong = append(wrong, err)
	} else {
		wrong = append(wrong, checks.Problems()...)
	}
	for _, id := range slices.Sorted(maps.Keys(h.Keys)) {
		if _, err := h.openKeys([]string{id}, "", h.Log); err != nil {
			wrong = append(wrong, err)
		}
	}
	if h.KeysDir != "" {
		wrong = append(wrong, verify.DirectoryProblems(h.KeysDir, slices.Collect(maps.Keys(h.Keys)), h.Log)...)
	}
	if h.TLSCert != "" {
		if _, err := h.openCertificates(h.Log); err != nil {
			wrong = append(wrong, fmt.Errorf("cannot read the files of 'tls_cert', 'tls_key' and 'tls_allowed_cacerts': %w", err))
		}
	}
	return append(wrong, h.Cluster.problems(h.Log)...)
}

// loadPatience is how long Start waits for the state file to be read. That is enough for tens of
// thousands of peers. With more peers, Start returns before the file is read, so that Telegraf can
// start its other inputs.
const loadPatience = 500 * time.Millisecond

// Start opens the sockets, then the state file: a collector that waits for its address must not
// lock the state file of the collector that has the address. Stop releases them in reverse order.
// The connections to the mates come last, because the mates are asked about the peers in the file.
//
// Nothing is served before the state file is read: beats that arrive meanwhile wait in the sockets,
// so that no peer is judged without its saved state.
func (h *Heartbeat) Start(acc telegraf.Accumulator) error {
	options, err := h.prepare(time.Now())
	if err != nil {
		return err
	}
	mates, err := h.clusterOptions()
	if err != nil {
		return err
	}
	if h.server, err = serve.Open(options); err != nil {
		return err
	}
	if err := h.keeper.Open(time.Now()); err != nil {
		h.server.Close()
		return err
	}
	if err := h.openCluster(mates); err != nil {
		h.keeper.Close()
		h.server.Close()
		return err
	}
	h.openSocket()
	h.load(acc)
	return nil
}

// load starts the plugin as soon as the state file is read. It waits for that for at most
// loadPatience.
func (h *Heartbeat) load(acc telegraf.Accumulator) {
	ctx, giveUp := context.WithCancel(context.Background())
	loaded, end, began := make(chan struct{}), h.close, time.Now()
	go func() { // ends with ctx
		defer close(loaded)
		if h.keeper.Load(ctx) {
			end = h.run(acc, time.Since(began))
		}
	}()
	h.stop = func() {
		giveUp()
		<-loaded
		end()
	}
	patience := time.NewTimer(loadPatience)
	defer patience.Stop()
	select {
	case <-loaded:
		h.announce()
	case <-patience.C:
		h.announce()
		h.Log.Infof("Still reading the state file; heartbeats wait until it is read")
	}
}

// close releases what Start opened, if run was not called.
func (h *Heartbeat) close() {
	h.serveLocalClients()
	h.socket.Close()
	if h.cluster != nil {
		h.cluster.Close()
	}
	h.keeper.Close()
	h.server.Close()
}

// StatePath returns the path of the state file, or "" without one.
func (h *Heartbeat) StatePath() string { return statefile.Path(h.StateFile, os.Getenv) }

// prepare reads the secrets, makes the parts that run needs, and returns the options of
// the server.
func (h *Heartbeat) prepare(now time.Time) (_ *serve.Options, err error) {
	if h.keys, err = h.openKeys(slices.Sorted(maps.Keys(h.Keys)), h.KeysDir, h.Log); err != nil {
		return nil, err
	}
	h.refused = &refusals{log: h.Log}
	h.recipient = verify.NewRecipient(h.id(), h.valid.names, h.RequireRecipient, h.Log)
	h.judge = judge.New(h.judgeOptions(), now)
	h.keeper = statefile.NewKeeper(h.StatePath(), h.judge, h.Log)
	h.page = page.New(h.pageOptions(now))
	receiver := h.receiver()
	if h.websites, err = h.openWebsites(receiver); err != nil {
		return nil, err
	}
	options := h.serveOptions(receiver)
	if h.TLSCert != "" {
		if options.Certificates, err = h.openCertificates(h.Log); err != nil {
			return nil, fmt.Errorf("reading the certificates failed: %w", err)
		}
	}
	return options, nil
}

// id returns the id of this collector.
func (h *Heartbeat) id() string {
	path := h.StatePath()
	if path == "" {
		return verify.DrawID()
	}
	id, err := verify.KeepID(path)
	if err != nil && h.hasKeys() {
		h.Log.Warnf("The id of this collector will not survive a restart, after which the first signed beat of each sender is refused: %v", err)
	}
	return id
}

// receiver returns the receiver, which verifies payloads and passes them to the judge.
func (h *Heartbeat) receiver() *receiver {
	return &receiver{
		judge: h.judge, rules: h.verifyRules(h.keys, h.recipient),
		tagKeys: h.TagKeys, fromConnection: h.IPFrom == "connection",
	}
}

// serveOptions returns the options of the server.
func (h *Heartbeat) serveOptions(receiver *receiver) *serve.Options {
	reasons := socketReasons()
	if h.websites != nil {
		reasons = allReasons()
	}
	return &serve.Options{
		Addresses:      h.ServiceAddresses,
		SocketMode:     h.SocketMode,
		ReadBufferSize: int(h.ReadBufferSize),
		Allowed:        h.valid.allowed,
		MaxConnections: h.MaxConnections,
		MaxPerIP:       h.MaxPerIP,
		MaxFrameSize:   int(h.MaxFrameSize),
		ReadTimeout:    time.Duration(h.ReadTimeout),
		KeepAlive:      h.keepAlive(),
		Welcome:        h.Welcome,
		Collector:      h.recipient.ID(),
		Receive:        receiver.receive,
		Ended:          receiver.ended,
		Refused:        h.refused.note,
		Reasons:        reasons,
		Log:            h.Log,
	}
}

// judgeOptions returns the options of the judge, which asks the server what the kernel knows about
// a connection.
func (h *Heartbeat) judgeOptions() judge.Options {
	rules := h.liveness(h.valid.rules)
	if rules.Mates = h.Cluster != nil; !rules.Mates && h.StatePath() == "" {
		rules.Origin = uint64(time.Now().UnixNano())
	}
	rules.Ask = func(conn liveness.ConnID) (liveness.Path, netip.Addr) {
		path, remote := h.server.Ask(serve.ConnID(conn))
		return paths[path], remote
	}
	return judge.Options{Rules: rules, EmitBeats: h.EmitBeats == "all", PIDField: !slices.Contains(h.TagWith, "pid"), Log: h.Log}
}

// run serves until the returned function is called. deaf is how long the collector had received
// nothing before this call.
func (h *Heartbeat) run(acc telegraf.Accumulator, deaf time.Duration) (end func()) {
	h.serveLocalClients()
	judging, keeper, server, websites, mates, socket := h.judge, h.keeper, h.server, h.websites, h.cluster, h.socket
	expecter := judge.NewExpecter(judging, h.Expect, h.ExpectFiles, h.Log)
	if websites != nil {
		expecter.Add(websites.expected)
	}
	expecter.Read(context.Background())
	var clock, emitter sync.WaitGroup
	ticking, endClock := context.WithCancel(context.Background())
	emitting, endEmitter := context.WithCancel(context.Background())
	keepTime := func(ctx context.Context) { judging.KeepTime(ctx, deaf) }
	loops := []func(context.Context){keepTime, keeper.Keep, expecter.KeepReading, h.keys.KeepReading}
	if mates != nil {
		loops = append(loops, mates.Run)
	}
	for _, loop := range loops {
		clock.Go(func() { loop(ticking) }) // ends with ticking
	}
	emitter.Go(func() { judging.Emit(emitting, acc, h.ownStatus) }) // ends with emitting, when the queue is empty
	server.Start()
	websites.start(server)
	h.running.Store(judging)
	return func() { // the emitter last, so that it emits what the others reported
		socket.Close()
		websites.end()
		server.End()
		endClock()
		clock.Wait()
		if mates != nil {
			mates.Close()
		}
		keeper.Close()
		endEmitter()
		emitter.Wait()
		server.Close()
	}
}

// Gather emits the state of every peer. It emits them through the accumulator that was passed to
// Start, like all other metrics. It does not use its own argument: that accumulator rounds
// timestamps, so a state could get an earlier timestamp than the event that caused it.
func (h *Heartbeat) Gather(telegraf.Accumulator) error {
	if judging := h.running.Load(); judging != nil {
		judging.Gather()
	}
	return nil
}

// Stop closes all sockets and returns when nothing more is emitted. It may be called at
// any time and more than once.
func (h *Heartbeat) Stop() {
	h.running.Store(nil)
	if h.stop != nil {
		h.stop()
		h.stop = nil
		h.running.Store(nil)
	}
}

// ownStatus returns the status that the collector reports about itself.
func (h *Heartbeat) ownStatus(now time.Time) judge.Own {
	own := judge.Own{Refused: h.refused.total.Load(), Unnamed: h.recipient.Unnamed(), Memory: judge.Memory(h.keeper.Health(now)), Mates: h.mates()}
	for _, s := range h.server.Status() {
		own.Listeners = append(own.Listeners, judge.Listener{
			Address: s.Address, Connections: s.Connections, Beats: s.Beats, Bytes: s.Bytes, Refused: s.Refused,
		})
	}
	return own
}

// announce logs the addresses of the plugin, and warns if anyone may send beats.
func (h *Heartbeat) announce() {
	all := h.server.Status()
	for _, s := range all {
		h.Log.Infof("Listening on %s", s.Address)
	}
	if h.Cluster != nil {
		h.Log.Infof("Listening for other collectors on %s", h.Cluster.listen())
	}
	// Datagrams are not answered, so their senders never learn the id of this collector. Without
	// names, it accepts a recorded beat that was sent to another collector.
	if h.hasKeys() && len(h.Names) == 0 && slices.ContainsFunc(all, func(s serve.Status) bool { return s.Datagrams }) {
		h.Log.Warnf("Signed datagrams for any collector are accepted, because 'names' is empty: " +
			"list the names that senders use for this collector")
	}
	for _, s := range all {
		if !s.Local && !s.HTTP && h.isOpen(s.Secure) {
			h.Log.Warnf("Anyone who can reach %s can send heartbeats for any host: "+
				"see 'allowed_sources', 'keys', 'keys_dir' and 'tls_allowed_cacerts'", s.Address)
			return
		}
	}
}

func init() {
	inputs.Add("heartbeat", func() telegraf.Input { return &Heartbeat{Options: defaults()} })
}

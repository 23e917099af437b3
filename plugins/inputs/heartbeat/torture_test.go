package heartbeat

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/judge"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/serve"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A carrier is a transport over which the torture table is played.
type carrier struct {
	name      string
	url       func(t *testing.T) string
	set       func(*Heartbeat) // options it needs; nil for none
	dial      func(t *testing.T, url string) net.Conn
	datagrams bool
	local     bool // its senders have no address, but a process that is known
	dear      bool // a connection costs milliseconds: one byte damaged is not played in all ways
}

// carriers are all of them. A new transport is a new entry here.
func carriers(t *testing.T) []carrier {
	t.Helper()
	a := newAuthority(t)
	own, trust := a.issue("collector", "collector"), a.trust()
	all := []carrier{
		{name: "tcp", url: loopback("tcp"), dial: dialListener},
		{name: "tls", url: loopback("tls"), set: showing(own), dial: dialTrusting(trust), dear: true},
		{name: "udp", url: loopback("udp"), dial: dialListener, datagrams: true},
	}
	if runtime.GOOS != "windows" {
		all = append(all,
			carrier{name: "unix", url: socketURL("unix"), dial: dialListener, local: true},
			carrier{name: "unixgram", url: socketURL("unixgram"), dial: dialListener, datagrams: true, local: true})
	}
	return all
}

// showing gives the plugin a certificate.
func showing(own pair) func(*Heartbeat) {
	return func(h *Heartbeat) { h.TLSCert, h.TLSKey = own.cert, own.key }
}

func dialTrusting(trust *tls.Config) func(*testing.T, string) net.Conn {
	return func(t *testing.T, url string) net.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "tls://"), trust)
		require.NoError(t, err)
		t.Cleanup(func() { conn.NetConn().Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		return conn
	}
}

func loopback(scheme string) func(*testing.T) string {
	return func(*testing.T) string { return scheme + "://127.0.0.1:0" }
}

func socketURL(scheme string) func(*testing.T) string {
	return func(t *testing.T) string { return scheme + "://" + socketPath(t) }
}

// startCarriers starts a plugin that listens on all of them, in their order.
func startCarriers(t *testing.T, all []carrier, change func(*Heartbeat)) (*Heartbeat, *testutil.Accumulator) {
	t.Helper()
	h := newPlugin(t)
	h.ServiceAddresses = nil
	for _, c := range all {
		h.ServiceAddresses = append(h.ServiceAddresses, c.url(t))
		if c.set != nil {
			c.set(h)
		}
	}
	if change != nil {
		change(h)
	}
	return h, start(t, h)
}

// The expected result of a message is one word: the reason for which it is refused, or one of
// these.
const (
	acked   = "ack"   // accepted and acknowledged
	beaten  = "beat"  // accepted; no answer was asked for, or there is none here
	checked = "check" // acknowledged, but not recorded
)

// fatal are the reasons that cost the connection at once.
var fatal = []wire.Reason{wire.ReasonTLS, wire.ReasonHTTP, wire.ReasonProxy, wire.ReasonProtocol, wire.ReasonEmptyFrame, wire.ReasonOversize}

// A row of the table is what one sender writes, and what has to become of it.
type row struct {
	name   string
	writes []string
	want   []string // a word for each message
}

func (r *row) stream() string { return strings.Join(r.writes, "") }
func (r *row) framed() bool   { return strings.HasPrefix(r.stream(), "\x00") }

// costsConnection reports whether the plugin has to close it.
func (r *row) costsConnection() bool {
	refused := 0
	for _, word := range r.want {
		if refused++; isAccepted(word) {
			refused = 0
		}
		if slices.Contains(fatal, wire.Reason(word)) || refused == inARow {
			return true
		}
	}
	return false
}

// endsInside reports whether the last message has begun and is not complete.
func (r *row) endsInside() bool {
	return len(r.want) > 0 && r.want[len(r.want)-1] == string(wire.ReasonTruncated)
}

func isAccepted(word string) bool { return word == acked || word == beaten || word == checked }

// A result is what is seen of a row from outside.
type result struct {
	Answers []string // acked or "error"
	Beats   int64
	Refused map[wire.Reason]int64
	Open    bool // the connection, afterwards
}

// wanted returns the result that the words of a row mean.
func (r *row) wanted() result {
	want := result{Refused: make(map[wire.Reason]int64), Open: !r.costsConnection() && !r.endsInside()}
	for _, word := range r.want {
		answer := "error"
		switch word {
		case acked:
			want.Beats++
			answer = acked
		case checked:
			answer = acked
		case beaten:
			want.Beats++
			continue
		default:
			want.Refused[wire.Reason(word)]++
		}
		if r.framed() {
			want.Answers = append(want.Answers, answer)
		}
	}
	return want
}

// A player plays rows over one carrier. Beside them an honest sender beats.
type player struct {
	carrier
	t      *testing.T
	url    string
	status func() serve.Status // of the listener
	honest func()              // beats, and finds that nothing has changed for it
	socket net.Conn

	played   int
	failures int
	asides   int64                 // accepted beats that are no part of a row
	sent     int64                 // bytes in datagrams
	refused  map[wire.Reason]int64 // what all rows together have to cost
	beats    map[string]int64      // that are accepted, by source
}

func newPlayer(t *testing.T, c carrier, status func() serve.Status) *player {
	t.Helper()
	p := &player{carrier: c, t: t, url: status().Address, status: status, refused: make(map[wire.Reason]int64), beats: make(map[string]int64)}
	p.socket = c.dial(t, p.url)
	p.honest = p.honestDatagrams
	if !c.datagrams {
		c := newClient(t, p.socket)
		if strings.HasPrefix(p.name, "t") { // a goodbye of whom nobody knows would not count
			p.aside("127.0.0.1")
			c.beat(`{"pid":0,"ack":true}`)
		}
		p.honest = p.honestStream(c)
	}
	p.honest()
	return p
}

// aside notes a beat of our own.
func (p *player) aside(source string) {
	p.asides++
	p.beats[source]++
}

func (p *player) honestBeat() string {
	name := "honest-" + p.name
	p.aside(name)
	return fmt.Sprintf(`{"host":%q,"pid":0,"run":"honest","seq":%d,"interval_ms":600000,"ack":true}`, name, p.beats[name])
}

func (p *player) honestStream(c *client) func() {
	return func() {
		p.t.Helper()
		require.NoError(p.t, c.SetDeadline(time.Now().Add(patience)))
		beat := p.honestBeat()
		require.Contains(p.t, c.beat(beat), fmt.Sprintf(`{"ack":%d,`, p.beats["honest-"+p.name]))
	}
}

// honestDatagrams waits until its beat, and everything before it, has been judged: one socket
// is read in order, and the datagram after it does not count.
func (p *player) honestDatagrams() {
	p.t.Helper()
	p.sendDatagram(p.honestBeat())
	p.sendDatagram(`{"host":"nobody","pid":0,"check":true}`)
	waitUntil(p.t, func() bool { return p.status().Bytes == p.sent }, "the datagrams to be read")
}

func (p *player) sendDatagram(payload string) {
	p.t.Helper()
	require.NoError(p.t, p.socket.SetDeadline(time.Now().Add(patience))) // other carriers may have taken the time
	_, err := p.socket.Write([]byte(payload))
	require.NoError(p.t, err)
	p.sent += int64(min(len(payload), longestDatagram+1))
}

// waitUntil looks more often than require.Eventually does.
func waitUntil(t *testing.T, done func() bool, what string) {
	t.Helper()
	look := time.NewTicker(50 * time.Microsecond)
	defer look.Stop()
	for limit := time.Now().Add(patience); !done(); <-look.C {
		require.True(t, time.Now().Before(limit), "in vain waited for %s", what)
	}
}

func (p *player) counts() map[wire.Reason]int64 {
	return p.status().Refused
}

// play plays one row and compares what comes of it. A row that fails does not
// keep the others from being played.
func (p *player) play(r row) {
	p.t.Helper()
	want := r.wanted()
	p.expect(&r, &want)
	counts, beats := p.counts(), p.status().Beats-p.asides
	var got result
	var problem error
	if p.datagrams {
		want.Answers, got.Open = nil, want.Open
		for _, payload := range r.writes {
			p.sendDatagram(payload)
		}
	} else {
		got.Answers, got.Open, problem = p.playStream(&r, want.Open)
		// What is under way to a socket that is closed with unread data is lost.
		if mayLose := r.costsConnection() && (len(r.writes) > 1 || len(r.stream()) > 1000); mayLose {
			want.Answers = want.Answers[:min(len(got.Answers), len(want.Answers))]
		}
	}
	p.honest()
	got.Beats = p.status().Beats - p.asides - beats
	got.Refused = make(map[wire.Reason]int64)
	for reason, n := range p.counts() {
		if n > counts[reason] {
			got.Refused[reason] = n - counts[reason]
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || problem != nil {
		p.failf("%s, %s: %.200q: %v\nwant (-), got (+):\n%s", p.name, r.name, r.writes, problem, diff)
	}
}

// expect notes what a row adds to the sums of all of them.
func (p *player) expect(r *row, want *result) {
	p.played++
	for reason, n := range want.Refused {
		p.refused[reason] += n
	}
	sources := p.sources(r)
	for _, source := range sources {
		p.beats[source]++
	}
	if len(sources) != int(want.Beats) {
		p.failf("%s, %s: %d beats are expected, by the codec %d", p.name, r.name, want.Beats, len(sources))
	}
}

func (p *player) failf(format string, args ...any) {
	p.t.Helper()
	p.t.Errorf(format, args...)
	if p.failures++; p.failures == 20 {
		p.t.Fatal("and so on")
	}
}

// playStream writes what r writes, and returns the answers and whether the
// connection is open behind it.
func (p *player) playStream(r *row, wantOpen bool) (answers []string, open bool, err error) {
	p.t.Helper()
	conn := p.dial(p.t, p.url)
	in := &inbox{conn: conn, framed: r.framed(), last: 1<<40 + int64(p.played)}
	var reading sync.WaitGroup
	reading.Go(in.read) // ends with the connection, at the latest by its deadline
	defer func() {
		conn.Close()
		reading.Wait()
	}()
	for i, bytes := range r.writes {
		if i > 0 {
			p.honest() // and what was written is under way
		}
		if _, err := io.WriteString(conn, bytes); err != nil && wantOpen {
			return nil, false, fmt.Errorf("writing: %w", err)
		}
	}
	if wantOpen {
		err = p.probe(conn, r, in.last)
	}
	if wantOpen && !r.framed() || r.endsInside() {
		err = errors.Join(err, closeWrite(conn))
	}
	reading.Wait()
	if isTimeout(in.err) {
		return in.answers, true, in.err
	}
	if wantOpen {
		return in.answers, in.open, errors.Join(err, in.err)
	}
	return in.answers, in.open && r.framed(), nil // it has ended, in whatever way
}

// probe sends one more beat, which is accepted if the connection is open and the messages
// before it were separated correctly.
func (p *player) probe(conn net.Conn, r *row, seq int64) error {
	beat := fmt.Sprintf(`{"host":"probe","pid":0,"seq":%d,"ack":true}`, seq)
	switch {
	case r.stream() == "":
		return nil
	case r.framed():
		beat = frame(beat)
	}
	p.aside("probe")
	_, err := io.WriteString(conn, beat)
	return err
}

func closeWrite(conn net.Conn) error {
	return conn.(interface{ CloseWrite() error }).CloseWrite()
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// An inbox collects what a connection brings.
type inbox struct {
	conn   net.Conn
	framed bool
	last   int64 // the acknowledgement behind which nothing is expected

	answers []string
	open    bool // the last has come, or there were no answers to wait for
	err     error
}

func (in *inbox) read() {
	if !in.framed {
		var stray []byte
		stray, in.err = io.ReadAll(in.conn)
		in.open = in.err == nil
		if len(stray) > 0 {
			in.answers = append(in.answers, "stray "+string(stray))
		}
		return
	}
	frames := wire.NewReader(in.conn, wire.MaxAnswer)
	for in.err == nil && !in.open {
		var payload []byte
		if payload, in.err = frames.Next(); in.err == nil {
			in.take(payload)
		}
	}
}

func (in *inbox) take(payload []byte) {
	answer, err := wire.DecodeAnswer(payload)
	switch {
	case err != nil:
		in.err = fmt.Errorf("answer %q: %w", payload, err)
	case answer.Error == "" && answer.Seq == in.last:
		in.open = true
	case answer.Error == "":
		in.answers = append(in.answers, acked)
	default:
		in.err = checkText(answer.Error)
		in.answers = append(in.answers, "error")
	}
}

// checkText finds what no text for people should have, whoever provoked it.
func checkText(text string) error {
	if len(text) > 400 || strings.ContainsFunc(text, func(char rune) bool { return !unicode.IsPrint(char) }) {
		return fmt.Errorf("text is long, or not printable: %q", text)
	}
	return nil
}

// judge returns the expected result of a payload, from the codec and from what is known of
// its sender, and the peer of the beat if it is accepted.
func (c *carrier) judge(payload string) (word, source string) {
	if c.datagrams && len(payload) > longestDatagram {
		return string(wire.ReasonOversize), ""
	}
	if strings.HasPrefix(payload, "\x01") { // signed, with a key that nobody here has
		return string(wire.ReasonSignature), ""
	}
	b, err := wire.Decode([]byte(payload))
	if err != nil {
		return string(wire.AsRefusal(err).Reason), ""
	}
	source = b.Host
	switch {
	case c.local && runtime.GOOS == "linux" && b.PID != 0 && !b.Watched && int(b.PID) != os.Getpid():
		return string(verify.ReasonPID), ""
	case source == "" && b.IP.IsValid():
		source = b.IP.String()
	case source == "" && c.local:
		return string(judge.ReasonNobody), ""
	case source == "":
		source = "127.0.0.1"
	}
	switch {
	case b.Check:
		return checked, ""
	case b.Ack && !c.datagrams:
		return acked, source
	}
	return beaten, source
}

// follow returns the expected results of the messages of a stream.
func (c *carrier) follow(stream string) (words, sources []string) {
	messages := wire.NewReader(strings.NewReader(stream), wire.DefaultMaxFrame)
	for refused := 0; refused < inARow; {
		payload, err := messages.Next()
		if refusal := wire.AsRefusal(err); refusal != nil {
			return append(words, string(refusal.Reason)), sources
		} else if err != nil {
			break
		}
		word, source := c.judge(string(payload))
		if refused++; isAccepted(word) {
			refused = 0
		}
		if source != "" {
			sources = append(sources, source)
		}
		if word == acked && !messages.Framed() {
			word = beaten
		}
		words = append(words, word)
	}
	return words, sources
}

// sources returns whose beats the accepted ones of a row are.
func (p *player) sources(r *row) (sources []string) {
	if !p.datagrams {
		_, sources = p.follow(r.stream())
		return sources
	}
	for _, payload := range r.writes {
		if _, source := p.judge(payload); source != "" {
			sources = append(sources, source)
		}
	}
	return sources
}

// TestTorture plays the whole table over all carriers at once, and then looks
// at what is left of it.
func TestTorture(t *testing.T) {
	log := &quietLog{}
	all := carriers(t)
	h, acc := startCarriers(t, all, func(h *Heartbeat) {
		h.Log = log
		h.MaxBeatsPerSecond = 0
		h.ReadTimeout = config.Duration(patience) // what is slow is not played here
	})
	players := make([]*player, len(all))
	for i := range all {
		players[i] = newPlayer(t, all[i], func() serve.Status { return h.server.Status()[i] })
	}
	begin, base := time.Now(), footprintOf(t, h)

	t.Run("over", func(t *testing.T) {
		for _, p := range players {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				p.t = t
				p.playTable()
			})
		}
	})

	total := 0
	for _, p := range players {
		total += p.played
		require.Equal(t, p.refused, withoutZeros(p.counts()), "%s: what all rows have cost", p.name)
	}
	took := time.Since(begin)
	t.Logf("%d inputs in %s", total, took.Round(time.Millisecond))
	require.Greater(t, total, 2500)

	base.untilBack(t, h)
	gather(t, h)
	requireBeatsOf(t, h, acc, players)
	requireFewWarnings(t, log, took)
}

// requireBeatsOf finds each accepted beat in the metrics, or counted as one of more than a
// thousand a second, and no other beat.
func requireBeatsOf(t *testing.T, h *Heartbeat, acc *testutil.Accumulator, players []*player) {
	t.Helper()
	want := make(map[string]int64)
	for _, p := range players {
		for source, n := range p.beats {
			want[source] += n
		}
	}
	got := make(map[string]int64)
	for next := h.judge.Count(); next > 0; {
		var peers liveness.Changes
		peers, next = h.judge.Records(nil, next, true)
		for i := range peers.Records {
			got[peers.Records[i].ID.Source] += int64(peers.Records[i].Limited)
		}
	}
	for _, m := range acc.GetTelegrafMetrics() {
		source, ok := m.GetTag("source")
		if ok {
			require.Contains(t, want, source, "%v", m)
		}
		if m.Name() == "heartbeat" {
			got[source]++
		}
		require.False(t, m.HasTag("host"), "it belongs to Telegraf: %v", m)
	}
	require.Equal(t, want, got)
	for _, p := range players {
		require.Equal(t, []string{"alive beat"}, eventsOf(acc, "honest-"+p.name), "an honest sender notices nothing")
	}
}

// requireFewWarnings finds at most one line a minute for each reason and address, and
// nothing raw of what came.
func requireFewWarnings(t *testing.T, log *quietLog, took time.Duration) {
	t.Helper()
	require.Empty(t, log.Errors())
	lines := make(map[string]int)
	for _, line := range log.Warnings() {
		require.NoError(t, checkText(line))
		require.NotContains(t, line, "invalid")
		if strings.Contains(line, "] Two processes beat as ") {
			line = "W! [] Refused several, conflict:"
		}
		_, what, ok := strings.Cut(line, "] Refused ")
		require.True(t, ok, line)
		from, what, _ := strings.Cut(what, ", ")
		reason, _, _ := strings.Cut(what, ":")
		if addr, err := netip.ParseAddrPort(from); err == nil {
			from = addr.Addr().String()
		}
		reason += " " + from
		lines[reason]++
		require.LessOrEqual(t, lines[reason], 1+int(took/time.Minute), line)
	}
	require.Greater(t, len(lines), 10)
}

// A quietLog keeps warnings and errors. The table would fill a screen with
// the rest.
type quietLog struct{ testutil.CaptureLogger }

func (*quietLog) Debugf(string, ...any) {}
func (*quietLog) Infof(string, ...any)  {}

func withoutZeros(counts map[wire.Reason]int64) map[wire.Reason]int64 {
	maps.DeleteFunc(counts, func(_ wire.Reason, n int64) bool { return n == 0 })
	return counts
}

// idleWorkers is how many goroutines wait for something to read at most, whatever
// came before.
const idleWorkers = 16

// A footprint is what a plugin keeps, or this process for it.
type footprint struct {
	connections int
	goroutines  int
	descriptors int
}

func footprintOf(t *testing.T, h *Heartbeat) footprint {
	t.Helper()
	connections := 0
	for _, s := range h.server.Status() {
		connections += s.Connections
	}
	return footprint{connections, runtime.NumGoroutine(), descriptorsOf(t)}
}

// untilBack waits until no more is held than before.
func (before footprint) untilBack(t *testing.T, h *Heartbeat) {
	t.Helper()
	waitUntil(t, func() bool {
		now := footprintOf(t, h)
		return now.connections == before.connections && now.goroutines <= before.goroutines+idleWorkers && now.descriptors <= before.descriptors
	}, "connections, goroutines and descriptors to be those of before")
}

// descriptorsOf returns how many files this process has open, or 0 if the system does not
// report it.
func descriptorsOf(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	return len(entries)
}

package sender

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A scene is one cell of the table: what the sender meets, and what it does.
type scene struct{ resolver, addresses, scheme, command, collector string }

// The dimensions of the table.
var (
	resolvers  = []string{"fine", "first dead", "all dead", "SERVFAIL", "slow 4s", "answer changes"}
	addresses  = []string{"one", "two", "dead first", "all dead"}
	transports = []string{"tcp", "tls", "udp"}
	orders     = []string{"run", "once", "exec success", "exec failure", "exec short", "leave", "check"}
	collectors = []string{"up", "restarting", "moved", "silent"}
)

const (
	sceneInterval = time.Second
	sceneTimeout  = 3 * time.Second // of once, leave and check
	faultAt       = 60*time.Second + 300*time.Millisecond
	awayFor       = time.Second // a collector that restarts
)

// The sender finds its way, whatever is dead: no silence is longer than the
// collector allows as long as there is a way, and no end takes longer than is
// documented.
func TestWayToTheCollector(t *testing.T) {
	for _, command := range orders {
		for _, resolver := range resolvers {
			for _, known := range addresses {
				for _, scheme := range transports {
					for _, collector := range collectors {
						sc := scene{resolver, known, scheme, command, collector}
						t.Run(sc.name(), func(t *testing.T) { synctest.Test(t, sc.play) })
					}
				}
			}
		}
	}
}

func (sc scene) name() string {
	return fmt.Sprintf("%s/%s/resolver %s/addresses %s/collector %s", sc.command, sc.scheme, sc.resolver, sc.addresses, sc.collector)
}

func (sc scene) play(t *testing.T) {
	w := sc.world()
	s := &Sender{
		Servers: []string{sc.scheme + "://hb:7878"}, Interval: sceneInterval, Peers: []Peer{{Host: "web-1", Service: "shop", PID: 1}},
		TLS: func() (*tls.Config, error) { _, client := certified(); return client, nil },
	}
	w.serve(s)
	switch sc.command {
	case "run":
		sc.run(t, w, s)
	case "exec success", "exec failure", "exec short":
		sc.exec(t, w, s)
	default:
		sc.once(t, w, s)
	}
	for _, c := range w.collectors() {
		c.cut()
		c.wg.Wait()
	}
}

// world returns one where nothing is wrong yet with what was there before.
func (sc scene) world() *world {
	c, next := new(collector), new(collector)
	if sc.scheme == "tls" {
		server, _ := certified()
		c.tls, next.tls = server, server
	}
	w := &world{
		servers: []nameServer{{takes: time.Millisecond}, {takes: time.Millisecond}},
		homes:   map[string]*collector{home: c, newHome: next},
	}
	switch sc.addresses {
	case "one":
		w.zone = []string{home}
	case "two":
		w.zone, w.homes[home2] = []string{home, home2}, c
	case "dead first":
		w.zone = []string{"192.0.2.101", "192.0.2.102", "192.0.2.103", home}
	case "all dead":
		w.zone = []string{"192.0.2.101", "192.0.2.102"}
	}
	return w
}

// spoil makes the name servers what they are in this scene.
func (sc scene) spoil(w *world) {
	for i := range w.servers {
		server := &w.servers[i]
		server.dead = sc.resolver == "all dead" || sc.resolver == "first dead" && i == 0
		server.fails = sc.resolver == "SERVFAIL"
		if sc.resolver == "slow 4s" {
			server.takes = 4 * time.Second
		}
	}
	if sc.resolver == "answer changes" {
		w.zone = []string{"192.0.2.104"}
	}
}

// strike does to the collector what this scene is about.
func (sc scene) strike(w *world) {
	c := w.at(home)
	switch sc.collector {
	case "restarting":
		c.set(func() { c.refuses = true })
		c.cut()
		time.AfterFunc(awayFor, func() { c.set(func() { c.refuses = false }) })
	case "moved": // and the old machine swallows what is sent to it
		c.set(func() { c.silent, c.beats = true, nil })
		w.set(func() {
			w.homes = map[string]*collector{newHome: w.homes[newHome]}
			if sc.addresses != "all dead" {
				w.zone = append(w.zone[:len(w.zone)-1:len(w.zone)-1], newHome)
			}
		})
	case "silent":
		c.set(func() { c.silent = true })
	}
}

// resolves reports whether the name can be resolved, and how long that takes.
func (sc scene) resolves() (takes time.Duration, ok bool) {
	switch sc.resolver {
	case "slow 4s":
		return 4 * time.Second, true
	case "all dead", "SERVFAIL":
		return 0, false
	}
	return 0, true
}

// run beats for a minute before the fault and for a minute after it. Where names
// are what is wrong for good, they begin to be when the sender has a connection.
func (sc scene) run(t *testing.T, w *world, s *Sender) {
	takes, resolves := sc.resolves()
	if resolves && sc.resolver != "answer changes" {
		w.set(func() { sc.spoil(w) })
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	time.Sleep(faultAt)
	old := w.at(home)
	before, _ := w.heard()
	w.set(func() { sc.spoil(w) })
	sc.strike(w)
	time.Sleep(time.Minute)
	after, _ := w.heard()
	stopped := time.Now()
	stop()
	require.NoError(t, <-done)
	require.LessOrEqual(t, time.Since(stopped), goodbyeTime, "a stop")
	old.cut()
	old.wg.Wait()

	if sc.addresses == "all dead" {
		require.Empty(t, after)
		return
	}
	require.NotEmpty(t, before, "it connects")
	if sc.collector == "moved" && !resolves || sc.scheme == "udp" && sc.collector != "moved" && sc.resolver == "answer changes" {
		return // nobody tells it where to, or the name leads elsewhere
	}
	allowed := 7*sceneInterval/2 + takes
	if sc.collector != "moved" {
		allowed = 7 * sceneInterval / 2
	}
	heard := append(before[len(before)-1:], after...)
	for i := range heard[1:] {
		require.LessOrEqual(t, heard[i+1].Sub(heard[i]), allowed, "silence before %s", heard[i+1])
	}
	require.LessOrEqual(t, stopped.Sub(heard[len(heard)-1]), allowed, "the last silence")
}

// exec beats for a job that ends. The fault is there from the start if the job
// is short, and else since a while.
func (sc scene) exec(t *testing.T, w *world, s *Sender) {
	s.Hurry = true
	short := sc.command == "exec short"
	runs := time.Minute
	if short {
		runs = 10 * time.Millisecond
		w.set(func() { sc.spoil(w) })
		sc.strike(w)
	}
	old := w.at(home)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	if !short {
		time.Sleep(faultAt)
		w.set(func() { sc.spoil(w) })
		sc.strike(w)
	}
	time.Sleep(runs)
	end := s.Peers[0]
	end.Status, end.Exit = wire.StatusLeaving, Exit{HasCode: true}
	if sc.command == "exec failure" {
		end.Status, end.Exit = wire.StatusDead, Exit{HasCode: true, Code: 3}
	}
	require.NoError(t, s.Update(end))
	begin := time.Now()
	stop()
	require.NoError(t, <-done)
	require.LessOrEqual(t, time.Since(begin), sc.execLimit(), "the end of a job")
	time.Sleep(time.Second) // for what is on its way
	_, ended := w.heard()
	if sc.execTold() {
		require.True(t, ended, "the end is told")
	}
	if old != nil {
		old.cut()
		old.wg.Wait()
	}
}

// execTold reports whether there is a way on which the end must be told.
func (sc scene) execTold() bool {
	_, resolves := sc.resolves()
	switch {
	case sc.addresses == "all dead":
		return false
	case sc.scheme == "udp" && sc.resolver == "answer changes" && sc.collector != "moved":
		return false // the name leads elsewhere
	case sc.command != "exec short":
		return sc.collector != "moved" || resolves
	case sc.resolver == "fine", sc.resolver == "answer changes" && sc.collector == "moved":
		return sc.collector != "restarting"
	}
	return false // a short job waits neither for a name server nor for a collector
}

// execLimit is what the end of a job may take.
func (sc scene) execLimit() time.Duration {
	const little = 100 * time.Millisecond
	named := sc.resolver == "fine" || sc.resolver == "answer changes"
	switch {
	case sc.command == "exec failure":
		return time.Second
	case sc.scheme == "udp", sc.command == "exec short" && !named:
		return little
	case sc.addresses == "all dead", sc.collector == "moved" && !sc.execTold(),
		sc.command == "exec short" && (sc.collector != "silent" || sc.addresses == "dead first" || sc.resolver == "answer changes"):
		return time.Second // a connection may come any moment
	}
	return little
}

// once delivers a beat, a goodbye or a check.
func (sc scene) once(t *testing.T, w *world, s *Sender) {
	if sc.resolver != "answer changes" {
		w.set(func() { sc.spoil(w) })
	}
	old := w.at(home)
	sc.strike(w)
	ctx, cancel := context.WithTimeout(t.Context(), sceneTimeout)
	defer cancel()
	begin := time.Now()
	var err error
	switch sc.command {
	case "once":
		err = s.Once(ctx)
	case "leave":
		err = s.Leave(ctx)
	case "check":
		err = s.Check(ctx, s.Servers[0]).Err
	}
	require.LessOrEqual(t, time.Since(begin), sceneTimeout)
	time.Sleep(5 * time.Second)
	old.cut()
	old.wg.Wait()
	takes, resolves := sc.resolves()
	heard, _ := w.heard()
	switch {
	case !resolves, takes > sceneTimeout:
		require.Error(t, err)
	case sc.command == "check" && sc.collector == "restarting": // it tells what it meets at once
	case sc.scheme == "udp": // nobody knows
		require.NoError(t, err)
		if sc.addresses != "all dead" && sc.collector != "restarting" {
			require.NotEmpty(t, heard)
		}
	case sc.addresses == "all dead", sc.collector == "silent":
		require.Error(t, err)
	default:
		require.NoError(t, err)
		require.NotEmpty(t, heard)
	}
}

// tries connects by w again and again until it succeeds, and returns after what
// time that was.
func tries(t *testing.T, w *route) time.Duration {
	t.Helper()
	begin := time.Now()
	for time.Since(begin) < time.Minute {
		if d := w.connect(t.Context(), tryTime, false); d.err == nil {
			d.conn.Close()
			return time.Since(begin)
		}
	}
	require.Fail(t, "it never connects")
	return 0
}

// A try has time for some twenty addresses. The next one goes on behind them.
func TestManyDeadAddressesAreAllTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{servers: []nameServer{{}}, homes: map[string]*collector{home: {}}}
		for i := range 60 {
			w.zone = append(w.zone, fmt.Sprintf("192.0.2.%d", i+1))
		}
		w.zone = append(w.zone, home)
		s := new(Sender)
		w.serve(s)
		to, _ := parseServer("tcp://hb:7878")
		require.Less(t, tries(t, newRoute(s, to)), 4*tryTime)
		w.at(home).cut()
		w.at(home).wg.Wait()
	})
}

// The address that answered is kept, whatever its name is said to be.
func TestProvenAddressIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{servers: []nameServer{{}}, zone: []string{home}, homes: map[string]*collector{home: {}}}
		s := new(Sender)
		w.serve(s)
		to, _ := parseServer("tcp://hb:7878")
		way := newRoute(s, to)
		tries(t, way)
		way.answered(home + ":7878")
		for _, zone := range [][]string{{"192.0.2.101"}, {}, {"192.0.2.101", "192.0.2.102"}} {
			w.set(func() { w.zone = zone })
			require.Less(t, tries(t, way), stagger)
		}
		way.wg.Wait()
		w.at(home).cut()
		w.at(home).wg.Wait()
	})
}

// An address that takes connections and does not answer comes last, of several
// the one that was tried last, and it is not forgotten.
func TestQuietAddressesComeLast(t *testing.T) {
	w := &route{named: []string{"a", "b", "c"}}
	order := func() []string { all, _ := w.addresses(); return all }
	w.unanswered("a")
	require.Equal(t, []string{"b", "c", "a"}, order())
	w.unanswered("b")
	require.Equal(t, []string{"c", "a", "b"}, order())
	w.unanswered("c")
	require.Equal(t, []string{"a", "b", "c"}, order())
	w.unanswered("a")
	require.Equal(t, []string{"b", "c", "a"}, order())
	w.answered("a")
	require.Equal(t, []string{"a", "b", "c"}, order())
}

// Where one address took a connection and did not answer, another one is found
// though that needs more time to connect.
func TestQuietAddressIsNotPreferredForBeingNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := &collector{silent: true}, &collector{slow: make(map[int]time.Duration)}
		for i := range 100 {
			far.slow[i] = 900 * time.Millisecond
		}
		w := &world{servers: []nameServer{{}}, zone: []string{home, home2}, homes: map[string]*collector{home: near, home2: far}}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: sceneInterval, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		require.NoError(t, s.Run(ctx))
		for _, c := range w.collectors() {
			c.cut()
			c.wg.Wait()
		}
		require.Greater(t, len(far.beats), 50)
	})
}

// What was dialled for nothing is closed.
func TestSlowerConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &collector{slow: map[int]time.Duration{1: 3 * time.Second}}
		w := &world{servers: []nameServer{{}}, zone: []string{home, home2}, homes: map[string]*collector{home: c, home2: c}}
		s := new(Sender)
		w.serve(s)
		to, _ := parseServer("tcp://hb:7878")
		way := newRoute(s, to)
		require.InDelta(t, stagger, tries(t, way), float64(10*time.Millisecond))
		way.wg.Wait()
		synctest.Wait()
		require.Zero(t, c.conns)
		c.wg.Wait()
	})
}

// A collector that has moved is found in the same try, though its old address
// refuses before the name server has answered.
func TestRefusalIsNoReasonNotToWaitForTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			servers: []nameServer{{takes: 500 * time.Millisecond}}, zone: []string{newHome},
			homes: map[string]*collector{home: {refuses: true}, newHome: {}},
		}
		s := new(Sender)
		w.serve(s)
		to, _ := parseServer("tcp://hb:7878")
		way := newRoute(s, to)
		way.answered(home + ":7878")
		require.Less(t, tries(t, way), namesPause)
		way.wg.Wait()
		w.at(newHome).cut()
		w.at(newHome).wg.Wait()
	})
}

// One beat is not lost to an address that takes connections and does not answer.
func TestOnceGoesOnToAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{servers: []nameServer{{}}, zone: []string{home, home2}, homes: map[string]*collector{home: {silent: true}, home2: {}}}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, cancel := context.WithTimeout(t.Context(), sceneTimeout)
		defer cancel()
		require.NoError(t, s.Once(ctx))
		for _, c := range w.collectors() {
			c.cut()
			c.wg.Wait()
		}
	})
}

// Where an address refuses and the name server is dead, a collector that comes
// back is found within a second all the same.
func TestDeadNameServersDoNotSlowDownDialling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(collector)
		w := &world{servers: []nameServer{{}}, zone: []string{home}, homes: map[string]*collector{home: c}}
		s := &Sender{Servers: []string{"tcp://hb:7878"}, Interval: sceneInterval, Peers: []Peer{{Host: "web-1"}}}
		w.serve(s)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		time.AfterFunc(5*time.Minute, func() {
			w.set(func() { w.servers[0].dead = true })
			c.set(func() { c.refuses, c.dials = true, nil })
			c.cut()
		})
		require.NoError(t, s.Run(ctx))
		c.wg.Wait()
		require.InDelta(t, 300, len(c.dials), 10)
	})
}

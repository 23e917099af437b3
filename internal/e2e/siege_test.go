//go:build unix

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	drippers     = 5_000
	dripPause    = 400 * time.Millisecond // between two pieces of a frame
	dripInterval = time.Minute            // long: that they starve on a busy machine is no finding
	dripEnv      = "E2E_DRIP"             // makes this binary the drippers around the collector at that address

	probePeers    = 10
	probeInterval = 2 * time.Second // far more than each lets pass, but for an overloaded machine
)

// Half of the drippers are slow, but honest. The others do not end a frame in
// time, and come again when they are cut.
func TestDrippersKeepNobodyFromBeingHeard(t *testing.T) {
	t.Parallel()
	needDescriptors(t, drippers*10/9+300) // the collector keeps a tenth for others
	const honest = 20
	p := newPost(t, alone, `read_timeout = "5s"`, "max_beats_per_second = 0")
	c := p.relieve()
	startFleet(t, p.address, honest, probeInterval)
	p.untilAll(honest)

	probe := dial(t, p.address)
	before := probe.roundTrips(time.Second, func() bool { return true })
	self, err := os.Executable()
	require.NoError(t, err)
	crowd := newProcess(t, "drippers", exec.Command(self))
	crowd.cmd.Env = []string{dripEnv + "=" + p.address}
	crowd.start()
	said := func(lines int) func() bool {
		return func() bool {
			require.True(t, crowd.running(), "the end of the drippers")
			return len(crowd.stdout.all()) >= lines
		}
	}
	probe.roundTrips(0, said(1)) // who is not heard dies
	besieged := probe.roundTrips(8*time.Second, said(2))
	for i := range probePeers { // who stop now: to look at everybody takes its time
		probe.beat(map[string]any{"host": fmt.Sprint("probe-", i), "pid": 0, "interval_ms": time.Hour.Milliseconds()})
	}
	t.Logf("until a beat is acknowledged, without drippers: %s", before)
	t.Logf("until a beat is acknowledged, beside %d (%s): %s", drippers, memory(c.pid()), besieged)

	p.requireNoDeath()
	peers := p.look(honest + probePeers + drippers/2)
	for name, m := range peers {
		require.EqualValues(t, 1, number(t, m, "alive"), name)
	}
	require.GreaterOrEqual(t, p.refused("read_timeout"), int64(drippers/2))
}

// refused returns how often the collector has refused for a reason.
func (p *post) refused(reason string) int64 {
	p.t.Helper()
	tag := ",reason=" + reason + " "
	before := len(p.now().stdout.with(tag))
	p.now().say("\n")
	p.now().until("a Gather", func() bool { return len(p.now().stdout.with(tag)) > before })
	return number(p.t, last(parse(p.t, p.now().stdout.with(tag))), "refused_total")
}

// roundTrips lets peers beat in turn, for at least that time and until done.
func (c *client) roundTrips(atLeast time.Duration, done func() bool) delays {
	c.t.Helper()
	var all delays
	for begin := time.Now(); time.Since(begin) < atLeast || !done(); {
		require.Less(c.t, time.Since(begin), patience)
		sent := time.Now()
		require.NoError(c.t, c.SetDeadline(sent.Add(patience)))
		c.beat(map[string]any{
			"host": fmt.Sprint("probe-", len(all)%probePeers), "pid": 0, "interval_ms": probeInterval.Milliseconds(),
		})
		all = append(all, time.Since(sent))
		pause(10 * time.Millisecond)
	}
	return all
}

// delays are how long something took, each time.
type delays []time.Duration

func (d delays) String() string {
	sorted := slices.Sorted(slices.Values(d))
	at := func(percent int) time.Duration { return sorted[(len(d)-1)*percent/100].Round(10 * time.Microsecond) }
	return fmt.Sprintf("median %s, p99 %s, at most %s of %d", at(50), at(99), at(100), len(d))
}

// drip is the drippers. It says when all are connected, and when all have been
// acknowledged or cut, and ends with stdin.
func drip(address string, stdin io.Reader, stdout, stderr io.Writer) int {
	connected, served, failed := make(chan int, drippers), make(chan int, drippers), make(chan error)
	for i := range drippers {
		d := &dripper{number: i, address: address, connected: connected, served: served}
		go func() { failed <- d.live() }() // ends with this process
	}
	for _, step := range []chan int{connected, served} {
		for range drippers {
			select {
			case <-step:
			case err := <-failed:
				fmt.Fprintln(stderr, err)
				return 1
			}
		}
		fmt.Fprintln(stdout, "all")
	}
	io.Copy(io.Discard, stdin) //nolint:errcheck // however it ends
	return 0
}

// A dripper sends valid frames in small pieces.
type dripper struct {
	number            int
	address           string
	connected, served chan<- int // are told of the first time
	seq               int64      // of the last beat that was begun
	known             bool       // served has been told
}

func (d *dripper) tell() {
	if !d.known {
		d.known = true
		d.served <- d.number
	}
}

// live returns when it can connect no more, or was not cut though it is too
// slow.
func (d *dripper) live() error {
	for first := true; ; first = false {
		dialer := net.Dialer{LocalAddr: crowdAddr(d.number), Timeout: patience}
		conn, err := dialer.Dial("tcp", d.address)
		if err != nil {
			return err
		}
		if first {
			d.connected <- d.number
		}
		if d.number%2 == 0 {
			d.beatInTime(conn)
		} else {
			err = d.beatTooSlowly(conn)
		}
		conn.Close()
		if err != nil {
			return err
		}
	}
}

// beatInTime beats until it is cut, which may happen where all is slow.
func (d *dripper) beatInTime(conn net.Conn) {
	answers := wire.NewReader(conn, wire.MaxAnswer)
	for {
		d.seq++
		frame := frameOf(beatOf(fmt.Sprint("slow-", d.number), d.seq, dripInterval))
		for piece := range slices.Chunk(frame, len(frame)/4) {
			if _, err := conn.Write(piece); err != nil {
				return
			}
			pause(dripPause)
		}
		if _, err := answers.Next(); err != nil {
			return
		}
		d.tell()
	}
}

// beatTooSlowly needs ten times the time that a frame has.
func (d *dripper) beatTooSlowly(conn net.Conn) error {
	for _, char := range frameOf(beatOf(fmt.Sprint("slower-", d.number), 1, dripInterval)) {
		if _, err := conn.Write([]byte{char}); err != nil {
			d.tell() // it was cut
			return nil
		}
		pause(dripPause)
	}
	return fmt.Errorf("dripper %d was not cut", d.number)
}

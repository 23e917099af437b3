//go:build linux

package faults

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	herdPeriod = time.Second
	herdSlices = 10 // of the period; in each of them a part of the hosts beats
	herdLimit  = 2 * time.Second
)

// herded is the peer that host i of all herds is.
func herded(i int) string { return fmt.Sprintf("h-%04d/host", i) }

// startHerd starts a program that plays hosts, from one number on.
func (f *fleet) startHerd(where namespace, first, count int) *process {
	f.t.Helper()
	args := append([]string{strconv.Itoa(first), strconv.Itoa(count)}, collectorAddrs[:]...)
	return f.start(fmt.Sprint("herd from ", first), f.role(where, roleHerd, args...))
}

// silence lets a host beat no more.
func (f *fleet) silence(hall int, peer string) {
	f.t.Helper()
	f.diary.note("%s: %s beats no more", f.herds[hall].Name, peer)
	f.herds[hall].Say(peer + "\n")
	testkit.Until(f.t, peer+" to be silent", func() bool { return f.herds[hall].Stdout.Says(peer) })
}

// A herd is hosts that one program watches: all beat over one connection to each
// collector.
type herd struct {
	first, count int
	life         string
	begin        time.Time

	mu     sync.Mutex // guards silent
	silent map[string]bool
}

// playHerd beats until stdin ends. Each line there names a peer that dies.
func playHerd(args []string, orders io.Reader) error {
	first, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	h := &herd{first: first, count: count, life: fmt.Sprintf("herd%d", os.Getpid()), begin: time.Now(), silent: make(map[string]bool)}
	for i, addr := range args[2:] {
		go h.beatTo(i, net.JoinHostPort(addr, port)) // ends with the program
	}
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		h.mu.Lock()
		h.silent[lines.Text()] = true
		h.mu.Unlock()
		fmt.Println(lines.Text())
	}
	return nil
}

// beatTo beats to a collector, which may be away.
func (h *herd) beatTo(number int, server string) {
	var conn net.Conn
	for tick := 0; ; tick++ {
		due := h.begin.Add(time.Duration(tick) * herdPeriod / herdSlices)
		<-time.After(time.Until(due))
		if late := time.Since(due); late > herdPeriod {
			fmt.Fprintf(os.Stderr, "this machine let the herd beat %s late\n", late)
		}
		if conn == nil {
			if conn = reach(server); conn == nil {
				tick = int(time.Since(h.begin) / (herdPeriod / herdSlices)) // what is missed is missed
				continue
			}
		}
		conn.SetWriteDeadline(time.Now().Add(herdLimit)) //nolint:errcheck // then writing fails
		if _, err := conn.Write(h.beats(number, tick)); err != nil {
			conn.Close()
			conn = nil
			tick = int(time.Since(h.begin) / (herdPeriod / herdSlices))
		}
	}
}

// reach connects to a collector, or returns nil. What a collector does not
// acknowledge soon is the end of the connection: the kernel would be patient.
func reach(server string) net.Conn {
	conn, err := net.DialTimeout("tcp", server, herdPeriod/2)
	if err != nil {
		<-time.After(herdPeriod / 4)
		return nil
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(herdLimit.Milliseconds())) //nolint:errcheck // known to Linux
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return conn
}

// beats are the frames of those that are due.
func (h *herd) beats(number, tick int) []byte {
	h.mu.Lock()
	silent := maps.Clone(h.silent)
	h.mu.Unlock()
	var frames []byte
	for i := h.first + tick%herdSlices; i < h.first+h.count; i += herdSlices {
		peer := herded(i)
		if silent[peer] {
			continue
		}
		host, _, _ := strings.Cut(peer, "/")
		frames = wire.AppendFrame(frames, fmt.Appendf(nil,
			`{"host":%q,"pid":0,"watched":true,"run":"%s.%d","seq":%d,"sent_ms":%d,"interval_ms":%d}`,
			host, h.life, number, tick/herdSlices+1, time.Now().UnixMilli(), herdPeriod.Milliseconds()))
	}
	return frames
}

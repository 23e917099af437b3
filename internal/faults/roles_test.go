//go:build linux

package faults

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// What this binary can be instead of tests, and its arguments.
const (
	roleEnv = "FAULTS_ROLE"

	roleArticle  = "article"  // NETWORK ADDRESS IP PERIOD
	roleSquatter = "squatter" // ADDRESS
	roleProxy    = "proxy"    // ADDRESS COLLECTOR WHAT
	roleApp      = "app"      // FROM COLLECTOR HOST PERIOD
	roleVisit    = "visit"    // COLLECTOR IP
	roleNames    = "names"    // ADDRESS FILE
	roleHerd     = "herd"     // FIRST COUNT COLLECTOR...
	roleStranger = "stranger" // SECRET ADDRESS COLLECTOR...
)

func play(role string, args []string) int {
	var err error
	switch role {
	case roleArticle:
		err = article(args[0], args[1], args[2], args[3])
	case roleSquatter:
		err = squat(args[0])
	case roleNames:
		err = serveNames(args[0], args[1])
	case roleHerd:
		err = playHerd(args, os.Stdin)
	case roleStranger:
		err = estrange(args[0], args[1], args[2:], os.Stdin)
	case roleProxy:
		err = proxy(args[0], args[1], args[2])
	case roleApp:
		err = beatFrom(args[0], args[1], args[2], args[3])
	case roleVisit:
		err = visit(args[0], args[1])
	default:
		err = errors.New("no such role: " + role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// article connects once, sends a bare object each period, never reads, and
// ends with the first error.
func article(network, address, ip, every string) error {
	period, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	beat := fmt.Appendf(nil, `{"ip": %q, "status": "alive", "pid": %d}`, ip, os.Getpid())
	for ticks := time.Tick(period); ; <-ticks {
		if _, err := conn.Write(beat); err != nil {
			return err
		}
	}
}

// squat takes a port and answers nobody. It ends with stdin.
func squat(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer listener.Close()
	fmt.Println("listening")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// mischief is what a proxy does with the frames for a collector.
var mischief = map[string]func(frames iter.Seq[[]byte], to io.Writer){
	"nothing": pass, "twice": twice, "late": late, "slow": slow, "echo": echo,
}

// pass lets each frame come as it is.
func pass(frames iter.Seq[[]byte], to io.Writer) {
	for frame := range frames {
		put(to, frame)
	}
}

// twice lets each frame come twice.
func twice(frames iter.Seq[[]byte], to io.Writer) {
	for frame := range frames {
		put(to, slices.Concat(frame, frame))
	}
}

// late lets every other frame come after its successor, or with the end of its
// connection.
func late(frames iter.Seq[[]byte], to io.Writer) {
	var held []byte
	first := true
	for frame := range frames {
		if held == nil && !first {
			held = frame
			continue
		}
		put(to, slices.Concat(frame, held))
		held, first = nil, false
	}
	put(to, held)
}

// slow lets each frame come three seconds late.
func slow(frames iter.Seq[[]byte], to io.Writer) {
	var under sync.WaitGroup // way
	for frame := range frames {
		under.Add(1)
		time.AfterFunc(3*time.Second, func() {
			defer under.Done()
			put(to, frame)
		})
	}
	under.Wait()
}

// echo lets the last frame come again each second when the sender has hung up.
func echo(frames iter.Seq[[]byte], to io.Writer) {
	var last []byte
	for frame := range frames {
		put(to, frame)
		last = frame
	}
	var err error
	for err == nil {
		<-time.After(time.Second)
		_, err = to.Write(last)
	}
}

// put writes what the collector may not want any more: then reading ends soon.
func put(to io.Writer, frames []byte) {
	to.Write(frames) //nolint:errcheck // see above
}

// proxy does its mischief, and passes answers on as they are.
func proxy(address, collector, what string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	var passing sync.WaitGroup
	for {
		from, err := listener.Accept()
		if err != nil {
			return err
		}
		to, err := net.Dial("tcp", collector)
		if err != nil {
			return err
		}
		passing.Go(func() { // ends with the connection
			defer to.Close()
			mischief[what](framesOf(from), to)
		})
		passing.Go(func() { // likewise
			defer from.Close()
			io.Copy(from, to) //nolint:errcheck // either end may go at any time
		})
	}
}

// framesOf reads frames until the connection ends.
func framesOf(conn net.Conn) iter.Seq[[]byte] {
	reader := wire.NewReader(conn, wire.MaxFrame)
	return func(yield func([]byte) bool) {
		for {
			payload, err := reader.Next()
			if err != nil || !yield(wire.AppendFrame(nil, payload)) {
				return
			}
		}
	}
}

// serveNames is a name server: every name has the IPv4 addresses in a file, and
// no others.
func serveNames(address, file string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		query := make([]byte, 512)
		n, from, err := conn.ReadFrom(query)
		if err != nil {
			return err
		}
		addresses, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		conn.WriteTo(nameAnswer(query[:n], strings.Fields(string(addresses))), from) //nolint:errcheck // it asks again
	}
}

// nameAnswer answers a query of one question (RFC 1035, 4).
func nameAnswer(query []byte, addresses []string) []byte {
	const header, typeA = 12, 1
	end := header + bytes.IndexByte(query[header:], 0) + 1 // of the name; type and class follow
	answer := slices.Clone(query[:end+4])
	answer[2], answer[3] = 0x81, 0x80 // an answer, without error, of a server that looks everything up
	clear(answer[6:header])           // one question, and
	if binary.BigEndian.Uint16(query[end:]) != typeA {
		return answer // no answers
	}
	answer[7] = byte(len(addresses))
	for _, text := range addresses {
		addr := netip.MustParseAddr(text).As4()
		answer = append(answer, 0xc0, header, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4) // the same name, class, no TTL, length
		answer = append(answer, addr[:]...)
	}
	return answer
}

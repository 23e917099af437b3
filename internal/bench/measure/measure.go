//go:build unix

// Package measure is what the benchmarks share.
package measure

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Median returns the middle one of values, of which there has to be one.
func Median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// Used returns the processor time that a process has spent, user and system
// (proc_pid_stat(5), fields 14 and 15, in ticks of a hundredth of a second).
func Used(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// Idle waits until a process has nothing more to do, and returns what it has
// spent.
func Idle(pid int) (time.Duration, error) {
	last, err := Used(pid)
	for quiet := 0; quiet < 5 && err == nil; quiet++ {
		time.Sleep(200 * time.Millisecond)
		var now time.Duration
		if now, err = Used(pid); now > last+10*time.Millisecond {
			quiet = 0
		}
		last = now
	}
	return last, err
}

// Memory returns what a process holds in memory, in bytes (proc_pid_statm(5)).
func Memory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// FreeAddress returns an address of the loopback at which nobody listens.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// Dial makes connection i to a server, from an address of its own for each
// thousand: a collector lets no more than an eighth of all its connections be of one
// address before they have beaten, and ports would run out, of which processes before
// this one have used some.
func Dial(address string, i int) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+os.Getpid()%250), byte(1+i/1000))}}
	return dialer.Dial("tcp", address)
}

// Introduce has so many peers beat once to a unix socket, and returns when all
// of them are known.
func Introduce(socket string, peers int) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	out := bufio.NewWriterSize(conn, 64<<10)
	for i := range peers {
		payload := fmt.Appendf(nil, `{"host":"web-%d","service":"shop","pid":0,"run":"r%d","seq":1,"interval_ms":600000,"ack":%t}`, i, i, i == peers-1)
		if _, err := out.Write(wire.AppendFrame(nil, payload)); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = wire.NewReader(conn, wire.MaxAnswer).Next()
	return err
}

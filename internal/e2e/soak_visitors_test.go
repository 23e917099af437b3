//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// visits are what senders do that are not like those of a fleet. Of one that
// returns an error it is not known how far it came.
var visits = map[string]func(ctx context.Context, s *soak, name string) error{
	"killed":  killed,
	"reset":   reset,
	"hung":    hung,
	"leaving": leaving,
	"loris":   loris,
	"liar":    liar,
	"deaf":    deaf,
}

// odd are the visits of peers who are honest, one for each kind.
var odd = map[string]func(ctx context.Context, s *soak, name string) error{
	"short":    short,
	"dripping": dripping,
	"crontab":  crontab,
	"twofold":  twofold,
}

// A visitor has a connection of its own.
type visitor struct {
	net.Conn
	answers *wire.Reader
}

func visit(ctx context.Context, s *soak) (*visitor, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	return &visitor{conn, wire.NewReader(conn, wire.MaxAnswer)}, nil
}

// wait waits, or returns at once when ctx has ended.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// say returns when the beat is acknowledged.
func (v *visitor) say(beat *wire.Beat) error {
	if _, err := v.Write(frameOf(beat)); err != nil {
		return err
	}
	return v.acknowledged()
}

func (v *visitor) acknowledged() error {
	payload, err := v.answers.Next()
	if err != nil {
		return err
	}
	answer, err := wire.DecodeAnswer(payload)
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	return err
}

// live beats a few times. What becomes of it is a death, unless it says goodbye.
func live(ctx context.Context, s *soak, name string) (*visitor, error) {
	v, err := visit(ctx, s)
	if err != nil {
		return nil, err
	}
	for seq := range int64(3) {
		if err := v.say(beatOf(name, seq+1, time.Second)); err != nil {
			v.Close()
			return nil, err
		}
		s.note(s.died, name)
		wait(ctx, 150*time.Millisecond)
	}
	return v, nil
}

// killed ends like a process that is killed.
func killed(ctx context.Context, s *soak, name string) error {
	v, err := live(ctx, s, name)
	if err != nil {
		return err
	}
	return v.Close()
}

// reset ends with unread data.
func reset(ctx context.Context, s *soak, name string) error {
	v, err := live(ctx, s, name)
	if err != nil {
		return err
	}
	defer v.Close()
	return v.Conn.(*net.TCPConn).SetLinger(0)
}

// hung says nothing any more and stays connected.
func hung(ctx context.Context, s *soak, name string) error {
	v, err := live(ctx, s, name)
	if err != nil {
		return err
	}
	defer v.Close()
	wait(ctx, 2*silence(time.Second))
	return nil
}

// leaving says goodbye. If that is not acknowledged, nobody knows what becomes
// of it.
func leaving(ctx context.Context, s *soak, name string) error {
	v, err := live(ctx, s, name)
	if err != nil {
		return err
	}
	defer v.Close()
	s.forget(name)
	goodbye := beatOf(name, 4, time.Second)
	goodbye.Status = wire.StatusLeaving
	if err := v.say(goodbye); err != nil {
		return err
	}
	s.note(s.left, name)
	return nil
}

// short is one peer that connects for each beat.
func short(ctx context.Context, s *soak, name string) error {
	for seq := range int64(20) {
		v, err := visit(ctx, s)
		if err != nil {
			return err
		}
		beat := beatOf("short", seq+1, soakInterval)
		beat.Run = name
		err = v.say(beat)
		v.Close()
		if err != nil {
			return err
		}
		wait(ctx, 100*time.Millisecond)
	}
	return nil
}

// dripping is one peer whose beats come in small pieces.
func dripping(ctx context.Context, s *soak, name string) error {
	v, err := visit(ctx, s)
	if err != nil {
		return err
	}
	defer v.Close()
	for seq := range int64(5) {
		beat := beatOf("dripping", seq+1, soakInterval)
		beat.Run = name
		for piece := range slices.Chunk(frameOf(beat), 10) {
			if _, err := v.Write(piece); err != nil {
				return err
			}
			wait(ctx, 20*time.Millisecond)
		}
		if err := v.acknowledged(); err != nil {
			return err
		}
	}
	return nil
}

// crontab is one job that beats once in each run, each time as another process
// without a name.
func crontab(ctx context.Context, s *soak, _ string) error {
	for range 20 {
		v, err := visit(ctx, s)
		if err != nil {
			return err
		}
		beat := &wire.Beat{Host: "crontab", PID: 1 + rand.Uint32N(1<<22), IntervalMS: soakInterval.Milliseconds(), Ack: true}
		err = v.say(beat)
		v.Close()
		if err != nil {
			return err
		}
		wait(ctx, 100*time.Millisecond)
	}
	return nil
}

// twofold is one process that lives beside others of its name, which fail.
func twofold(ctx context.Context, s *soak, name string) error {
	own, err := visit(ctx, s)
	if err != nil {
		return err
	}
	defer own.Close()
	other, err := visit(ctx, s)
	if err != nil {
		return err
	}
	defer other.Close()
	for seq := range int64(4) {
		beat := beatOf("twofold", time.Now().UnixMilli(), soakInterval)
		beat.Run, beat.PID = "own", 1
		if err := own.say(beat); err != nil {
			return err
		}
		beat = beatOf("twofold", seq+1, soakInterval)
		beat.Run, beat.PID = name, 1000+rand.Uint32N(1<<20)
		if seq > 0 {
			beat.Status, beat.HasExitCode, beat.ExitCode = wire.StatusDead, true, 3
		}
		if err := other.say(beat); err != nil {
			return err
		}
		wait(ctx, 100*time.Millisecond)
	}
	return nil
}

// loris begins a frame and never ends it. It is cut at last.
func loris(ctx context.Context, s *soak, _ string) error {
	v, err := visit(ctx, s)
	if err != nil {
		return err
	}
	defer v.Close()
	const announced = 1000
	if _, err := v.Write([]byte{0, 0, announced >> 8, announced & 0xff}); err != nil {
		return err
	}
	for range announced - 1 {
		if _, err := v.Write([]byte{' '}); err != nil {
			return nil
		}
		wait(ctx, 500*time.Millisecond)
	}
	return errors.New("it was not cut")
}

// lies are what no collector takes for a beat. %s is the name of the liar.
var lies = []string{
	"GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01%s",
	"SSH-2.0-%s\r\n",
	"\x00\x00\x00\x00%s",                            // an empty frame
	"\x00\xff\xff\xff%s",                            // 16 MiB announced
	"\x00\x00\x00\x40{\"host\": \"%s\", \"pid\": 1", // half a frame
	`{"host": "%s", "pid": 1`,                       // half an object
	`{"host": "%s", "pid": -1}`,
	`{"host": "%s", "pid": 1, "status": "down"}`,
	`{"host": "%s", "pid": 1, "pid": 2}`,
	`{"host": "%s", "pid": 1, "tags": {"a": {"b": {}}}}`,
	`{"host": "%s", "pid": 1, "service": "; drop table"}`,
	`{"host": "%s", "pid": 1, "check": true}`,
	`["%s"]`,
	"{\"host\": \"%s\xff\", \"pid\": 1}",
}

// liar says something that is no beat, often enough to be cut, or hangs up.
func liar(ctx context.Context, s *soak, name string) error {
	v, err := visit(ctx, s)
	if err != nil {
		return err
	}
	defer v.Close()
	lie := fmt.Sprintf(lies[rand.IntN(len(lies))], name)
	if lie[0] == '{' && rand.IntN(2) == 0 {
		lie = string(wire.AppendFrame(nil, []byte(lie)))
	}
	if _, err := v.Write([]byte(strings.Repeat(lie, 1+rand.IntN(10)))); err != nil {
		return err
	}
	if err := v.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return err
	}
	io.Copy(io.Discard, v) //nolint:errcheck // whoever hangs up first
	return nil
}

// deaf wants all its beats to be acknowledged and reads nothing. It is cut at
// last.
func deaf(ctx context.Context, s *soak, name string) error {
	v, err := visit(ctx, s)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := v.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		return err
	}
	for begin := range int64(1000) {
		var beats []byte
		for seq := range int64(100) {
			beats = append(beats, frameOf(beatOf(name, 100*begin+seq+1, soakInterval))...)
		}
		if _, err := v.Write(beats); err != nil {
			return nil
		}
	}
	return errors.New("it was not cut")
}

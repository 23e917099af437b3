//go:build linux

package faults

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/cluster/bus"
)

// What has the secret and is no collector that the others can understand.
var fleetStranger = fleetFault{
	fault: "a stranger with the secret speaks another version of the protocol, nonsense, and what it has heard", long: true, hosts: someHosts,
	harm: func(f *fleet) {
		mates := make([]string, 0, len(collectorAddrs))
		for _, addr := range collectorAddrs {
			mates = append(mates, addr+":"+clusterPort)
		}
		f.diary.note("remote# a stranger joins %s", strings.Join(mates, ", "))
		p := f.start("stranger", f.role(f.remote, roleStranger, append([]string{fleetSecret, remoteAddr + ":" + clusterPort}, mates...)...))
		for _, c := range f.collectors {
			f.await("a mate that differs, at "+c.name, func() bool { return c.says("mates_differ") > 0 })
		}
		f.dieAndTell(0)
		pause(ceiling)
		f.expectSpeaker(f.collectors...)
		p.Say("\n")
		testkit.Until(f.t, "the stranger to end", func() bool { return !p.Running() })
		f.seen = append(f.seen, "the stranger has "+strings.Join(p.Stdout.All(), ", "))
	},
}

// estrange joins collectors until stdin ends or says something.
func estrange(secret, listen string, mates []string, stdin io.Reader) error {
	b, err := bus.Open(&bus.Options{Listen: listen, Mates: mates, Secret: []byte(secret), Log: strangerLog{}})
	if err != nil {
		return err
	}
	defer b.Close()
	over := make(chan struct{})
	go func() { // ends with stdin
		defer close(over)
		stdin.Read(make([]byte, 1)) //nolint:errcheck // its end will do
	}()
	s := &stranger{key: []byte(secret), begin: time.Now()}
	for ticks := time.Tick(200 * time.Millisecond); ; {
		select {
		case m := <-b.Received():
			s.heard++
			s.last = m
		case <-ticks:
			for _, m := range s.messages() {
				b.Send(m)
				s.sent++
			}
		case <-over:
			fmt.Printf("heard %d messages\nsent %d\n", s.heard, s.sent)
			return nil
		}
	}
}

// A stranger is what it has heard and said.
type stranger struct {
	key         []byte
	begin       time.Time
	counter     uint64
	heard, sent int
	last        []byte // message heard
}

// messages are one of each kind of harm.
func (s *stranger) messages() [][]byte {
	nonsense := make([]byte, 1+rand.IntN(2000))
	for i := range nonsense {
		nonsense[i] = byte(rand.Uint32())
	}
	all := [][]byte{nonsense, {}, make([]byte, bus.MaxMessage)}
	if s.last != nil {
		bent := slices.Clone(s.last)
		bent[rand.IntN(len(bent))] ^= 1
		all = append(all, s.last, s.last, bent, s.last[:len(s.last)/2])
	}
	presence := fmt.Appendf(nil, `{"wall_ms":%d,"able":true,"ready":true,"speaks":true,"hears":{}}`, time.Now().UnixMilli())
	all = append(all, s.seal(2, 1, presence), s.seal(0, 1, presence))
	for kind := range byte(12) {
		all = append(all, s.seal(1, kind, nonsense))
	}
	return all
}

// seal makes a message as package cluster does, of any version and kind. Its name is
// before all others, and would tell events.
func (s *stranger) seal(version, kind byte, body []byte) []byte {
	const name = "a-stranger"
	s.counter++
	text := []byte{version, kind}
	for _, n := range []uint64{uint64(version) + 1, 0, s.counter, uint64(time.Since(s.begin).Milliseconds())} {
		text = binary.BigEndian.AppendUint64(text, n)
	}
	text = append(append(append(text, byte(len(name))), name...), body...)
	sum := hmac.New(sha256.New, s.key)
	sum.Write(text)
	return append(sum.Sum(nil), text...)
}

type strangerLog struct{}

func (strangerLog) Infof(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (strangerLog) Warnf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

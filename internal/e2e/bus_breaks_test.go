//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An engine or a centre that is restarted or stops for a while, that brings the same beats twice,
// or all beats since its beginning once more, is no death, and makes nobody alive.
func TestBusThatBreaksChangesNoVerdict(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t, e)
			b.replay()
			living := []string{"lives-1", "lives-2", "lives-3"}
			for _, host := range living {
				b.startHost(host, beatsLater(), e.kept...)
			}
			gone := b.startHost("gone", beatsSoon, e.kept...)
			planned := b.startHost("planned", beatsLater(), e.kept...)
			hosts := append(slices.Clone(living), "gone", "planned")
			for _, host := range hosts {
				b.untilVerdicts(host, "alive beat")
			}
			planned.Signal(syscall.SIGTERM)
			require.Zero(t, planned.Exit())
			b.leave("planned", e.kept...)
			b.untilVerdicts("planned", "alive beat", "left leaving")
			b.diesUnheard(gone)

			for _, breaks := range slices.Concat(slices.Repeat([]func(){b.restartEngine}, size(1, e.restarts)),
				slices.Repeat([]func(){b.restartCentre}, size(1, 50))) {
				breaks()
				b.untilHeard(time.Now(), len(hosts), living...)
			}
			b.stopEngine()
			b.untilHeard(time.Now(), len(hosts), living...)
			before := b.passedOver()
			b.replay()
			b.now().Until("old beats", func() bool { return b.passedOver() > before })
			b.untilHeard(time.Now().Add(2*beatInterval), len(hosts), living...) // the rest of them comes by then

			for _, host := range living {
				require.Equal(t, []string{"alive beat"}, b.verdicts(host), host)
			}
			require.Equal(t, []string{"alive beat", "dead silence"}, b.verdicts("gone"))
			require.Equal(t, []string{"alive beat", "left leaving"}, b.verdicts("planned"))
			require.Zero(t, total(t, b.look(len(hosts)), "mistakes_total"))
			for _, refused := range b.now().Stderr.With("Refused") {
				require.Contains(t, refused, "read_timeout") // a centre to which nothing came
			}
		})
	}
}

// When an engine is away for longer than hosts may be silent, ten hosts or more are unknown, not
// dead, though the centre stays connected.
func TestEngineThatIsAwayIsNotTheDeathOfTenHosts(t *testing.T) {
	t.Parallel()
	const hosts = 12
	p := newPost(t)
	p.relieve()
	centre := dial(t, p.address)
	for range 3 {
		for host := range hosts {
			centre.send(fmt.Sprintf(`{"host":"host-%d","service":"telegraf","pid":0,"watched":true,"interval_ms":%d,"sent_ms":%d}`,
				host, beatsSoon.Milliseconds(), time.Now().UnixMilli()))
		}
		pause(beatInterval)
	}
	p.now().Until("isolation", func() bool { return len(p.events("reason", "isolated", "state", "on")) > 0 })
	p.now().Until("all to be unknown", func() bool { return len(p.events("reason", "isolated", "state", "unknown")) >= hosts })
	p.requireNoDeath()
}

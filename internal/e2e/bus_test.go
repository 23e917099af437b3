//go:build linux

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// beatsSoon is what hosts declare that are to be dead soon, after 7 s.
const beatsSoon = 2 * time.Second

// beatsLater returns what others declare: in a long test what the documents show, dead after 35 s.
// RabbitMQ needs the half of that to be back, on a machine that does nothing else.
func beatsLater() time.Duration { return size(time.Minute, 10*time.Second) }

// What happens to hosts is told through an engine as it is without one.
func TestBusTellsWhatHappensToHosts(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t, e)
			b.startHost("lives", beatsLater())
			killed := b.startHost("killed", beatsSoon)
			stopped := b.startHost("stopped", beatsSoon)
			planned := b.startHost("planned", beatsSoon)
			flapping := b.startHost("flapping", beatsSoon)
			hosts := []string{"lives", "killed", "stopped", "planned", "flapping"}
			for _, host := range hosts {
				b.untilVerdicts(host, "alive beat")
			}

			killed.Kill()
			flapping.Kill()
			stopped.Signal(syscall.SIGSTOP)
			planned.Signal(syscall.SIGTERM)
			require.Zero(t, planned.Exit())
			b.leave("planned", declared(beatsSoon)...)
			b.untilVerdicts("planned", "alive beat", "left leaving")
			for _, host := range []string{"killed", "stopped", "flapping"} {
				b.untilVerdicts(host, "alive beat", "dead silence")
			}

			stopped.Signal(syscall.SIGCONT)
			flapping = b.startHost("flapping", beatsSoon)
			for _, host := range []string{"stopped", "flapping"} {
				b.untilVerdicts(host, "alive beat", "dead silence", "alive beat")
			}
			flapping.Kill()
			b.untilVerdicts("flapping", "alive beat", "dead silence", "alive beat", "dead silence")
			require.EqualValues(t, 1, number(t, b.look(len(hosts))["flapping/telegraf"], "flapping"))

			require.Equal(t, []string{"alive beat"}, b.verdicts("lives"))
			require.Equal(t, []string{"alive beat", "dead silence"}, b.verdicts("killed"))
			require.Equal(t, []string{"alive beat", "left leaving"}, b.verdicts("planned"))
			require.Equal(t, []string{"alive beat", "dead silence", "alive beat"}, b.verdicts("stopped"))
			require.Empty(t, b.now().Stderr.With("Refused"))
		})
	}
}

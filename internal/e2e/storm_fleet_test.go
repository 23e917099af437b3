//go:build unix

package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// startFleet starts senders in this process, each for the service shop on a
// host of its own. They say goodbye at the end of the test. Each may be changed
// before.
func startFleet(t testing.TB, address string, n int, interval time.Duration, changes ...func(*sender.Sender)) {
	t.Helper()
	needDescriptors(t, uint64(2*n+1000))
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range n {
		s := fleetSender(i, address, interval)
		for _, change := range changes {
			change(s)
		}
		wg.Go(func() { // ends at the end of the test
			if err := s.Run(ctx); err != nil {
				t.Errorf("sender %d: %v", i, err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		wg.Wait()
	})
}

func fleetSender(i int, address string, interval time.Duration) *sender.Sender {
	dialer := net.Dialer{LocalAddr: crowdAddr(i)}
	return &sender.Sender{
		Servers:  []string{"tcp://" + address},
		Interval: interval,
		Peers:    []sender.Peer{{Host: fmt.Sprintf("fleet-%04d", i), Service: "shop", PID: 1}},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}
}

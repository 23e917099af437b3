package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLongConnectionAt100ms(t *testing.T) {
	for gap, long := range map[time.Duration]bool{99 * time.Millisecond: false, 100 * time.Millisecond: true} {
		for _, end := range []End{Closed, Reset, GivenUp, EndedByUs} {
			l := newRig(t)
			b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}, Conn: 1}
			l.observe(b)
			l.now = l.now.Add(gap)
			l.observe(b)
			l.tracker.ConnEnded(l.now, 1, end, addrOf(1))
			b.ID.PID, b.Conn = 2, 2
			l.observe(b)
			require.Equal(t, !long || end != EndedByUs, l.tracker.Len() == 1, fmt.Sprint(gap, end))
		}
	}
	l := newRig(t) // beats without a connection are not on a long connection
	b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}}
	l.observe(b)
	l.now = l.now.Add(time.Second)
	l.observe(b)
	l.tracker.ConnEnded(l.now, 0, Closed, addrOf(0))
	b.ID.PID = 2
	l.observe(b)
	require.Equal(t, 2, l.tracker.Len())
}

// A beat in a datagram does not count as a beat over the earlier long connection.
func TestDatagramAfterLongConnectionIsNotLong(t *testing.T) {
	c := newRig(t)
	b := Beat{ID: ID{Source: "10.0.0.5", PID: 1}, Conn: 1}
	c.observe(b)
	c.pass(time.Second)
	c.observe(b)
	c.ended(1, Closed)
	b.Conn = 0
	c.observe(b)
	require.False(t, c.tracker.lookUp(b.ID).hasLongConn())
}

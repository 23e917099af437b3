package loglimit

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A log is the list of allowed messages.
type log struct {
	limit ByPlace
	lines []string
}

func (l *log) say(kind, from, text string) {
	if more, ok := l.limit.Allow(kind, from, time.Now()); ok {
		l.lines = append(l.lines, fmt.Sprintf("%s, %s: %s%s", from, kind, text, more))
	}
}

func (l *log) last() string { return l.lines[len(l.lines)-1] }

func TestTheSameIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		for i := range 600 {
			l.say("json", fmt.Sprintf("192.0.2.1:%d", i), "bad")
			l.say("utf8", fmt.Sprintf("192.0.2.1:%d", i), "bad")
			time.Sleep(time.Second)
		}
		require.Len(t, l.lines, 20)
		require.Equal(t, "192.0.2.1:540, utf8: bad (59 more since this was last logged)", l.last())
	})
}

// A load balancer that probes each second hides no other source.
func TestOneAddressDoesNotHideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		for second := range 60 {
			l.say("http", fmt.Sprintf("192.0.2.1:%d", second), "probe")
			for _, other := range []string{"192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "a unix socket"} {
				if second == 30 {
					l.say("http", other, "help")
				}
			}
			l.say("http", fmt.Sprintf("[2001:db8::%x]:1", second+1), "the same network")
			time.Sleep(time.Second)
		}
		require.Equal(t, []string{
			"192.0.2.1:0, http: probe", "[2001:db8::1]:1, http: the same network",
			"192.0.2.2:1, http: help", "[2001:db8:0:1::1]:1, http: help", "a unix socket, http: help",
		}, l.lines)
	})
}

// However many addresses there are, they fill neither the log nor memory, and afterwards new
// messages are logged as before.
func TestManyAddressesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		address := func(i int) string {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1).String()
		}
		for i := range 200_000 {
			l.say([]string{"json", "utf8", "http"}[i%3], address(i), "flood")
		}
		require.Len(t, l.lines, maxPlaces+3)
		require.LessOrEqual(t, len(l.limit.all), maxPlaces+3)
		l.say("truncated", "192.0.2.1:1", "another reason")
		require.Contains(t, l.last(), "another reason")
		time.Sleep(pause)
		l.say("json", "192.0.2.1:1", "a minute later")
		l.say("json", "192.0.2.2:1", "a minute later")
		require.Len(t, l.lines, maxPlaces+3+1+2)
		require.Len(t, l.limit.all, 2)
	})
}

package serve

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProbingFitsThePeersOfTheConnection(t *testing.T) {
	all := KeepAlive{Idle: 15 * time.Second, Interval: 5 * time.Second} // as a connection begins
	for _, c := range []struct {
		interval, silence time.Duration
		want              KeepAlive
	}{
		{0, 210 * time.Second, KeepAlive{15 * time.Second, 5 * time.Second, 420 * time.Second}},
		{100 * time.Millisecond, 2 * time.Second, KeepAlive{time.Second, time.Second, 4 * time.Second}},
		{time.Second, 3500 * time.Millisecond, KeepAlive{time.Second, time.Second, 7 * time.Second}},
		{10 * time.Second, 35 * time.Second, KeepAlive{10 * time.Second, 2 * time.Second, 70 * time.Second}},
		{time.Minute, 210 * time.Second, KeepAlive{15 * time.Second, 5 * time.Second, 420 * time.Second}},
		{24 * time.Hour, 25 * time.Hour, KeepAlive{15 * time.Second, 5 * time.Second, 50 * time.Hour}},
	} {
		require.Equal(t, c.want, all.adapt(c.interval, c.silence), "%v", c.interval)
	}
}

// A connection may carry several peers: it is given up for none of them too
// soon, and asked as often as the quickest needs.
func TestProbingFitsSeveralPeers(t *testing.T) {
	p := KeepAlive{Idle: 15 * time.Second, Interval: 5 * time.Second}
	p = p.adapt(time.Minute, 210*time.Second).adapt(time.Second, 3500*time.Millisecond)
	require.Equal(t, KeepAlive{time.Second, time.Second, 420 * time.Second}, p)
	require.Equal(t, p, p.adapt(time.Minute, 400*time.Second), "a silence that grows a little is no reason")
	require.Equal(t, 1000*time.Second, p.adapt(time.Minute, 500*time.Second).GiveUp)
}

func TestProbingForOtherSystems(t *testing.T) {
	config := KeepAlive{15 * time.Second, 5 * time.Second, 420 * time.Second}.config()
	require.Equal(t, 82, config.Count, "15 s and 81 times 5 s")
	require.Equal(t, 127, KeepAlive{time.Second, time.Second, time.Hour}.config().Count, "more Linux does not take")
	require.Equal(t, 1, KeepAlive{15 * time.Second, 5 * time.Second, 4 * time.Second}.config().Count)
}

// The kernel of a silent process answers; that of a lost host does not. Nothing can be decided
// within the time in which an answer itself is acknowledged.
func TestPathIsToldByWhoAnswers(t *testing.T) {
	p := KeepAlive{Idle: time.Second, Interval: time.Second}
	for _, c := range []struct {
		data, anything time.Duration
		want           Path
	}{
		{1600 * time.Millisecond, 600 * time.Millisecond, PathAnswers},
		{3500 * time.Millisecond, 500 * time.Millisecond, PathAnswers},
		{3500 * time.Millisecond, 3400 * time.Millisecond, PathIsSilent},
		{3500 * time.Millisecond, 3100 * time.Millisecond, PathIsSilent},
		{60 * time.Second, 30 * time.Second, PathIsSilent}, // it hung first, then its host went
		{1600 * time.Millisecond, 1500 * time.Millisecond, PathUnknown},
		{3 * time.Second, 2900 * time.Millisecond, PathUnknown},
	} {
		require.Equal(t, c.want, p.path(c.data, c.anything), "%v %v", c.data, c.anything)
	}
}

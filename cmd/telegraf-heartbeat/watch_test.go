package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

func listed(peers ...api.Peer) []*listing {
	l := &listing{place: "there", counts: map[string]int{}}
	for _, p := range peers {
		l.peers = append(l.peers, peer{Peer: &p})
	}
	return []*listing{l}
}

// in returns p as it is in another state.
func in(p api.Peer, state, reason string, since float64) api.Peer {
	p.State, p.Reason, p.Since = state, reason, since
	return p
}

func TestWatchTellsChangesAsLines(t *testing.T) {
	since := unixSeconds(night)
	for name, tt := range map[string]struct {
		q             question
		before, after []api.Peer
		want          string
	}{
		"nothing":       {question{}, []api.Peer{web, nginx}, []api.Peer{web, nginx}, ""},
		"another state": {question{}, []api.Peer{web}, []api.Peer{in(web, "dead", "silence", since)}, "23:50:00 dead web-1/host silence after 3d\n"},
		"with the reason": {
			question{why: true},
			[]api.Peer{web},
			[]api.Peer{in(web, "left", "leaving", since)},
			"23:50:00 left web-1/host leaving after 3d: it said goodbye\n",
		},
		"dead again":          {question{}, []api.Peer{nginx}, []api.Peer{in(nginx, "dead", "exited", since)}, "23:50:00 dead web-1/nginx exited after 2m5s\n"},
		"rounded differently": {question{}, []api.Peer{nginx}, []api.Peer{in(nginx, "dead", "exited", nginx.Since+0.001)}, ""},
		"a new one":           {question{}, []api.Peer{web}, []api.Peer{web, nginx}, "23:47:55 dead web-1/nginx exited\n"},
		"two in their order": {
			question{},
			[]api.Peer{web, mail},
			[]api.Peer{in(mail, "alive", "beat", since), in(web, "dead", "hung", since-1)},
			"23:49:59 dead web-1/host hung after 2d23h\n23:50:00 alive mail-1/host beat after 1m\n",
		},
		"forgotten": {question{}, []api.Peer{web, mail}, []api.Peer{web}, "23:50:00 forgotten mail-1/host\n"},
		"of the dead: lives": {
			question{dead: true},
			[]api.Peer{nginx},
			[]api.Peer{in(nginx, "alive", "beat", since)},
			"23:50:00 alive web-1/nginx beat after 2m5s\n",
		},
		"of the dead: dies":   {question{dead: true}, []api.Peer{web}, []api.Peer{in(web, "dead", "hung", since)}, "23:50:00 dead web-1/host hung after 3d\n"},
		"of the dead: others": {question{dead: true}, []api.Peer{web, mail}, []api.Peer{in(web, "suspect", "hung", since)}, ""},
		"of the dead: gone":   {question{dead: true}, []api.Peer{nginx}, nil, "23:50:00 forgotten web-1/nginx\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := &changes{question: &tt.q}
			c.print(&out, listed(tt.before...), nil, night)
			require.Empty(t, out.String(), "what is there at first is no change")
			c.print(&out, listed(tt.after...), nil, night)
			require.Equal(t, tt.want, out.String())
		})
	}
}

// A collector that is not there is told once. What changed meanwhile is told afterwards.
func TestWatchTellsOnceThatNobodyAnswers(t *testing.T) {
	var out bytes.Buffer
	c := &changes{question: &question{}}
	c.print(&out, listed(web), nil, night)
	for range 3 {
		c.print(&out, nil, errors.New("no collector\nlistens"), night)
	}
	require.Equal(t, "23:50:00 no collector\\nlistens\n", out.String())
	out.Reset()
	old := listed(web)
	old[0].notes = []string{"Not live: x."}
	c.print(&out, old, nil, night)
	require.Equal(t, "23:50:00 Not live: x.\n", out.String())
	out.Reset()
	c.print(&out, listed(in(web, "dead", "silence", unixSeconds(night))), nil, night)
	require.Equal(t, "23:50:00 Live again.\n23:50:00 dead web-1/host silence after 3d\n", out.String())
}

// On a terminal the most urgent ones fill the screen, and how many there are is said.
func TestWatchDrawsOneScreen(t *testing.T) {
	var out bytes.Buffer
	many := listed(nginx)
	for range 100 {
		many[0].peers = append(many[0].peers, peer{Peer: &web})
	}
	new(question).redraw(&out, many, nil, night)
	require.Contains(t, out.String(), clearScreen+"there, live: ")
	require.Contains(t, out.String(), "\nand 83 more\n")
	require.Less(t, bytes.Count(out.Bytes(), []byte("\n")), 24)
	out.Reset()
	new(question).redraw(&out, nil, errors.New("no collector"), night)
	require.Equal(t, clearScreen+"no collector\n", out.String())
}

// A state file is no traffic, so that time is virtual.
func TestWatchLooksUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		looks := 0
		console := &console{stdout: io.Discard, getenv: func(string) string { return "" }, now: func() time.Time {
			looks++
			return night
		}}
		began := time.Now()
		require.NoError(t, peers(ctx, []string{"-watch", "-state-file", fleet}, console))
		require.Equal(t, time.Minute, time.Since(began))
		require.GreaterOrEqual(t, looks, 2*30, "each time for the file and for the lines")
	})
	console := consoleAt(io.Discard)
	require.ErrorContains(t, peers(t.Context(), []string{"-watch", "-state-file", "/nowhere"}, console), "/nowhere")
}

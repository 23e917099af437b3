package liveness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIDIsSourceAndServiceOrPID(t *testing.T) {
	for _, c := range []struct {
		source, service string
		pid             uint32
		want            string
	}{
		{"web-1", "nginx", 5, "web-1/nginx"},
		{"web-1", "nginx", 0, "web-1/nginx"},
		{"web-1", "", 5, "web-1/5"},
		{"web-1", "", 0, "web-1/host"},
		{"web-1", "host", 5, "web-1/host"},
		{"10.0.0.5", "", 4711, "10.0.0.5/4711"},
	} {
		id, ok := NewID(c.source, c.service, c.pid)
		require.True(t, ok)
		require.Equal(t, c.want, id.String())
	}
	_, ok := NewID("", "nginx", 5)
	require.False(t, ok, "a beat with neither address nor host belongs to no peer")
}

// The numbers are stored in databases and in the value mappings of dashboards.
func TestCodesNeverChange(t *testing.T) {
	text := make([]string, 0, 16)
	for _, s := range States {
		text = append(text, fmt.Sprintf("%d=%v", s, s))
	}
	for _, r := range []Reason{
		ReasonNone, ReasonBeat, ReasonSilence, ReasonExited, ReasonLeaving, ReasonFinished, ReasonOverdue, ReasonReplaced, ReasonForgotten,
	} {
		text = append(text, fmt.Sprintf("%d=%v", r, r))
	}
	require.Equal(t, "0=unknown 1=alive 2=suspect 3=dead 4=left "+
		"0=none 1=beat 2=silence 7=exited 9=leaving 10=finished 11=overdue 15=replaced 16=forgotten", strings.Join(text, " "))
}

func TestLifeOfARun(t *testing.T) {
	for run, want := range map[string]string{
		"9f2c41d07be85a36.1": "9f2c41d07be85a36", "9f2c41d07be85a36.12": "9f2c41d07be85a36", "9f2c41d07be85a36": "9f2c41d07be85a36",
		"": "", "a.b.3": "a.b", "a.b": "a.b", "a.": "a.", ".7": ".7", "a.1b": "a.1b", "a.-1": "a.-1", "a.1.": "a.1.", "7": "7",
	} {
		require.Equal(t, want, lifeOf(run), run)
	}
}

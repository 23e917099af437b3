package judge

import (
	"testing"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// For two machines with one name the advice is not to rename their services.
func TestConflictSaysWhatToRename(t *testing.T) {
	for _, c := range []struct{ service, one, other, want string }{
		{"host", "10.0.0.1", "10.0.0.2", "two machines have this host name"},
		{"host", "10.0.0.1", "10.0.0.1", "two senders run on one machine"},
		{"nginx", "10.0.0.1", "10.0.0.2", "if they are two machines, rename one of them"},
		{"nginx", "10.0.0.1", "10.0.0.1", "give the services different names"},
		{"nginx", "", "", "give the services different names"},
	} {
		log := &testutil.CaptureLogger{}
		in := New(Options{Log: log}, time.Now())
		one := liveness.View{ID: liveness.ID{Source: "web-1", Service: c.service}, Addr: parse(c.one)}
		conflict := &liveness.Transition{View: one, Other: parse(c.other)}
		in.warnOfConflict(conflict)
		require.Contains(t, log.Warnings()[0], c.want)
		require.NotContains(t, log.Warnings()[0], "invalid IP", "over a Unix socket there is no address")
	}
}

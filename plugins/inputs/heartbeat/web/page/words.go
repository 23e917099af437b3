package page

import (
	"fmt"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

// why explains the state of a peer.
func why(d *liveness.Details) string {
	text := api.Why(d.Reason.String())
	if d.Reason == liveness.ReasonExited && d.HasExitCode {
		return fmt.Sprintf("%s with exit code %d", text, d.ExitCode)
	}
	return text
}

// isDown reports whether something may be wrong with a peer. The metric heartbeat_down is
// emitted for the same peers.
func isDown(d *liveness.Details) bool {
	switch d.State {
	case liveness.Dead, liveness.Suspect:
		return true
	case liveness.Unknown:
		return d.Reason == liveness.ReasonIsolated || d.Reason == liveness.ReasonHost || d.Reason == liveness.ReasonMateLost
	case liveness.Alive, liveness.Left:
	}
	return false
}

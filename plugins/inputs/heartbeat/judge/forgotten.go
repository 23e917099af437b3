package judge

import (
	"fmt"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// forgottenNamed is the maximum number of forgotten peers that one log line names.
const forgottenNamed = 10

// logForgotten logs which dead peers were forgotten, because their alerts end then. It logs at most
// once a minute. It must not be called with j.mu held, because a log may be slow.
func (j *Judge) logForgotten(now time.Time) {
	if gone := j.takeForgotten(now); len(gone) > 0 {
		names := make([]string, 0, forgottenNamed)
		for _, id := range gone[:min(len(gone), forgottenNamed)] {
			names = append(names, id.String())
		}
		if more := len(gone) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		j.options.Log.Infof("Forgot peers that were dead for 'forget_dead_after': %s", strings.Join(names, ", "))
	}
}

// takeForgotten returns the peers forgotten since the last log line, if logging is allowed
// again.
func (j *Judge) takeForgotten(now time.Time) (gone []liveness.ID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.forgotten) == 0 {
		return nil
	}
	if _, ok := j.forgets.Allow(now); ok {
		gone, j.forgotten = j.forgotten, nil
	}
	return gone
}

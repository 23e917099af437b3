package main

import (
	"context"
	"time"
)

// namePause is the time between two looks at the name of this host.
const namePause = time.Minute

// watchName says once when this host gets another name than the one that it is
// spoken for by, until ctx ends. The old one is kept: with another name it would
// be another peer, and the former one dead.
func (c *call) watchName(ctx context.Context, told string) {
	if c.settings.peer.Host != "" { // it was given
		return
	}
	ticker := time.NewTicker(namePause)
	defer ticker.Stop()
	for last := told; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		name, err := c.ownName()
		if err != nil || name == last {
			continue
		}
		if last = name; name != told {
			c.warnf("this host is called %q now, and its beats still say %q: restart heartbeat-sender, or set 'host'", name, told)
		}
	}
}

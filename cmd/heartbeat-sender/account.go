package main

import (
	"context"
	"os"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

// The units that speak for this host: alone, and with services beside it.
const (
	hostUnit  = "heartbeat-sender.service"
	watchUnit = "heartbeat-sender-watch.service"
)

// asService has targets looked at with the rights that the unit has which would
// do so: root sees more, and would find nothing wrong.
func (c *call) asService(ctx context.Context, targets []watch.Target, look func() error) error {
	unit := hostUnit
	if len(targets) > 0 {
		unit = watchUnit
	}
	account, err := watch.AccountOf(ctx, unit)
	switch {
	case err != nil:
		c.say("failed", "%v", err)
		return &failure{code: exitConfig}
	case account == nil || account.UID == os.Geteuid():
		return look()
	case os.Geteuid() != 0:
		c.say("user", "not %s, as %s: only root can check what that one sees", account.User, unit)
		return look()
	}
	c.say("user", "%s, as %s", account.User, unit)
	var failed error
	err = withRightsOf(account, func() {
		if failed = look(); canRead(c.configFile) != nil {
			c.say("failed", "%s cannot read %q: make it readable for it", account.User, c.configFile)
			failed = &failure{code: exitConfig}
		}
	})
	if err != nil {
		c.say("failed", "cannot look as %s: %v", account.User, err)
		return &failure{code: exitConfig}
	}
	return failed
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// systemUnits are the name prefixes of services that belong to the system or to
// heartbeat-sender.
const systemUnits = "systemd- getty@ serial-getty@ console-getty user@ dbus polkit heartbeat-sender"

const discoverHead = `# Tables for the services that run on this host, for the end of %s
# Delete those that you do not need to watch. Then run
#   heartbeat-sender check
#   systemctl disable --now heartbeat-sender
#   systemctl enable --now heartbeat-sender-watch
#   systemctl reload heartbeat-sender-watch
`

// discoverCommand prints tables for the services that run on this host. It writes no
// file: only a person knows which services matter.
func discoverCommand(ctx context.Context, c *call) error {
	c.filesTime = filesTime
	if err := c.loadFile(commandNamed("run"), nil); err != nil {
		return settingsError(err)
	}
	found, err := watch.FindServices(ctx)
	if err != nil {
		return settingsError(err)
	}
	fmt.Fprintf(c.stdout, discoverHead, c.configFile)
	var system, known, odd []string
	names := map[string]bool{hostService: true}
	for i := range c.settings.watches {
		names[c.settings.watches[i].peer.Service] = true
	}
	for _, name := range found.Running {
		switch target, err := unitTarget(name); {
		case isOfSystem(name):
			system = append(system, name)
		case err != nil:
			odd = append(odd, name)
		case c.settings.watchesTarget(&target):
			known = append(known, name)
		default:
			fmt.Fprintf(c.stdout, "\n%s", proposal(&target, names))
		}
	}
	fmt.Fprintln(c.stdout)
	c.printLeftOut(system, "system services ("+strings.ReplaceAll(systemUnits, " ", "*, ")+"*)")
	c.printLeftOut(known, "already watched")
	c.printLeftOut(odd, "with a name that 'systemd_unit' does not accept")
	c.printLeftOut(found.Hollow, "without a main process to watch")
	c.printLeftOut(found.Failed, "failed")
	return nil
}

// printLeftOut prints which services are not proposed, and why.
func (c *call) printLeftOut(names []string, why string) {
	if len(names) > 0 {
		fmt.Fprintf(c.stdout, "# Left out: %d %s\n#   %s\n", len(names), why, wire.Printable(strings.Join(names, ", ")))
	}
}

func isOfSystem(name string) bool {
	return slices.ContainsFunc(strings.Fields(systemUnits), func(beginning string) bool { return strings.HasPrefix(name, beginning) })
}

// unitTarget returns the target for a service. The target has the name without .service,
// unless that would name another unit.
func unitTarget(name string) (watch.Target, error) {
	var s settings
	err := setUnit(&s, strings.TrimSuffix(name, ".service"))
	if s.target.String() != "unit "+name {
		err = setUnit(&s, name)
	}
	if err == nil {
		_, err = s.target.Service()
	}
	return s.target, err
}

// watchesTarget reports whether the settings already watch a target.
func (s *settings) watchesTarget(target *watch.Target) bool {
	is := func(one settings) bool { return one.target.String() == target.String() }
	return is(*s) || slices.ContainsFunc(s.watches, is)
}

// proposal returns a table for a unit, and adds its service name to names. If the name
// is taken, it adds a number.
func proposal(target *watch.Target, names map[string]bool) string {
	table := "[[watch]]\nsystemd_unit = " + cli.Quote(target.Unit) + "\n"
	usual, _ := target.Service() //nolint:errcheck // a unit without a name is not proposed
	name := usual
	for n := 2; names[name]; n++ {
		name = fmt.Sprintf("%.120s-%d", usual, n)
	}
	names[name] = true
	if name != usual {
		table += "service = " + cli.Quote(name) + "\n"
	}
	return table
}

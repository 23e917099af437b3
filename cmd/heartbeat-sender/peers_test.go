package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// Whom a call speaks for, and with which grace. A stronger source that names
// anybody is about that one.
func TestWhomACallSpeaksFor(t *testing.T) {
	const tables = `
restart_grace = "1m"
tag = ["site=a", "rack=7"]
[[watch]]
systemd_unit = "nginx"
[[watch]]
pid_file = "/run/redis.pid"
service = "cache"
restart_grace = "5s"
status = "fine"
tag = ["rack=8"]
`
	const probes = `
[[watch]]
probe = ["/usr/lib/nagios/plugins/check_disk", "-w", "10%"]
[[watch]]
systemd_unit = "nginx"
[[watch]]
probe = ["pg_isready"]
service = "db"
`
	for _, tt := range []struct {
		file string
		env  []string
		args []string
		want []string // service, grace; "" is the host
	}{
		{"", nil, []string{"run"}, []string{"/"}},
		{"", nil, []string{"run", "-service", "shop"}, []string{"shop/"}},
		{"", nil, []string{"run", "-service", "host"}, []string{"/"}},
		{"", nil, []string{"run", "-systemd-unit", "nginx.service"}, []string{"nginx/10s", "/"}},
		{"", nil, []string{"run", "-pid-file", "/run/x.pid", "-service", "shop", "-restart-grace", "3s"}, []string{"shop/3s", "/"}},
		{tables, nil, []string{"run"}, []string{"nginx/1m0s", "cache/5s", "/"}},
		{tables, nil, []string{"run", "-restart-grace", "2s"}, []string{"nginx/2s", "cache/5s", "/"}},
		{tables, nil, []string{"once"}, []string{"nginx/", "cache/", "/"}},
		{tables, nil, []string{"run", "-systemd-unit", "sshd"}, []string{"sshd/1m0s", "/"}},
		{tables, nil, []string{"once", "-service", "shop"}, []string{"shop/"}},
		{tables, []string{"HEARTBEAT_SERVICE=shop"}, []string{"once"}, []string{"shop/"}},
		{"service = \"shop\"" + tables, nil, []string{"run"}, []string{"nginx/1m0s", "cache/5s", "shop/", "/"}},
		{"service = \"shop\"", nil, []string{"run", "-pid", "1", "-service", "init"}, []string{"init/10s", "/"}},
		{"service = \"shop\"", nil, []string{"run", "-systemd-unit", "sshd"}, []string{"sshd/10s", "/"}},
		{"pid_file = \"/run/x.pid\"", []string{"HEARTBEAT_SYSTEMD_UNIT=sshd"}, []string{"run"}, []string{"sshd/10s", "/"}},
		{probes, nil, []string{"run"}, []string{"nginx/10s", "check_disk/", "db/", "/"}}, // which come after the targets
		{probes, nil, []string{"once", "-pid-file", "/run/x.pid"}, []string{"x/", "/"}},
		{tables, nil, []string{"run", "-probe", "/opt/check_x -w 1"}, []string{"check_x/", "/"}},
		{"probe = [\"a\"]", []string{"HEARTBEAT_PROBE=b c"}, []string{"run"}, []string{"b/", "/"}},
		{"probe = [\"a\"]", []string{"HEARTBEAT_SYSTEMD_UNIT=sshd"}, []string{"run"}, []string{"sshd/10s", "/"}},
		{"service = \"shop\"", []string{"HEARTBEAT_PROBE=b c"}, []string{"leave", "-service", "shop"}, []string{"shop/", "/"}},
		{tables, nil, []string{"leave"}, []string{"nginx/", "cache/", "/"}},
		{tables, nil, []string{"leave", "-host", "web-9"}, []string{"/"}},
	} {
		name := fmt.Sprint(tt.args, tt.env, len(tt.file))
		c := testCall(t, tt.file, tt.args...)
		c.environ = tt.env
		require.NoError(t, load(t, c), name)
		peers, watched, err := c.peers()
		require.NoError(t, err, name)
		var got []string
		for i, p := range peers {
			grace := ""
			if i < len(watched.targets) {
				if tt.args[0] == "run" { // the others know none
					grace = watched.targets[i].Grace.String()
				}
				require.True(t, p.Silent, "it was not looked at yet")
				require.True(t, p.Watched)
			} else {
				require.Equal(t, i < len(watched.targets)+len(watched.probes), p.Silent, "nor is a probe that has not ended")
			}
			got = append(got, p.Service+"/"+grace)
			if p.Service == "" {
				require.True(t, p.Watched, name)
				require.Zero(t, p.PID)
			}
		}
		require.Equal(t, tt.want, got, name)
	}

	c := testCall(t, tables, "run")
	require.NoError(t, load(t, c))
	peers, _, err := c.peers()
	require.NoError(t, err)
	require.Equal(t, []sender.Tag{{Key: "site", Value: "a"}, {Key: "rack", Value: "8"}}, peers[1].Tags)
	require.Equal(t, "fine", peers[1].Status)
	require.Equal(t, "alive", peers[0].Status)
}

func TestManagerIsAskedForInTheEnvironment(t *testing.T) {
	c := testCall(t, "")
	require.Equal(t, manager{}, c.manager())
	c.environ = []string{"NOTIFY_SOCKET=@abstract", "WATCHDOG_USEC=3000000"}
	require.Equal(t, manager{socket: "\x00abstract", kick: time.Second}, c.manager())
	c.environ = append(c.environ, "WATCHDOG_PID=1")
	require.Zero(t, c.manager().kick, "it is for another one")
	c.environ[2] = "WATCHDOG_PID=" + strconv.Itoa(os.Getpid())
	require.Equal(t, time.Second, c.manager().kick)
	c.environ[1] = "WATCHDOG_USEC=soon"
	require.Zero(t, c.manager().kick)
}

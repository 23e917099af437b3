package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

func TestCommandLineIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"peer"}, `unknown command "peer": did you mean peers?`, cli.ExitUsage},
		{[]string{"verison"}, `unknown command "verison": did you mean version?`, cli.ExitUsage},
		{[]string{"peers-check"}, `unknown command "peers-check": the commands are peers, check-peer, version, help`, cli.ExitUsage},
		{[]string{"check-pear"}, `unknown command "check-pear": did you mean check-peer?`, cli.ExitUsage},
		{[]string{"sample-conf"}, `unknown command "sample-conf": did you mean -sample-config?`, cli.ExitUsage},
		{[]string{"web-1"}, `unknown command "web-1": the commands are peers, check-peer, version, help`, cli.ExitUsage},
		{[]string{"version", "x"}, `unexpected argument "x"`, cli.ExitUsage},
		{[]string{"-listen", "127.0.0.1:0"}, `'-listen': "127.0.0.1:0" lacks a scheme: write "tcp://127.0.0.1:0"`, cli.ExitConfig},
	} {
		err := run(t.Context(), c.args)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, c.code, cli.ExitCode(err), c.want)
		require.NotContains(t, err.Error(), "service_addresses")
	}
	require.NoError(t, run(t.Context(), []string{"version"}))
	require.NoError(t, run(t.Context(), []string{"-version"}))
}

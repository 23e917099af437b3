//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Clients that are not in Debian. Each request is what the source of that client builds, byte
// by byte, and each answer is one that it takes.

// runitorSends returns a request of runitor (internal/api.go): a POST to the base URL, the UUID
// or key and slug, and what happened.
func runitorSends(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: HOST\r\nUser-Agent: runitor/v1.4.1 (+https://bdd.fi/x/runitor)\r\n"+
		"Content-Length: %d\r\nContent-Type: text/plain\r\nAccept-Encoding: gzip\r\n\r\n%s", path, len(body), body)
}

// runitor says when its command begins and with which code it ends, with the output. It takes
// 200 and 201, and cuts the output to what the collector says.
func TestRunitorTellsHowACommandEnded(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/backup", `max_runtime = "2h"`))
	p.start()
	run := func(rid, code string) {
		answers, header := p.requests(
			runitorSends("/ping/"+pingID+"/start?rid="+rid, ""),
			runitorSends("/ping/"+pingID+"/"+code+"?rid="+rid, strings.Repeat("a line of output\n", 600)),
		)
		require.Equal(t, []string{"200 OK", "200 OK"}, answers)
		require.Equal(t, "10000", header.Get("Ping-Body-Limit"))
	}
	run("0ea7ab45-3fa4-4c2c-8a5c-0a1d7be66d05", "0")
	p.untilStates("web-1", "backup", "alive beat")
	run("a3b1dd0c-2d5c-4a46-9b0f-7e1c3f0e8f11", "3")
	p.untilStates("web-1", "backup", "alive beat", "dead exited")
	p.untilExitCode("web-1/backup", 3)
	p.requests(runitorSends("/ping/"+pingID+"/start?rid=11f3b64e-3f4e-4df1-9c39-6a9f2b3e6b1e", "")) // which is no success
	require.EqualValues(t, 1, number(t, p.look(1)["web-1/backup"], "dead"))
	run("11f3b64e-3f4e-4df1-9c39-6a9f2b3e6b1e", "0")
	p.untilStates("web-1", "backup", "alive beat", "dead exited", "alive beat")
	p.untilNoRun("web-1/backup")
}

// With a ping key it names the job itself, and may ask for a check to be made.
func TestRunitorWithAPingKeyNamesItsJob(t *testing.T) {
	t.Parallel()
	const key = "fqOOd6-F4MMNuCEnzTU01w"
	p := newPings(t, "[[inputs.heartbeat.check]]", fmt.Sprintf("token = %q", key), `peers = ["web-1/*"]`)
	p.start()
	answers, _ := p.requests(
		runitorSends("/ping/"+key+"/sync/start?create=1", ""),
		runitorSends("/ping/"+key+"/sync/0?create=1", ""),
		runitorSends("/ping/"+key+"/sync/0?create=1", ""),
	)
	require.Equal(t, []string{"201 Created", "200 OK", "200 OK"}, answers)
	p.untilStates("web-1", "sync", "alive beat")
}

// What is refused is refused as Healthchecks does.
func TestPingsAreRefusedAsHealthchecksDoes(t *testing.T) {
	t.Parallel()
	p := newPings(t, check(pingID, "web-1/backup"))
	p.start()
	answers, _ := p.requests(
		runitorSends("/ping/"+pingID+"/256", ""),
		runitorSends("/ping/"+pingID+"?rid=nothing", ""),
		runitorSends("/ping/6bf66975-d4c7-4bf5-bcc8-b8d8a82ea278/start?create=1", ""),
		"HEAD /ping/"+pingID+"/log HTTP/1.0\r\nHost: HOST\r\n\r\n",
	)
	require.Equal(t, []string{"400 invalid url format", "400 invalid url format", "404 not found", "200 "}, answers)
	require.Empty(t, p.states("web-1", "backup")) // a log is no beat
}

// kumaSends returns a push to Uptime Kuma as Python's requests sends it: so does borgmatic from
// 1.8.13 on (hooks/monitoring/uptime_kuma.py), after the URL that Uptime Kuma shows.
func kumaSends(method, token, query string) string {
	return fmt.Sprintf("%s /api/push/%s%s HTTP/1.1\r\nHost: HOST\r\nUser-Agent: python-requests/2.31.0\r\n"+
		"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n", method, token, query)
}

func TestPushesOfUptimeKumaAreHeard(t *testing.T) {
	t.Parallel()
	const token = "hTdVEhHwzBOFWcVYJnkuxRbR4RpsrYVf"
	p := newPings(t, check(token, "web-1/mirror", `every = "60s"`, `grace = "30s"`))
	p.start()
	const ok = `200 {"ok":true}`
	push := func(want string, queries ...string) {
		for _, query := range queries {
			answers, header := p.requests(kumaSends("GET", token, query))
			require.Equal(t, []string{want}, answers, query)
			require.Contains(t, header.Get("Content-Type"), "application/json")
		}
	}
	push(ok, "?status=up&msg=OK&ping=", "?status=up&msg=start", "?status=up&msg=finish", "")
	p.untilStates("web-1", "mirror", "alive beat")
	require.EqualValues(t, 90, p.untilNoRun("web-1/mirror").DeadAfter)
	push(ok, "?status=down&msg=fail")
	p.untilStates("web-1", "mirror", "alive beat", "dead exited")
	push(ok, "?status=up&msg=OK&ping=23")
	p.untilStates("web-1", "mirror", "alive beat", "dead exited", "alive beat")

	answers, _ := p.requests(kumaSends("GET", "unknown", "?status=up&msg=OK&ping="), kumaSends("POST", token, ""))
	require.Equal(t, []string{`404 {"ok":false,"msg":"Monitor not found or not active."}`, ok}, answers)
	p.requireNoToken(token)
}

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/web/api"
)

const liveTable = `, live: 0 unknown, 1 alive, 1 suspect, 1 dead, 1 left
STATE    SINCE                PEER         REASON   HEARD      ALLOWED  RULE        BACK IN  ADDRESS   HEARD BY
dead     2026-11-23 23:47:55  web-1/nginx  exited   2m10s ago  35s      adaptive    -        10.0.0.1  this collector
suspect  2026-11-23 23:49:55  10.0.0.5/17  silence  20s ago    5s       dead_after  -        -         this collector
left     2026-11-23 23:49:00  mail-1/host  leaving  1m ago     35s      interval    10m      -         collector-2
alive    2026-11-20 23:50:00  web-1/host   beat     12s ago    35s      rule 2      -        10.0.0.1  this collector
`

func TestPeersAsksTheCollectorOfThisHost(t *testing.T) {
	dir, config := stateDir(t)
	c := &collector{peers: []api.Peer{nginx, web, mail, nameless}}
	c.overSocket(t, dir)
	out, err := peersOf(t, "-config", config)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "heartbeat.sock")+liveTable, out)
}

func TestPeersAsksOverHTTP(t *testing.T) {
	c := &collector{peers: []api.Peer{nginx, web, mail, nameless}}
	url := c.overHTTP(t)
	out, err := peersOf(t, "-url", url)
	require.NoError(t, err)
	require.Equal(t, url+liveTable, out)
}

// The environment is asked for a URL where no flag names a place. There a password is as
// well kept as in a file.
func TestPeersFindsTheURLInTheEnvironment(t *testing.T) {
	c := &collector{peers: []api.Peer{web}}
	url := c.overHTTP(t)
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		console := consoleAt(&out)
		console.getenv = func(name string) string {
			return map[string]string{"HEARTBEAT_URL": strings.Replace(url, "http://", "http://me:secret@", 1)}[name]
		}
		err := peers(t.Context(), args, console)
		return out.String(), err
	}
	out, err := run()
	require.NoError(t, err)
	require.Contains(t, out, url+", live: ")
	require.NotContains(t, out, "secret")
	out, err = run("-state-file", fleet)
	require.NoError(t, err)
	require.Contains(t, out, fleet+", last written ")
	_, err = run("-config", "/nowhere.conf")
	require.ErrorContains(t, err, "/nowhere.conf")
}

func TestPeersTakesThePasswordFromAFile(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"secret\nmore": "secret", "secret\r\n": "secret", "secret": "secret"} {
		file := filepath.Join(dir, "password")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		got, err := readPassword(file)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\nsecret\n"), 0o600))
	_, err := readPassword(empty)
	require.ErrorContains(t, err, "\""+empty+"\" has no password in its first line")
	require.NotContains(t, err.Error(), "secret")
}

// Who does not answer has left a file. That it is one, and why, is said.
func TestPeersFallsBackToTheStateFile(t *testing.T) {
	dir, config := stateDir(t)
	copyFleet(t, dir)
	out, err := peersOf(t, "-config", config, "web-1")
	require.NoError(t, err)
	lines := strings.Split(out, "\n")
	require.Equal(t, filepath.Join(dir, "heartbeat.state")+", last written 3m20s ago: 1 unknown, 1 alive, 1 suspect, 1 dead, 1 left", lines[0])
	require.Equal(t, "Not live: no collector listens on "+filepath.Join(dir, "heartbeat.sock")+".", lines[1])
	require.Contains(t, out, "web-1/nginx")

	require.NoError(t, os.Remove(filepath.Join(dir, "heartbeat.state")))
	_, err = peersOf(t, "-config", config)
	require.ErrorContains(t, err, "no collector listens on ")
	require.ErrorContains(t, err, "heartbeat.state: no such file")
	require.Equal(t, 1, cli.ExitCode(err))
}

func TestPeersSaysThatVerdictsAreHeld(t *testing.T) {
	c := &collector{peers: []api.Peer{web}, isolated: true}
	out, err := peersOf(t, "-url", c.overHTTP(t))
	require.NoError(t, err)
	require.Contains(t, out, "\nThe collector is isolated: ")
}

// The collector is asked for no more than is needed, with what means the same to it.
func TestPeersAreChosenByName(t *testing.T) {
	c := &collector{peers: []api.Peer{nginx, web, mail, nameless}}
	url := c.overHTTP(t)
	for _, tt := range []struct {
		args  []string
		asked string
		want  []string
	}{
		{nil, "limit=5000", []string{"web-1/nginx", "10.0.0.5/17", "mail-1/host", "web-1/host"}},
		{[]string{"-dead"}, "limit=5000&state=dead", []string{"web-1/nginx"}},
		{[]string{"WEB-1."}, "limit=5000&source=web-1", []string{"web-1/nginx", "web-1/host"}},
		{[]string{"web-?/ng*"}, "limit=5000&source=web-%3F", []string{"web-1/nginx"}},
		{[]string{"*/host"}, "limit=5000&source=%2A", []string{"mail-1/host", "web-1/host"}},
		{[]string{"10.0.0.5/17"}, "limit=5000&source=10.0.0.5", []string{"10.0.0.5/17"}},
		{[]string{"{web,mail}-?/host"}, "limit=5000", []string{"mail-1/host", "web-1/host"}},
		{[]string{"-dead", "web-1"}, "limit=5000&source=web-1", []string{"web-1/nginx"}},
		{[]string{"-dead", "mail-1"}, "limit=5000&source=mail-1", nil},
	} {
		var got []string
		out, err := peersOf(t, append([]string{"-json", "-url", url}, tt.args...)...)
		require.NoError(t, err, tt.args)
		require.Equal(t, tt.asked, c.asked[len(c.asked)-1])
		var all []api.Peer
		require.NoError(t, json.Unmarshal([]byte(out), &all))
		for _, p := range all {
			got = append(got, p.Name())
		}
		require.Equal(t, tt.want, got, tt.args)
	}
}

// A program gets what the API says, and nothing else on stdout.
func TestPeersInJSONAreThoseOfTheAPI(t *testing.T) {
	c := &collector{peers: []api.Peer{nginx, web, mail, nameless}}
	var out, said bytes.Buffer
	console := consoleAt(&out)
	console.stderr = &said
	require.NoError(t, peers(t.Context(), []string{"-json", "-url", c.overHTTP(t)}, console))
	var all []api.Peer
	require.NoError(t, json.Unmarshal(out.Bytes(), &all))
	require.Equal(t, []api.Peer{nginx, nameless, mail, web}, all)
	require.Empty(t, said.String())

	out.Reset()
	require.NoError(t, peers(t.Context(), []string{"-json", "-state-file", fleet}, console))
	require.NoError(t, json.Unmarshal(out.Bytes(), &all))
	require.Len(t, all, 5)
	require.Contains(t, said.String(), fleet+", last written 3m20s ago: ")
	require.Equal(t, "web-3/host", all[3].Name())
	require.Greater(t, all[3].Promised, 1190.0)

	out.Reset()
	c.set()
	require.NoError(t, peers(t.Context(), []string{"-json", "-url", c.overHTTP(t)}, console))
	require.Equal(t, "[]\n", out.String())
}

func TestPeersEndsWithTwoIfOneIsDead(t *testing.T) {
	c := &collector{peers: []api.Peer{nginx, web}}
	url := c.overHTTP(t)
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"-url", url}, 0},
		{[]string{"-exit-code", "-url", url}, 2},
		{[]string{"-exit-code", "-json", "-url", url}, 2},
		{[]string{"-exit-code", "-url", url, "*/host"}, 0},
		{[]string{"-exit-code", "-dead", "-url", url, "*/host"}, 0},
		{[]string{"-exit-code", "-url", url, "mail-1"}, 1},
	} {
		_, err := peersOf(t, tt.args...)
		require.Equal(t, tt.want, cli.ExitCode(err), tt.args)
		if tt.want == 2 {
			require.Empty(t, err.Error())
		}
	}
}

func TestPeersExplainsWhy(t *testing.T) {
	behind, here := nginx, web
	behind.Observed, here.Observed = "203.0.113.9", web.IP
	job, desk := web, web
	job.Service, job.State, job.Schedule, job.Grace, job.Rule = "payroll", "unknown", "15 2 * * 1-5 Europe/Berlin", 3600, "check"
	job.Due, job.Left, job.Reason = web.Since+4*86400, 4*86400-3*86400+3600, "restored"
	desk.Service, desk.Hours, desk.OffUntil, desk.Class = "vpn", "Mon-Fri 06:00-20:00 Europe/Berlin", web.Since+5*86400, "ephemeral"
	c := &collector{peers: []api.Peer{behind, here, mail, job, desk}}
	out, err := peersOf(t, "-why", "-url", c.overHTTP(t))
	require.NoError(t, err)
	_, below, _ := strings.Cut(out, "\n")
	require.Equal(t, `web-1/nginx: dead since 2026-11-23 23:47:55, for 2m5s
  reason   exited: its watcher saw it end
  exit     code 3
  heard    2m10s ago, from 10.0.0.1 (observed 203.0.113.9), pid 4711, by this collector
  allowed  35s of silence, set by its declared interval and how late its beats usually are (adaptive)
  flapping three changes to or from dead within ten minutes
web-1/payroll: unknown since 2026-11-20 23:50:00, for 3d
  reason   restored: restored after a long stop of the collector
  heard    12s ago, from 10.0.0.1, by this collector
  allowed  35s of silence, set by the schedule of its check
  schedule 15 2 * * 1-5 Europe/Berlin: a beat is due at 2026-11-24 23:50:00, and may be 1h late
  deadline dead at 2026-11-25 00:50:00, in 1d1h, if no beat comes
  status   warning, reported by the peer
mail-1/host: left since 2026-11-23 23:49:00, for 1m
  reason   leaving: it said goodbye
  heard    1m ago, by collector-2
  allowed  35s of silence, set by its declared interval and the option 'missed_beats'
  promise  to be back in 10m
  runs     2 started and not finished
web-1/host: alive since 2026-11-20 23:50:00, for 3d
  reason   beat: its beats arrive in time
  heard    12s ago, from 10.0.0.1, by this collector
  allowed  35s of silence, set by rule 2 of [[inputs.heartbeat.rule]]
  status   warning, reported by the peer
web-1/vpn: alive since 2026-11-20 23:50:00, for 3d
  reason   beat: its beats arrive in time
  heard    12s ago, from 10.0.0.1, by this collector
  allowed  35s of silence, set by rule 2 of [[inputs.heartbeat.rule]]
  hours    Mon-Fri 06:00-20:00 Europe/Berlin: it is not expected before 2026-11-25 23:50:00
  class    ephemeral: silence does not make it dead
  status   warning, reported by the peer
`, below)
}

// What a collector elsewhere answers is foreign: it writes no line of its own to a terminal.
func TestPeersPrintsForeignTextAsText(t *testing.T) {
	evil := web
	evil.Source, evil.Service, evil.Reason, evil.Rule, evil.IP = "a\nb", "\x1b[2J\t", "\u202e", "rule\r", "\x00"
	c := &collector{peers: []api.Peer{evil}}
	for _, flag := range []string{"-why", "-dead=false"} {
		out, err := peersOf(t, flag, "-url", c.overHTTP(t))
		require.NoError(t, err)
		require.Contains(t, out, `a\nb/\x1b[2J\t`)
		require.NotContains(t, strings.ReplaceAll(out, "\n", ""), "\x1b")
		for _, char := range "\x1b\r\t\x00\u202e" {
			require.NotContains(t, out, string(char))
		}
	}
}

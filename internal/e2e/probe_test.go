//go:build unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// What docs/sender.md says of probes: what one does, and the verdict on its service. The
// host beside them is alive all the time.
func TestVerdictsOnProbes(t *testing.T) {
	t.Parallel()
	const interval = "2s"
	dir := t.TempDir()
	mended := filepath.Join(dir, "mended")
	noProgram := filepath.Join(dir, "data")
	write(t, noProgram, "no program")
	shell := func(script string) []string { return []string{"/bin/sh", "-c", script} }
	probes := map[string]struct {
		command []string
		verdict string
	}{
		"ok":              {shell("exit 0"), "alive beat, status_code 0"},
		"warn":            {shell("exit 1"), "alive beat, status_code 1"},
		"unknown":         {shell("exit 3"), "alive beat, status_code 3"},
		"prints":          {shell("head -c 10000000 /dev/zero; exit 1"), "alive beat, status_code 1"},
		"forks":           {shell("sleep 3600 & exit 0"), "alive beat, status_code 0"},
		"critical":        {shell("exit 2"), "dead exited, exit_code 2"},
		"strange":         {shell("exit 4"), "dead exited, exit_code 4"},
		"finds-nothing":   {shell("exit 127"), "dead exited, exit_code 127"},
		"crashes":         {shell("kill -SEGV $$"), "dead exited, exit_code 139"},
		"is-killed":       {shell("kill -KILL $$"), "dead exited, exit_code 137"},
		"hangs":           {shell("sleep 3600; exit 0"), "dead exited, exit_code 124"},
		"ignores-sigterm": {shell("trap '' TERM; while :; do sleep 3600; done"), "dead exited, exit_code 124"},
		"missing":         {[]string{filepath.Join(dir, "nothing")}, "dead exited, exit_code 127"},
		"not-executable":  {[]string{noProgram}, "dead exited, exit_code 126"},
		"comes-back":      {shell("test -e " + mended + " || exit 2"), "alive beat, status_code 0"},
	}
	var file strings.Builder
	for service, p := range probes {
		fmt.Fprintf(&file, "[[watch]]\nservice = %q\nprobe = [", service)
		for _, word := range p.command {
			fmt.Fprintf(&file, "%q, ", word)
		}
		file.WriteString("]\n")
	}
	config := filepath.Join(dir, "heartbeat-sender.toml")
	write(t, config, file.String())

	p := newPost(t)
	p.relieve()
	s := testkit.Start(t, "heartbeat-sender", exec.Command(testkit.Program(t, "heartbeat-sender"),
		"run", "-config", config, "-server", "tcp://"+p.address, "-host", "web-1", "-interval", interval))
	p.now().Until("the death of what will be mended", func() bool {
		return len(p.events("service", "comes-back", "state", "dead")) > 0
	})
	require.NoError(t, os.WriteFile(mended, nil, 0o600))
	all := len(probes) + 1
	got := make(map[string]string)
	p.now().Until("all verdicts", func() bool {
		for _, m := range p.look(all) {
			service, _ := m.GetTag("service")
			got[service] = p.verdict(service)
			if code, told := m.GetField("status_code"); told && strings.HasPrefix(got[service], "alive") {
				got[service] += fmt.Sprintf(", status_code %d", code)
			}
		}
		for service, want := range probes {
			if got[service] != want.verdict {
				return false
			}
		}
		return true
	})
	require.Equal(t, []string{"alive beat"}, p.states("web-1", "host"))
	s.Signal(syscall.SIGTERM) // else it leaves the probes behind that run
	require.Zero(t, s.Exit())
}

// verdict returns the last that was told of a service of web-1.
func (p *post) verdict(service string) string {
	events := p.events("source", "web-1", "service", service)
	if len(events) == 0 {
		return ""
	}
	m := last(events)
	state, _ := m.GetTag("state")
	reason, _ := m.GetTag("reason")
	text := state + " " + reason
	if code, told := m.GetField("exit_code"); told && state == "dead" {
		text += fmt.Sprintf(", exit_code %d", code)
	}
	return text
}

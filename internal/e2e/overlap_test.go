//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

// Runs of a job that overlap, ten times each: every exit code of a failure is in an
// event and in deaths_total, and the job is what its last end says.
func TestOverlappingRunsAreToldEach(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		codes   [2]int // of the first and of the second run
		swapped bool   // the second ends before the first
		lock    bool   // the second finds that another one runs
	}{
		"the first fails":              {codes: [2]int{3, 0}},
		"the first fails at the end":   {codes: [2]int{3, 0}, swapped: true},
		"the second fails":             {codes: [2]int{0, 4}, swapped: true},
		"the second fails at the end":  {codes: [2]int{0, 4}},
		"both fail":                    {codes: [2]int{5, 6}},
		"both fail, the second sooner": {codes: [2]int{5, 6}, swapped: true},
		"a lock":                       {codes: [2]int{7, 0}, swapped: true, lock: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const times = 10
			p := newPost(t)
			p.relieve()
			dir := t.TempDir()
			run := func(which, i int) *testkit.Process {
				script := fmt.Sprintf("until [ -e %s/%d ]; do sleep 0.1; done; exit %d", dir, which, tt.codes[which])
				if which == 1 && tt.lock {
					script = "exit 0"
				}
				return testkit.Start(t, "exec", exec.Command(testkit.Program(t, "heartbeat-sender"), "exec", "-config", os.DevNull,
					"-server", "tcp://"+p.address, "-host", "web-1", "-service", fmt.Sprint("job-", i), "-quiet", "--", "sh", "-c", script))
			}
			var runs [2][]*testkit.Process
			end := func(which int) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(which)), nil, 0o600))
				for _, job := range runs[which] {
					job.Exit()
				}
			}
			for i := range times {
				runs[0] = append(runs[0], run(0, i))
			}
			p.untilAll(times)
			for i := range times {
				runs[1] = append(runs[1], run(1, i))
			}
			if !tt.lock {
				p.now().Until("the second runs", func() bool { return len(p.events("reason", "restarted")) == times })
			}
			order := []int{0, 1}
			if tt.swapped {
				order = []int{1, 0}
			}
			end(order[0])
			require.Empty(t, p.events("state", "left"), "one still works")
			end(order[1])
			p.requireRuns(times, tt.codes[:], tt.codes[order[1]])
		})
	}
}

// requireRuns requires that the failures of both runs of each job are told, once,
// and that the job is what the last one says.
func (p *post) requireRuns(times int, codes []int, last int) {
	p.t.Helper()
	failures := slices.DeleteFunc(slices.Clone(codes), func(code int) bool { return code == 0 })
	final := int64(4) // left
	if last > 0 {
		final = 3 // dead
	}
	for i := range times {
		service := fmt.Sprint("job-", i)
		p.now().Until("the end of "+service, func() bool {
			return number(p.t, p.look(times)["web-1/"+service], "state_code") == final
		})
		var told []int
		for _, m := range p.events("source", "web-1", "service", service, "reason", "exited") {
			told = append(told, int(number(p.t, m, "exit_code")))
		}
		slices.Sort(told)
		require.Equal(p.t, failures, told, service)
		require.EqualValues(p.t, len(failures), number(p.t, p.look(times)["web-1/"+service], "deaths_total"), service)
	}
}

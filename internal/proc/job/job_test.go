//go:build unix

package job

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whether an end was asked for decides between a planned end and a death.
func TestEndThatWasAskedFor(t *testing.T) {
	failed := End{Code: 1}
	for name, tt := range map[string]struct {
		signal os.Signal
		waits  time.Duration // until the end
		end    End
		want   bool
	}{
		"nobody asked":                 {nil, 0, failed, false},
		"TERM":                         {syscall.SIGTERM, 0, End{by: syscall.SIGTERM}, true},
		"TERM, its own exit code":      {syscall.SIGTERM, time.Second, failed, true},
		"INT":                          {syscall.SIGINT, time.Minute, failed, true},
		"TERM, but it went on":         {syscall.SIGTERM, stopTime, failed, false},
		"TERM, killed as it was slow":  {syscall.SIGTERM, stopTime - 1, End{by: syscall.SIGKILL}, true},
		"HUP":                          {syscall.SIGHUP, time.Hour, End{by: syscall.SIGHUP}, true},
		"HUP for a reload, then crash": {syscall.SIGHUP, time.Second, failed, false},
		"QUIT for a dump, then crash":  {syscall.SIGQUIT, time.Second, End{by: syscall.SIGSEGV}, false},
		"USR1":                         {syscall.SIGUSR1, 0, End{by: syscall.SIGUSR1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked endRequest
				if tt.signal != nil {
					asked.note(tt.signal)
				}
				time.Sleep(tt.waits)
				require.Equal(t, tt.want, asked.explains(tt.end))
			})
		})
	}
}

// A signal that reached the job before us is waited for a moment, one that has
// come already is always seen.
func TestSignalThatComesLate(t *testing.T) {
	for name, tt := range map[string]struct {
		end   End
		comes time.Duration // the signal, after the end; negative for before
		want  bool
		waits time.Duration
	}{
		"before an exit code":   {End{Code: 1}, -1, true, 0},
		"after an exit code":    {End{Code: 1}, time.Millisecond, false, 0},
		"before the signal":     {End{by: syscall.SIGTERM, Signal: "SIGTERM"}, -1, true, 0},
		"after the signal":      {End{by: syscall.SIGTERM, Signal: "SIGTERM"}, 5 * time.Millisecond, true, 5 * time.Millisecond},
		"long after the signal": {End{by: syscall.SIGTERM, Signal: "SIGTERM"}, time.Second, false, askDelay},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &Job{signals: make(chan os.Signal, 3)}
				if tt.comes < 0 {
					j.signals <- syscall.SIGUSR1
					j.signals <- syscall.SIGTERM
				} else {
					time.AfterFunc(tt.comes, func() { j.signals <- syscall.SIGTERM })
				}
				var asked endRequest
				begin := time.Now()
				j.drain(&asked, tt.end)
				require.Equal(t, tt.waits, time.Since(begin))
				require.Equal(t, tt.want, asked.explains(tt.end))
				time.Sleep(2 * time.Second)
			})
		})
	}
}

//go:build unix

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// exposureLimit is of ten, at which a service may do all that root may.
const exposureLimit = 1.5

// analyze returns what systemd-analyze prints.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze: install Debian's package systemd")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=", "LC_ALL=C.UTF-8", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// systemd says nothing about units in which it finds nothing wrong.
func TestUnitsAreValid(t *testing.T) {
	dir := t.TempDir()
	for _, name := range glob(t, "systemd/*") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		// It wants programs to exist.
		text = []byte(strings.ReplaceAll(string(text), installed, built))
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o644))
	}
	for _, name := range glob(t, filepath.Join(dir, "*")) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			out, err := analyze(t, "verify", name)
			require.NoError(t, err, out)
			require.Empty(t, out)
		})
	}
}

func TestServicesAreConfined(t *testing.T) {
	overall := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for _, name := range glob(t, "systemd/*.service") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			limit := strconv.Itoa(exposureLimit * 10)
			out, err := analyze(t, "security", "--offline=yes", "--threshold="+limit, name)
			found := overall.FindStringSubmatch(out)
			require.NotNil(t, found, out)
			t.Logf("exposure %s", found[1])
			exposure, parsed := strconv.ParseFloat(found[1], 64)
			require.NoError(t, parsed)
			require.LessOrEqual(t, exposure, exposureLimit, out)
			require.NoError(t, err, out)
		})
	}
}

// What one service is denied, all are; these may differ.
func TestServicesAreConfinedAlike(t *testing.T) {
	confinement := func(name string) unit {
		u := readUnit(t, name)
		for own := range strings.FieldsSeq(`Description Documentation After Conflicts Wants WantedBy
			StartLimitIntervalSec RefuseManualStop Type NotifyAccess Environment ExecStart ExecReload ExecStop
			RemainAfterExit Restart RestartSec WatchdogSec KillMode TimeoutStartSec TimeoutStopSec
			OOMScoreAdjust MemoryMax TasksMax`) {
			delete(u, own)
		}
		return u
	}
	want := confinement("systemd/heartbeat-sender.service")
	for _, name := range glob(t, "systemd/*.service") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			got := confinement(name)
			if filepath.Base(name) == "heartbeat-sender-watch.service" {
				require.Equal(t, []string{"default"}, got["ProtectProc"], "it watches processes of others")
				got["ProtectProc"] = want["ProtectProc"]
			}
			require.Equal(t, want, got)
		})
	}
}

// A user of DynamicUser= is turned away by dbus-daemon, and without a user no
// service starts.
func TestServicesRunAsAUserThatIsMade(t *testing.T) {
	text, err := os.ReadFile("sysusers/heartbeat-sender.conf")
	require.NoError(t, err)
	made := regexp.MustCompile(`(?m)^u (\S+) - "[^"]+"$`).FindSubmatch(text)
	require.NotNil(t, made)
	for _, name := range glob(t, "systemd/*.service") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			u := readUnit(t, name)
			require.Equal(t, string(made[1]), u.one(t, "User"))
			require.Empty(t, u["DynamicUser"])
			// DynamicUser=yes gave its name to a running service, and sysusers makes
			// nobody who is there already.
			require.NotEqual(t, strings.TrimSuffix(filepath.Base(name), ".service"), u.one(t, "User"))
		})
	}
}

// Every service has to end by itself, or a shutdown waits for it.
func TestNoServiceHoldsUpAShutdown(t *testing.T) {
	for _, name := range glob(t, "systemd/*.service") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			u := readUnit(t, name)
			key := "TimeoutStopSec"
			if u.one(t, "Type") == "oneshot" && u["ExecStop"] == nil {
				key = "TimeoutStartSec" // all it does is start
			}
			limit, err := time.ParseDuration(u.one(t, key))
			require.NoError(t, err)
			require.LessOrEqual(t, limit, 10*time.Second)
			for _, line := range slices.Concat(u["ExecStart"], u["ExecStop"]) {
				if args := ours(t, line); args[0] != "run" {
					at := slices.Index(args, "-timeout")
					require.Positive(t, at, "the default may change")
					own, err := time.ParseDuration(args[at+1])
					require.NoError(t, err)
					require.Less(t, own, limit, "it could not say why it failed")
				}
			}
		})
	}
}

// Whoever hangs is started again before its silence is a death: the default
// interval three and a half times.
func TestServiceThatHangsIsBackInTime(t *testing.T) {
	help, err := exec.Command(built, "help").Output()
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^  -interval .* \(default (\S+)\)`).FindSubmatch(help)
	require.NotNil(t, found)
	interval, err := time.ParseDuration(string(found[1]))
	require.NoError(t, err)
	for _, name := range running(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			u := readUnit(t, name)
			watchdog, err := time.ParseDuration(u.one(t, "WatchdogSec"))
			require.NoError(t, err)
			restart, err := time.ParseDuration(u.one(t, "RestartSec"))
			require.NoError(t, err)
			require.Equal(t, "always", u.one(t, "Restart"))
			require.Less(t, watchdog+restart, interval*7/2-interval, "its last beat may be an interval old")
		})
	}
}

// A timer that beats more seldom than -every declares makes false deaths.
func TestTimerKeepsWhatIsDeclared(t *testing.T) {
	args := ours(t, readUnit(t, "systemd/heartbeat-once.service").one(t, "ExecStart"))
	at := slices.Index(args, "-every")
	require.Positive(t, at)
	every, err := time.ParseDuration(args[at+1])
	require.NoError(t, err)

	timer := readUnit(t, "systemd/heartbeat-once.timer")
	out, err := analyze(t, "calendar", "--iterations=3", timer.one(t, "OnCalendar"))
	require.NoError(t, err, out)
	var elapses []time.Time
	for _, found := range regexp.MustCompile(`(?:Next elapse|Iter\. #\d+): \S+ (.*) UTC`).FindAllStringSubmatch(out, -1) {
		elapse, err := time.Parse(time.DateTime, found[1])
		require.NoError(t, err)
		elapses = append(elapses, elapse)
	}
	require.Len(t, elapses, 3, out)
	require.Equal(t, every, elapses[1].Sub(elapses[0]))
	require.Equal(t, every, elapses[2].Sub(elapses[1]))

	require.Equal(t, "yes", timer.one(t, "FixedRandomDelay"), "else the period varies by the delay")
	delay, err := time.ParseDuration(timer.one(t, "RandomizedDelaySec"))
	require.NoError(t, err)
	require.Less(t, delay, every, "else beats are skipped")
	require.Equal(t, "1s", timer.one(t, "AccuracySec"))
}

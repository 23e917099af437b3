//go:build linux

package faults

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// elsewhere are the faults that other tests make better: in virtual time, with
// hundreds of senders, or right at the function that meets them.
var elsewhere = []struct{ fault, dir, test string }{
	{"collector: killed (SIGKILL) again and again", "internal/e2e", "TestCollectorThatIsKilledAgainAndAgainKillsNobody"},
	{"collector: stopped (SIGSTOP) for twice the silence", "internal/e2e", "TestStoppedCollectorKillsNobody"},
	{"collector: restarted again and again (SIGTERM)", "internal/e2e", "TestRestartedCollectorTellsADeathOnce"},
	{"collector: away for long, the herd comes back", "internal/e2e", "TestHerdComesBackSpread"},
	{"collector: starved of its processors", "internal/e2e", "TestStarvedCollectorKillsNobody"},
	{"collector: Telegraf reloads (SIGHUP)", "internal/e2e", "TestReloadGoesOnAtTheSamePort"},
	{"collector: Telegraf is killed", "internal/e2e", "TestKilledTelegrafLeavesNoOrphan"},
	{"collector: port taken at its start", "internal/e2e", "TestPortInUseIsWaitedFor"},
	{"collector: disk of the state file full, or without inodes", "internal/e2e", "TestFullDiskIsSavedToOnceThereIsSpace"},
	{"collector: directory of the state file read-only", "internal/e2e", "TestReadOnlyDirectoryIsNoReasonNotToServe"},
	{"collector: state file of garbage, empty", "internal/e2e", "TestBadStateFileCostsOnlyWhatItHolds"},
	{"collector: state file cut off anywhere", "plugins/inputs/heartbeat/statefile", "TestCrashAtAnyByteCostsTheTailAlone"},
	{"collector: state file with any bit flipped", "plugins/inputs/heartbeat/statefile", "TestDamageCostsOneLine"},
	{"collector: state file of a huge size", "plugins/inputs/heartbeat/statefile", "TestHugeStateIsNotRead"},
	{"collector: killed while it saves", "plugins/inputs/heartbeat/statefile", "TestKilledSavingLeavesAWholeFile"},
	{"collector: killed every 2 s, one peer dead", "internal/e2e", "TestKilledCollectorTellsADeathOnTime"},
	{"collector: tried as root before, between and beside the service", "internal/e2e", "TestTryAsRootCostsNoMemory"},
	{"collector: its state file cannot be read", "internal/e2e", "TestFileOfRootIsSaidAndHelped"},
	{"collector: configured twice, reloaded again and again", "internal/e2e", "TestSameBlockTwiceForgetsNobody"},
	{"collector: a panic in the verdicts", "plugins/inputs/heartbeat/judge", "TestVerdictsSurviveAPanic"},
	{"collector: a panic while it saves", "plugins/inputs/heartbeat/judge", "TestSavingSurvivesAPanic"},
	{"collector: a panic while it emits", "plugins/inputs/heartbeat/judge", "TestEmittingSurvivesAPanic"},
	{"collector: state file used by two", "internal/e2e", "TestSecondCollectorWithTheSameStateFileWaits"},
	{"collector: output blocked", "plugins/inputs/heartbeat/judge", "TestBlockedOutputDelaysNothing"},
	{"collector: output hangs at the end", "internal/execd", "TestOutputThatHangsLeavesStopTheTimeToFinish"},
	{"collector: memory for 4 GiB frames announced", "plugins/inputs/heartbeat", "TestThousandAnnouncementsOfFourGiBCostNoMemory"},
	{"collector: 10,000 connections", "internal/e2e", "TestTenThousandConnectionsAreHeld"},
	{"collector: accepting fails", "plugins/inputs/heartbeat", "TestAcceptOutlivesErrors"},
	{"collector: a panic while it serves", "plugins/inputs/heartbeat", "TestPanicCostsOneConnection"},
	{"collector: suspended, stalled, cut off with many senders (virtual time)", "plugins/inputs/heartbeat/liveness", "TestDisturbancesKillNobody"},
	{"collector: wall clock set back", "plugins/inputs/heartbeat/liveness", "TestStampsFollowOnlyAClockSetBackFar"},
	{"collector: wall clock set while it was away", "plugins/inputs/heartbeat/liveness", "TestClockThatWasSetMakesNobodyDeadForDecades"},
	{"collector: wall clock jumps", "plugins/inputs/heartbeat/statefile", "TestJumpOfTheClockCostsNoPeer"},
	{"host: wall clock wrong", "plugins/inputs/heartbeat", "TestClockOfTheHostKillsNobody"},
	{"host: whole machine suspended, collector too", "internal/e2e", "TestMachineThatSleptKillsNobody"},
	{"host: collector stops reading while the sender writes", "sender", "TestSlowWritesDoNotShiftTheSchedule"},
	{"host: collector silent, every write succeeds", "sender", "TestUnansweredBeatLeadsToAnotherConnection"},
	{"host: what answers is no collector", "sender", "TestHostileCollectors"},
	{"names: name servers, addresses and collectors that fail together, 2,016 scenes (virtual time)", "sender", "TestWayToTheCollector"},
	{"names: any of several name servers dead or slow (virtual time)", "sender", "TestNameServersAreAskedSideBySide"},
	{"names: sixty dead addresses (virtual time)", "sender", "TestManyDeadAddressesAreAllTried"},
	{"path: the refusal of a datagram is told with the next one (virtual time)", "sender", "TestRefusalOfTheLastDatagramCostsOnlyThat"},
	{"process: a job ends, the reader of its socket is stopped", "internal/e2e", "TestNoCollectorDelaysAJob"},
	{"process: its number goes to a stranger", "internal/watch", "TestStrangerWithTheNumberInThePIDFileIsNotTaken"},
	{"process: watched and killed", "internal/watch", "TestProcessThatIsNotThereIsDead"},
	{"sender: killed, those it watches live", "internal/e2e", "TestEndOfAWatcherIsNobodysDeath"},
	{"sender: sends garbage", "plugins/inputs/heartbeat", "TestBadStreamsAreEndedByName"},
	{"sender: a frame that never ends", "plugins/inputs/heartbeat", "TestFrameTimeout"},
	{"sender: reads no answers", "plugins/inputs/heartbeat", "TestSenderThatReadsNoAnswersIsCut"},
}

func printElsewhere(w io.Writer) {
	fmt.Fprintln(w, "| fault | test |\n|---|---|")
	for _, e := range elsewhere {
		fmt.Fprintf(w, "| %s | `%s` in `%s` |\n", e.fault, e.test, e.dir)
	}
}

func TestFaultsMadeElsewhereHaveTheirTests(t *testing.T) {
	tests := make(map[string]string) // directory to the text of its tests
	for _, e := range elsewhere {
		if tests[e.dir] == "" {
			tests[e.dir] = testsIn(t, e.dir)
		}
		require.Contains(t, tests[e.dir], "\nfunc "+e.test+"(t *testing.T)", "%s in %s", e.fault, e.dir)
	}
}

func testsIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", dir, "*_test.go"))
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all.Write(text)
	}
	return all.String()
}

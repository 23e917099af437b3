package execd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
)

func TestEachLineGathersAndTheEndOfStdinIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stops atomic.Int32
		setBehaviour(t, behaviour{gather: gatherOne, stop: func(*fake) { stops.Add(1) }})
		tr := begin(t, oneTable)
		require.Empty(t, tr.stdout.lines())
		tr.line()
		require.Equal(t, []string{"m v=1 1"}, tr.stdout.lines())
		pass(time.Hour)
		tr.line()
		require.Len(t, tr.stdout.lines(), 2)
		require.NoError(t, tr.endOfStdin())
		require.EqualValues(t, 1, stops.Load())
		require.Equal(t, time.Hour, tr.took)
		require.Empty(t, tr.stderr.String())
	})
}

// A line longer than any buffer is one, and what follows is still read.
func TestLongLineIsALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: gatherOne})
		tr := begin(t, oneTable)
		_, err := io.WriteString(tr.stdin, strings.Repeat("x", 1<<20))
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, tr.stdout.lines())
		tr.line()
		require.Len(t, tr.stdout.lines(), 1)
		require.NoError(t, tr.endOfStdin())
	})
}

// With signal = "none", which is Telegraf's default, nothing ever prompts.
func TestNobodyWhoPromptsIsSaidOnce(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		early bool // a line comes in time
		says  int
	}{
		"no line":                {nil, false, 1},
		"a line in time":         {nil, true, 0},
		"an interval of its own": {[]string{"-interval", "10m"}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				setBehaviour(t, behaviour{})
				tr := begin(t, oneTable, c.args...)
				pass(silenceLimit - time.Second)
				require.Empty(t, tr.stderr.lines())
				if c.early {
					tr.line()
				}
				pass(24 * time.Hour)
				require.Len(t, tr.stderr.lines(), c.says)
				if c.says > 0 {
					require.Contains(t, tr.stderr.String(), "W! [inputs.heartbeat] no line on stdin for two minutes")
					require.Contains(t, tr.stderr.String(), `signal = "STDIN"`)
				}
				tr.cancel()
				require.NoError(t, tr.ended())
			})
		})
	}
}

func TestSignalIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stops atomic.Int32
		setBehaviour(t, behaviour{stop: func(*fake) { stops.Add(1) }})
		tr := begin(t, oneTable)
		tr.cancel()
		require.NoError(t, tr.ended())
		require.EqualValues(t, 1, stops.Load())
	})
}

// The stock shim runs the first table only, and takes neither
// its tags nor its alias, log_level and interval.
func TestAllTablesRunWithTheirOwnGeneralOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: func(f *fake, acc telegraf.Accumulator) error {
			f.Log.Debug("gathering")
			return gatherOne(f, acc)
		}})
		tr := begin(t, `
[[inputs.heartbeat]]
  alias = "east"
  log_level = "debug"
  [inputs.heartbeat.tags]
    site = "e"
[[inputs.heartbeat]]
  tags = {site = "w"}
`)
		tr.line()
		pass(flushGap)
		require.ElementsMatch(t, []string{"m,site=e v=1 1", "m,site=w v=1 1"}, tr.stdout.lines())
		require.Equal(t, "D! [inputs.heartbeat::east] gathering\n", tr.stderr.String())
		require.NoError(t, tr.endOfStdin())
	})
}

func TestDebugHoldsForAllTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: func(f *fake, _ telegraf.Accumulator) error {
			f.Log.Debug("gathering")
			return errors.New("no luck")
		}})
		tr := begin(t, oneTable+"log_level = \"error\"", "-debug")
		tr.line()
		require.Equal(t, []string{"D! [inputs.heartbeat] gathering", "E! [inputs.heartbeat] gathering failed: no luck"}, tr.stderr.lines())
		require.NoError(t, tr.endOfStdin())
	})
}

// The stock shim ends when there is no stdin, as under systemd.
func TestWithIntervalStdinDoesNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: gatherOne})
		tr := begin(t, oneTable, "-interval", "10s")
		tr.stdin.Close()
		pass(35 * time.Second)
		require.Len(t, tr.stdout.lines(), 3)
		tr.cancel()
		require.NoError(t, tr.ended())
	})
}

func TestIntervalOfATableReplacesTheGeneralOne(t *testing.T) {
	const conf = "[[inputs.heartbeat]]\ninterval = \"4s\"\ntags = {a = \"1\"}\n[[inputs.heartbeat]]\n"
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: gatherOne})
		tr := begin(t, conf, "-interval", "10s")
		pass(21 * time.Second)
		require.Equal(t, 5, strings.Count(tr.stdout.String(), "m,a=1 "))
		require.Equal(t, 2, strings.Count(tr.stdout.String(), "m v="))
		require.Empty(t, tr.stderr.String())
		tr.cancel()
		require.NoError(t, tr.ended())
	})
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: gatherOne})
		tr := begin(t, conf)
		pass(21 * time.Second)
		require.Empty(t, tr.stdout.lines())
		require.Contains(t, tr.stderr.String(), "W! [inputs.heartbeat] 'interval' has no effect without -interval")
		require.NoError(t, tr.endOfStdin())
	})
}

// It deadlocks the stock shim, which then needs kill -9.
func TestPluginMayEmitInStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{start: func(f *fake, acc telegraf.Accumulator) error {
			for range 3 * queuedMetrics {
				_ = gatherOne(f, acc)
			}
			return nil
		}})
		tr := begin(t, oneTable)
		require.NoError(t, tr.endOfStdin())
		require.Len(t, tr.stdout.lines(), 3*queuedMetrics)
	})
}

// A metric without fields ends the stock shim.
func TestBadMetricEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: func(f *fake, acc telegraf.Accumulator) error {
			acc.AddGauge("bad", nil, nil)
			return gatherOne(f, acc)
		}})
		tr := begin(t, oneTable)
		tr.line()
		pass(flushGap)
		tr.line()
		require.Len(t, tr.stdout.lines(), 2)
		require.Len(t, tr.stderr.lines(), 1)
		require.NoError(t, tr.endOfStdin())
	})
}

// What Telegraf's packages log by themselves has no level in front otherwise,
// and stays in memory.
func TestWhatOthersLogIsWrittenLikeOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: func(_ *fake, acc telegraf.Accumulator) error {
			acc.AddGauge("m", map[string]any{"v": 1, "w": math.NaN()}, nil, time.Unix(0, 1))
			return nil
		}})
		tr := begin(t, oneTable, "-debug")
		tr.line()
		require.Equal(t, []string{"m v=1i 1"}, tr.stdout.lines())
		require.Equal(t, []string{`D! [serializers.influx] could not serialize field "w": is NaN; discarding field`}, tr.stderr.lines())
		require.NoError(t, tr.endOfStdin())
	})
}

func TestLinesDuringAGatherAreOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gathers atomic.Int32
		setBehaviour(t, behaviour{gather: func(*fake, telegraf.Accumulator) error {
			gathers.Add(1)
			pass(time.Second)
			return nil
		}})
		tr := begin(t, oneTable)
		for range 10 {
			tr.line() // is taken although a Gather runs
		}
		require.EqualValues(t, 1, gathers.Load())
		pass(10 * time.Second)
		require.EqualValues(t, 2, gathers.Load())
		require.NoError(t, tr.endOfStdin())
	})
}

func TestEndOfStdinIsSeenDuringASlowGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		setBehaviour(t, behaviour{
			gather: func(f *fake, acc telegraf.Accumulator) error {
				<-release
				pass(time.Second)
				return gatherOne(f, acc)
			},
			stop: func(*fake) { close(release) },
		})
		tr := begin(t, oneTable)
		tr.line()
		require.NoError(t, tr.endOfStdin())
		require.Equal(t, gatherLimit+time.Second, tr.took, "Stop has to be called beside a Gather that hangs")
		require.Empty(t, tr.stdout.lines(), "accepted after Stop")
	})
}

func TestRunningGatherMayFinishBeforeStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		setBehaviour(t, behaviour{
			gather: func(f *fake, acc telegraf.Accumulator) error {
				pass(gatherLimit / 2)
				order = append(order, "gathered")
				return gatherOne(f, acc)
			},
			stop: func(*fake) { order = append(order, "stopped") },
		})
		tr := begin(t, oneTable)
		tr.line()
		require.NoError(t, tr.endOfStdin())
		require.Equal(t, []string{"gathered", "stopped"}, order)
		require.Len(t, tr.stdout.lines(), 1)
	})
}

func TestWhatStopEmitsIsWrittenAndNothingAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var accumulator telegraf.Accumulator
		setBehaviour(t, behaviour{
			start: func(_ *fake, acc telegraf.Accumulator) error { accumulator = acc; return nil },
			stop: func(f *fake) {
				for range 2 * queuedMetrics {
					_ = gatherOne(f, accumulator)
				}
			},
		})
		tr := begin(t, oneTable)
		require.NoError(t, tr.endOfStdin())
		for range 2 * queuedMetrics { // must neither panic nor wait
			_ = gatherOne(nil, accumulator)
		}
		require.Len(t, tr.stdout.lines(), 2*queuedMetrics)
	})
}

func TestStopThatHangsIsLeftAloneAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var stops atomic.Int32
		setBehaviour(t, behaviour{stop: func(f *fake) {
			stops.Add(1)
			if f.Welcome == "hang" {
				<-release
			}
		}})
		tr := begin(t, "[[inputs.heartbeat]]\nalias = \"east\"\nwelcome = \"hang\"\n[[inputs.heartbeat]]\ntags = {a = \"1\"}")
		err := tr.endOfStdin()
		require.EqualError(t, err, "stopping inputs.heartbeat::east took longer than 3.5s")
		require.Equal(t, cli.ExitFailed, cli.ExitCode(err))
		require.Equal(t, stopLimit, tr.took)
		require.EqualValues(t, 2, stops.Load(), "one that hangs must not keep the others from stopping")
		close(release)
		synctest.Wait()
	})
}

func TestOutputThatHangsLeavesStopTheTimeToFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe() // nobody reads
		var stopped time.Duration
		began := time.Now()
		var acc telegraf.Accumulator
		setBehaviour(t, behaviour{
			start: func(_ *fake, a telegraf.Accumulator) error { acc = a; return nil },
			stop: func(f *fake) {
				for range 100 * queuedMetrics {
					_ = gatherOne(f, acc)
				}
				stopped = time.Since(began)
			},
		})
		tr := beginTo(t, writer, oneTable)
		err := tr.endOfStdin()
		require.EqualError(t, err, "writing the last metrics took longer than 4s")
		require.Equal(t, patience, stopped)
		require.Equal(t, endLimit, tr.took)
		reader.Close()
	})
}

func TestStartThatHangsDoesNotHinderTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		setBehaviour(t, behaviour{start: func(*fake, telegraf.Accumulator) error { <-release; return nil }})
		tr := begin(t, oneTable)
		require.ErrorContains(t, tr.endOfStdin(), "stopping inputs.heartbeat took longer than 3.5s")
		require.Equal(t, stopLimit, tr.took)
		close(release)
		synctest.Wait()
	})
}

func TestTelegrafThatIsGoneIsACleanEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stops atomic.Int32
		setBehaviour(t, behaviour{gather: gatherOne, stop: func(*fake) { stops.Add(1) }})
		reader, writer := io.Pipe()
		tr := beginTo(t, writer, oneTable)
		reader.CloseWithError(fmt.Errorf("write |1: %w", syscall.EPIPE))
		tr.line()
		require.NoError(t, tr.ended())
		require.EqualValues(t, 1, stops.Load())
	})
}

func TestOutputThatFailsOtherwiseIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		setBehaviour(t, behaviour{gather: gatherOne})
		tr := beginTo(t, writerFunc(func([]byte) (int, error) { return 0, syscall.ENOSPC }), oneTable)
		tr.line()
		err := tr.ended()
		require.ErrorContains(t, err, "writing metrics failed: no space left on device")
		require.Equal(t, cli.ExitFailed, cli.ExitCode(err))
	})
}

var errTaken = fmt.Errorf("listening failed: %w",
	&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)})

func TestTakenAddressIsTriedAgainLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex // guards tries
		var tries []time.Duration
		tried := func() []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(tries)
		}
		free, stops := 100*time.Second, 0
		setBehaviour(t, behaviour{
			start: func(*fake, telegraf.Accumulator) error {
				mu.Lock()
				defer mu.Unlock()
				tries = append(tries, time.Since(began).Round(time.Second))
				if time.Since(began) < free {
					return errTaken
				}
				return nil
			},
			gather: gatherOne,
			stop:   func(*fake) { stops++ },
		})
		tr := begin(t, oneTable)
		require.Len(t, tr.stderr.lines(), 1, "the first time is said at once")
		tr.line()
		require.Empty(t, tr.stdout.lines(), "nothing is gathered before the start")
		pass(110 * time.Second)
		seconds := []time.Duration{0, 1, 3, 7, 15, 31, 61, 91, 121}
		for i := range seconds {
			seconds[i] *= time.Second
		}
		require.Equal(t, seconds[:8], tried())
		require.Len(t, tr.stderr.lines(), 2, "then once a minute: %s", tr.stderr)
		require.Contains(t, tr.stderr.lines()[1], "W! [inputs.heartbeat] Cannot start yet, retrying until the address is free (is the table configured twice?): listening failed: listen tcp: bind: address already in use")
		pass(15 * time.Second)
		require.Equal(t, seconds, tried())
		require.Equal(t, "I! [inputs.heartbeat] listening again", tr.stderr.lines()[2])
		require.Len(t, tr.stdout.lines(), 1)
		require.NoError(t, tr.endOfStdin())
		require.Equal(t, 1, stops)
	})
}

func TestEndWhileTheAddressIsTakenIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stops := 0
		setBehaviour(t, behaviour{
			start: func(*fake, telegraf.Accumulator) error { return errTaken },
			stop:  func(*fake) { stops++ },
		})
		tr := begin(t, oneTable)
		pass(40 * time.Second)
		require.NoError(t, tr.endOfStdin())
		require.Equal(t, 40*time.Second, tr.took)
		require.Zero(t, stops, "what has not started is not stopped")
	})
}

func TestStartThatFailsOtherwiseEndsAllInOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stops := 0
		setBehaviour(t, behaviour{
			start: func(f *fake, _ telegraf.Accumulator) error {
				if f.Welcome == "fail" {
					pass(time.Second)
					return fmt.Errorf("certificate\nis bad: %w", context.Canceled)
				}
				return nil
			},
			stop: func(*fake) { stops++ },
		})
		tr := begin(t, "[[inputs.heartbeat]]\n[[inputs.heartbeat]]\ntags = {a = \"1\"}\nalias = \"b\"\nwelcome = \"fail\"")
		err := tr.ended()
		require.EqualError(t, err, `starting inputs.heartbeat::b failed: certificate\nis bad: context canceled`)
		require.Equal(t, cli.ExitFailed, cli.ExitCode(err))
		require.Equal(t, 1, stops)
	})
}

func TestAddressTakenIsKnownOnWindowsToo(t *testing.T) {
	require.True(t, isInUse(fmt.Errorf("x: %w", syscall.Errno(10048))))
	require.True(t, isInUse(errTaken))
	require.False(t, isInUse(syscall.EACCES))
	require.Equal(t, errStdoutClosed, writeFailure(fmt.Errorf("x: %w", syscall.Errno(232))))
}

// Several goroutines of a plugin may emit and log while it is being stopped.
func TestEndUnderLoadLosesNothingThatWasAcceptedBeforeStop(t *testing.T) {
	var accumulator telegraf.Accumulator
	var emitting sync.WaitGroup
	var emitted atomic.Int64
	quit := make(chan struct{})
	setBehaviour(t, behaviour{
		start: func(f *fake, acc telegraf.Accumulator) error {
			accumulator = acc
			for range 4 {
				emitting.Go(func() {
					for {
						select {
						case <-quit:
							return
						default:
							_ = gatherOne(f, accumulator)
							emitted.Add(1)
						}
					}
				})
			}
			return nil
		},
		stop: func(*fake) { close(quit); emitting.Wait() },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var stdout, stderr screen
	err := Run(ctx, []string{"-config", writeConf(t, oneTable), "-interval", "1h"}, nil, &stdout, &stderr)
	require.NoError(t, err)
	require.EqualValues(t, emitted.Load(), len(stdout.lines()))
}

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// TestMain lets scripts call heartbeat-sender. They decide what this host is
// called and which file is read without -config.
func TestMain(m *testing.M) {
	if job.IsWitness() {
		return
	}
	testscript.Main(m, map[string]func(){"heartbeat-sender": func() {
		c := &call{
			args: os.Args[1:], environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr,
			hostName:   func() (string, error) { return os.Getenv("TEST_HOSTNAME"), nil },
			configFile: os.Getenv("TEST_CONFIG"),
		}
		os.Exit(c.exit(context.Background()))
	}})
}

// TestScripts runs testdata/script, which reads like a manual. Beside the
// commands of package testscript there are
//
//	collector NAME [-silent] [-refuse TEXT] [-close] [-gone] [-knows PEERS]
//
// which starts a collector, puts its address in $NAME and every beat that it
// hears in the file NAME, one a line;
//
//	hears NAME COUNT
//
// which waits until it has heard that many;
//
//	heard NAME PATTERN
//
// which waits until what it has heard looks like that;
//
//	hangup NAME
//
// which makes it close its connections;
//
//	samerun NAME true|false
//
// which compares the runs of all beats that it has heard: either all are the
// same or no two are;
//
//	exits CODE PROGRAM [ARGUMENT...]
//
// which runs a program that has to end with this exit code and to say why in
// one line at most;
//
//	terminate
//
// which sends SIGTERM to what runs in the background;
//
//	manager NAME
//
// which opens a socket like that of a service manager, puts its path in $NAME
// and what it is told in the file NAME;
//
//	notified NAME PATTERN
//
// which waits until it has been told so;
//
//	waitfor FILE
//
// which waits until there is something in a file; and
//
//	read VARIABLE FILE
//
// which puts that into a variable.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TEST_HOSTNAME", "web-1")
			env.Setenv("TEST_CONFIG", filepath.Join(env.WorkDir, "heartbeat-sender.toml"))
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each of the many programs takes a second to end
			env.Values["collectors"] = make(map[string]*collector)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"collector": scriptCollector,
			"hears":     scriptHears,
			"heard":     scriptPattern,
			"waitfor":   scriptWaitFor,
			"read":      scriptRead,
			"hangup":    scriptHangup,
			"samerun":   scriptSameRun,
			"exits":     scriptExits,
			"terminate": scriptTerminate,
			"manager":   scriptManager,
			"notified":  scriptPattern,
		},
	})
}

func scriptCollector(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "collector NAME [-silent] [-refuse TEXT] [-close] [-gone] [-knows PEERS]")
	name := args[0]
	c := &collector{file: ts.MkAbs(name)}
	for args = args[1:]; len(args) > 0; args = args[1:] {
		switch {
		case args[0] == "-silent":
			c.silent = true
		case args[0] == "-close":
			c.closes = true
		case args[0] == "-gone":
			c.gone = true
		case args[0] == "-knows" && len(args) > 1:
			c.knows, args = strings.Split(args[1], ","), args[1:]
		case args[0] == "-refuse" && len(args) > 1:
			c.refusal, args = args[1], args[1:]
		default:
			ts.Fatalf("collector: what is %s?", args[0])
		}
	}
	ts.Check(c.start())
	ts.Defer(c.stop)
	collectors(ts)[name] = c
	ts.Setenv(name, c.address())
}

func scriptHears(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "hears NAME COUNT")
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(collectorNamed(ts, args[0]).hears(want))
}

func scriptHangup(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "hangup NAME")
	collectorNamed(ts, args[0]).hangUp()
}

func scriptSameRun(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "samerun NAME true|false")
	runs := make(map[string]bool)
	beats := 0
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		beat, err := wire.Decode([]byte(line))
		ts.Check(err)
		beats++
		runs[beat.Run] = true
	}
	if want := map[string]int{"true": 1, "false": beats}[args[1]]; len(runs) != want || beats < 2 {
		ts.Fatalf("%d beats of %d runs", beats, len(runs))
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "exits CODE PROGRAM [ARGUMENT...]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	begin := time.Now()
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if ended := new(exec.ExitError); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code is %d", got)
	}
	if said := ts.ReadFile("stderr"); strings.Count(said, "\n") > 1 {
		ts.Fatalf("that is more than one line")
	}
	if took := time.Since(begin); took > deadline {
		ts.Fatalf("it took %s", took)
	}
}

func scriptTerminate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 0, "terminate")
	for _, program := range ts.BackgroundCmds() {
		ts.Check(program.Process.Signal(syscall.SIGTERM))
	}
}

func scriptManager(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "manager NAME")
	m, err := startManager(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(m.stop)
	ts.Setenv(args[0], m.path)
}

// scriptPattern waits until a file looks like that.
func scriptPattern(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "heard|notified NAME PATTERN")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	await(ts, func() bool { return pattern.MatchString(ts.ReadFile(args[0])) }, func() string { return ts.ReadFile(args[0]) })
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "waitfor FILE")
	await(ts, func() bool {
		info, err := os.Stat(ts.MkAbs(args[0]))
		return err == nil && info.Size() > 0
	}, func() string { return "there is no " + args[0] })
}

func await(ts *testscript.TestScript, done func() bool, instead func() string) {
	limit := time.After(deadline)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-limit:
			ts.Fatalf("in vain waited; instead: %s", instead())
		}
	}
}

func scriptRead(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "read VARIABLE FILE")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func collectors(ts *testscript.TestScript) map[string]*collector {
	return ts.Value("collectors").(map[string]*collector)
}

func collectorNamed(ts *testscript.TestScript, name string) *collector {
	c := collectors(ts)[name]
	if c == nil {
		ts.Fatalf("there is no collector %s", name)
	}
	return c
}

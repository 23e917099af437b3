package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/handover"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

// withRightsOf calls do with the rights of an account instead of the rights of root.
// Until do returns, the whole process and the programs it starts have these rights.
func withRightsOf(account *watch.Account, do func()) (err error) {
	own, err := syscall.Getgroups()
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, syscall.Setresuid(0, 0, 0), syscall.Setresgid(0, 0, 0), syscall.Setgroups(own))
	}()
	if err := syscall.Setgroups(account.Groups); err != nil {
		return err
	}
	if err := syscall.Setresgid(account.GID, account.GID, 0); err != nil {
		return err
	}
	if err := syscall.Setresuid(account.UID, account.UID, 0); err != nil { // last: after it the others are not permitted
		return err
	}
	do()
	return nil
}

// canRead returns an error if a file exists and cannot be read. It does not open the file.
func canRead(name string) error {
	if err := unix.Access(name, unix.R_OK); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fileID returns the device and the inode of a file in the format of JOURNAL_STREAM.
func fileID(file *os.File) string {
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

func defaultConfig() string { return unixConfig }

// serviceCommands returns no commands: they exist only on Windows.
func serviceCommands() []command { return nil }

// reloadPause is the time between two attempts to start a new program that cannot see enough yet.
const reloadPause = 15 * time.Second

// errNotYet means that another attempt may succeed.
var errNotYet = fmt.Errorf("retrying every %s", reloadPause)

// reloading runs watch until ctx ends. On SIGUSR2 the current program file takes over, in the same
// process and without a goodbye. Before that, all processes that watch started end: the new program
// would not reap them. If the new program or its settings do not work, the running program
// continues. If the new settings lack a peer or a collector of the running program, reloading
// returns errRestart: a goodbye is needed.
func (c *call) reloading(ctx context.Context, m manager, seen *view, watch func(context.Context)) error {
	for ctx.Err() == nil {
		handover.Await()
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { watch(watching) }) // ends with stop
		gone := c.awaitReload(ctx, seen)
		stop()
		wg.Wait()
		switch {
		case ctx.Err() != nil:
			return nil
		case len(gone) > 0:
			seen.sayGoodbye(gone)
			return errRestart
		}
		m.progress("RELOADING=1") // until the new program is ready
		if err := handover.Exec(ctx); ctx.Err() == nil {
			c.warnf("cannot reload: %s: %v", handover.Program(), err)
			m.notify("READY=1")
		}
	}
	return nil
}

// awaitReload waits until a new program can take over or ctx ends, and returns the names that the new
// settings lack.
func (c *call) awaitReload(ctx context.Context, seen *view) (gone []string) {
	var again <-chan time.Time
	said := ""
	for {
		select {
		case <-handover.Asked:
			c.infof("reloading %s", handover.Program())
			said = ""
		case <-again:
		case <-ctx.Done():
			return nil
		}
		gone, err := tryNext(ctx, seen)
		if err == nil || ctx.Err() != nil {
			return gone
		}
		again = nil
		if errors.Is(err, errNotYet) {
			again = time.After(reloadPause)
		}
		if text := err.Error(); text != said {
			c.warnf("not reloaded, so the running program continues: %s: %s", handover.Program(), text)
			said = text
		}
	}
}

// tryNext has the new program check whether it can take over, and returns the names that the new
// settings lack. The new program logs its errors itself.
func tryNext(ctx context.Context, seen *view) (gone []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, trialTime, timeoutError(trialTime))
	defer cancel()
	next := exec.CommandContext(ctx, handover.Program(), append([]string{trialCommand}, os.Args[2:]...)...)
	next.Stderr = os.Stderr
	next.WaitDelay = time.Second // for children that keep its output open
	printed, err := next.Output()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w; %w", context.Cause(ctx), errNotYet)
	case next.ProcessState != nil && next.ProcessState.ExitCode() == cli.ExitFailed: // a collector or systemd does not answer
		return nil, fmt.Errorf("%w; %w", err, errNotYet)
	case err != nil:
		return nil, err
	}
	if gone, err = seen.compare(string(printed)); err != nil {
		err = fmt.Errorf("%w; %w", err, errNotYet)
	}
	return gone, err
}

// restart starts the program again after the goodbye, unless ctx has ended.
func restart(ctx context.Context) error { return handover.Exec(ctx) }

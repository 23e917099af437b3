package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/handover"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
)

// withRightsOf calls do with the rights of an account instead of those of root.
// They are those of the whole process, and of the programs that do starts, until
// it returns.
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
	if err := syscall.Setresuid(account.UID, account.UID, 0); err != nil { // last: it takes the right to the others
		return err
	}
	do()
	return nil
}

// canRead returns why a file that is there cannot be read, without opening it.
func canRead(name string) error {
	if err := unix.Access(name, unix.R_OK); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fileID returns device and inode of a file as in JOURNAL_STREAM.
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

// trialTime is how long the next program may take to say whether it can run: it reads files and asks
// systemd.
const trialTime = 30 * time.Second

// reloading runs watch until ctx ends. At SIGUSR2 the program that is there now takes over, as the
// same process and without a goodbye. What watch has started is gone by then, as only its parent
// could reap it. If that program or its settings are wrong, this one goes on.
func (c *call) reloading(ctx context.Context, m manager, watch func(context.Context)) {
	asked := make(chan os.Signal, 1)
	for ctx.Err() == nil {
		signal.Notify(asked, syscall.SIGUSR2)
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { watch(watching) }) // ends with stop
		c.awaitReload(ctx, asked)
		stop()
		wg.Wait()
		if ctx.Err() != nil {
			return
		}
		m.notify("RELOADING=1")        // until the next life is ready
		signal.Ignore(syscall.SIGUSR2) // else one more would end the next life before it has begun
		c.warnf("cannot reload: %s: %v", handover.Program(), handover.Exec())
		m.notify("READY=1")
	}
}

// awaitReload returns when a program can take over, or with ctx.
func (c *call) awaitReload(ctx context.Context, asked <-chan os.Signal) {
	for {
		select {
		case <-asked:
		case <-ctx.Done():
			return
		}
		c.infof("reloading %s", handover.Program())
		err := tryNext(ctx)
		if err == nil {
			return
		}
		c.warnf("not reloaded, so this one goes on: %s: %v", handover.Program(), err)
	}
}

// tryNext has the next program look whether it could run as this one does. What is wrong it logs
// itself.
func tryNext(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, trialTime, timeoutError(trialTime))
	defer cancel()
	next := exec.CommandContext(ctx, handover.Program(), append([]string{trialCommand}, os.Args[2:]...)...)
	next.Stderr = os.Stderr
	err := next.Run()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

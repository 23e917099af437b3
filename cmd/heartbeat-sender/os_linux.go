package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/handover"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
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

func defaultConfig() string { return unixConfig }

// serviceCommands returns none: they are for Windows.
func serviceCommands() []command { return nil }

// trialTime is how long the next program may take to say whether it can run: it reads files and asks
// systemd.
const trialTime = 30 * time.Second

// partingTime is how long those that the next program does not name may take to say goodbye.
const partingTime = 2 * time.Second

// reloading runs watch until ctx ends. At SIGUSR2 the program that is there now takes over, as the
// same process and without a goodbye but of those that it does not name. What watch has started is
// gone by then, as only its parent could reap it. If that program or its settings are wrong, this one
// goes on.
func (c *call) reloading(ctx context.Context, m manager, s *sender.Sender, watch func(context.Context)) {
	for ctx.Err() == nil {
		handover.Await()
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { watch(watching) }) // ends with stop
		named := c.awaitReload(ctx)
		stop()
		wg.Wait()
		if ctx.Err() == nil {
			part(ctx, s, named)
		}
		if ctx.Err() != nil {
			return
		}
		m.notify("RELOADING=1") // until the next life is ready
		c.warnf("cannot reload: %s: %v", handover.Program(), handover.Exec())
		m.notify("READY=1")
	}
}

// awaitReload returns the names of the peers of a program that can take over, or ends with ctx.
func (c *call) awaitReload(ctx context.Context) (named string) {
	for {
		select {
		case <-handover.Asked:
		case <-ctx.Done():
			return ""
		}
		c.infof("reloading %s", handover.Program())
		named, err := tryNext(ctx)
		if err == nil {
			return named
		}
		c.warnf("not reloaded, so this one goes on: %s: %v", handover.Program(), err)
	}
}

// tryNext has the next program look whether it could run as this one does, and returns what it calls
// its peers. What is wrong it logs itself.
func tryNext(ctx context.Context) (named string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, trialTime, timeoutError(trialTime))
	defer cancel()
	next := exec.CommandContext(ctx, handover.Program(), append([]string{trialCommand}, os.Args[2:]...)...)
	next.Stderr = os.Stderr
	said, err := next.Output()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return string(said), err
}

// part says goodbye for the peers of s that are not named any more: their silence would be a death.
func part(ctx context.Context, s *sender.Sender, named string) {
	var parting <-chan time.Time
	for _, p := range s.Peers {
		if strings.Contains("\n"+named, "\n"+nameOf(&p)+"\n") {
			continue
		}
		p.Status, p.Silent, p.Exit = sender.StatusLeaving, false, sender.Exit{}
		s.Update(p) //nolint:errcheck // it has been said of before
		parting = time.After(partingTime)
	}
	if parting == nil {
		return
	}
	select {
	case <-parting:
	case <-ctx.Done():
	}
}

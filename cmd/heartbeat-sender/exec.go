package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// execCommand runs a command and tells how it goes. Whatever is wrong with the
// settings or with the collectors, the command is run, and its exit code is
// ours.
func execCommand(_ context.Context, c *call) error {
	if len(c.args) == 0 {
		return &failure{code: exitUsage, err: errors.New("exec: the command to run is missing")}
	}
	j, startErr := startJob(c.args, c.environ)
	tell := c.follow(j) // only now is anything dialled
	end := jobEnd{code: startCode(startErr)}
	if startErr == nil {
		end = j.follow(c.settings.maxRuntime)
	}
	tell(end)
	if end.overran {
		c.warnf("%s took longer than %s and was ended", j.name, c.settings.maxRuntime)
	}
	if end.code == 0 {
		return nil
	}
	return &failure{code: end.code, err: startErr}
}

// startCode is what a shell returns for a command that it cannot start.
func startCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitCannotRun
}

// follow begins to beat for a job. The function it returns tells how the job
// ended, and returns soon.
func (c *call) follow(j *job) (tell func(jobEnd)) {
	peer, err := c.jobPeer(j)
	if err == nil {
		err = c.wrong
	}
	var s *sender.Sender
	if err == nil {
		s, err = c.senderFor(context.Background(), []sender.Peer{peer})
	}
	if err != nil {
		c.log(logError, "nobody hears of %s: %v", j.name, err)
		return func(jobEnd) {}
	}
	s.Hurry, s.Infof = true, nil
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) }) //nolint:errcheck // the settings are valid
	wg.Go(func() { c.watchName(ctx, peer.Host) })
	return func(end jobEnd) {
		if err := s.Update(end.of(peer, s.BackIn)); err != nil {
			c.warnf("the end is not told: %v", err)
		}
		stop()
		wg.Wait()
	}
}

// jobPeer returns the peer that a job is.
func (c *call) jobPeer(j *job) (sender.Peer, error) {
	peer, err := c.common()
	if err != nil {
		return peer, err
	}
	if peer.Service == "" {
		peer.Service = watch.ServiceName(j.name)
	}
	if peer.Service == hostService {
		return peer, fmt.Errorf("service: %q is the host itself, give another name", hostService)
	}
	peer.Boot, peer.Watched = sender.Host(peer.Host).Boot, true
	if j.cmd.Process != nil {
		peer.PID = uint32(j.cmd.Process.Pid)
		peer.StartMS = proc.StartMS(peer.PID)
	}
	return peer, nil
}

// A jobEnd is how a job ended.
type jobEnd struct {
	code    int       // as a shell would say it
	by      os.Signal // that ended it; nil for none
	signal  string    // its name
	asked   bool      // it was asked to end
	overran bool      // it took longer than it may
}

// of returns what is to be said of peer after its end.
func (e jobEnd) of(peer sender.Peer, backIn time.Duration) sender.Peer {
	peer.Exit = sender.Exit{HasCode: e.signal == "", Code: int64(e.code), Signal: e.signal}
	if e.signal != "" {
		peer.Exit.Code = 0
	}
	peer.Status = sender.StatusDead
	if (e.code == 0 || e.asked) && !e.overran {
		peer.Status, peer.BackIn = sender.StatusLeaving, backIn
	}
	return peer
}

const (
	killDelay = 10 * time.Second      // from SIGTERM to SIGKILL
	askDelay  = 20 * time.Millisecond // for a signal that has reached the job before it reached us
	stopTime  = 90 * time.Second      // that a job has for an end that it was asked for, as with systemd
)

// follow waits until a job has ended. Meanwhile it hands on signals and heeds
// the limit, if there is one.
func (j *job) follow(limit time.Duration) jobEnd {
	ended := make(chan jobEnd, 1)
	go func() { ended <- j.wait() }() // ends when the job does
	var late <-chan time.Time
	if limit > 0 {
		late = time.After(limit)
	}
	var asked asking
	overran := false
	for {
		select {
		case sig := <-j.signals:
			asked.note(sig)
			j.pass(sig)
		case <-late:
			sig := syscall.SIGTERM
			if overran {
				sig = syscall.SIGKILL
			}
			overran = true
			late = time.After(killDelay)
			j.send(sig)
		case end := <-ended:
			j.drain(&asked, end)
			end.asked, end.overran = asked.explains(end), overran
			return end
		}
	}
}

// drain takes in the signals that have come at last: whoever stops a whole
// group of processes signals it and us, in any order.
func (j *job) drain(asked *asking, end jobEnd) {
	var late <-chan time.Time
	if end.signal != "" {
		late = time.After(askDelay)
	}
	for {
		select {
		case sig := <-j.signals:
			asked.note(sig)
			continue
		default:
		}
		if late == nil || asked.explains(end) {
			return
		}
		select {
		case sig := <-j.signals:
			asked.note(sig)
		case <-late:
			late = nil
		}
	}
}

// An asking is what was said to a job about ending.
type asking struct {
	stop  time.Time   // when it was last asked to stop
	other []os.Signal // signals that may mean something else to it
}

func (a *asking) note(sig os.Signal) {
	switch sig {
	case os.Interrupt, syscall.SIGTERM:
		a.stop = time.Now()
	case syscall.SIGHUP, syscall.SIGQUIT: // a reload, a dump of threads
		a.other = append(a.other, sig)
	}
}

// explains tells whether a job ended because it was asked to.
func (a *asking) explains(end jobEnd) bool {
	return time.Since(a.stop) < stopTime || slices.Contains(a.other, end.by)
}

// isFromKeys tells whether a signal most often comes from keys: then the
// terminal has sent it to the job too.
func isFromKeys(sig syscall.Signal) bool { return sig == syscall.SIGINT || sig == syscall.SIGQUIT }

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/cli"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/proc/job"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/watch"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// execCommand runs a command and reports how it ends. It runs the command even if the
// settings are wrong or no collector answers, and returns the exit code of the command.
func execCommand(_ context.Context, c *call) error {
	if len(c.args) == 0 {
		return cli.Exit(cli.ExitUsage, errors.New("exec: the command to run is missing"))
	}
	j, startErr := job.Start(c.args, c.environ)
	report := c.follow(j) // connects only after the start
	end := job.End{Code: job.StartCode(startErr)}
	if startErr == nil {
		end = j.Wait(c.settings.maxRuntime)
	}
	report(end)
	if end.Overran {
		c.warnf("%s took longer than %s and was ended", j.Name, c.settings.maxRuntime)
	}
	if end.Code == 0 {
		return nil
	}
	return &cli.Error{Code: end.Code, Err: startErr}
}

// follow begins to beat for a job. It returns a function that reports how the job ended;
// that function takes at most a second.
func (c *call) follow(j *job.Job) (report func(job.End)) {
	peer, err := c.jobPeer(j)
	if err == nil {
		err = c.wrong
	}
	var s *sender.Sender
	if err == nil {
		s, err = c.senderFor(context.Background(), []sender.Peer{peer})
	}
	if err != nil {
		c.log(logError, "cannot report %s: %v", j.Name, err)
		return func(job.End) {}
	}
	s.Hurry, s.Infof = true, nil
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) }) //nolint:errcheck // the settings are valid
	wg.Go(func() { c.watchName(ctx, peer.Host) })
	return func(end job.End) {
		if err := s.Update(endReport(peer, end, s.BackIn)); err != nil {
			c.warnf("cannot report the end of the job: %v", err)
		}
		stop()
		wg.Wait()
	}
}

// jobPeer returns the peer for a job.
func (c *call) jobPeer(j *job.Job) (sender.Peer, error) {
	peer, err := c.common()
	if err != nil {
		return peer, err
	}
	if peer.Service == "" {
		peer.Service = watch.ServiceName(j.Name)
	}
	if peer.Service == hostService {
		return peer, fmt.Errorf("service: %q is the host itself, give another name", hostService)
	}
	peer.Boot, peer.Watched = sender.Host(peer.Host).Boot, true
	if pid := j.PID(); pid != 0 {
		peer.PID, peer.StartMS = pid, proc.StartMS(pid)
	}
	return peer, nil
}

// endReport returns the report for peer after the end of its job.
func endReport(peer sender.Peer, end job.End, backIn time.Duration) sender.Peer {
	peer.Exit = sender.Exit{HasCode: end.Signal == "", Code: int64(end.Code), Signal: end.Signal}
	if end.Signal != "" {
		peer.Exit.Code = 0
	}
	peer.Status = sender.StatusDead
	if (end.Code == 0 || end.Asked) && !end.Overran {
		peer.Status, peer.BackIn = sender.StatusLeaving, backIn
	}
	return peer
}

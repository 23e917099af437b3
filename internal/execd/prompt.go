package execd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/influxdata/telegraf"
)

// silenceLimit is how long there may be no prompt before a warning.
const silenceLimit = 2 * time.Minute

// A prompter makes all instances gather when Telegraf asks: by a line on stdin or by a
// signal, depending on 'signal' of [[inputs.execd]].
type prompter struct {
	instances []*instance
	log       telegraf.Logger
	signals   chan os.Signal
	prompted  atomic.Bool // ever
}

func newPrompter(instances []*instance, log telegraf.Logger) *prompter {
	p := &prompter{instances: instances, log: log, signals: make(chan os.Signal, 1)}
	if len(promptSignals) > 0 { // none would mean all of them
		signal.Notify(p.signals, promptSignals...)
	}
	return p
}

func (p *prompter) gather() {
	p.prompted.Store(true)
	for _, in := range p.instances {
		in.gather()
	}
}

// readLines gathers once for each line, until stdin ends. The content and the length of a
// line do not matter.
func (p *prompter) readLines(stdin io.Reader) {
	chunk := make([]byte, 4096)
	for {
		n, err := stdin.Read(chunk)
		if bytes.IndexByte(chunk[:n], '\n') >= 0 {
			p.gather()
		}
		if err != nil {
			return
		}
	}
}

// handleSignals gathers once for each signal from Telegraf, until ctx ends. If there is
// no prompt at all, it warns once: with signal = "none", Telegraf's default, only changes
// are emitted.
func (p *prompter) handleSignals(ctx context.Context) {
	defer signal.Stop(p.signals)
	silence := time.NewTimer(silenceLimit)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.signals:
			p.gather()
		case <-silence.C:
			if !p.prompted.Load() {
				p.log.Warn("no line on stdin for two minutes, so only changes are reported: " +
					"set signal = \"STDIN\" in [[inputs.execd]], unless its interval is longer than that")
			}
		}
	}
}

// logSignal logs which signal ends the run, if cause is a signal. Telegraf itself
// sends SIGHUP at each interval if it is configured to do so.
func logSignal(cause error, log telegraf.Logger) {
	switch {
	case cause == nil || cause == context.Canceled || !errors.Is(cause, context.Canceled):
	case strings.HasPrefix(cause.Error(), syscall.SIGHUP.String()):
		log.Warnf("stopping: %v; if this happens at each interval, set signal = \"STDIN\" in [[inputs.execd]]", cause)
	default:
		log.Infof("stopping: %v", cause)
	}
}

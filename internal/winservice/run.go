//go:build windows

package winservice

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
)

// Event ids. The id of a message is its priority in journald.
const (
	eventStarted = 1
	eventStopped = 2
	eventError   = 3
	eventWarning = 4
	eventInfo    = 6
)

// A Work is the function that a service runs until ctx ends. It calls running when it has
// started, and returns an exit code.
type Work func(ctx context.Context, running func(), log *Log) (code int)

// Run lets the service manager start and stop work. It returns when work has ended, and
// fails if the service manager did not start this program.
func Run(name string, work Work) error {
	events, err := eventlog.Open(name)
	if err != nil {
		return fmt.Errorf("opening the event log failed: %w", err)
	}
	defer events.Close()
	if err := svc.Run(name, &handler{work, &Log{events}}); err != nil {
		if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
			return fmt.Errorf("only the service manager can start this: run net start %s", name)
		}
		return fmt.Errorf("running as a service failed: %w", err)
	}
	return nil
}

// A handler handles the requests of the service manager.
type handler struct {
	work Work
	log  *Log
}

// Execute runs until it is asked to stop, or until the work ends by itself.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, statuses chan<- svc.Status) (specific bool, code uint32) {
	wait := uint32(StopTime.Milliseconds())
	statuses <- svc.Status{State: svc.StartPending, WaitHint: wait}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	began, ended := make(chan struct{}, 1), make(chan int, 1)
	go func() { ended <- h.work(ctx, func() { began <- struct{}{} }, h.log) }() // ends with ctx, or by itself
	running := began
	for {
		select {
		case <-running:
			h.log.info(eventStarted, "started")
			statuses <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop | svc.AcceptPreShutdown}
		case request := <-requests:
			switch request.Cmd {
			case svc.Interrogate:
				statuses <- request.CurrentStatus
			case svc.Stop, svc.PreShutdown:
				statuses <- svc.Status{State: svc.StopPending, WaitHint: wait}
				running = nil
				stop()
			}
		case code := <-ended:
			h.log.info(eventStopped, "stopped")
			return true, uint32(code)
		}
	}
}

// A Log writes to the event log.
type Log struct{ events *eventlog.Log }

// Write writes a line as an event.
func (l *Log) Write(line []byte) (int, error) {
	e := eventOf(string(line))
	switch e.kind {
	case eventlog.Error:
		return len(line), l.events.Error(e.id, e.text)
	case eventlog.Warning:
		return len(line), l.events.Warning(e.id, e.text)
	}
	return len(line), l.events.Info(e.id, e.text)
}

// An event is an entry of the event log.
type event struct {
	kind uint16 // as package eventlog has it
	id   uint32
	text string
}

// eventOf returns the event for a line, which begins with its priority as for journald
// (sd-daemon(3)).
func eventOf(line string) event {
	text := strings.TrimSpace(line)
	for _, e := range []event{{eventlog.Error, eventError, "<3>"}, {eventlog.Warning, eventWarning, "<4>"}, {eventlog.Info, eventInfo, "<6>"}} {
		if rest, ok := strings.CutPrefix(text, e.text); ok {
			return event{e.kind, e.id, rest}
		}
	}
	return event{eventlog.Info, eventInfo, text}
}

func (l *Log) info(id uint32, text string) {
	l.events.Info(id, text) //nolint:errcheck // there is nowhere to report it
}

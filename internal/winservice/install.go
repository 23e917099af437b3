//go:build windows

package winservice

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"
)

// A Service is a program as the service manager knows it.
type Service struct {
	Name        string // of the service, and of the source of its events
	Title       string
	Description string
	Program     string   // its path
	Args        []string // its arguments
}

const (
	// account is the account without a password that has the fewest rights.
	account      = `NT AUTHORITY\LocalService`
	restartDelay = time.Second
	resetPeriod  = 24 * 60 * 60 // seconds without a crash, after which their count is reset

	// StopTime is how long the service may take to stop, also when Windows shuts down.
	StopTime = 5 * time.Second
	// patience is how long to wait for a busy service manager.
	patience  = 30 * time.Second
	stopPause = 50 * time.Millisecond
)

// CommandLine returns the command line that Windows starts.
func (s *Service) CommandLine() string {
	quoted := []string{syscall.EscapeArg(s.Program)}
	for _, arg := range s.Args {
		quoted = append(quoted, syscall.EscapeArg(arg))
	}
	return strings.Join(quoted, " ")
}

// Install creates a service that Windows starts when it boots, and one second after a
// crash. Install does not start it.
func (s *Service) Install() error {
	manager, err := connect()
	if err != nil {
		return err
	}
	defer manager.Disconnect()
	service, err := manager.CreateService(s.Name, s.Program, mgr.Config{
		DisplayName: s.Title, Description: s.Description, ServiceStartName: account,
		StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal,
	}, s.Args...)
	switch {
	case errors.Is(err, windows.ERROR_SERVICE_EXISTS):
		return fmt.Errorf("service %s is already installed: uninstall it first", s.Name)
	case errors.Is(err, windows.ERROR_SERVICE_MARKED_FOR_DELETE):
		return fmt.Errorf("service %s is still being removed: close programs that show it, such as services.msc, and try again", s.Name)
	case err != nil:
		return fmt.Errorf("creating service %s failed: %w", s.Name, err)
	}
	defer service.Close()
	if err := s.complete(service); err != nil {
		return errors.Join(err, service.Delete())
	}
	return nil
}

// complete sets the properties that cannot be set when the service is created.
func (s *Service) complete(service *mgr.Service) error {
	// The last action applies to all further crashes too.
	restart := []mgr.RecoveryAction{{Type: mgr.ServiceRestart, Delay: restartDelay}}
	if err := service.SetRecoveryActions(restart, resetPeriod); err != nil {
		return fmt.Errorf("setting service %s to restart after a crash failed: %w", s.Name, err)
	}
	// Early at boot the host may have no name yet: the service ends with an error, and is restarted.
	// Wine 8 does not support this level.
	err := service.SetRecoveryActionsOnNonCrashFailures(true)
	if err != nil && !errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return fmt.Errorf("setting service %s to restart after an error failed: %w", s.Name, err)
	}
	milliseconds := uint32(StopTime.Milliseconds()) // SERVICE_PRESHUTDOWN_INFO
	err = windows.ChangeServiceConfig2(service.Handle, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, (*byte)(unsafe.Pointer(&milliseconds)))
	if err != nil {
		return fmt.Errorf("setting the shutdown time of service %s failed: %w", s.Name, err)
	}
	eventlog.Remove(s.Name) //nolint:errcheck // there may be one of an earlier service
	if err := eventlog.InstallAsEventCreate(s.Name, eventlog.Error|eventlog.Warning|eventlog.Info); err != nil {
		return fmt.Errorf("creating event source %s failed: %w", s.Name, err)
	}
	return nil
}

// Uninstall stops a service and removes it.
func Uninstall(name string) error {
	manager, err := connect()
	if err != nil {
		return err
	}
	defer manager.Disconnect()
	service, err := manager.OpenService(name)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return fmt.Errorf("service %s is not installed", name)
	}
	if err != nil {
		return fmt.Errorf("opening service %s failed: %w", name, err)
	}
	defer service.Close()
	if err := stop(service); err != nil {
		return fmt.Errorf("stopping service %s failed: %w", name, err)
	}
	if err := service.Delete(); err != nil {
		return fmt.Errorf("removing service %s failed: %w", name, err)
	}
	eventlog.Remove(name) //nolint:errcheck // it may have been removed already
	return nil
}

// connect opens the service manager.
func connect() (*mgr.Mgr, error) {
	manager, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, errors.New("this needs administrator rights: run it in a prompt opened as administrator")
	}
	if err != nil {
		return nil, fmt.Errorf("opening the service manager failed: %w", err)
	}
	return manager, nil
}

// stop stops a service and waits until it has stopped.
func stop(service *mgr.Service) error {
	_, err := service.Control(svc.Stop)
	if errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return nil
	}
	if err != nil {
		return err
	}
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(stopPause) {
		status, err := service.Query()
		if err != nil || status.State == svc.Stopped {
			return err
		}
	}
	return fmt.Errorf("it did not stop within %s", patience)
}

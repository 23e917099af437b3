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

// A Service is what the service manager knows of a program.
type Service struct {
	Name        string // of the service, and of the source of its events
	Title       string
	Description string
	Program     string   // its path
	Args        []string // with which it is started
}

const (
	// account has the least rights of those that need no password.
	account      = `NT AUTHORITY\LocalService`
	restartDelay = time.Second
	resetPeriod  = 24 * 60 * 60 // seconds without a crash, after which they are counted anew

	// StopTime is how long the service may take to stop: when Windows shuts down, too.
	StopTime = 5 * time.Second
	// patience is for a service manager that is busy.
	patience  = 30 * time.Second
	stopPause = 50 * time.Millisecond
)

// CommandLine returns what Windows starts, as the service manager has it.
func (s *Service) CommandLine() string {
	quoted := []string{syscall.EscapeArg(s.Program)}
	for _, arg := range s.Args {
		quoted = append(quoted, syscall.EscapeArg(arg))
	}
	return strings.Join(quoted, " ")
}

// Install makes a service that Windows starts when it boots, and again one second after a
// crash. It is not started yet.
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
		return fmt.Errorf("service %s is still being removed: close what shows it, such as services.msc, and try again", s.Name)
	case err != nil:
		return fmt.Errorf("creating service %s failed: %w", s.Name, err)
	}
	defer service.Close()
	if err := s.complete(service); err != nil {
		return errors.Join(err, service.Delete())
	}
	return nil
}

// complete says what creating a service cannot say.
func (s *Service) complete(service *mgr.Service) error {
	// The last action is that of all further crashes too.
	restart := []mgr.RecoveryAction{{Type: mgr.ServiceRestart, Delay: restartDelay}}
	if err := service.SetRecoveryActions(restart, resetPeriod); err != nil {
		return fmt.Errorf("setting service %s to restart after a crash failed: %w", s.Name, err)
	}
	// An early boot may have no name yet for the host: that ends with an error, and is tried again.
	// Wine 8 does not know this level.
	err := service.SetRecoveryActionsOnNonCrashFailures(true)
	if err != nil && !errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return fmt.Errorf("setting service %s to restart after an error failed: %w", s.Name, err)
	}
	milliseconds := uint32(StopTime.Milliseconds()) // SERVICE_PRESHUTDOWN_INFO
	err = windows.ChangeServiceConfig2(service.Handle, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, (*byte)(unsafe.Pointer(&milliseconds)))
	if err != nil {
		return fmt.Errorf("setting the shutdown time of service %s failed: %w", s.Name, err)
	}
	eventlog.Remove(s.Name) //nolint:errcheck // there is none, or that of an earlier service
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
	eventlog.Remove(name) //nolint:errcheck // somebody has removed it already
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

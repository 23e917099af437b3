package watch

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Services are the systemd services on this host, as sorted names of units.
type Services struct {
	Running []string
	Hollow  []string // running, but without a main process to watch
	Failed  []string
}

// FindServices returns the services that systemd reports.
func FindServices(ctx context.Context) (found Services, err error) {
	if _, err := exec.LookPath("systemctl"); err != nil {
		return found, fmt.Errorf("units need systemd: %w", err)
	}
	out, err := systemctl(ctx, systemctlTime, "show", "--no-pager", "--property=Id,"+unitProperties, "--", "*.service")
	if err != nil {
		return found, fmt.Errorf("%w about services: %w%s", ErrUnseen, err, hint(err))
	}
	for block := range strings.SplitSeq(strings.TrimSpace(out), "\n\n") {
		if block == "" {
			continue // there is no service at all
		}
		status, err := parseStatus(block)
		if err != nil {
			return found, fmt.Errorf("systemctl show: %w", err)
		}
		found.add(keyValues(block)["Id"], &status)
	}
	for _, names := range [][]string{found.Running, found.Hollow, found.Failed} {
		slices.SortFunc(names, strings.Compare) // slices.Sort would make the program 6 kB larger
	}
	return found, nil
}

func (s *Services) add(name string, status *unitStatus) {
	switch {
	case status.sub == "running" && status.mainPID != 0:
		s.Running = append(s.Running, name)
	case status.sub == "running":
		s.Hollow = append(s.Hollow, name)
	case status.active == "failed":
		s.Failed = append(s.Failed, name)
	}
}

package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	systemctlTime = 5 * time.Second // limit for an answer
	stoppingTime  = time.Second     // limit for the query whether the host is stopping
	readTime      = time.Second     // limit for reading the output, once it has ended
)

// systemctl returns the output of the program systemctl.
func systemctl(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", args...) //nolint:gosec // there is no shell in between
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "SYSTEMD_URLIFY=0", "SYSTEMD_PAGER=")
	cmd.WaitDelay = readTime
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(out), nil
	case ctx.Err() != nil:
		return "", fmt.Errorf("systemctl %s: no answer within %s: %w", args[0], limit, ctx.Err())
	case errors.As(err, &exit) && len(exit.Stderr) > 0:
		return string(out), fmt.Errorf("systemctl %s: %w: %.256q", args[0], err, bytes.TrimSpace(exit.Stderr))
	}
	return string(out), fmt.Errorf("systemctl %s: %w", args[0], err)
}

// ErrUnseen is wrapped by errors of a Watcher that cannot ask systemd.
var ErrUnseen = errors.New("cannot ask systemd")

// showUnits returns the statuses of units, in their order.
func showUnits(ctx context.Context, units []string) ([]unitStatus, error) {
	statuses, err := askForUnits(ctx, units)
	if err == nil {
		return statuses, nil
	}
	about := units[0]
	if more := len(units) - 1; more > 0 {
		about = fmt.Sprintf("%s and %d more", about, more)
	}
	return nil, fmt.Errorf("%w about %.256s: %w%s", ErrUnseen, about, err, hint(err))
}

// hint returns a hint if the bus disconnects this user: dbus-daemon does so for users
// that are not in /etc/passwd (systemd issue 22737).
func hint(err error) string {
	if strings.Contains(err.Error(), "Transport endpoint is not connected") {
		return " (the bus does not know this user: give the unit a static user, not DynamicUser=yes)"
	}
	return ""
}

func askForUnits(ctx context.Context, units []string) ([]unitStatus, error) {
	args := append([]string{"show", "--no-pager", "--property=" + unitProperties, "--"}, units...)
	out, err := systemctl(ctx, systemctlTime, args...)
	if err != nil {
		return nil, err
	}
	blocks := strings.Split(strings.TrimSpace(out), "\n\n")
	if len(blocks) != len(units) {
		return nil, fmt.Errorf("systemctl show: %d answers for %d units", len(blocks), len(units))
	}
	statuses := make([]unitStatus, 0, len(units))
	for i, block := range blocks {
		status, err := parseStatus(block)
		if err != nil {
			return nil, fmt.Errorf("systemctl show %s: %w", units[i], err)
		}
		statuses = append(statuses, status)
	}
	return statuses, nil
}

// hostIsStopping reports whether the host is shutting down; without systemd, it returns
// false.
func hostIsStopping(ctx context.Context) bool {
	out, _ := systemctl(ctx, stoppingTime, "is-system-running") //nolint:errcheck // anything but "running" is an error
	return strings.TrimSpace(out) == "stopping"
}

// instances returns the instances of the template with the name of unit: Debian's
// postgresql.service only groups them.
func instances(ctx context.Context, unit string) ([]string, error) {
	pattern := strings.TrimSuffix(unit, ".service") + "@*"
	out, err := systemctl(ctx, systemctlTime, "list-units", "--plain", "--no-legend", "--no-pager",
		"--all", "--type=service", "--", pattern)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 {
			names = append(names, fields[0])
		}
	}
	return names, nil
}

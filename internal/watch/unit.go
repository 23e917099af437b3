package watch

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// unitProperties are the properties in a unitStatus.
const unitProperties = "LoadState,ActiveState,SubState,Result,Job," +
	"MainPID,ExecMainStartTimestampMonotonic,ExecMainCode,ExecMainStatus"

// A unitStatus is the status of a unit in systemd.
type unitStatus struct {
	load, active, sub, result string

	job     bool   // a job is queued for it
	mainPID uint32 // 0 for none
	started int64  // when its main process started, in µs since boot
	exit    Exit   // of its main process
}

// keyValues reads lines of KEY=VALUE.
func keyValues(text string) map[string]string {
	values := make(map[string]string)
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = value
	}
	return values
}

func parseStatus(block string) (unitStatus, error) {
	values := keyValues(block)
	status := unitStatus{
		load:   values["LoadState"],
		active: values["ActiveState"],
		sub:    values["SubState"],
		result: values["Result"],
		job:    values["Job"] != "" && values["Job"] != "0",
	}
	if status.load == "" || status.active == "" {
		return status, fmt.Errorf("%.64q is not a state", block)
	}
	numbers := make(map[string]int64)
	// Units other than services have none of these.
	for _, key := range []string{"MainPID", "ExecMainStartTimestampMonotonic", "ExecMainCode", "ExecMainStatus"} {
		number, err := strconv.ParseInt(values[key], 10, 64)
		if err != nil && values[key] != "" {
			return status, fmt.Errorf("%s: %.64q is not a number", key, values[key])
		}
		numbers[key] = number
	}
	status.mainPID = uint32(numbers["MainPID"])
	status.started = numbers["ExecMainStartTimestampMonotonic"]
	status.exit = exitOfMain(numbers["ExecMainCode"], numbers["ExecMainStatus"])
	return status, nil
}

// exitOfMain translates si_code and si_status of sigaction(2).
func exitOfMain(code, status int64) Exit {
	switch code {
	case 1: // CLD_EXITED
		return Exit{HasCode: true, Code: status}
	case 2, 3: // CLD_KILLED, CLD_DUMPED
		return Exit{Signal: signalName(status)}
	}
	return Exit{}
}

// sighting returns the sighting for a unit without a living main process. A unit that
// did not run before cannot have ended.
func (u *unitStatus) sighting(ranBefore bool) sighting {
	seen := sighting{kind: u.kind(ranBefore)}
	if seen.kind == stopped || seen.kind == failed {
		seen.exit = u.exit
	}
	return seen
}

func (u *unitStatus) kind(ranBefore bool) kind {
	onPurpose := u.result == "success"
	switch {
	case u.mainPID != 0: // systemd has not noticed its end yet
		return ended
	case strings.Contains(u.sub, "auto-restart"):
		return between
	case u.active == "inactive" && !u.job:
		return stopped
	case u.active == "inactive", u.active == "deactivating":
		if onPurpose {
			return held
		}
	case u.active == "failed" && !u.job:
		return failed
	case u.active == "active" && u.sub == "exited" && ranBefore:
		if onPurpose {
			return stopped
		}
		return failed
	}
	return between
}

// isWithoutProcess reports whether the unit is active but has no process to watch.
func (u *unitStatus) isWithoutProcess() bool { return u.active == "active" && u.mainPID == 0 }

// checkUnits returns errors about units, whether they run or not, or ErrUnseen.
func checkUnits(ctx context.Context, units []string) error {
	if len(units) == 0 {
		return nil
	}
	if _, err := exec.LookPath("systemctl"); err != nil {
		return fmt.Errorf("units need systemd: %w", err)
	}
	statuses, err := showUnits(ctx, units)
	if errors.Is(err, context.DeadlineExceeded) { // not an error that a person could fix
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for i := range statuses {
		errs = append(errs, statuses[i].check(ctx, units[i]))
	}
	return errors.Join(errs...)
}

func (u *unitStatus) check(ctx context.Context, unit string) error {
	switch {
	case u.load == "not-found" && u.active == "inactive":
		return fmt.Errorf("there is no unit %s", unit)
	case !u.isWithoutProcess():
		return nil
	}
	hint := ", so there is nothing to watch"
	if names, err := instances(ctx, unit); err == nil && len(names) > 0 {
		hint = fmt.Sprintf(": did you mean %.256s?", strings.Join(names, " or "))
	}
	return fmt.Errorf("unit %s is active but has no main process%s", unit, hint)
}

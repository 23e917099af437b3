package proc

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// BootID returns the random id of this boot (random(4)), or "".
func BootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// StartMS returns the time at which a process started, in milliseconds since boot, or 0
// if that is hidden. The kernel reports it in clock ticks, which are 100 a second.
func StartMS(pid uint32) int64 {
	fields := stat(pid)
	if fields == nil {
		return 0
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0
	}
	return ticks * 10
}

// IsZombie reports whether a process has ended and is not reaped. A process whose first
// thread has ended before the others looks similar.
func IsZombie(pid uint32) bool {
	fields := stat(pid)
	return fields != nil && fields[0] == "Z" && fields[17] == "1"
}

// OnlyZombies reports whether a process group has members and all of them are zombies.
// Hidden members do not count.
func OnlyZombies(group int) bool {
	entries, _ := os.ReadDir("/proc") //nolint:errcheck // without it, no member is seen
	zombies := false
	for _, entry := range entries {
		pid, err := strconv.ParseUint(entry.Name(), 10, 32)
		if err != nil {
			continue
		}
		fields := stat(uint32(pid))
		if fields == nil || fields[2] != strconv.Itoa(group) {
			continue
		}
		if !IsZombie(uint32(pid)) {
			return false
		}
		zombies = true
	}
	return zombies
}

// stat returns the fields of proc_pid_stat(5), starting at the third field, or nil.
func stat(pid uint32) []string {
	text, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return nil
	}
	// The second field is the program's name and may contain spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 {
		return nil
	}
	return fields
}

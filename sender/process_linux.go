package sender

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// bootID returns the id that the kernel drew when it booted (random(4)), or
// nothing.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// startMS returns when this process started in milliseconds since boot, or 0.
// It is field 22 of proc_pid_stat(5), in clock ticks, of which Linux tells
// every process 100 a second.
func startMS() int64 {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// The second field is the program's name and may hold spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0
	}
	return ticks * 10
}

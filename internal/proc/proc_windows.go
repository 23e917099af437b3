package proc

import "syscall"

// BootID returns "": Windows has no boot id.
func BootID() string { return "" }

// queryLimited is PROCESS_QUERY_LIMITED_INFORMATION.
const queryLimited = 0x1000

// StartMS returns the time at which a process started, in milliseconds since 1970, or 0
// if that is hidden. Windows recorded it at the start. Unlike a time computed from the
// boot, it does not change if the clock is set later.
func StartMS(pid uint32) int64 {
	handle, err := syscall.OpenProcess(queryLimited, false, pid)
	if err != nil {
		return 0
	}
	defer syscall.CloseHandle(handle)
	var created, exited, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(handle, &created, &exited, &kernel, &user) != nil {
		return 0
	}
	return created.Nanoseconds() / 1e6
}

package proc

import "syscall"

// BootID returns nothing: Windows has no id of a boot.
func BootID() string { return "" }

// queryLimited is PROCESS_QUERY_LIMITED_INFORMATION.
const queryLimited = 0x1000

// StartMS returns when a process started in milliseconds since 1970, or 0 if that is
// hidden. It is what the clock said then: setting the clock later does not change
// it, unlike what would be counted from the boot.
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

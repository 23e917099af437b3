//go:build unix

package serve

import "syscall"

// connectionLimit returns how many connections may be open: as configured (0
// for no limit), but never so many that the rest of Telegraf runs out of
// descriptors.
func connectionLimit(configured int) int64 {
	limit := int64(configured)
	if limit == 0 {
		limit = 1 << 62
	}
	var descriptors syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors) != nil || descriptors.Cur > 1<<30 {
		return limit
	}
	available := int64(descriptors.Cur)
	return min(limit, max(available-max(200, available/10), 1))
}

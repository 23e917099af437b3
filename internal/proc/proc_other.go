//go:build !linux && !windows

package proc

// BootID returns "".
func BootID() string { return "" }

// StartMS returns 0.
func StartMS(uint32) int64 { return 0 }

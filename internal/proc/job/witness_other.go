//go:build !linux

package job

import "syscall"

// There is no witness on this system.
type witness struct{}

func newWitness() *witness { return nil }

func (*witness) saw(sig syscall.Signal) bool { return isFromKeys(sig) }

// IsWitness reports false.
func IsWitness() bool { return false }

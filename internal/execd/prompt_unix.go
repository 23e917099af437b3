//go:build unix

package execd

import (
	"os"
	"syscall"
)

// promptSignals are those that 'signal' of [[inputs.execd]] may name, but for
// SIGHUP, which also ends terminals.
var promptSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2}

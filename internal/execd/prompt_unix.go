//go:build unix

package execd

import (
	"os"
	"syscall"
)

// promptSignals are the signals that 'signal' of [[inputs.execd]] may name, except
// SIGHUP, which is also sent when a terminal is closed.
var promptSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2}

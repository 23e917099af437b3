//go:build !unix

package execd

import "os"

// promptSignals is empty: Telegraf sends no signals on this system.
var promptSignals []os.Signal

//go:build !unix

package execd

import "os"

// promptSignals are none: Telegraf knows no signals there.
var promptSignals []os.Signal

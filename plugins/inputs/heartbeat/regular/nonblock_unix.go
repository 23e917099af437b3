//go:build unix

package regular

import "syscall"

// nonblock keeps the open of a FIFO from waiting for a writer, and noctty a
// terminal from becoming ours: what was checked may have been replaced.
const nonblock = syscall.O_NONBLOCK | syscall.O_NOCTTY

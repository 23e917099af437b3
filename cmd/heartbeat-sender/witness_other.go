//go:build !linux

package main

import "syscall"

// A witness is not to be had here.
type witness struct{}

func newWitness() *witness { return nil }

func (*witness) saw(sig syscall.Signal) bool { return isFromKeys(sig) }

func isWitness() bool { return false }

//go:build !linux

// Package handover is only for Linux: on other systems nothing is handed over.
package handover

// Connections are always empty.
type Connections struct{}

// Take returns none.
func Take() Connections { return Connections{} }

// Resumed reports false: there was no previous program.
func (Connections) Resumed() bool { return false }

// Close does nothing.
func (Connections) Close() {}

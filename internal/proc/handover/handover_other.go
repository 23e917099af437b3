//go:build !linux

// Package handover is for Linux alone: elsewhere nothing is ever handed over.
package handover

// Connections are those that a former life has left: none.
type Connections struct{}

// Take returns none.
func Take() Connections { return Connections{} }

// Resumed reports that there was no former life.
func (Connections) Resumed() bool { return false }

// Close does nothing.
func (Connections) Close() {}

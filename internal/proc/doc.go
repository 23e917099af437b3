// Package proc reads what Linux tells of processes in /proc. Elsewhere nothing
// is told.
package proc

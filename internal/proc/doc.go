// Package proc reads what Linux says of processes in /proc; elsewhere it returns
// nothing. It knows numbers of processes, and never what they are for.
package proc

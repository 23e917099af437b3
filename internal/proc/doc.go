// Package proc reads what Linux says of processes in /proc, and asks Windows when they
// started; elsewhere it returns nothing. It knows numbers of processes, and never what they are for.
package proc

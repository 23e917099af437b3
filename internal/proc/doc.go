// Package proc reads data of processes from /proc on Linux, and asks Windows when they
// started. On other systems it returns nothing. It knows process IDs, and nothing about
// the purpose of the processes.
package proc

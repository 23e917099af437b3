// Package winservice makes a program a service of Windows and runs it as one. It knows the
// service manager and the event log, and never what the service does.
package winservice

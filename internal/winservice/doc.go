// Package winservice installs a program as a Windows service and runs it as one. It knows the
// service manager and the event log, and never what the service does.
package winservice

// Package e2e tests what users run: real processes, and a real Telegraf. It
// contains only tests.
//
// A collector is either a stock Telegraf with the sample.conf of the root
// directory, which starts telegraf-heartbeat, or a Telegraf that has the plugin
// compiled in. The tests know only the output, the exit code and the sockets of a
// process. "make test" builds the programs.
//
// All sockets are on loopback. The kernel chooses their ports, and the programs
// log them. Tests wait for the events that they expect, with a time limit that is
// far longer than needed. They never check how long something took.
package e2e

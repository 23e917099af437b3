// Package e2e tests what users run: real processes, and a real Telegraf. It
// holds tests only.
//
// A collector is either a stock Telegraf with the root sample.conf, which
// starts telegraf-heartbeat, or a Telegraf that has the plugin compiled in.
// Nothing here reaches into a process: of it are known its output, its exit code
// and its sockets. "make test" builds the programs.
//
// All sockets are on loopback, at ports of the kernel's choice that the
// programs tell in their logs. Tests wait for what has to come, with a limit
// far beyond what it takes; they never judge how long it took.
package e2e

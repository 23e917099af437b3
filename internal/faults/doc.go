// Package faults tests what the collector tells of real faults: processes that
// are killed or stopped, hosts that vanish or reboot, paths that lose packets.
// It holds tests only, which know programs and networks and never our code.
//
// Each test has three network namespaces of its own: the collector, a router
// and a host. The programs are the real ones, in bin; the faults are made by
// signals, by nft rules, queues and links of the router, by limits, and by a
// proxy. So the tests need Linux, root, ip, ss and tc (iproute2) and nft
// (nftables), and are skipped without them.
//
// Three collectors that know each other, each a Telegraf with the plugin compiled in,
// have a fleet: namespaces of their own, and hosts in two more, of which most are played
// by one program and ten are processes of heartbeat-sender. Hosts really die before each
// fault, in it and after it, and what all three have told is counted at the end: no
// death is false, none untold, each told once.
//
//	make build telegraf
//	go test -v -count=1 ./internal/faults
//	make faults
//
// The first takes a minute and a half, the second, which also takes the
// faults that last minutes, up to seven. Both print at their end a table, in
// Markdown, of the faults, how they were made, what was told of them and after
// what time; the second also says which tests make the others.
//
// Tests wait for what has to come. Where they judge a time, they allow ten
// times what it takes.
package faults

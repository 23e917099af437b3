// Package faults tests what the collector reports about real faults: processes that
// are killed or stopped, hosts that vanish or reboot, and paths that lose packets. It
// contains only tests. They use the built programs and real networks, and never import
// our code.
//
// Each test has three network namespaces: one for the collector, one for a router and
// one for a host. The programs are the ones in bin. The tests cause faults with signals,
// resource limits and a proxy, and in the router with nft rules, queues and links. So
// the tests need Linux, root, ip, ss and tc (iproute2) and nft (nftables). Without
// these, they are skipped.
//
// Some tests run a fleet with three collectors that know each other. Each is a Telegraf
// with the plugin compiled in. The collectors have their own namespaces. The hosts are
// in two more: one program plays most of them, and ten are processes of
// heartbeat-sender. Some hosts really die before, during and after each fault. At the
// end, the tests count what all three collectors have reported: they must have reported
// every real death exactly once, and no other death.
//
//	make build telegraf
//	go test -v -count=1 ./internal/faults
//	make faults
//
// The go test command takes a minute and a half. "make faults" takes up to seven
// minutes, because it includes the faults that last for minutes. At the end, both print
// a Markdown table of the faults: how each was caused, what the collector reported, and
// how long that took. The table of "make faults" also names the tests that cause the
// remaining faults.
//
// Tests wait for the events that they expect. Where they check a time, they allow ten
// times as long as it usually takes.
package faults

// Package faults tests what the collector tells of real faults: processes that
// are killed or stopped, hosts that vanish or reboot, paths that lose packets.
// It holds tests only.
//
// Each test has three network namespaces of its own: the collector, a router
// and a host. The programs are the real ones, in bin; the faults are made by
// signals and by nft rules and links of the router. So the tests need Linux,
// root, ip and ss (iproute2) and nft (nftables), and are skipped without them.
//
//	make build
//	go test -v -count=1 ./internal/faults
//	go test -v -timeout 20m ./internal/faults -long
//
// The first run takes a minute, the second, which also takes the cuts that
// last minutes, up to five. With -v they print at their end a table, in
// Markdown, of the faults, what was told of them and after what time.
//
// Tests wait for what has to come. Where they judge a time, they allow ten
// times what it takes.
package faults

// Package systemd tests the units of the package heartbeat-sender as they are
// shipped, under a systemd that is process 1 of namespaces of its own, and the
// scripts for OpenRC and runit under those. It holds tests only, which know units
// and programs and never our code.
//
// Each machine has the programs below /usr of this one, an /etc that is written
// anew, a network without anybody else, and a control group. It sees no process,
// mount or unit of this machine, and cannot change a setting of its kernel. A
// collector beside it hears what its units tell. So the tests need Linux, root,
// Debian's systemd, dbus and iproute2, and are skipped without them. The other two
// inits are those of "make servers".
//
//	make build
//	go test -v -count=1 ./internal/systemd
//
// That takes about a minute and a half, most of it for a timer that beats every
// minute. TestRollout beside it runs the playbook of deploy/ansible against a
// collector and three hosts in a network of their own, or against as many as -hosts
// says. It needs Debian's ansible-core, python3-apt and curl.
package systemd

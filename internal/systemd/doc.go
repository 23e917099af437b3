// Package systemd tests the units of the package heartbeat-sender as they are
// shipped. They run under a systemd that is process 1 in namespaces of its own.
// The scripts for OpenRC and runit run under those init systems in the same way.
// The package contains only tests. They know units and programs, and never import
// our code.
//
// Each test machine has the programs below /usr of this machine, a new /etc, an
// empty network of its own, and a control group. It sees no process, mount or
// unit of this machine, and cannot change a setting of its kernel. A collector
// beside the test machine receives what the units send. So the tests need Linux,
// root, and Debian's systemd, dbus and iproute2. Without these, they are skipped.
// "make servers" installs the other two init systems.
//
//	make build
//	go test -v -count=1 ./internal/systemd
//
// That takes about a minute and a half, most of it for a timer that beats every
// minute. With the flag -hosts N, TestRollout in the same package also runs the
// playbook of deploy/ansible against a collector and N hosts in a network of
// their own. It needs Debian's ansible-core, python3-apt and curl.
package systemd

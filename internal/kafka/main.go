// Command kafka is an engine that speaks Kafka's protocol, for tests: a broker in one
// process, which keeps its topics and the offsets of its consumers in a directory. It is
// kfake of franz-go. It knows the protocol, and never what its messages say. It has a go.mod
// of its own, so that what it needs is nothing that the project needs; "make servers" builds it.
//
//	kafka ADDRESS DIRECTORY
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kafka ADDRESS DIRECTORY")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

// serve serves until the process is told to end.
func serve(address, dir string) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, address) }),
		kfake.DataDir(dir),
		kfake.SyncWrites(), // it may be killed
		kfake.AllowAutoTopicCreation(),
		kfake.DefaultNumPartitions(1),
	)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	fmt.Println("listening on", cluster.ListenAddrs()[0])
	<-ended
	cluster.Close()
	return nil
}

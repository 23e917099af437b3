// Command kafka is a message broker for tests that speaks Kafka's protocol. It is a single
// process that stores topics and the offsets of consumers in a directory. It uses kfake from
// franz-go. It knows the protocol, and nothing about the content of the messages. It has its own go.mod,
// so that the project does not need its dependencies; "make servers" builds it.
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

// serve runs the broker until the process gets a signal to end.
func serve(address, dir string) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, address) }),
		kfake.DataDir(dir),
		kfake.SyncWrites(), // tests may kill it
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

package sender_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/sender"
)

// An application beats for itself. If it is killed, its connection ends with
// it, and it is dead a few seconds later.
func Example() {
	collector := startCollector()

	ctx, stop := context.WithCancel(context.Background())
	s := &sender.Sender{
		Servers:  []string{"tcp://" + collector.address},
		Interval: 10 * time.Second,
		Peers:    []sender.Peer{sender.Self("web-1", "shop")},
	}
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()

	fmt.Println(<-collector.heard) // here the application does its work
	stop()
	fmt.Println(<-collector.heard)
	fmt.Println(<-done)
	// Output:
	// shop on web-1 is alive
	// shop on web-1 is leaving
	// <nil>
}

// A nightly job beats once a day, and may be an hour late. The error says
// whether a collector has it.
func ExampleSender_Once() {
	collector := startCollector()

	s := &sender.Sender{
		Servers:  []string{"tcp://" + collector.address},
		Interval: 24 * time.Hour,
		Peers:    []sender.Peer{{Host: "db-1", Service: "backup", Grace: time.Hour}},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- s.Once(ctx) }()
	fmt.Println(<-collector.heard)
	err := <-done
	var refused *sender.RefusedError
	if errors.As(err, &refused) {
		fmt.Printf("refused: %q\n", refused.Text) // another try would not help
	}
	fmt.Println(err)
	// Output:
	// backup on db-1 is alive
	// <nil>
}

// A program that watches another process reports at once how that ended.
func ExampleSender_Update() {
	collector := startCollector()

	worker := sender.Peer{Host: "web-1", Service: "worker", PID: 4711, Watched: true}
	s := &sender.Sender{
		Servers:  []string{"tcp://" + collector.address},
		Interval: 10 * time.Second,
		Peers:    []sender.Peer{worker},
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	fmt.Println(<-collector.heard)

	worker.Status, worker.Exit = sender.StatusDead, sender.Exit{Signal: "SIGKILL"}
	if err := s.Update(worker); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-collector.heard)
	stop()
	<-done
	// Output:
	// worker on web-1 is alive
	// worker on web-1 is dead
}

// A check asks a collector what it makes of a peer, and leaves no trace there.
func ExampleSender_Check() {
	collector := startCollector()
	go func() { <-collector.heard }()

	s := &sender.Sender{
		Servers:  []string{"tcp://" + collector.address},
		Interval: 10 * time.Second,
		Peers:    []sender.Peer{sender.Host("web-1")},
	}
	x := s.Check(context.Background(), s.Servers[0])
	if x.Err != nil {
		fmt.Println(x.Err)
		return
	}
	for _, answer := range x.Answers {
		fmt.Println("dead after", answer.DeadAfter, "by the rule", answer.Rule)
	}
	// Output:
	// dead after 35s by the rule interval
}

package sender_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
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

// An exampleCollector serves one connection as inputs.heartbeat does.
type exampleCollector struct {
	address string
	heard   chan string
}

func startCollector() exampleCollector {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	c := exampleCollector{listener.Addr().String(), make(chan string)}
	go func() { // ends with the connection
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		listener.Close()
		frames := wire.NewReader(conn, wire.DefaultMaxFrame)
		for {
			payload, err := frames.Next()
			if err != nil {
				return
			}
			beat, err := wire.Decode(payload)
			if err != nil {
				panic(err)
			}
			c.heard <- fmt.Sprintf("%s on %s is %s", beat.Service, beat.Host, beat.Status)
			answer := wire.Answer{Seq: beat.Seq, ID: beat.Host + "/" + beat.Service}
			conn.Write(wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))) //nolint:errcheck // the sender would dial anew
		}
	}()
	return c
}

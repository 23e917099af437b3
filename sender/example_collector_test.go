package sender_test

import (
	"fmt"
	"net"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

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
			answer := wire.Answer{Seq: beat.Seq, ID: beat.Host + "/" + beat.Service, Rule: "interval", DeadAfterMS: 35000}
			conn.Write(wire.AppendFrame(nil, wire.AppendAnswer(nil, &answer))) //nolint:errcheck // the sender would dial anew
		}
	}()
	return c
}

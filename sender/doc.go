// Package sender beats for hosts and services: it tells one or several
// collectors that they are alive, and when they end.
//
//	s := sender.Sender{
//		Servers:  []string{"tcp://collector.example.com:7878"},
//		Interval: 10 * time.Second,
//		Peers:    []sender.Peer{sender.Self("web-1", "shop")},
//	}
//	err := s.Run(ctx) // beats until ctx ends, then says goodbye
//
// It never decides who is alive; the collector does.
package sender

// Package sender beats for a host or a service: it tells one or several
// collectors that it is alive, and when it ends on purpose.
//
//	s := sender.Sender{
//		Servers:  []string{"tcp://collector.example.com:7878"},
//		Interval: 10 * time.Second,
//		Peer:     sender.Self("web-1", "shop"),
//	}
//	err := s.Run(ctx) // beats until ctx ends, then says goodbye
//
// It never decides who is alive; the collector does.
package sender

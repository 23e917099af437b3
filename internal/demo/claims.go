package main

const (
	beat  = "heartbeat"
	event = "heartbeat_event"
	down  = "heartbeat_down"
	peer  = "heartbeat_peer"
)

// births are written when everybody has begun to beat.
var births = []claim{
	{"nginx on web-1 is alive", event, tags{"source": "web-1", "service": "nginx", "state": "alive", "reason": "beat"}, nil},
	{"nginx on web-2 is alive", event, tags{"source": "web-2", "service": "nginx", "state": "alive", "reason": "beat"}, nil},
	{"each beat is a metric", beat, tags{"source": "web-1", "service": "nginx"}, fields{"status": "alive", "interval_seconds": 1.0}},
	{"web-2 stays connected", beat, tags{"source": "web-2"}, fields{"seq": int64(3)}},
	{"the article's client is alive, known by ip and pid", event, tags{"ip": "10.0.0.5", "pid": "4711", "state": "alive"}, nil},
	{"the cron job is alive", event, tags{"source": "web-3", "service": "host", "state": "alive"}, nil},
}

// ends are written when one has stopped and another was killed.
var ends = []claim{
	{"it said goodbye: left, which alarms nobody", event, tags{"source": "web-1", "state": "left", "reason": "leaving"}, nil},
	{"its connection was closed without goodbye: suspect at once", event, tags{"source": "web-2", "state": "suspect", "reason": "conn_closed"}, nil},
	{"and it is not heard any more: dead", event, tags{"source": "web-2", "state": "dead", "previous": "suspect", "reason": "conn_closed"}, nil},
	{"who is down, since when and why, is one row", down, tags{"source": "web-2", "service": "nginx", "state": "dead", "reason": "conn_closed"}, nil},
}

// gathered is written every interval.
var gathered = []claim{
	{
		"web-2 is dead, once", peer,
		tags{"source": "web-2", "service": "nginx"},
		fields{"alive": int64(0), "dead": int64(1), "deaths_total": int64(1)},
	},
	{
		"web-1 is neither alive nor dead, and never was dead", peer,
		tags{"source": "web-1", "service": "nginx"},
		fields{"alive": int64(0), "dead": int64(0), "deaths_total": int64(0)},
	},
	{
		"the cron job is one peer: three beats, no restart", peer,
		tags{"source": "web-3", "service": "host"},
		fields{"alive": int64(1), "beats_total": int64(3), "restarts_total": int64(0)},
	},
	{"the article's client is alive", peer, tags{"ip": "10.0.0.5", "pid": "4711"}, fields{"alive": int64(1), "dead": int64(0)}},
	{"one is dead, as the collector counts", "heartbeat_collector", tags{"state": "dead"}, fields{"peers": int64(1)}},
	{"the collector has refused nothing", "heartbeat_collector", nil, fields{"refused_total": int64(0)}},
	{"what came in at the socket", "heartbeat_listener", tags{"address": "tcp://[::]:7878"}, fields{"connections": int64(1)}},
}

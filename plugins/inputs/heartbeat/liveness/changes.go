package liveness

import "time"

// Changes are what a saving has to take up, as of one instant. Changes without
// records say that until then there were none.
type Changes struct {
	At       time.Time
	Listened time.Duration // for how long was listened until At
	Gone     []ID          // under which no peer is known any more; before Records
	Records  []Record
	More     bool // others follow at once: all may be written together
	End      bool // the collector stops
}

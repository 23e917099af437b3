package cluster

import "time"

// A Circle is what a Cluster decides, without a bus and a clock: simulations and models
// lead its messages and let its time pass. Its methods must not be called concurrently.
type Circle struct{ circle *circle }

// NewCircle returns the Circle of a collector that starts now. Of the options it takes
// those that are not about the bus. start has to be another number in each start. send is
// called with each message, which is for all other collectors.
func NewCircle(o *Options, start uint64, now time.Time, send func(message []byte)) Circle {
	return Circle{newCircle(o, start, now, send)}
}

// Tick lets time pass. It is to be called ten times a second, and at once when the peers
// have something to say.
func (c Circle) Tick(now time.Time) { c.circle.tick(now) }

// Receive takes in a message of another collector.
func (c Circle) Receive(message []byte, now time.Time) { c.circle.receive(message, now) }

// Status returns how it stands with the mates; Asked and Spared are not counted.
func (c Circle) Status() Status { return c.circle.status }

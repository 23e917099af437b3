package serve

import (
	"errors"
	"os"
	"time"
)

// greetAfter is how long a connection may be silent before it is greeted: its
// client may be waiting for that.
const greetAfter = time.Second

// greets reports whether this connection may still have to be greeted.
func (c *conn) greets() bool {
	return !c.greeted && c.listener.server.options.Welcome != "" && c.listener.secure == nil
}

// startGreeting has the connection greeted if it stays silent. Its first payload
// is due as before.
func (c *conn) startGreeting() {
	early := time.Now().Add(greetAfter)
	if !c.greets() || !early.Before(c.due) {
		return
	}
	c.early = true
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(early)
}

// goesOn reports whether reading goes on after err, as that is only the deadline
// of startGreeting: nothing has come yet, or nothing that was accepted.
func (c *conn) goesOn(err error) bool {
	if !c.early || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	//nolint:errcheck // see startClock
	c.stream.SetReadDeadline(c.due)
	c.early = false
	if !c.reader.Framed() && !c.reader.Started() {
		//nolint:errcheck // reading will say what is wrong
		c.greet()
	}
	return true
}

// greetBare greets once it is known that the stream is bare: to a reader of
// frames it would be garbage.
func (c *conn) greetBare() error {
	if !c.reader.Bare() {
		return nil
	}
	return c.greet()
}

// greet sends the welcome, once.
func (c *conn) greet() error {
	if !c.greets() {
		return nil
	}
	c.greeted = true
	return c.send([]byte(c.listener.server.options.Welcome))
}

//go:build !unix

package heartbeat

// eachTime calls takeIn, which waits by itself.
func (c *conn) eachTime(takeIn func() error) error { return takeIn() }

func (c *conn) read(p []byte) (int, error) { return c.Read(p) }

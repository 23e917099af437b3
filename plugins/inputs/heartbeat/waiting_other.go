//go:build !unix

package heartbeat

func (c *conn) eachTime() error { return c.takeInWaiting() }

func (c *conn) read(p []byte) (int, error) { return c.Read(p) }

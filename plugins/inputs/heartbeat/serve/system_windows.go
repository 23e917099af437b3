package serve

// connectionLimit returns how many connections may be open; 0 stands for no
// limit. Windows has no limit of descriptors that is worth asking for.
func connectionLimit(configured int) int64 {
	if configured == 0 {
		return 1 << 62
	}
	return int64(configured)
}

func (c *conn) readEachTime() error { return c.readWaiting() }

func (c *conn) read(p []byte) (int, error) { return c.stream.Read(p) }

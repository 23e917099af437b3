package serve

// connectionLimit returns how many connections may be open; 0 stands for no
// limit. Windows has no limit of descriptors that is worth asking for.
func connectionLimit(configured int) int64 {
	if configured == 0 {
		return 1 << 62
	}
	return int64(configured)
}

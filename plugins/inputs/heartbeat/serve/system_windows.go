package serve

// connectionLimit returns how many connections may be open; configured is 0 for no limit. Windows
// has no limit on descriptors that matters here.
func connectionLimit(configured int) int64 {
	if configured == 0 {
		return 1 << 62
	}
	return int64(configured)
}

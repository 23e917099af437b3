package serve

import (
	"errors"
	"net"
)

// connectionLimit returns how many connections may be open; 0 stands for no
// limit. Windows has no limit of descriptors that is worth asking for.
func connectionLimit(configured int) int64 {
	if configured == 0 {
		return 1 << 62
	}
	return int64(configured)
}

// whenReadable cannot wait for a stream without reading it.
func whenReadable(net.Conn, func(fd uintptr) error) (ok bool, waiting, failed error) {
	return false, nil, nil
}

func readNow(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

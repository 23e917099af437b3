package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// isAbstract tells whether a unix socket is in no file system (unix(7)).
func isAbstract(path string) bool { return strings.HasPrefix(path, "@") }

// removeStale removes the socket that a process left which is no more. Nothing
// else is ever removed: neither another file nor a socket somebody listens on.
func removeStale(network, path string) error {
	info, err := os.Lstat(path)
	switch {
	case isAbstract(path), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%q is there, and no socket", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("somebody listens on %q", path)
	case errors.Is(err, fs.ErrPermission): // so somebody may
		return err
	}
	return os.Remove(path)
}

// removeSocket removes what the runtime leaves: the file of a datagram socket.
func removeSocket(addr net.Addr) {
	if unix, ok := addr.(*net.UnixAddr); ok && !isAbstract(unix.Name) {
		os.Remove(unix.Name) // if that fails, the next start does it
	}
}

func setMode(path, mode string) error {
	if mode == "" || isAbstract(path) {
		return nil
	}
	bits, err := strconv.ParseUint(mode, 8, 9)
	if err != nil {
		return err
	}
	return os.Chmod(path, fs.FileMode(bits))
}

package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
)

// networks are the schemes of addresses.
var networks = []string{"tcp", "tcp4", "tcp6", "tls", "udp", "udp4", "udp6", "unix", "unixgram", "http", "https"}

func isUnix(network string) bool { return network == "unix" || network == "unixgram" }

func isDatagram(network string) bool {
	return strings.HasPrefix(network, "udp") || network == "unixgram"
}

// SplitAddress returns the network and the address of a URL like tcp://:7878. The text of
// its error continues a sentence that begins with the URL.
func SplitAddress(url string) (network, address string, err error) {
	scheme, address, ok := strings.Cut(url, "://")
	if !ok {
		return "", "", fmt.Errorf("lacks a scheme: write \"tcp://%s\"", url)
	}
	if !slices.Contains(networks, scheme) {
		return "", "", fmt.Errorf("has scheme %q: use one of %s", scheme, strings.Join(networks, ", "))
	}
	if isUnix(scheme) {
		if address == "" {
			return "", "", fmt.Errorf("has no path: write \"%s:///run/telegraf/heartbeat.sock\"", scheme)
		}
		return scheme, address, nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("is not an address with a port: write \"%s://:7878\"", scheme)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("has port %q: use 0 to 65535", port)
	}
	return scheme, address, nil
}

// ParseSocketMode parses the permissions of a Unix socket in chmod's form, like "0660".
func ParseSocketMode(mode string) (fs.FileMode, error) {
	bits, err := strconv.ParseUint(mode, 8, 9)
	return fs.FileMode(bits), err
}

// isAbstract reports whether a Unix socket has no file (unix(7)).
func isAbstract(path string) bool { return strings.HasPrefix(path, "@") }

// ListenUnix listens on a Unix socket with that mode. It replaces a socket that an ended
// process left behind.
func ListenUnix(path, mode string) (net.Listener, error) {
	if err := removeStale("unix", path); err != nil {
		return nil, err
	}
	socket, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := setOwnerAndMode(path, mode); err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}

// removeStale removes a socket that an ended process left behind. It never removes another
// file, or a socket on which a process listens.
func removeStale(network, path string) error {
	info, err := os.Lstat(path)
	switch {
	case isAbstract(path), errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%q exists and is not a socket", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("another process listens on %q", path)
	case errors.Is(err, fs.ErrPermission): // a process may be listening
		return err
	}
	return os.Remove(path)
}

// removeSocket removes the file of a datagram socket: Go's runtime does not remove it.
func removeSocket(addr net.Addr) {
	if unix, ok := addr.(*net.UnixAddr); ok && !isAbstract(unix.Name) {
		os.Remove(unix.Name) // if that fails, the next start removes it
	}
}

// setOwnerAndMode sets the owner and the mode of a new socket.
func setOwnerAndMode(path, mode string) error {
	if isAbstract(path) {
		return nil
	}
	regular.GiveAway(path)
	if mode == "" {
		return nil
	}
	bits, err := ParseSocketMode(mode)
	if err != nil {
		return err
	}
	return os.Chmod(path, bits)
}

// ipOf returns the IP address of addr; it is invalid for a Unix socket.
func ipOf(addr net.Addr) netip.Addr {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return addr.AddrPort().Addr().Unmap().WithZone("")
	case *net.UDPAddr:
		return addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// nameOf returns the name of the other side for messages.
func nameOf(addr net.Addr) string {
	if _, ok := addr.(*net.UnixAddr); ok {
		return "a unix socket"
	}
	return addr.String()
}

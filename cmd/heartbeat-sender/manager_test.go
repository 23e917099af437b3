package main

import (
	"net"
	"os"
	"path/filepath"
	"sync"
)

// A fakeManager writes what it is notified of to a file, as lines.
type fakeManager struct {
	path string
	conn *net.UnixConn
	wg   sync.WaitGroup
}

func startManager(file string) (*fakeManager, error) {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "notify") // the path of a socket has to be short
	if err != nil {
		return nil, err
	}
	m := &fakeManager{path: filepath.Join(dir, "socket")}
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		return nil, err
	}
	m.wg.Go(func() { m.listen(file) }) // ends when stop closes the socket
	return m, nil
}

func (m *fakeManager) listen(file string) {
	buffer := make([]byte, 4<<10)
	for {
		n, err := m.conn.Read(buffer)
		if err != nil {
			return
		}
		to, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			panic(err)
		}
		to.Write(append(buffer[:n:n], '\n')) //nolint:errcheck // the test would miss it
		to.Close()
	}
}

func (m *fakeManager) stop() {
	m.conn.Close()
	m.wg.Wait()
	os.RemoveAll(filepath.Dir(m.path))
}

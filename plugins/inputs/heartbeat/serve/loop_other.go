//go:build !linux || goroutines

package serve

import (
	"errors"
	"net"
)

// loops is not used on this system: each connection has a goroutine.
type loops struct{}

func openLoops(*listener) *loops { return nil }

func (*loops) accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (*loops) start(*listener)           {}
func (*loops) add(*conn)                 {}
func (*loops) end()                      {}
func (*loops) close()                    {}

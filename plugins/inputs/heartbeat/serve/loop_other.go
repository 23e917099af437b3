//go:build !linux || goroutines

package serve

import (
	"errors"
	"net"
)

// loops serve connections without a goroutine for each, but not on this system.
type loops struct{}

func openLoops(*listener) *loops { return nil }

func (*loops) accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (*loops) start(*listener)           {}
func (*loops) add(*conn)                 {}
func (*loops) end()                      {}
func (*loops) close()                    {}

//go:build !linux

package heartbeat

import (
	"net"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// apply sets p on a connection.
func (p probing) apply(socket *net.TCPConn) error { return socket.SetKeepAliveConfig(p.config()) }

// ask knows nothing: only Linux is asked.
func (probing) ask(*net.TCPConn) liveness.Path { return liveness.PathUnknown }

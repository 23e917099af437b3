package liveness

import "strconv"

// HostService is the service name of a host's own peer.
const HostService = "host"

// An ID tells one peer from another. It is the host or else the address, and
// the service or else the pid: whoever names its service stays the same peer
// when its process is another one.
type ID struct {
	Source  string // host name in lower case, else the address
	Service string // empty for a peer that is known by its pid
	PID     uint32 // 0 for a peer that names its service
}

// NewID returns whom a beat is about. source is its host or else its address;
// without either a beat is nobody's, and NewID reports false. Of a beat that
// names no service, pid 0 is the host itself.
func NewID(source, service string, pid uint32) (ID, bool) {
	id := ID{Source: source, Service: service}
	switch {
	case service != "":
	case pid == 0:
		id.Service = HostService
	default:
		id.PID = pid
	}
	return id, source != ""
}

// Nameless tells whether id is known by its pid only.
func (id ID) Nameless() bool { return id.Service == "" }

// String returns web-1/nginx, or 10.0.0.5/4711 for a nameless peer.
func (id ID) String() string {
	if id.Nameless() {
		return id.Source + "/" + strconv.FormatUint(uint64(id.PID), 10)
	}
	return id.Source + "/" + id.Service
}

// Package page shows peers: to people as one page, to programs as JSON. It knows how they
// are ordered, searched and printed, and never how they are judged, what a socket is or who
// may read.
package page

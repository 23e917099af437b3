package heartbeat

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// refusePlaintext says what came in place of TLS, and tells a sender of frames:
// it would only see its connection end.
func (c *conn) refusePlaintext(first tls.RecordHeaderError) {
	refusal := plaintext(string(first.RecordHeader[:]))
	c.listener.refuse(refusal.Reason, c.from(), refusal.Text)
	if first.RecordHeader[0] != 0 {
		return
	}
	answer := wire.AppendAnswer(nil, &wire.Answer{Error: refusal.Text, NowMS: time.Now().UnixMilli()})
	//nolint:errcheck // the connection ends anyway
	c.socket.Write(wire.AppendFrame(nil, answer))
}

// plaintext names who speaks no TLS on a port that is for TLS alone, by the first
// bytes, as many as a record's header has.
func plaintext(first string) *wire.Refusal {
	switch {
	case first[0] == 0:
		return &wire.Refusal{Reason: reasonHandshake, Text: "a sender without TLS on a TLS port: write tls:// instead of tcp:// in its URL"}
	case first == "PROXY", first == "\r\n\r\n\x00":
		return &wire.Refusal{Reason: wire.ReasonProxy, Text: "the PROXY protocol before TLS: switch it off for this port in the proxy or load balancer"}
	case strings.TrimLeft(first, " \t\r\n") == "", strings.TrimLeft(first, " \t\r\n")[0] == '{':
		return &wire.Refusal{Reason: reasonHandshake, Text: "bare JSON without TLS on a TLS port"}
	case beginsRequest(first):
		return &wire.Refusal{Reason: wire.ReasonHTTP, Text: "an HTTP client without TLS on a TLS port"}
	}
	return &wire.Refusal{Reason: reasonHandshake, Text: fmt.Sprintf("connection begins with %q: no TLS, on a TLS port", first)}
}

// beginsRequest reports whether an HTTP request may begin so.
func beginsRequest(first string) bool {
	methods := []string{"GET /", "POST /", "PUT /", "HEAD /", "PATCH /", "DELETE /", "OPTIONS ", "CONNECT ", "TRACE "}
	return slices.ContainsFunc(methods, func(method string) bool { return strings.HasPrefix(method, first) })
}

// Package verify decides whether to trust a beat. It checks the signature, the recipient, and
// whether host, address and pid match the connection. It knows the options and files for these
// checks, and never which peers are alive.
package verify

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// Reasons for which this package refuses beats, in addition to wire.ReasonSignature.
const (
	ReasonUnsigned  wire.Reason = "unsigned"  // the beat is not signed, but must be
	ReasonRecipient wire.Reason = "recipient" // the beat is for another collector
	ReasonHost      wire.Reason = "host"      // the host is not verified
	ReasonIP        wire.Reason = "ip"        // the address is not the address of the connection
	ReasonPID       wire.Reason = "pid"       // the pid is not the pid of the sending process
)

// Reasons returns all reasons of this package.
func Reasons() []wire.Reason {
	return []wire.Reason{ReasonUnsigned, ReasonRecipient, ReasonHost, ReasonIP, ReasonPID}
}

// Rules are the checks that beats must pass.
type Rules struct {
	Keys      *Keys
	Host      bool // the key or certificate of a beat must belong to its host
	IP        bool // the address in a beat must be the address of its connection
	Signature bool
	Recipient *Recipient
}

// A Speaker describes the other end of a connection, or the sender of a datagram, as far as it is
// verified.
type Speaker struct {
	Certificate *x509.Certificate // verified; nil for none
	Remote      netip.Addr        // invalid on Unix sockets
	PID         uint32            // in our namespace; 0 if unknown
	Datagram    bool              // no answer is possible
}

// Read decodes a payload into said. It returns the id of the key that signed the payload, or "" if
// it is not signed. If the beat must not be trusted, it returns a refusal.
func (r *Rules) Read(payload []byte, d *wire.Decoder, said *wire.Latest, from *Speaker) (signer string, refusal *wire.Refusal) {
	object, signer, refusal := r.Keys.verifySignature(payload)
	if refusal != nil {
		return "", refusal
	}
	if err := d.Decode(object, said); err != nil {
		return "", wire.AsRefusal(err)
	}
	if refusal := r.checkSigned(&said.Beat, signer, from); refusal != nil {
		return "", refusal
	}
	return signer, r.checkSource(&said.Beat, signer, from)
}

// Check returns a refusal if b, which is not signed, must not be trusted, or nil.
func (r *Rules) Check(b *wire.Beat, from *Speaker) *wire.Refusal {
	if refusal := r.checkSigned(b, "", from); refusal != nil {
		return refusal
	}
	return r.checkSource(b, "", from)
}

// checkSource returns a refusal if the host, address or pid in b does not match the source of b, or
// nil.
func (r *Rules) checkSource(b *wire.Beat, signer string, from *Speaker) *wire.Refusal {
	switch {
	case r.Host && b.Host == "":
		return newRefusal(ReasonHost, "host: missing, but 'host_from' requires it")
	case r.Host && signer != b.Host && !certifies(from.Certificate, b.Host):
		return newRefusal(ReasonHost, "host: %q is not the host of the certificate or signature ('host_from')", b.Host)
	case r.IP && b.IP.IsValid() && b.IP != from.Remote:
		return newRefusal(ReasonIP, "ip: a beat for %s came from %s ('ip_from')", b.IP, from.place())
	case r.IP && b.HostAddr().IsValid() && b.HostAddr() != from.Remote:
		return newRefusal(ReasonIP, "host: a beat for the address %s came from %s ('ip_from')", b.Host, from.place())
	case from.PID != 0 && b.PID != 0 && !b.Watched && !hasPID(from.PID, b.PID):
		return newRefusal(ReasonPID, "pid: %d is not the pid of the sending process, %d", b.PID, from.PID)
	}
	return nil
}

// checkSigned checks that a beat is signed if required, and that a signed beat has all members that
// it needs. The signature itself must have been checked before.
func (r *Rules) checkSigned(b *wire.Beat, signer string, from *Speaker) *wire.Refusal {
	switch {
	case signer == "" && r.Signature:
		return newRefusal(ReasonUnsigned, "beat is not signed ('require_signature')")
	case signer == "":
		return nil
	case b.Run == "" || b.Seq == 0 || b.SentMS == 0:
		return newRefusal(wire.ReasonMissing, "run, seq, sent_ms: a signed beat needs all three")
	case b.Service == "" && b.PID != 0:
		return newRefusal(wire.ReasonMissing, "service: missing, a signed beat needs a service unless its pid is 0")
	}
	if text := r.Recipient.refusalText(b.To, from.Datagram); text != "" {
		return newRefusal(ReasonRecipient, "%s", text)
	}
	return nil
}

func newRefusal(reason wire.Reason, format string, args ...any) *wire.Refusal {
	return &wire.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

func (s *Speaker) place() string {
	if !s.Remote.IsValid() {
		return "a unix socket"
	}
	return s.Remote.String()
}

// certifies reports whether a certificate is valid for a host. The certificate must have the host
// as a DNS name (possibly with a wildcard), as an address, or as its common name.
func certifies(certificate *x509.Certificate, host string) bool {
	if certificate == nil {
		return false
	}
	name, err := wire.Host(certificate.Subject.CommonName)
	return certificate.VerifyHostname(host) == nil || err == nil && name == host
}

// hasPID reports whether number is one of the pids of a process, whose pid in our namespace is pid.
// On Linux, a process in a container has another pid there.
func hasPID(pid, number uint32) bool {
	if pid == number {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && hasNSpid(string(status), number)
}

// hasNSpid reports whether pid is in the line NSpid of status. That line lists the pids of a
// process, from the outermost namespace to the innermost (proc(5)).
func hasNSpid(status string, pid uint32) bool {
	_, rest, _ := strings.Cut(status, "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return slices.Contains(strings.Fields(line), strconv.FormatUint(uint64(pid), 10))
}

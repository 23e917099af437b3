// Package verify decides whether what a beat says of itself may be believed: who
// signed it, which collector it is for, and whether host, address and pid are those
// that its connection shows. It knows the files and options of that, and never who
// is alive.
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

// Why this package refuses, beside wire.ReasonSignature.
const (
	ReasonUnsigned  wire.Reason = "unsigned"  // though it has to be signed
	ReasonRecipient wire.Reason = "recipient" // it is for another collector
	ReasonHost      wire.Reason = "host"      // not one that was verified
	ReasonIP        wire.Reason = "ip"        // not that of the connection
	ReasonPID       wire.Reason = "pid"       // not that of the other process
)

// Reasons returns all of them.
func Reasons() []wire.Reason {
	return []wire.Reason{ReasonUnsigned, ReasonRecipient, ReasonHost, ReasonIP, ReasonPID}
}

// Rules say what has to be shown.
type Rules struct {
	Keys      *Keys
	Host      bool // a beat's host has certified or signed it
	IP        bool // a beat's address is that of its connection
	Signature bool
	Recipient *Recipient
}

// A Speaker is the other side of a connection, or the sender of a datagram, as far
// as that is certain.
type Speaker struct {
	Certificate *x509.Certificate // verified; nil for none
	Remote      netip.Addr        // invalid on Unix sockets
	PID         uint32            // in our namespace; 0 if the kernel does not say
	Datagram    bool              // it cannot be answered
}

// Read reads a payload into said, and returns the id of the key that has signed it, or ""
// if none has, or why it may not be believed.
func (r *Rules) Read(payload []byte, d *wire.Decoder, said *wire.Latest, from *Speaker) (signer string, refusal *wire.Refusal) {
	object, signer, refusal := r.Keys.open(payload)
	if refusal != nil {
		return "", refusal
	}
	if err := d.Decode(object, said); err != nil {
		return "", wire.AsRefusal(err)
	}
	if refusal := r.checkSigned(&said.Beat, signer, from); refusal != nil {
		return "", refusal
	}
	return signer, r.checkSpeaker(&said.Beat, signer, from)
}

// Check returns why a beat that nobody has signed may not be believed, or nil.
func (r *Rules) Check(b *wire.Beat, from *Speaker) *wire.Refusal {
	if refusal := r.checkSigned(b, "", from); refusal != nil {
		return refusal
	}
	return r.checkSpeaker(b, "", from)
}

// checkSpeaker returns why b may not be believed of whom it comes from, or nil.
func (r *Rules) checkSpeaker(b *wire.Beat, signer string, from *Speaker) *wire.Refusal {
	switch {
	case r.Host && b.Host == "":
		return refuse(ReasonHost, "host: missing, but 'host_from' requires it")
	case r.Host && signer != b.Host && !certifies(from.Certificate, b.Host):
		return refuse(ReasonHost, "host: %q is not the host of the certificate or signature ('host_from')", b.Host)
	case r.IP && b.IP.IsValid() && b.IP != from.Remote:
		return refuse(ReasonIP, "ip: a beat for %s came from %s ('ip_from')", b.IP, from.place())
	case r.IP && b.HostAddr().IsValid() && b.HostAddr() != from.Remote:
		return refuse(ReasonIP, "host: a beat for the address %s came from %s ('ip_from')", b.Host, from.place())
	case from.PID != 0 && b.PID != 0 && !b.Watched && !isCalled(from.PID, b.PID):
		return refuse(ReasonPID, "pid: %d is not the pid of the sending process, %d", b.PID, from.PID)
	}
	return nil
}

// checkSigned checks what a signature asks of a beat. The signature itself is
// right.
func (r *Rules) checkSigned(b *wire.Beat, signer string, from *Speaker) *wire.Refusal {
	switch {
	case signer == "" && r.Signature:
		return refuse(ReasonUnsigned, "beat is not signed ('require_signature')")
	case signer == "":
		return nil
	case b.Run == "" || b.Seq == 0 || b.SentMS == 0:
		return refuse(wire.ReasonMissing, "run, seq, sent_ms: a signed beat needs all three")
	case b.Service == "" && b.PID != 0:
		return refuse(wire.ReasonMissing, "service: a signed beat needs it unless pid is 0")
	}
	if text := r.Recipient.refuses(b.To, from.Datagram); text != "" {
		return refuse(ReasonRecipient, "%s", text)
	}
	return nil
}

func refuse(reason wire.Reason, format string, args ...any) *wire.Refusal {
	return &wire.Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

func (s *Speaker) place() string {
	if !s.Remote.IsValid() {
		return "a unix socket"
	}
	return s.Remote.String()
}

// certifies reports whether a certificate is that of a host: by a DNS name, which
// may hold a wildcard, by an address, or by its common name.
func certifies(certificate *x509.Certificate, host string) bool {
	if certificate == nil {
		return false
	}
	name, err := wire.Host(certificate.Subject.CommonName)
	return certificate.VerifyHostname(host) == nil || err == nil && name == host
}

// isCalled reports whether a process goes by a number, here or in a container of its
// own. Only Linux has such containers.
func isCalled(pid, number uint32) bool {
	if pid == number {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && hasNSpid(string(status), number)
}

// hasNSpid reports whether pid is one of the numbers that a status names, from the
// outermost namespace to the innermost (proc(5)).
func hasNSpid(status string, pid uint32) bool {
	_, rest, _ := strings.Cut(status, "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	return slices.Contains(strings.Fields(line), strconv.FormatUint(uint64(pid), 10))
}

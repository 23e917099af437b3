package wire

import (
	"errors"
	"fmt"
)

// A Reason says in one word why input was refused; refusals are counted by
// it.
type Reason string

// What is wrong with a stream. After one of these nothing more can be read
// from it.
const (
	ReasonTLS        Reason = "tls"         // a TLS client on a plaintext port
	ReasonHTTP       Reason = "http"        // an HTTP client
	ReasonProxy      Reason = "proxy"       // the header of the PROXY protocol
	ReasonProtocol   Reason = "protocol"    // neither a frame nor JSON
	ReasonEmptyFrame Reason = "empty_frame" // a length of zero
	ReasonOversize   Reason = "oversize"    // longer than the limit
	ReasonTruncated  Reason = "truncated"   // the stream ended inside a message
)

// What is wrong with a payload. It costs the payload, not the stream.
const (
	ReasonJSON         Reason = "json"          // not one JSON object
	ReasonUTF8         Reason = "utf8"          // not UTF-8
	ReasonDuplicateKey Reason = "duplicate_key" // which one would hold?
	ReasonLimit        Reason = "limit"         // too deep, too many keys
	ReasonType         Reason = "type"          // a known key with the wrong type
	ReasonValue        Reason = "value"         // a known key with a value not allowed
	ReasonMissing      Reason = "missing"       // no pid
	ReasonVersion      Reason = "version"       // another protocol
	ReasonSignature    Reason = "signature"     // not one, or not of that key
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{
		ReasonTLS, ReasonHTTP, ReasonProxy, ReasonProtocol, ReasonEmptyFrame, ReasonOversize, ReasonTruncated,
		ReasonJSON, ReasonUTF8, ReasonDuplicateKey, ReasonLimit, ReasonType, ReasonValue, ReasonMissing, ReasonVersion,
		ReasonSignature,
	}
}

// maxQuote is how many foreign bytes a message may quote.
const maxQuote = 64

// A Refusal tells why input was refused.
//
//nolint:errname // a refusal is the protocol's word
type Refusal struct {
	Reason Reason
	Broken bool   // the stream cannot be read any further
	Text   string // what and where, for people; at most a line

	// After is what sent_ms has to exceed to be accepted, if that is what is
	// wrong with a signed beat.
	After int64
}

func (r *Refusal) Error() string { return r.Text }

// AsRefusal returns the Refusal in err's tree, or nil.
func AsRefusal(err error) *Refusal {
	if err == nil {
		return nil // errors.As would cost an allocation
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}

func refuse(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

func broken(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Broken: true, Text: fmt.Sprintf(format, args...)}
}

// within says in which object err happened.
func within(key string, err error) error {
	if r := AsRefusal(err); r != nil {
		return &Refusal{Reason: r.Reason, Broken: r.Broken, Text: key + ": " + r.Text}
	}
	return err
}

// quote returns foreign bytes fit for a message.
func quote[T string | []byte](foreign T) string {
	if len(foreign) <= maxQuote {
		return fmt.Sprintf("%q", foreign)
	}
	return fmt.Sprintf("%q...", foreign[:maxQuote])
}

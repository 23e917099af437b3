package wire

import (
	"errors"
	"fmt"
)

// A Reason is one word for why input was refused. Refusals are counted by reason.
type Reason string

// Reasons for refusing a stream. Nothing more can be read from it.
const (
	ReasonTLS        Reason = "tls"         // a TLS client on a plaintext port
	ReasonHTTP       Reason = "http"        // an HTTP client
	ReasonProxy      Reason = "proxy"       // the header of the PROXY protocol
	ReasonProtocol   Reason = "protocol"    // neither a frame nor JSON
	ReasonEmptyFrame Reason = "empty_frame" // a length of zero
	ReasonOversize   Reason = "oversize"    // longer than the limit
	ReasonTruncated  Reason = "truncated"   // the stream ended inside a message
)

// Reasons for refusing a payload. The stream continues.
const (
	ReasonJSON         Reason = "json"          // not one JSON object
	ReasonUTF8         Reason = "utf8"          // not UTF-8
	ReasonDuplicateKey Reason = "duplicate_key" // it is unclear which one applies
	ReasonLimit        Reason = "limit"         // too deep, too many keys
	ReasonType         Reason = "type"          // a known key with the wrong type
	ReasonValue        Reason = "value"         // a known key with a value that is not allowed
	ReasonMissing      Reason = "missing"       // no pid
	ReasonVersion      Reason = "version"       // another protocol
	ReasonSignature    Reason = "signature"     // malformed, or not of that key
)

// Reasons returns all reasons of this package.
func Reasons() []Reason {
	return []Reason{
		ReasonTLS, ReasonHTTP, ReasonProxy, ReasonProtocol, ReasonEmptyFrame, ReasonOversize, ReasonTruncated,
		ReasonJSON, ReasonUTF8, ReasonDuplicateKey, ReasonLimit, ReasonType, ReasonValue, ReasonMissing, ReasonVersion,
		ReasonSignature,
	}
}

// maxQuote is the limit of foreign bytes that a message quotes.
const maxQuote = 64

// A Refusal is the error of refused input.
//
//nolint:errname // a refusal is the protocol's word
type Refusal struct {
	Reason Reason
	Broken bool   // the stream cannot be read any further
	Text   string // what is wrong and where, for people; at most one line

	// After is the sent_ms that a signed beat must exceed, if it was refused because of
	// its sent_ms.
	After int64
}

func (r *Refusal) Error() string { return r.Text }

// AsRefusal returns the Refusal in the tree of err, or nil.
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

// within adds the object of an error to its text.
func within(key string, err error) error {
	if r := AsRefusal(err); r != nil {
		return &Refusal{Reason: r.Reason, Broken: r.Broken, Text: key + ": " + r.Text}
	}
	return err
}

// quote quotes foreign bytes for a message.
func quote[T string | []byte](foreign T) string {
	if len(foreign) <= maxQuote {
		return fmt.Sprintf("%q", foreign)
	}
	return fmt.Sprintf("%q...", foreign[:maxQuote])
}

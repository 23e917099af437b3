package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Limits of keys, in bytes.
const (
	MaxKeyID  = 64
	MinSecret = 16
)

// signedMark is the first byte of a signed payload. Other payloads begin with JSON.
const signedMark = 0x01

// A Key signs payloads. Anyone who has its secret too can verify who sent them.
type Key struct {
	ID     string // 1..MaxKeyID characters of a host
	Secret []byte // at least MinSecret bytes
}

// Validate returns an error if a key is not valid. The error never contains the secret.
func (k Key) Validate() error {
	if err := checkText("key id", k.ID, MaxKeyID, isHostByte); err != nil {
		return err
	}
	if len(k.Secret) < MinSecret {
		return fmt.Errorf("the secret of key %s has %d bytes, but needs at least %d", quote(k.ID), len(k.Secret), MinSecret)
	}
	return nil
}

// AppendSigned appends payload to dst as a signed payload. The key must be valid.
func (k Key) AppendSigned(dst, payload []byte) []byte {
	head := len(dst)
	dst = append(dst, signedMark, byte(len(k.ID)))
	dst = append(dst, k.ID...)
	dst = append(dst, sign(k.Secret, dst[head:], payload)...)
	return append(dst, payload...)
}

// Signed is a signed payload. Its signature is not verified: see By.
type Signed struct {
	KeyID  []byte
	Object []byte // the signed object
	head   []byte // before the signature
	mac    []byte
}

// OpenSigned parses a signed payload, without verifying the signature. It returns nil and no
// error for a payload that is not signed. The result refers to the payload.
func OpenSigned(payload []byte) (*Signed, error) {
	if len(payload) == 0 || payload[0] != signedMark {
		return nil, nil //nolint:nilnil // a payload without a signature is not an error
	}
	if len(payload) < 2 {
		return nil, refuse(ReasonSignature, "signed payload ends before its key id")
	}
	id := 2 + int(payload[1])
	object := id + sha256.Size
	if len(payload) < object {
		return nil, refuse(ReasonSignature, "signed payload of %d bytes ends inside its signature", len(payload))
	}
	s := &Signed{KeyID: payload[2:id], Object: payload[object:], head: payload[:id], mac: payload[id:object]}
	return s, checkKeyID(s)
}

func checkKeyID(s *Signed) error {
	var refusal *Refusal
	if err := checkText("key id", s.KeyID, MaxKeyID, isHostByte); errors.As(err, &refusal) {
		return refuse(ReasonSignature, "%s", refusal.Text)
	}
	return nil
}

// By reports whether s was signed with secret, in constant time.
func (s *Signed) By(secret []byte) bool {
	return subtle.ConstantTimeCompare(s.mac, sign(secret, s.head, s.Object)) == 1
}

// sign returns the HMAC-SHA256 (RFC 2104) of a payload without its signature.
func sign(secret, head, object []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(head)
	mac.Write(object)
	return mac.Sum(nil)
}

// ErrNoSecret is the error for a text without a secret.
var ErrNoSecret = errors.New("there is no secret")

// Secrets returns the secrets in a file or an option: one a line, without surrounding spaces. It
// skips empty lines and lines that begin with "#". A signer uses the first secret and a verifier
// accepts any of them, so that a secret can be replaced.
func Secrets(text []byte) ([][]byte, error) {
	var secrets [][]byte
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // a byte order mark is not part of a secret
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(line) < MinSecret {
			return nil, fmt.Errorf("secret %d has %d bytes, but needs at least %d", len(secrets)+1, len(line), MinSecret)
		}
		secrets = append(secrets, line)
	}
	if len(secrets) == 0 {
		return nil, ErrNoSecret
	}
	return secrets, nil
}

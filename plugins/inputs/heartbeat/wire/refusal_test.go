package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A refused character is quoted whole, not by its first byte.
func TestRefusedLetterIsNamedWhole(t *testing.T) {
	for payload, want := range map[string]string{
		`{"pid":1,"host":"müller-pc"}`:            `host: 'ü' in "müller-pc" is not allowed`,
		`{"pid":1,"host":"m\u00fcller-pc"}`:       `host: 'ü' in "müller-pc" is not allowed`,
		`{"pid":1,"service":"数据库"}`:               `service: '数' in "数据库" is not allowed`,
		`{"pid":1,"service":"a b"}`:               `service: ' ' in "a b" is not allowed`,
		`{"pid":1,"tags":{"größe":"1"}}`:          `tags: 'ö' in "größe" is not allowed`,
		`{"pid":1,"tags":{"size":"größe\u0000"}}`: `size: '\x00' in "größe\x00" is not allowed`,
	} {
		_, err := Decode([]byte(payload))
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, (&Beat{Host: "a\xff"}).Validate(), `'�' in "a\xff" is not allowed`)
}

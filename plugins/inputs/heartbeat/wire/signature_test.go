package wire

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A signedVector is one entry of testdata/signed.json.
type signedVector struct {
	Name       string `json:"name"`
	PayloadHex string `json:"payload_hex"`
	KeyID      string `json:"key_id"`
	Secret     string `json:"secret"`
	Object     string `json:"object"` // what was signed, if it was signed by that key
	Says       string `json:"says"`   // a word of the refusal if it is none; empty if the key is wrong
}

func TestSignedVectors(t *testing.T) {
	for _, v := range loadVectors[signedVector](t, "signed.json") {
		t.Run(v.Name, func(t *testing.T) {
			payload, err := hex.DecodeString(v.PayloadHex)
			require.NoError(t, err)
			signed, err := OpenSigned(payload)
			if v.Says != "" {
				refusal := AsRefusal(err)
				require.NotNil(t, refusal)
				require.Equal(t, ReasonSignature, refusal.Reason)
				require.False(t, refusal.Broken)
				require.Contains(t, refusal.Text, v.Says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, v.KeyID, string(signed.KeyID))
			require.Equal(t, v.Object != "", signed.By([]byte(v.Secret)))
			if v.Object != "" {
				require.Equal(t, v.Object, string(signed.Object))
				key := Key{ID: v.KeyID, Secret: []byte(v.Secret)}
				require.Equal(t, payload, key.AppendSigned(nil, []byte(v.Object)))
			}
		})
	}
}

// With any bit flipped, or cut off anywhere, the signature is no longer valid.
func TestSignatureHoldsForEveryBit(t *testing.T) {
	key := Key{ID: "web-1", Secret: []byte("a secret of 24 bytes....")}
	whole := key.AppendSigned(nil, []byte(`{"host":"web-1","pid":0}`))
	accepted := func(payload []byte) bool {
		signed, err := OpenSigned(payload)
		return err == nil && signed != nil && string(signed.KeyID) == key.ID && signed.By(key.Secret)
	}
	require.True(t, accepted(whole))
	for i := range 8 * len(whole) {
		forged := append([]byte(nil), whole...)
		forged[i/8] ^= 1 << (i % 8)
		require.False(t, accepted(forged), "bit %d", i)
	}
	for n := range len(whole) {
		require.False(t, accepted(whole[:n]), "%d bytes", n)
	}
	require.False(t, accepted(append(whole, ' ')))
}

func TestUnsignedPayloadIsNoSignedOne(t *testing.T) {
	for _, payload := range []string{"", `{"pid":1}`, " ", "\x00", "\x02"} {
		signed, err := OpenSigned([]byte(payload))
		require.NoError(t, err)
		require.Nil(t, signed)
	}
}

func TestBadKeysAreNamed(t *testing.T) {
	good := []byte("sixteen bytes !!")
	require.NoError(t, Key{ID: "web-1.example.com", Secret: good}.Validate())
	for id, secret := range map[string][]byte{
		"": good, "web 1": good, strings.Repeat("x", 65): good, "web-1": good[:15],
	} {
		err := Key{ID: id, Secret: secret}.Validate()
		require.Error(t, err)
		require.NotContains(t, err.Error(), "bytes !", "a secret is never repeated")
	}
}

func TestSecretsOfAFile(t *testing.T) {
	const one, two = "correct horse battery staple", "another one of enough bytes."
	for text, want := range map[string][]string{
		one:                                   {one},
		"\ufeff" + one + "\r\n":               {one}, // an editor's byte order mark is no part of it
		"# since May\n\n " + two + "\n" + one: {two, one},
	} {
		secrets, err := Secrets([]byte(text))
		require.NoError(t, err)
		require.Len(t, secrets, len(want))
		for i := range want {
			require.Equal(t, want[i], string(secrets[i]))
		}
	}
	for _, text := range []string{"", "\n", "# none\n", "\ufeff", "\ufeff# none"} {
		_, err := Secrets([]byte(text))
		require.ErrorIs(t, err, ErrNoSecret, "%q", text)
	}
	_, err := Secrets([]byte(one + "\nshort"))
	require.EqualError(t, err, "secret 2 has 5 bytes, but needs at least 16")
}

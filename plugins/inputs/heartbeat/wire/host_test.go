package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// One host has one name, however it is written.
func TestHostHasOneSpelling(t *testing.T) {
	for text, want := range map[string]string{
		"web-1": "web-1", "WEB-1": "web-1", "web-1.": "web-1", "Web-1.Example.com.": "web-1.example.com",
		"10.0.0.5": "10.0.0.5", "10.0.0.5.": "10.0.0.5", "::ffff:10.0.0.5": "10.0.0.5", "::FFFF:0a00:0005": "10.0.0.5",
		"2001:DB8:0::1": "2001:db8::1", "2001:db8::1.": "2001:db8::1", "::1": "::1",
		"010.0.0.5": "010.0.0.5", "10.0.0": "10.0.0", "10.0.0.5.6": "10.0.0.5.6", "web-1:80": "web-1:80", "...a": "...a",
	} {
		got, err := Host(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		again, err := Host(got)
		require.NoError(t, err, text)
		require.Equal(t, got, again)
		require.Equal(t, want, mustDecode(t, `{"pid":0,"host":"`+text+`"}`).Host, text)
		require.Equal(t, want, mustDecode(t, `{"pid":0,"to":"`+text+`"}`).To, text)
	}
	for _, text := range []string{"", ".", "..", "web-1..", "10.0.0.5..", "a b", "fe80::1%eth0", "web-\u212a", "a/b"} {
		_, err := Host(text)
		require.NotNil(t, AsRefusal(err), text)
	}
}

func TestHostThatIsAnAddress(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.5": "10.0.0.5", "::ffff:10.0.0.5": "10.0.0.5", "2001:DB8::1": "2001:db8::1", "10.0.0.5.": "10.0.0.5",
		"web-1": "invalid IP", "010.0.0.5": "invalid IP", "web:80": "invalid IP", "1.2.3": "invalid IP",
	} {
		require.Equal(t, want, mustDecode(t, `{"pid":0,"host":"`+text+`"}`).HostAddr().String(), text)
	}
	require.False(t, mustDecode(t, `{"pid":0}`).HostAddr().IsValid())
}

func mustDecode(t *testing.T, payload string) *Beat {
	t.Helper()
	b, err := Decode([]byte(payload))
	require.NoError(t, err, payload)
	return b
}

package heartbeat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// keyFiles returns a directory of keys, and what writes one.
func keyFiles(t *testing.T) (dir string, write func(id string, secrets ...string)) {
	dir = t.TempDir()
	return dir, func(id string, secrets ...string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, id), []byte(strings.Join(secrets, "\n")), 0o600))
	}
}

// accepts reports whether a beat that is signed so is taken.
func accepts(keys *verify.Keys, id, secret string) bool {
	rules := verify.Rules{Keys: keys, Recipient: verify.NewRecipient("hb", nil, false, new(testutil.CaptureLogger))}
	payload := signedBy(id, secret, signedBeat(id, "a", 1, ""))
	_, refusal := rules.Read([]byte(payload), new(wire.Decoder), new(wire.Latest), new(verify.Speaker))
	return refusal == nil
}

// A host gets another key while it beats all the time, and none of its beats is refused:
// first the collector takes both, then the host signs with the new one, then the old
// one goes. Then it is refused.
func TestKeysInADirectoryRotate(t *testing.T) {
	dir, write := keyFiles(t)
	write("web-1", secretOne)
	write("web-2", secretOne)
	synctest.Test(t, func(t *testing.T) {
		h := newPlugin(t)
		h.KeysDir, h.RequireSignature, h.HostFrom = dir, true, "verified"
		_, connect, stop := startInBubble(t, h)
		c, seq := connect(), 0
		defer func() {
			stop()
			c.Close()
		}()
		beat := func(secret string) bool {
			seq++
			answer := c.beat(signedBy("web-1", secret, signedBeat("web-1", "a", seq, "")))
			time.Sleep(time.Second)
			return strings.Contains(answer, fmt.Sprintf(`"ack":%d`, seq))
		}
		beats := func(seconds int, secret string) {
			for range seconds {
				require.True(t, beat(secret), "beat %d", seq)
			}
		}
		beats(25, secretOne)
		write("web-1", secretTwo, secretOne)
		beats(11, secretOne)
		beats(11, secretTwo)
		write("web-1", secretTwo)
		beats(11, secretTwo)
		require.Zero(t, h.refused.total.Load())
		require.False(t, beat(secretOne))
		require.NoError(t, os.Remove(filepath.Join(dir, "web-1")))
		time.Sleep(21 * time.Second)
		require.False(t, beat(secretTwo), "it is revoked")
		write("web-1", secretTwo)
		time.Sleep(11 * time.Second)
		require.True(t, beat(secretTwo))
	})
}

// A file that is wrong costs its own key a change, at most. It is said once, with its
// name, and by -check as well.
func TestWrongFilesInADirectoryOfKeys(t *testing.T) {
	dir, write := keyFiles(t)
	log := new(testutil.CaptureLogger)
	write("web-1", secretOne)
	write("web-2", "short")
	write("web 3", secretOne)
	write("web-4", secretOne)
	write("WEB-4", secretTwo)
	for _, name := range []string{".web-5", "web-5~", "web-5.tmp", "web-5.bak"} {
		write(name, secretOne)
	}
	keys, err := verify.OpenKeys(nil, dir, log)
	require.NoError(t, err)
	require.True(t, accepts(keys, "WEB-1", secretOne))
	for _, id := range []string{"web-2", "web-4", ".web-5", "web-5~", "web-5.tmp", "web-5.bak", "web-5"} {
		require.False(t, accepts(keys, id, secretOne), id)
	}
	require.Empty(t, log.Warnings(), "a start that fails and is tried again says nothing of it")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	keys.KeepReading(over)
	told := log.Warnings()
	require.Len(t, told, 3)
	for i, want := range []string{
		`Ignored key "web 3" of 'keys_dir': key id: ' ' in "web 3" is not allowed`,
		`Ignored key "web-2" of 'keys_dir': "` + filepath.Join(dir, "web-2") + `": secret 1 has 5 bytes, but needs at least 16`,
		`Ignored key "web-4" of 'keys_dir': "WEB-4" and "web-4" are the same key id`,
	} {
		require.Contains(t, told[i], want)
	}
	checked := newPlugin(t)
	checked.KeysDir = dir
	require.NoError(t, checked.Init())
	require.Len(t, checked.Check(), 3)

	refused := func(keys *verify.Keys) string {
		rules := verify.Rules{Keys: keys, Recipient: verify.NewRecipient("hb", nil, false, log)}
		_, refusal := rules.Read([]byte(signedBy("web-9", secretOne, "{}")), new(wire.Decoder), new(wire.Latest), new(verify.Speaker))
		return refusal.Text
	}
	require.Equal(t, `key "web-9" is not in 'keys_dir'`, refused(keys))

	write("web-1", "short")
	write("web-2", secretTwo)
	write("Web-2.", secretOne)
	for range 3 {
		keys.Reread(t.Context())
	}
	require.True(t, accepts(keys, "web-1", secretOne), "it is that of before")
	require.False(t, accepts(keys, "web-2", secretTwo), "it has a twin")
	require.Len(t, log.Warnings(), 5)
	require.NoError(t, os.Remove(filepath.Join(dir, "Web-2.")))
	keys.Reread(t.Context())
	require.True(t, accepts(keys, "web-2", secretTwo))
	write("WEB-2", secretOne)
	keys.Reread(t.Context())
	require.True(t, accepts(keys, "web-2", secretTwo), "a twin that comes later takes nothing away")
	require.False(t, accepts(keys, "web-2", secretOne))
	require.Contains(t, log.LastError()+strings.Join(log.Warnings(), "\n"),
		`Kept the previous secret of key "web-2" of 'keys_dir': "WEB-2" and "web-2" are the same key id`)

	write("web-6")
	for range 3 {
		keys.Reread(t.Context())
	}
	require.Contains(t, strings.Join(log.Warnings(), "\n"), `Ignored key "web-6" of 'keys_dir': "`+filepath.Join(dir, "web-6")+`": there is no secret`)
	told = log.Warnings()
	require.NoError(t, os.Rename(dir, dir+".away"))
	defer os.RemoveAll(dir + ".away")
	for range 3 {
		keys.Reread(t.Context())
	}
	require.True(t, accepts(keys, "web-2", secretTwo), "a directory that is not mounted revokes nothing")
	require.Len(t, log.Warnings(), len(told)+1)
	require.Contains(t, strings.Join(log.Warnings(), "\n"), "Kept all keys of 'keys_dir': cannot read 'keys_dir': open "+dir)
}

// A key in both 'keys' and 'keys_dir' is an error at the start, and later a warning: the one
// in 'keys' applies.
func TestKeyInTwoPlaces(t *testing.T) {
	dir, write := keyFiles(t)
	start := func() (*Heartbeat, error) {
		h := newPlugin(t)
		h.KeysDir = dir
		setKey(h, "web-1", secretOne)
		require.NoError(t, h.Init())
		_, err := h.prepare(time.Now())
		return h, err
	}
	write("WEB-1", secretTwo)
	h, err := start()
	const want = `key "web-1" of 'keys_dir': it is also in 'keys'`
	require.ErrorContains(t, err, want)
	require.Len(t, h.Check(), 1)
	require.ErrorContains(t, h.Check()[0], want)

	require.NoError(t, os.Remove(filepath.Join(dir, "WEB-1")))
	h, err = start()
	require.NoError(t, err)
	require.Empty(t, h.Check())
	log := new(testutil.CaptureLogger)
	keys, err := verify.OpenKeys(map[string]string{"web-1": secretOne}, dir, log)
	require.NoError(t, err)
	for range 2 {
		write("web-1", secretTwo)
		for range 3 {
			keys.Reread(t.Context())
		}
		require.True(t, accepts(keys, "web-1", secretOne))
		require.False(t, accepts(keys, "web-1", secretTwo))
		require.NoError(t, os.Remove(filepath.Join(dir, "web-1")))
		for range 3 {
			keys.Reread(t.Context())
		}
		require.True(t, accepts(keys, "web-1", secretOne), "its file is not what was removed")
	}
	require.Len(t, log.Warnings(), 2)
	require.Contains(t, log.Warnings()[0], "Ignored "+want)

	h = newPlugin(t)
	h.KeysDir = filepath.Join(dir, "gone")
	require.NoError(t, h.Init())
	_, err = h.prepare(time.Now())
	require.ErrorContains(t, err, "cannot read 'keys_dir': open "+h.KeysDir+": no such file or directory")
	require.Len(t, h.Check(), 1)
}

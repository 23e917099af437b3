package verify

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/influxdata/telegraf/testutil"
	"github.com/stretchr/testify/require"
)

// openDirectory returns the keys of a directory with these files, and a function that writes a file.
func openDirectory(t *testing.T, names ...string) (keys *Keys, write func(name, text string), log *testutil.CaptureLogger) {
	dir, log := t.TempDir(), new(testutil.CaptureLogger)
	write = func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	for _, name := range names {
		write(name, secret)
	}
	keys, err := OpenKeys(nil, dir, log)
	require.NoError(t, err)
	return keys, write, log
}

// A directory that takes longer than one read may is read nevertheless, and logged as slow once.
func TestSlowDirectoryIsReadAgain(t *testing.T) {
	for takes, warnings := range map[time.Duration]int{5 * time.Second: 0, 15 * time.Second: 1} {
		synctest.Test(t, func(t *testing.T) {
			keys, write, log := openDirectory(t, "web-1")
			keys.dir.files.Skip = func(string) bool {
				time.Sleep(takes)
				return false
			}
			ctx, cancel := context.WithCancel(t.Context())
			go keys.KeepReading(ctx)
			write("web-1", strings.ToUpper(secret))
			time.Sleep(3 * time.Minute)
			cancel()
			synctest.Wait()
			time.Sleep(takes)
			require.Equal(t, strings.ToUpper(secret), string(keys.secretsFor("web-1")[0]))
			require.Len(t, log.Warnings(), warnings)
		})
	}
}

// A file that is missing for a moment while the collector starts is found soon.
func TestFileThatComesBackAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, write, _ := openDirectory(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go keys.KeepReading(ctx)
		time.Sleep(700 * time.Millisecond)
		write("web-1", secret)
		time.Sleep(time.Second)
		require.NotEmpty(t, keys.secretsFor("web-1"))
	})
}

// Unmounting the directory revokes no key, and after mounting it again changes count.
func TestEmptyDirectoryRevokesNothing(t *testing.T) {
	keys, write, log := openDirectory(t, "web-1", "web-2")
	dir := keys.dir.files.Name
	for _, name := range []string{"web-1", "web-2"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name)))
	}
	for range 3 {
		keys.Reread(t.Context())
	}
	require.NotEmpty(t, keys.secretsFor("web-1"))
	require.Equal(t, []string{"W! [] Kept all keys of 'keys_dir': the directory is empty or not mounted: to revoke its keys, reload Telegraf"}, log.Warnings())
	write("web-2", secret)
	for range 3 {
		keys.Reread(t.Context())
	}
	require.Empty(t, keys.secretsFor("web-1"), "one that is gone among others is revoked")
	require.NotEmpty(t, keys.secretsFor("web-2"))
}

// A file without a secret revokes its key, whatever its mode is.
func TestEmptiedFileThatOthersMayRead(t *testing.T) {
	keys, write, _ := openDirectory(t, "web-1", "web-2")
	write("web-1", "")
	require.NoError(t, os.Chmod(filepath.Join(keys.dir.files.Name, "web-1"), 0o644)) //nolint:gosec // is the point
	for range 3 {
		keys.Reread(t.Context())
	}
	require.Empty(t, keys.secretsFor("web-1"))
}

// Files that programs leave beside a key are not keys. The log names them, because a host may
// have such a name.
func TestLeftoversAreNotKeys(t *testing.T) {
	names := []string{
		"sedXk3a9Q", "web-1", "web-2.rpmnew", "web-2.rpmsave", ".web-2",
		"web-2.dpkg-new", "web-2.dpkg-old", "web-2.old", "web-2.orig", "web-2.save",
	}
	keys, _, _ := openDirectory(t, names...)
	require.Len(t, keys.secrets, 1)
	require.Equal(t, `Keys in 'keys_dir': 1, the first is "web-1"; skipped because of their names: `+
		`["sedXk3a9Q" "web-2.dpkg-new" "web-2.dpkg-old" "web-2.old" "web-2.orig"] and 3 more`, keys.dir.about)
	keys, _, _ = openDirectory(t, "build.tmp", "sedona-01")
	require.Equal(t, `Keys in 'keys_dir': 1, the first is "sedona-01"; skipped because of their names: ["build.tmp"]`, keys.dir.about)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAnotherNameOfTheHostIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testCall(t, "")
		names := []string{"web-1", "Web-1.", "", "web-2", "web-2", "web-1", "web-2", "web-2", "localhost", "web-2"}
		c.hostName = func() (string, error) {
			name := names[0]
			names = names[min(1, len(names)-1):]
			if name == "" {
				return "", errors.New("it has none")
			}
			return name, nil
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		c.watchName(ctx, "web-1")
		c.settings.peer.Host = "db-1"
		c.watchName(t.Context(), "db-1") // has nothing to watch, and does not wait
		c.endLog()
		const line = "heartbeat-sender: this host is now called \"web-2\", but its beats still say \"web-1\": restart heartbeat-sender, or set 'host'\n"
		require.Equal(t, line+line, c.stderr.(*bytes.Buffer).String(), "once, and once more after it was right again")
	})
}

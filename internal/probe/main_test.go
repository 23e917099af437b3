package probe

import (
	"os"
	"testing"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.RunWithoutLeaks(m)) }

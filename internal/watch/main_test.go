package watch

import (
	"os"
	"testing"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/internal/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Run(m)) }

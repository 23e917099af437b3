// Command heartbeat-shim is the plugin in Telegraf's own shim. make builds it in
// Telegraf's tree: there it needs no modules that ours do not.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/influxdata/telegraf/plugins/common/shim"
	_ "github.com/influxdata/telegraf/plugins/inputs/heartbeat" // is what it runs
)

func main() {
	config := flag.String("config", "", "a file with the plugin's table")
	flag.Parse()
	s := shim.New()
	err := s.LoadConfig(config)
	if err == nil {
		err = s.Run(shim.PollIntervalDisabled)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

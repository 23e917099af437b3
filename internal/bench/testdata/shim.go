// Command heartbeat-shim runs the plugin in Telegraf's own shim. make builds it in
// Telegraf's source, where it needs no additional modules.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/influxdata/telegraf/plugins/common/shim"
	_ "github.com/influxdata/telegraf/plugins/inputs/heartbeat" // the plugin that it runs
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

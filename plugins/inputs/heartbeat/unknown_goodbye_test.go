package heartbeat

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/verify"
)

// A goodbye for a peer that is not known is answered with that, and with names
// like it; nothing is recorded.
func TestGoodbyeForNobodyIsAnswered(t *testing.T) {
	h := newPlugin(t)
	acc := start(t, h)
	c := dial(t, h)
	require.NotContains(t, c.beat(`{"host":"web-5","pid":0,"interval_ms":60000,"ack":true}`), `"known"`)
	require.NotContains(t, c.beat(`{"host":"web-5","service":"nginx","pid":7,"interval_ms":60000,"ack":true}`), `"known"`)
	require.Contains(t, c.beat(`{"host":"wbe-5","pid":0,"status":"leaving","back_in_ms":5000,"ack":true}`), `"known":false,"near":["web-5"]`)
	require.Contains(t, c.beat(`{"host":"web-5","service":"ngnix","pid":0,"status":"leaving","ack":true}`), `"known":false,"near":["web-5/nginx"]`)
	require.NotContains(t, c.beat(`{"host":"web-5","pid":0,"status":"leaving","ack":true}`), `"known"`)
	h.Stop()
	require.Empty(t, eventsOf(acc, "wbe-5"))
	require.Equal(t, []string{"alive beat", "alive beat", "left leaving"}, eventsOf(acc, "web-5"))
}

// A sender that may send beats for only one host gets only the names of that host.
func TestNamesAreToldToWhoMaySpeakForThem(t *testing.T) {
	h := newPlugin(t)
	start(t, h)
	c := dial(t, h)
	c.beat(`{"host":"web-5","service":"nginx","pid":7,"interval_ms":60000,"ack":true}`)
	receiver := &receiver{judge: h.judge, rules: verify.Rules{Host: true}}
	require.Empty(t, receiver.near(liveness.ID{Source: "wbe-5", Service: liveness.HostService}))
	require.Equal(t, []string{"web-5/nginx"}, receiver.near(liveness.ID{Source: "web-5", Service: "ngnix"}))
}

//go:build linux

package e2e

import (
	"encoding/binary"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Packets of MQTT 3.1.1.
const (
	mqttConnect = 0x10
	mqttPublish = 0x30

	mqttCleanSession = 0x02
	mqttWill         = 0x04
)

// The last will of a device is a beat that says its end, with which the engine answers its silence.
func TestLastWillOfADeviceIsItsEnd(t *testing.T) {
	t.Parallel()
	mqtt := engines[slices.IndexFunc(engines, func(e engine) bool { return e.name == "mqtt" })]
	b := newBus(t, mqtt)
	b.central.Until("the centre to subscribe", func() bool { return b.central.Stderr.Says("Connected") })
	const topic, beat = "heartbeat/sensor-7", `{"host":"sensor-7","service":"telegraf","pid":0,"watched":true`
	device := dial(t, b.at)
	connect := append(mqttText("MQTT"), 4, mqttCleanSession|mqttWill, 0, 60) // protocol level, flags, seconds of keep alive
	connect = slices.Concat(connect, mqttText("sensor-7"), mqttText(topic), mqttText(beat+`,"status":"dead"}`))
	_, err := device.Write(mqttPacket(mqttConnect, connect))
	require.NoError(t, err)
	_, err = io.ReadFull(device, make([]byte, 4)) // that it is connected
	require.NoError(t, err)
	_, err = device.Write(mqttPacket(mqttPublish, append(mqttText(topic), beat+"}"...)))
	require.NoError(t, err)
	b.untilVerdicts("sensor-7", "alive beat")

	require.NoError(t, device.Close())
	b.untilVerdicts("sensor-7", "alive beat", "dead exited")
}

// mqttPacket returns a packet of a kind.
func mqttPacket(kind byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{kind}, uint64(len(body))), body...)
}

func mqttText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

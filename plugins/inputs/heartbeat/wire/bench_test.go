package wire

import (
	"fmt"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	payloads := make([][]byte, 64)
	for seq := range payloads {
		payloads[seq] = fmt.Appendf(nil, `{"host":"web-17","service":"shop","pid":4711,"run":"r","seq":%d,"interval_ms":10000,"sent_ms":%d}`, 1000+seq, 1_700_000_000_000+int64(seq))
	}
	var d Decoder
	var beat Beat
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := d.Decode(payloads[i%len(payloads)], &beat); err != nil {
			b.Fatal(err)
		}
	}
}

package wire

import (
	"fmt"
	"testing"
)

// A stream that is of one peer, and one whose peers take turns.
func BenchmarkDecode(b *testing.B) {
	for _, peers := range []int{1, 2} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			payloads := make([][]byte, 64)
			for seq := range payloads {
				payloads[seq] = fmt.Appendf(nil, `{"host":"web-%d","service":"shop","pid":4711,"run":"r","seq":%d,"interval_ms":10000,"sent_ms":%d}`,
					seq%peers, 1000+seq, 1_700_000_000_000+int64(seq))
			}
			var d Decoder
			var latest Latest
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := d.Decode(payloads[i%len(payloads)], &latest); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

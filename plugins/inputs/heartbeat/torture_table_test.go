package heartbeat

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// plainBeat is a beat that is accepted over every carrier.
const plainBeat = `{"host":"plain","pid":0,"ack":true}`

// richBeat has something of everything. It has no run, so a repeated one is not a duplicate.
const richBeat = `{"ip":"10.0.0.5","pid":4711,"status":"warm","host":"Web-1","service":"nginx","boot":"b-1","start_ms":77,` +
	`"watched":true,"interval_ms":3600000,"rtt_us":250,"ack":true,"tags":{"site":"a"},"fields":{"load":1.5,"ok":true,"x":"\u00fc"},"v":1}`

// articlesBeat is what the article's client sends, about a process that cannot be checked.
const articlesBeat = `{"ip": "10.0.0.5", "status": "alive", "pid": 4711, "watched": true}`

// playTable plays everything.
func (p *player) playTable() {
	for _, payload := range payloads() {
		p.playPayload(payload)
	}
	for _, payload := range vectors(p) {
		word, _ := p.judge(payload)
		p.playPayload(payloadRow{"vector", payload, word})
	}
	if !p.dear {
		p.playDamaged("richBeat", richBeat)
	}
	if p.datagrams {
		for _, r := range datagramRows() {
			p.play(r)
		}
		return
	}
	for _, r := range slices.Concat(framingRows(), otherProtocolRows()) {
		p.play(r)
	}
	if !p.dear {
		p.playFollowed("a stream that is damaged", damaged(frame(richBeat))...)
	}
	p.playFollowed("a stream that is cut off", cutOff(frame(richBeat))...)
	p.playFollowed("a bare stream that is cut off", cutOff(articlesBeat)...)
	p.playFollowed("strangers", strangers()...)
	p.playFollowed("vectors of streams", streams(p)...)
	p.playSplits()
}

// A payloadRow is one payload, whatever carries it.
type payloadRow struct {
	name    string
	payload string
	want    string // "" if it is accepted
}

// playPayload plays a payload in a frame and as a bare stream, or as a datagram.
func (p *player) playPayload(r payloadRow) {
	p.t.Helper()
	want := r.want
	if want == "" {
		want = beaten
		if strings.Contains(r.payload, `"ack":true`) {
			want = acked
		}
	}
	switch {
	case p.datagrams && len(r.payload) > longestDatagram:
		p.play(row{r.name, []string{r.payload}, []string{string(wire.ReasonOversize)}})
	case p.datagrams && want == acked:
		p.play(row{r.name, []string{r.payload}, []string{beaten}})
	case p.datagrams:
		p.play(row{r.name, []string{r.payload}, []string{want}})
	default:
		if r.payload != "" {
			p.play(row{r.name, []string{frame(r.payload)}, []string{want}})
		}
		p.playFollowed(r.name+", bare", r.payload)
	}
}

// playFollowed plays streams whose expected results come from the codec.
func (p *player) playFollowed(name string, all ...string) {
	p.t.Helper()
	for i, stream := range all {
		want, _ := p.follow(stream)
		p.play(row{fmt.Sprintf("%s, %d", name, i), []string{stream}, want})
	}
}

// playDamaged plays a payload with each of its bytes replaced, and each
// beginning of it. In a frame the length is right.
func (p *player) playDamaged(name, payload string) {
	p.t.Helper()
	for i, bad := range append(damaged(payload), cutOff(payload)...) {
		want, _ := p.judge(bad)
		if !p.datagrams {
			bad = frame(bad)
		}
		p.play(row{fmt.Sprintf("%s, damaged %d", name, i), []string{bad}, []string{want}})
	}
}

// playSplits plays a frame and a bare object in two writes, in every way.
func (p *player) playSplits() {
	p.t.Helper()
	for _, split := range []struct {
		stream string
		want   string
	}{{frame(richBeat), acked}, {articlesBeat, beaten}} {
		for i := 1; i < len(split.stream); i++ {
			p.play(row{fmt.Sprintf("torn at %d", i), []string{split.stream[:i], split.stream[i:]}, []string{split.want}})
		}
	}
}

// damaged returns text with each single byte replaced: by 0x00, by 0xFF, and
// with each of its bits flipped.
func damaged(text string) []string {
	all := make([]string, 0, 10*len(text))
	for i := range len(text) {
		for _, by := range append([]byte{0x00, 0xff}, flipped(text[i])...) {
			all = append(all, text[:i]+string([]byte{by})+text[i+1:])
		}
	}
	return all
}

func flipped(b byte) []byte {
	all := make([]byte, 8)
	for bit := range all {
		all[bit] = b ^ 1<<bit
	}
	return all
}

// cutOff returns all beginnings of text but the empty and the whole one.
func cutOff(text string) []string {
	all := make([]string, 0, len(text))
	for i := 1; i < len(text); i++ {
		all = append(all, text[:i])
	}
	return all
}

// lengthOf is that of a frame.
func lengthOf(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// reasons turns them into the words of a row.
func reasons(all ...wire.Reason) []string {
	words := make([]string, len(all))
	for i, reason := range all {
		words[i] = string(reason)
	}
	return words
}

// framingRows are about where a message begins and ends.
func framingRows() []row {
	n := uint32(len(plainBeat))
	padded := plainBeat + strings.Repeat(" ", wire.DefaultMaxFrame-len(plainBeat))
	refused := frame(`{}`)
	return []row{
		{"a frame", []string{frame(plainBeat)}, []string{acked}},
		{"nothing", nil, nil},
		{"4 GiB announced", []string{"\xff\xff\xff\xff"}, reasons(wire.ReasonProtocol)},
		{"2 GiB announced", []string{"\x7f\xff\xff\xff"}, reasons(wire.ReasonProtocol)},
		{"a negative length", []string{"\x80\x00\x00\x00"}, reasons(wire.ReasonProtocol)},
		{"a little-endian length", []string{"\x2a\x00\x00\x00" + plainBeat}, reasons(wire.ReasonProtocol)},
		{"one byte above the limit announced", []string{lengthOf(wire.DefaultMaxFrame + 1)}, reasons(wire.ReasonOversize)},
		{"one byte above the limit sent", []string{frame(padded + " ")}, reasons(wire.ReasonOversize)},
		{"just the limit", []string{frame(padded)}, []string{acked}},
		{"64 KiB announced", []string{lengthOf(1<<16 + 1)}, reasons(wire.ReasonOversize)},
		{"the most that begins with a zero", []string{lengthOf(1<<24 - 1)}, reasons(wire.ReasonOversize)},
		{"a length of zero", []string{lengthOf(0)}, reasons(wire.ReasonEmptyFrame)},
		{"10,000 lengths of zero", []string{strings.Repeat(lengthOf(0), 10_000)}, reasons(wire.ReasonEmptyFrame)},
		{"a length of 8 bytes", []string{lengthOf(0) + lengthOf(n) + plainBeat}, reasons(wire.ReasonEmptyFrame)},
		{"a beat, then a length of zero", []string{frame(plainBeat) + lengthOf(0)}, []string{acked, string(wire.ReasonEmptyFrame)}},
		{"a frame of one byte", []string{frame("{")}, reasons(wire.ReasonJSON)},
		{"one byte short", []string{lengthOf(n-1) + plainBeat + frame(plainBeat)}, reasons(wire.ReasonJSON, wire.ReasonOversize)},
		// What is behind the payload is the beginning of the next length: 00 00 L '{'.
		{"one byte long", []string{lengthOf(n+1) + plainBeat + frame(plainBeat)}, reasons(wire.ReasonJSON, wire.ReasonTruncated)},
		{"a beat and one byte", []string{frame(plainBeat) + "\x00"}, []string{acked, string(wire.ReasonTruncated)}},
		{"a beat and half a beat", []string{frame(plainBeat) + frame(plainBeat)[:20]}, []string{acked, string(wire.ReasonTruncated)}},
		{"frames, then a bare object", []string{frame(plainBeat) + plainBeat}, []string{acked, string(wire.ReasonOversize)}},
		{"a bare object, then a frame", []string{plainBeat + frame(plainBeat)}, []string{beaten, string(wire.ReasonProtocol)}},
		{"byte by byte", strings.Split(frame(plainBeat), ""), []string{acked}},
		{"1,000 frames in one write", []string{strings.Repeat(frame(plainBeat), 1000)}, repeated(acked, 1000)},
		{"1,000 bare objects in one write", []string{strings.Repeat(articlesBeat, 1000)}, repeated(beaten, 1000)},
		{"1,000 bare objects, a line each", []string{strings.Repeat(articlesBeat+"\r\n", 1000)}, repeated(beaten, 1000)},
		{"white space, then an object", []string{strings.Repeat(" \t\r\n", 5000) + articlesBeat}, []string{beaten}},
		{"objects with a comma between", []string{articlesBeat + "," + articlesBeat}, []string{beaten, string(wire.ReasonProtocol)}},
		{"objects with a NUL between", []string{articlesBeat + "\x00" + articlesBeat}, []string{beaten, string(wire.ReasonProtocol)}},
		{"an array of objects", []string{"[" + articlesBeat + "]"}, reasons(wire.ReasonProtocol)},
		{"an object without an end", []string{`{"x":"` + strings.Repeat("a", wire.DefaultMaxFrame)}, reasons(wire.ReasonOversize)},
		{"brackets without an end", []string{"{" + strings.Repeat("[", wire.DefaultMaxFrame)}, reasons(wire.ReasonOversize)},
		{
			"an object that is as long as may be",
			[]string{strings.TrimSuffix(articlesBeat, "}") + strings.Repeat(" ", wire.DefaultMaxFrame-len(articlesBeat)) + "}"},
			[]string{beaten},
		},
		{"eight in a row", []string{strings.Repeat(refused, 8)}, repeated(string(wire.ReasonMissing), 8)},
		{
			"seven in a row, twice",
			[]string{strings.Repeat(strings.Repeat(refused, 7)+frame(plainBeat), 2)},
			append(append(repeated(string(wire.ReasonMissing), 7), acked), append(repeated(string(wire.ReasonMissing), 7), acked)...),
		},
		{"eight bare ones in a row", []string{strings.Repeat(`{}`, 8)}, repeated(string(wire.ReasonMissing), 8)},
		{"eight in a row, different ones", []string{frame(`{}`) + frame("x") + frame("\xff") + frame(`{"v":2}`) + frame(`{"a":{"b":{}}}`) +
			frame(`{"pid":"1"}`) + frame(`{"pid":-1}`) + frame(`{"a":1,"a":1}`)}, reasons(wire.ReasonMissing, wire.ReasonJSON, wire.ReasonUTF8,
			wire.ReasonVersion, wire.ReasonLimit, wire.ReasonType, wire.ReasonValue, wire.ReasonDuplicateKey)},
		// NetBIOS has a length of four bytes too, and then something else.
		{"SMB", []string{"\x00\x00\x00\x85\xffSMB" + strings.Repeat("\x00", 129)}, reasons(wire.ReasonUTF8)},
	}
}

// otherProtocolRows are what speakers of other protocols say first.
func otherProtocolRows() []row {
	rows := make([]row, 0, 64)
	for _, hello := range []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x16", "\x16\x03\x03"} {
		rows = append(rows, row{"TLS", []string{hello}, reasons(wire.ReasonTLS)})
	}
	for _, method := range []string{"GET", "POST", "PUT", "HEAD", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"} {
		rows = append(rows, row{"HTTP", []string{method + " / HTTP/1.1\r\nHost: x\r\n\r\n"}, reasons(wire.ReasonHTTP)},
			row{"HTTP, torn", []string{method[:1], method[1:2], method[2:] + " "}, reasons(wire.ReasonHTTP)})
	}
	for _, header := range []string{"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"} {
		rows = append(rows, row{"PROXY", []string{header + plainBeat}, reasons(wire.ReasonProxy)},
			row{"PROXY, torn", []string{header[:3], header[3:5], header[5:]}, reasons(wire.ReasonProxy)})
	}
	for name, hello := range map[string]string{
		"SSH": "SSH-2.0-x\r\n", "RDP": "\x03\x00\x00\x13\x0e\xe0", "Redis": "PING\r\n", "Redis array": "*1\r\n$4\r\nPING\r\n",
		"HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "lower case": "get / http/1.1\r\n\r\n",
		"SMTP": "EHLO x\r\n", "MQTT": "\x10\x0c\x00\x04MQTT\x04\x02",
		"AMQP": "AMQP\x00\x00\x09\x01", "Zabbix": "ZBXD\x01\x02\x00\x00\x00\x00\x00\x00\x00{}", "SOCKS": "\x05\x01\x00", "memcached": "stats\r\n",
		"byte order mark": "\ufeff" + plainBeat, "gzip": "\x1f\x8b\x08\x00", "a number": "42", "a string": `"x"`,
		"null": "null", "true": "true", "a letter": "x", "DEL": "\x7f", "signed": "\x01\x01k",
	} {
		rows = append(rows, row{name, []string{hello}, reasons(wire.ReasonProtocol)})
	}
	return rows
}

func repeated(word string, n int) []string {
	words := make([]string, n)
	for i := range words {
		words[i] = word
	}
	return words
}

// strangers begin with every byte there is, and go on with noise.
func strangers() []string {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		bytes := make([]byte, n)
		for i := range bytes {
			bytes[i] = byte(random.UintN(256))
		}
		return string(bytes)
	}
	all := make([]string, 0, 300)
	for first := range 256 {
		all = append(all, string([]byte{byte(first)})+noise(64))
	}
	for range 16 {
		all = append(all, noise(64<<10), frame(noise(200))+frame(plainBeat), "{"+noise(500))
	}
	return all
}

// datagramRows are those that only datagrams know.
func datagramRows() []row {
	return []row{
		{"empty", []string{""}, reasons(wire.ReasonJSON)},
		{"framed", []string{frame(plainBeat)}, reasons(wire.ReasonJSON)},
		{"two beats", []string{plainBeat + plainBeat}, reasons(wire.ReasonJSON)},
		{"just the limit", []string{plainBeat + strings.Repeat(" ", longestDatagram-len(plainBeat))}, []string{beaten}},
		{"one byte above the limit", []string{plainBeat + strings.Repeat(" ", longestDatagram+1-len(plainBeat))}, reasons(wire.ReasonOversize)},
		{"as long as can be", []string{strings.Repeat("x", 60_000)}, reasons(wire.ReasonOversize)},
		{"a hundred bad ones", repeated("{}", 100), repeated(string(wire.ReasonMissing), 100)},
	}
}

// vectors are the payloads that the protocol comes with.
func vectors(p *player) []string {
	var vectors []struct {
		Payload    string `json:"payload"`
		PayloadHex string `json:"payload_hex"`
	}
	readVectors(p, "beats.json", &vectors)
	all := make([]string, 0, len(vectors))
	for _, v := range vectors {
		all = append(all, v.Payload+unhex(p, v.PayloadHex))
	}
	return all
}

// streams are those that the protocol comes with.
func streams(p *player) []string {
	var vectors []struct {
		Stream string `json:"stream_hex"`
	}
	readVectors(p, "streams.json", &vectors)
	all := make([]string, 0, len(vectors))
	for _, v := range vectors {
		all = append(all, unhex(p, v.Stream))
	}
	return all
}

func readVectors(p *player, file string, vectors any) {
	p.t.Helper()
	text, err := os.ReadFile("wire/testdata/" + file)
	require.NoError(p.t, err)
	require.NoError(p.t, json.Unmarshal(text, vectors))
}

func unhex(p *player, text string) string {
	p.t.Helper()
	bytes, err := hex.DecodeString(text)
	require.NoError(p.t, err)
	return string(bytes)
}

func utf16le(text string) string {
	bytes := make([]byte, 0, 2*len(text))
	for _, unit := range utf16.Encode([]rune(text)) {
		bytes = binary.LittleEndian.AppendUint16(bytes, unit)
	}
	return string(bytes)
}

package heartbeat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// A payloadGroup is payloads that end alike, and why they are there.
type payloadGroup struct {
	name   string
	want   wire.Reason
	format string   // of a payload, with one verb for a value
	values []string // one payload each
}

const accepted wire.Reason = ""

// Formats of payloads. The parts of them that are not under test are valid.
const (
	whole      = `%s`
	withoutPID = `{"host":"tortured","watched":true,"ack":true,%s}`
	withPID    = `{"host":"tortured","watched":true,"ack":true,"pid":1,%s}`
	pidAlone   = `{"pid":%s}`
	pidOfBeat  = `{"host":"tortured","watched":true,"ack":true,"pid":%s}`
	aMember    = `{"pid":0,%s}`
	aValue     = `{"pid":0,"x":%s}`
	anIP       = `{"pid":0,"host":"tortured","ack":true,"ip":"%s"}`
	ipAlone    = `{"pid":0,"ip":"%s"}`
	tagKey     = `{"pid":0,"tags":{"%s":"x"}}`
	tagValue   = `{"pid":0,"tags":{"a":"%s"}}`
	fieldKey   = `{"pid":0,"fields":{"%s":1}}`
	fieldValue = `{"pid":0,"fields":{"a":%s}}`
)

// numberUnder returns the format of a beat with a number under key.
func numberUnder(key string) string {
	return `{"host":"tortured","pid":0,"ack":true,"` + key + `":%s}`
}

// textUnder returns the format of a beat with a text under key.
func textUnder(key string) string {
	if key == "host" {
		return `{"pid":0,"host":"%s"}`
	}
	return `{"host":"tortured","pid":0,"` + key + `":"%s"}`
}

// entries returns n members of an object, all of the same value.
func entries(n int, value string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"k%d":%s`, i, value)
	}
	return strings.Join(all, ",")
}

// payloads are about the content of one message. Sections 5 and 6 of PROTOCOL.md say what each
// row costs.
func payloads() []payloadRow {
	groups := slices.Concat(objectGroups(), grammarGroups(), stringGroups(), nestedGroups(), // syntax
		keyGroups(), numberGroups(), addressGroups(), textGroups(), entryGroups())
	rows := make([]payloadRow, 0, 1000)
	for _, g := range groups {
		for i, value := range g.values {
			rows = append(rows, payloadRow{fmt.Sprintf("%s, %d", g.name, i), fmt.Sprintf(g.format, value), string(g.want)})
		}
	}
	return append(rows,
		payloadRow{"a check", `{"host":"never-seen","pid":0,"check":true}`, checked},
		payloadRow{"a check that asks", `{"host":"never-seen","pid":0,"check":true,"ack":true}`, checked},
	)
}

func objectGroups() []payloadGroup {
	return []payloadGroup{
		{name: "no pid", want: wire.ReasonMissing, format: whole, values: []string{`{}`, ` {} `}},
		{name: "another key", want: wire.ReasonMissing, format: withoutPID, values: []string{
			`"x":1`, `"PID":1`, `"Pid":1`, `"p\u0131d":1`, `"pid ":1`,
		}},
		{name: "no object", want: wire.ReasonJSON, format: whole, values: []string{
			`null`, `true`, `1`, `"x"`, `[]`, `[` + plainBeat + `]`, `x`, `}`, ` `, "\n", `(`,
		}},
		{name: "more than one", want: wire.ReasonJSON, format: plainBeat + "%s", values: []string{
			plainBeat, " x", ",", "]", "\x00", "\n" + plainBeat, "}",
		}},
		{name: "white space", want: accepted, format: whole, values: []string{
			plainBeat + "\n",
			" \t\r\n" + plainBeat + " \t\r\n ",
			strings.ReplaceAll(plainBeat, `,"`, " ,\n\""),
		}},
		{name: "no white space", want: wire.ReasonJSON, format: whole, values: []string{
			"\v" + plainBeat, plainBeat + "\f", "\u00a0" + plainBeat, plainBeat + "\u2028",
		}},
		{name: "another encoding", want: wire.ReasonJSON, format: whole, values: []string{
			"\ufeff" + plainBeat, utf16le(plainBeat), "\x00" + plainBeat,
		}},
		{name: "another encoding", want: wire.ReasonUTF8, format: whole, values: []string{
			"\xff\xfe" + utf16le(plainBeat), "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
		}},
		{name: "Latin-1", want: wire.ReasonUTF8, format: withPID, values: []string{"\"status\":\"a\xe4\"", "\"x\":\"\xe4\""}},
	}
}

func grammarGroups() []payloadGroup {
	return []payloadGroup{
		{name: "another grammar", want: wire.ReasonJSON, format: whole, values: []string{
			fmt.Sprintf(withoutPID, `"pid":1,`),
			`{"pid":1,,"x":1}`, `{,"pid":1}`, `{'pid':1}`, `{pid:1}`, `{"pid":1 "x":1}`, `{"pid" 1}`,
			`{"x":}`, `{"pid"}`, `{"pid":1;"x":2}`, `{"pid"=1}`, `{1:1}`, `{null:1}`,
			`{/**/"pid":1}`, `{"pid":1}//`, `{"pid":1}/* */`, "{\"pid\":1 #\n}",
			`{"pid":1]`, `{"pid":1`, `{"x":`, `{"pid"`, `{"`,
		}},
		{name: "no value", want: wire.ReasonJSON, format: aValue, values: []string{
			"NaN", "Infinity", "-", "+1", ".5", "1.", "0x10", "01", "1e", "1e+", "-01", "--1", "\uff11",
			"True", "nul", "undefined", "1 2", "[1,]", "[,1]", "[1 2]", `{"a":1,}`, "'x'", "`x`",
		}},
		{name: "no number", want: wire.ReasonJSON, format: pidAlone, values: []string{
			"-", "1.", "0x10", "01", "1e", "1e+", "-01", "--1", "1 2",
		}},
		{name: "no number", want: wire.ReasonType, format: pidAlone, values: []string{
			"NaN", "Infinity", "+1", ".5", "\uff11", `"1"`, "true", "null", "{}", "[]", "[1]", `{"a":1}`, "",
		}},
	}
}

func stringGroups() []payloadGroup {
	controls := make([]string, 0, 2*0x20)
	for c := range 0x20 {
		controls = append(controls, fmt.Sprintf(`"status":"a%cb"`, c), fmt.Sprintf(`"x%c":1`, c))
	}
	return []payloadGroup{
		{name: "a text without an end", want: wire.ReasonJSON, format: whole, values: []string{
			`{"pid":1,"x":"`, `{"pid":1,"x":"a`, `{"pid":1,"x":"\`, `{"pid":1,"x":"\"}`,
			`{"pid":1,"x":"\u12"}`, `{"pid":1,"x":"\u12`,
		}},
		{name: "no escape", want: wire.ReasonJSON, format: withPID, values: []string{
			`"x":"\x41"`, `"x":"\U0041"`, `"x":"\u004g"`, `"x":"\0"`, `"x":"\ "`, `"x":"\'"`, "\"x\":\"\\\n\"",
		}},
		{name: "a control character", want: wire.ReasonJSON, format: withPID, values: controls},
		{name: "escapes", want: accepted, format: withPID, values: []string{
			`"st\u0061tus":"\u0061live"`, `"x":"\ud83d\ude00\"\\\/\b\f\n\r\t"`,
		}},
		{name: "half a pair", want: wire.ReasonUTF8, format: withPID, values: []string{
			`"x":"\ud800"`, `"x":"\udc00"`, `"x":"\ud800\ud800"`, `"x":"\ud800x"`, `"status":"\ud83d"`, `"\ud800":1`,
		}},
		{name: "bad bytes", want: wire.ReasonUTF8, format: `{"pid":0,"status":"%s"}`, values: []string{
			"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\x80", "\xe2\x82", "\xf0\x9f\x98",
		}},
	}
}

func nestedGroups() []payloadGroup {
	return []payloadGroup{
		{name: "two levels", want: accepted, format: withPID, values: []string{
			`"x":{}`, `"x":[]`, `"x":[1,"a",null,true]`, `"x":{"a":1}`,
		}},
		{name: "three levels", want: wire.ReasonLimit, format: withPID, values: []string{
			`"x":[[]]`, `"x":{"a":{}}`, `"x":[{}]`, `"x":[[[[[1]]]]]`,
			`"x":` + strings.Repeat("[", 4000),
			`"x":` + strings.Repeat(`{"a":`, 2000),
		}},
		{name: "brackets", want: wire.ReasonJSON, format: whole, values: []string{strings.Repeat("[", 4000)}},
	}
}

func keyGroups() []payloadGroup {
	return []payloadGroup{
		{name: "twice", want: wire.ReasonDuplicateKey, format: withoutPID, values: []string{`"pid":1,"pid":1`}},
		{name: "twice", want: wire.ReasonDuplicateKey, format: withPID, values: []string{
			`"ip":"10.0.0.1","ip":"10.0.0.1"`, `"ip":"10.0.0.1","\u0069p":"10.0.0.2"`,
			`"x":1,"x":1`, `"":1,"":1`, `"x":{"a":1,"a":2}`,
			`"tags":{"a":"x","a":"y"}`, `"fields":{"a":1,"\u0061":2}`, `"tags":{},"tags":{}`,
		}},
		{name: "unknown", want: accepted, format: withPID, values: []string{
			`"x":1`, `"IP":"nonsense"`, `"Ip":5`, `"\u017ftatus":"down"`, `"\uff49\uff50":5`, `"STATUS":"down"`,
			`"":1`, `"__proto__":{}`, `"constructor":null`,
			`"` + strings.Repeat("k", 65) + `":1`,
			`"` + strings.Repeat("k", 8000) + `":1`,
			`"time":"2020-01-01","_id":7,"_measurement":"x","name":"y","timestamp":1`,
			`"x":1e999999`,
			`"x":` + strings.Repeat("9", 3000),
			entries(60, "1"),
		}},
		{name: "too many", want: wire.ReasonLimit, format: withPID, values: []string{
			entries(61, "1"), entries(500, "1"), `"x":{` + entries(65, "1") + `}`,
		}},
		{name: "version", want: accepted, format: withPID, values: []string{`"v":1`}},
		{name: "version", want: wire.ReasonVersion, format: withPID, values: []string{`"v":2`, `"v":9007199254740991`}},
		{name: "version", want: wire.ReasonValue, format: withPID, values: []string{`"v":0`, `"v":-1`, `"v":1.0`}},
		{name: "version", want: wire.ReasonType, format: withPID, values: []string{`"v":"1"`, `"v":null`}},
		{name: "types", want: wire.ReasonType, format: aMember, values: []string{
			`"ip":1`, `"ip":[]`, `"ip":{}`, `"ip":null`, `"ip":true`,
			`"status":5`, `"status":[]`, `"status":null`,
			`"host":1`, `"host":null`, `"service":{}`, `"run":1`, `"boot":false`, `"signal":9`,
			`"watched":1`, `"watched":"true"`, `"watched":null`, `"ack":0`, `"check":"yes"`, `"ack":[]`,
			`"seq":"1"`, `"sent_ms":true`, `"start_ms":null`, `"interval_ms":"10s"`, `"back_in_ms":{}`,
			`"exit_code":"0"`, `"rtt_us":[]`,
			`"tags":[]`, `"tags":null`, `"tags":"a=b"`, `"fields":1`, `"fields":[]`,
			`"tags":{"a":7}`, `"tags":{"a":null}`, `"tags":{"a":true}`, `"fields":{"a":null}`,
		}},
	}
}

func numberGroups() []payloadGroup {
	keys := []string{"seq", "sent_ms", "start_ms", "interval_ms", "back_in_ms", "grace_ms", "rtt_us"}
	groups := make([]payloadGroup, 0, 2*len(keys))
	for _, key := range keys {
		groups = append(groups,
			payloadGroup{name: key, want: accepted, format: numberUnder(key), values: []string{
				"1", "10", "65535", "43691", "2147483647", "2147483648", "4294967296", "9007199254740991",
			}},
			payloadGroup{name: key, want: wire.ReasonValue, format: numberUnder(key), values: []string{
				"-1", "1.0", "1.5", "1e3", "1E0", "9007199254740992", "9007199254740993",
				"9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
				"-9223372036854775808", strings.Repeat("9", 3000), "1e999999999", "-1e-999999999",
			}})
	}
	return append(groups,
		payloadGroup{name: "pid", want: accepted, format: pidOfBeat, values: []string{
			"0", "-0", "1", "2147483647", "2147483648", "4294967295",
		}},
		payloadGroup{name: "pid", want: wire.ReasonValue, format: pidOfBeat, values: []string{
			"-1", "1.0", "1.5", "1e3", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616",
			strings.Repeat("1", 3000), "1e999999999", "0.1", "-2147483648", "-4294967295",
		}},
		payloadGroup{name: "zero", want: accepted, format: withPID, values: []string{
			`"sent_ms":0`, `"start_ms":0`, `"back_in_ms":0`, `"rtt_us":0`, `"exit_code":0`, `"sent_ms":-0`,
		}},
		payloadGroup{name: "zero", want: wire.ReasonValue, format: withPID, values: []string{
			`"seq":0`, `"seq":-0`, `"interval_ms":0`, `"interval_ms":-0`,
		}},
		payloadGroup{name: "exit code", want: accepted, format: withPID, values: []string{
			`"status":"dead","exit_code":-2147483648`, `"status":"dead","exit_code":4294967295`,
			`"status":"leaving","exit_code":3221225477`,
		}},
		payloadGroup{name: "exit code", want: wire.ReasonValue, format: withPID, values: []string{
			`"exit_code":-2147483649`, `"exit_code":4294967296`, `"exit_code":1.0`,
		}})
}

func addressGroups() []payloadGroup {
	return []payloadGroup{
		{name: "ip", want: wire.ReasonValue, format: anIP, values: []string{
			"", " ", "localhost", "10.0.0", "10.0.0.256", "010.0.0.1", "0x0a.0.0.1", "0x0a.1",
			"10.0.0.1/24", "10.0.0.1:80", "1.2.3.4.5", "167772161", "10.0.0.1 ", " 10.0.0.1", "10.0.0.1\\u0000",
			"10..0.1", "[::1]", "::1]", "fe80::1%eth0", "fe80::1%25eth0", "1::2::3", ":::", "12345::",
			"::ffff:10.0.0.256", "\uff11\uff10.0.0.1", "10.0.0.1.", "-rf", "*", strings.Repeat("1", 4000),
		}},
		{name: "injection", want: wire.ReasonValue, format: anIP, values: []string{
			`10.0.0.1\nheartbeat,ip=6.6.6.6 alive=1i`, `10.0.0.1,x=y`, `10.0.0.1=`, `10.0.0.1 x`,
			`10.0.0.1\"`, `10.0.0.1\\`, `10.0.0.1\\\\`, "10.0.0.1`id`", `$(id)`, `10.0.0.1;`, `10.0.0.1'`,
			`%s`, `{{.}}`, `\u202e10.0.0.1`,
		}},
		{name: "ip", want: accepted, format: anIP, values: []string{
			"10.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.1.1", `10.0.0.\u0031`,
			"::1", "::", "::ffff:10.0.0.1", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "fe80::1", "64:ff9b::10.0.0.1",
		}},
		{name: "ip alone", want: accepted, format: ipAlone, values: []string{
			"10.9.0.1", "::ffff:10.9.0.1", "2001:DB8::9",
		}},
	}
}

func textGroups() []payloadGroup {
	groups := make([]payloadGroup, 0, 30)
	for key, limit := range map[string]int{"status": 64, "host": 253, "to": 253, "service": 128, "run": 32, "boot": 64, "signal": 32} {
		groups = append(groups, payloadGroup{name: key, want: wire.ReasonValue, format: textUnder(key), values: []string{
			"", " ", "a b", "a\u00e9", "e\u0301", "\u0430", "a\u200bb", `a\u0000b`, `\u001b[31m`, `\u202e`,
			`a\nb`, `a\r\nE! [agent] fake`, `a\"b`, `a\\b`, strings.Repeat("a", limit+1), strings.Repeat("a", 10_000),
		}})
		if key != "run" { // each run is another one, and the same beat twice in one is none
			groups = append(groups, payloadGroup{name: key, want: accepted, format: textUnder(key), values: []string{
				"a", "-rf", "..a", "A.b-c_9", strings.Repeat("a", limit),
			}})
		}
		if key == "run" || key == "boot" {
			continue
		}
		groups = append(groups, payloadGroup{name: key, want: wire.ReasonValue, format: textUnder(key), values: []string{
			"a,b", "a=b", "a;b", "a'b", "`id`", "$(id)", "%n%s%!v(MISSING)", "{{.}}", "a|b", "a*b", "<a>", "a!b", "a#b", "a&b",
		}})
	}
	return append(groups,
		payloadGroup{name: "service", want: accepted, format: textUnder("service"), values: []string{
			"/etc/passwd", "a@b", "a:b", "../..", "host", "HOST",
		}},
		payloadGroup{name: "host", want: accepted, format: textUnder("host"), values: []string{
			"WEB-1", "web-1.example.org.", "a:b", "localhost", "10.0.0.7", "10.0.0.7.", "::ffff:10.0.0.7", "_",
			strings.Repeat("h", 253) + ".",
		}},
		payloadGroup{name: "host", want: wire.ReasonValue, format: textUnder("host"), values: []string{
			"a/b", "a@b", "web-1\u2024example", ".", "..", "web-1..", strings.Repeat("h", 254) + ".",
		}},
		payloadGroup{name: "status", want: accepted, format: textUnder("status"), values: []string{
			"alive", "ALIVE", "dead", "DEAD", "leaving", "Leaving", "warm", "x", "downgraded",
		}},
		payloadGroup{name: "status", want: wire.ReasonValue, format: textUnder("status"), values: []string{
			"down", "Down", "stopped", "exited", "OFFLINE", "Alive ", "\u017ftopped",
		}},
		payloadGroup{name: "signal", want: accepted, format: `{"host":"tortured","pid":0,"status":"dead","signal":"%s"}`, values: []string{
			"SIGKILL", "SIGRTMIN+3",
		}},
		payloadGroup{name: "ends of a known one", want: accepted, format: whole, values: []string{
			`{"host":"tortured","pid":0,"status":"leaving","back_in_ms":9007199254740991,"exit_code":0}`,
		}})
}

// entryGroups are about what is in tags and fields.
func entryGroups() []payloadGroup {
	return []payloadGroup{
		{name: "entries", want: accepted, format: withPID, values: []string{
			`"tags":{},"fields":{}`,
			`"tags":{` + entries(32, `"x"`) + `},"fields":{` + entries(32, "1") + `}`,
			`"tags":{"host":"evil","ip":"6.6.6.6","pid":"1","source":"evil","_id":"x","time":"x"}`,
			`"fields":{"host":"evil","alive":0,"time":1,"status":"down"}`,
			`"tags":{"a":"%n%s%!v(MISSING) ${x} \u00e9\ud83d\ude00"}`,
			`"fields":{"a":-0.0,"b":1e308,"c":5e-324,"d":12345678901234567890,"e":1E+2}`,
			`"tags":{"__proto__":"x"}`,
			`"tags":{"` + strings.Repeat("k", 64) + `":"` + strings.Repeat("v", 256) + `"}`,
			`"tags":{"a":"x"},"fields":{"a":"x"}`,
		}},
		{name: "entries", want: wire.ReasonLimit, format: withPID, values: []string{
			`"tags":{` + entries(33, `"x"`) + `}`, `"fields":{` + entries(33, "1") + `}`, `"x":{"a":[1]}`,
		}},
		{name: "entries", want: wire.ReasonType, format: withPID, values: []string{
			`"tags":{"a":{}}`, `"fields":{"a":[]}`, `"tags":{"a":["x"]}`, `"fields":{"a":{"b":1}}`,
		}},
		{name: "keys of tags", want: wire.ReasonValue, format: tagKey, values: []string{
			"", " ", "a b", "a-b", "a.b", "a,b", "a=b", `a\"`, `a\\`, `a\n`, "\u00e9", strings.Repeat("k", 65),
		}},
		{name: "keys of fields", want: wire.ReasonValue, format: fieldKey, values: []string{
			"", " ", "a-b", "a=b", strings.Repeat("k", 65),
		}},
		{name: "values of tags", want: wire.ReasonValue, format: tagValue, values: []string{
			"", `\"`, "'", "`", `\\`, `a\nb`, `a\tb`, `\u0000`, `\u001b[0m`, "\u200b", `\u202e`,
			"\u00a0", "\u2028", "\ufffd", "\x7f", "\ufeff", strings.Repeat("v", 257), strings.Repeat("\u00e9", 129),
		}},
		{name: "values of fields", want: wire.ReasonValue, format: fieldValue, values: []string{
			`""`, `"'"`, `"a\nb"`, "1e999", "-1e999", strings.Repeat("9", 400),
		}},
		{name: "values of fields", want: wire.ReasonJSON, format: fieldValue, values: []string{"01", "1.", "-"}},
	}
}

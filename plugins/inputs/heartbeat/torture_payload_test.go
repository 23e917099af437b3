package heartbeat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// beatOf returns a payload that would be accepted without its last members.
func beatOf(members string) string {
	return `{"host":"tortured","watched":true,"ack":true,` + members + `}`
}

// pidAnd is beatOf of what needs a pid beside it.
func pidAnd(members string) string { return beatOf(`"pid":1,` + members) }

func rowsOf(want wire.Reason, name string, all ...string) []payloadRow {
	rows := make([]payloadRow, 0, len(all))
	for i, payload := range all {
		rows = append(rows, payloadRow{fmt.Sprintf("%s, %d", name, i), payload, string(want)})
	}
	return rows
}

// each puts each of all in the place of the verb in format.
func each(format string, all ...string) []string {
	payloads := make([]string, len(all))
	for i, value := range all {
		payloads[i] = fmt.Sprintf(format, value)
	}
	return payloads
}

const accepted wire.Reason = ""

// payloads are about what is in one message. What each row has to cost is what
// PROTOCOL.md says of it in sections 5 and 6.
func payloads() []payloadRow {
	return slices.Concat(syntaxRows(), keyRows(), numberRows(), addressRows(), textRows(), entryRows())
}

func syntaxRows() []payloadRow {
	controls := make([]string, 0, 64)
	for c := range 0x20 {
		controls = append(controls, pidAnd(fmt.Sprintf(`"status":"a%cb"`, c)), pidAnd(fmt.Sprintf(`"x%c":1`, c)))
	}
	return slices.Concat(
		rowsOf(wire.ReasonMissing, "no pid", `{}`, ` {} `, beatOf(`"x":1`), beatOf(`"PID":1`), beatOf(`"Pid":1`), beatOf(`"p\u0131d":1`), beatOf(`"pid ":1`)),
		rowsOf(wire.ReasonJSON, "no object", `null`, `true`, `1`, `"x"`, `[]`, `[`+plainBeat+`]`, `x`, `}`, ` `, "\n", `(`),
		rowsOf(wire.ReasonJSON, "more than one", plainBeat+plainBeat, plainBeat+" x", plainBeat+",", plainBeat+"]", plainBeat+"\x00", plainBeat+"\n"+plainBeat, plainBeat+"}"),
		rowsOf(accepted, "white space", plainBeat+"\n", " \t\r\n"+plainBeat+" \t\r\n ", strings.ReplaceAll(plainBeat, `,"`, " ,\n\"")),
		rowsOf(wire.ReasonJSON, "no white space", "\v"+plainBeat, plainBeat+"\f", "\u00a0"+plainBeat, plainBeat+"\u2028"),
		rowsOf(wire.ReasonJSON, "another encoding", "\ufeff"+plainBeat, utf16le(plainBeat), "\x00"+plainBeat),
		rowsOf(wire.ReasonUTF8, "another encoding", "\xff\xfe"+utf16le(plainBeat), "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", pidAnd("\"status\":\"a\xe4\""), pidAnd("\"x\":\"\xe4\"")),
		rowsOf(wire.ReasonJSON, "another grammar",
			beatOf(`"pid":1,`), `{"pid":1,,"x":1}`, `{,"pid":1}`, `{'pid':1}`, `{pid:1}`, `{"pid":1 "x":1}`, `{"pid" 1}`, `{"x":}`, `{"pid"}`, `{"pid":1;"x":2}`,
			`{"pid"=1}`, `{/**/"pid":1}`, `{"pid":1}//`, `{"pid":1}/* */`, "{\"pid\":1 #\n}", `{1:1}`, `{null:1}`, `{"pid":1]`, `{"pid":1`, `{"x":`, `{"pid"`, `{"`),
		rowsOf(wire.ReasonJSON, "no value", each(`{"pid":0,"x":%s}`, "NaN", "Infinity", "-", "+1", ".5", "1.", "0x10", "01", "1e", "1e+", "-01", "--1", "\uff11",
			"True", "nul", "undefined", "1 2", "[1,]", "[,1]", "[1 2]", `{"a":1,}`, "'x'", "`x`")...),
		rowsOf(wire.ReasonJSON, "no pid", each(`{"pid":%s}`, "-", "1.", "0x10", "01", "1e", "1e+", "-01", "--1", "1 2")...),
		rowsOf(wire.ReasonType, "no pid", each(`{"pid":%s}`, "NaN", "Infinity", "+1", ".5", "\uff11", `"1"`, "true", "null", "{}", "[]", "[1]", `{"a":1}`, "")...),
		rowsOf(wire.ReasonJSON, "a text without an end", `{"pid":1,"x":"`, `{"pid":1,"x":"a`, `{"pid":1,"x":"\`, `{"pid":1,"x":"\"}`, `{"pid":1,"x":"\u12"}`, `{"pid":1,"x":"\u12`,
			pidAnd(`"x":"\x41"`), pidAnd(`"x":"\U0041"`), pidAnd(`"x":"\u004g"`), pidAnd(`"x":"\0"`), pidAnd(`"x":"\ "`), pidAnd(`"x":"\'"`), pidAnd("\"x\":\"\\\n\"")),
		rowsOf(wire.ReasonJSON, "a control character", controls...),
		rowsOf(accepted, "escapes", pidAnd(`"st\u0061tus":"\u0061live"`), pidAnd(`"x":"\ud83d\ude00\"\\\/\b\f\n\r\t"`)),
		rowsOf(wire.ReasonUTF8, "half a pair", pidAnd(`"x":"\ud800"`), pidAnd(`"x":"\udc00"`), pidAnd(`"x":"\ud800\ud800"`), pidAnd(`"x":"\ud800x"`), pidAnd(`"status":"\ud83d"`), pidAnd(`"\ud800":1`)),
		rowsOf(wire.ReasonUTF8, "bad bytes", each("{\"pid\":0,\"status\":\"%s\"}", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\x80", "\xe2\x82", "\xf0\x9f\x98")...),
		rowsOf(accepted, "two levels", pidAnd(`"x":{}`), pidAnd(`"x":[]`), pidAnd(`"x":[1,"a",null,true]`), pidAnd(`"x":{"a":1}`)),
		rowsOf(wire.ReasonLimit, "three levels", pidAnd(`"x":[[]]`), pidAnd(`"x":{"a":{}}`), pidAnd(`"x":[{}]`), pidAnd(`"x":[[[[[1]]]]]`), pidAnd(`"x":`+strings.Repeat("[", 4000)),
			pidAnd(`"x":`+strings.Repeat(`{"a":`, 2000))),
		rowsOf(wire.ReasonJSON, "brackets", strings.Repeat("[", 4000)),
	)
}

func keyRows() []payloadRow {
	many := func(n int) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`"k%d":%d`, i, i)
		}
		return strings.Join(keys, ",")
	}
	return slices.Concat(
		rowsOf(wire.ReasonDuplicateKey, "twice", beatOf(`"pid":1,"pid":1`), pidAnd(`"ip":"10.0.0.1","ip":"10.0.0.1"`), pidAnd(`"ip":"10.0.0.1","\u0069p":"10.0.0.2"`),
			pidAnd(`"x":1,"x":1`), pidAnd(`"":1,"":1`), pidAnd(`"x":{"a":1,"a":2}`), pidAnd(`"tags":{"a":"x","a":"y"}`), pidAnd(`"fields":{"a":1,"\u0061":2}`), pidAnd(`"tags":{},"tags":{}`)),
		rowsOf(accepted, "unknown", pidAnd(`"x":1`), pidAnd(`"IP":"nonsense"`), pidAnd(`"Ip":5`), pidAnd(`"\u017ftatus":"down"`), pidAnd(`"\uff49\uff50":5`), pidAnd(`"STATUS":"down"`),
			pidAnd(`"":1`), pidAnd(`"__proto__":{}`), pidAnd(`"constructor":null`), pidAnd(fmt.Sprintf(`"%s":1`, strings.Repeat("k", 65))), pidAnd(fmt.Sprintf(`"%s":1`, strings.Repeat("k", 8000))),
			pidAnd(`"time":"2020-01-01","_id":7,"_measurement":"x","name":"y","timestamp":1`), pidAnd(`"x":1e999999`), pidAnd(`"x":`+strings.Repeat("9", 3000)), pidAnd(many(60))),
		rowsOf(wire.ReasonLimit, "too many", pidAnd(many(61)), pidAnd(many(500)), pidAnd(`"x":{`+many(65)+`}`)),
		rowsOf(accepted, "version", pidAnd(`"v":1`)),
		rowsOf(wire.ReasonVersion, "version", pidAnd(`"v":2`), pidAnd(`"v":9007199254740991`)),
		rowsOf(wire.ReasonValue, "version", pidAnd(`"v":0`), pidAnd(`"v":-1`), pidAnd(`"v":1.0`)),
		rowsOf(wire.ReasonType, "version", pidAnd(`"v":"1"`), pidAnd(`"v":null`)),
		rowsOf(wire.ReasonType, "types",
			each(`{"pid":0,%s}`, `"ip":1`, `"ip":[]`, `"ip":{}`, `"ip":null`, `"ip":true`, `"status":5`, `"status":[]`, `"status":null`, `"host":1`, `"host":null`, `"service":{}`,
				`"run":1`, `"boot":false`, `"signal":9`, `"watched":1`, `"watched":"true"`, `"watched":null`, `"ack":0`, `"check":"yes"`, `"ack":[]`, `"seq":"1"`, `"sent_ms":true`,
				`"start_ms":null`, `"interval_ms":"10s"`, `"back_in_ms":{}`, `"exit_code":"0"`, `"rtt_us":[]`, `"tags":[]`, `"tags":null`, `"tags":"a=b"`, `"fields":1`, `"fields":[]`,
				`"tags":{"a":7}`, `"tags":{"a":null}`, `"tags":{"a":true}`, `"fields":{"a":null}`)...),
	)
}

func numberRows() []payloadRow {
	var rows []payloadRow
	for _, key := range []string{"seq", "sent_ms", "start_ms", "interval_ms", "back_in_ms", "grace_ms", "rtt_us"} {
		format := `{"host":"tortured","pid":0,"ack":true,"` + key + `":%s}`
		rows = append(rows, rowsOf(accepted, key, each(format, "1", "10", "65535", "43691", "2147483647", "2147483648", "4294967296", "9007199254740991")...)...)
		rows = append(rows, rowsOf(wire.ReasonValue, key, each(format, "-1", "1.0", "1.5", "1e3", "1E0", "9007199254740992", "9007199254740993", "9223372036854775807",
			"9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775808", strings.Repeat("9", 3000), "1e999999999", "-1e-999999999")...)...)
	}
	return slices.Concat(rows,
		rowsOf(accepted, "pid", each(`{"host":"tortured","watched":true,"ack":true,"pid":%s}`, "0", "-0", "1", "2147483647", "2147483648", "4294967295")...),
		rowsOf(wire.ReasonValue, "pid", each(`{"host":"tortured","watched":true,"ack":true,"pid":%s}`, "-1", "1.0", "1.5", "1e3", "4294967296", "9223372036854775807", "9223372036854775808",
			"18446744073709551616", strings.Repeat("1", 3000), "1e999999999", "0.1", "-2147483648", "-4294967295")...),
		rowsOf(accepted, "zero", pidAnd(`"sent_ms":0`), pidAnd(`"start_ms":0`), pidAnd(`"back_in_ms":0`), pidAnd(`"rtt_us":0`), pidAnd(`"exit_code":0`), pidAnd(`"sent_ms":-0`)),
		rowsOf(wire.ReasonValue, "zero", pidAnd(`"seq":0`), pidAnd(`"seq":-0`), pidAnd(`"interval_ms":0`), pidAnd(`"interval_ms":-0`)),
		rowsOf(accepted, "exit code", pidAnd(`"status":"dead","exit_code":-2147483648`), pidAnd(`"status":"dead","exit_code":4294967295`), pidAnd(`"status":"leaving","exit_code":3221225477`)),
		rowsOf(wire.ReasonValue, "exit code", pidAnd(`"exit_code":-2147483649`), pidAnd(`"exit_code":4294967296`), pidAnd(`"exit_code":1.0`)),
	)
}

func addressRows() []payloadRow {
	ip := func(all ...string) []string { return each(`{"pid":0,"host":"tortured","ack":true,"ip":"%s"}`, all...) }
	return slices.Concat(
		rowsOf(wire.ReasonValue, "ip", ip("", " ", "localhost", "10.0.0", "10.0.0.256", "010.0.0.1", "0x0a.0.0.1", "0x0a.1", "10.0.0.1/24", "10.0.0.1:80", "1.2.3.4.5", "167772161", "10.0.0.1 ",
			" 10.0.0.1", "10.0.0.1\\u0000", "10..0.1", "[::1]", "::1]", "fe80::1%eth0", "fe80::1%25eth0", "1::2::3", ":::", "12345::", "::ffff:10.0.0.256", "\uff11\uff10.0.0.1", "10.0.0.1.",
			"-rf", "*", strings.Repeat("1", 4000))...),
		rowsOf(wire.ReasonValue, "injection", ip(`10.0.0.1\nheartbeat,ip=6.6.6.6 alive=1i`, `10.0.0.1,x=y`, `10.0.0.1=`, `10.0.0.1 x`, `10.0.0.1\"`, `10.0.0.1\\`, `10.0.0.1\\\\`, "10.0.0.1`id`",
			`$(id)`, `10.0.0.1;`, `10.0.0.1'`, `%s`, `{{.}}`, `\u202e10.0.0.1`)...),
		rowsOf(accepted, "ip", ip("10.0.0.1", "::1", "::", "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.1.1", "::ffff:10.0.0.1", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "fe80::1",
			"64:ff9b::10.0.0.1", `10.0.0.\u0031`)...),
		rowsOf(accepted, "ip alone", each(`{"pid":0,"ip":"%s"}`, "10.9.0.1", "::ffff:10.9.0.1", "2001:DB8::9")...),
	)
}

func textRows() []payloadRow {
	var rows []payloadRow
	for key, limit := range map[string]int{"status": 64, "host": 253, "to": 253, "service": 128, "run": 32, "boot": 64, "signal": 32} {
		format := `{"pid":0,"` + key + `":"%s"}`
		if key != "host" {
			format = `{"host":"tortured","pid":0,"` + key + `":"%s"}`
		}
		rows = append(rows, rowsOf(wire.ReasonValue, key, each(format, "", " ", "a b", "a\u00e9", "e\u0301", "\u0430", "a\u200bb", `a\u0000b`, `\u001b[31m`, `\u202e`, `a\nb`, `a\r\nE! [agent] fake`, `a\"b`, `a\\b`,
			strings.Repeat("a", limit+1), strings.Repeat("a", 10_000))...)...)
		if key != "run" { // each run is another one, and the same beat twice in one is none
			rows = append(rows, rowsOf(accepted, key, each(format, "a", "-rf", "..a", "A.b-c_9", strings.Repeat("a", limit))...)...)
		}
		if key == "run" || key == "boot" {
			continue
		}
		rows = append(rows, rowsOf(wire.ReasonValue, key, each(format, "a,b", "a=b", "a;b", "a'b", "`id`", "$(id)", "%n%s%!v(MISSING)", "{{.}}", "a|b", "a*b", "<a>", "a!b", "a#b", "a&b")...)...)
	}
	return slices.Concat(rows,
		rowsOf(accepted, "service", each(`{"host":"tortured","pid":0,"service":"%s"}`, "/etc/passwd", "a@b", "a:b", "../..", "host", "HOST")...),
		rowsOf(accepted, "host", each(`{"pid":0,"host":"%s"}`, "WEB-1", "web-1.example.org.", "a:b", "localhost", "10.0.0.7", "10.0.0.7.", "::ffff:10.0.0.7", "_", strings.Repeat("h", 253)+".")...),
		rowsOf(wire.ReasonValue, "host", each(`{"pid":0,"host":"%s"}`, "a/b", "a@b", "web-1\u2024example", ".", "..", "web-1..", strings.Repeat("h", 254)+".")...),
		rowsOf(accepted, "status", each(`{"host":"tortured","pid":0,"status":"%s"}`, "alive", "ALIVE", "dead", "DEAD", "leaving", "Leaving", "warm", "x", "downgraded")...),
		rowsOf(wire.ReasonValue, "status", each(`{"host":"tortured","pid":0,"status":"%s"}`, "down", "Down", "stopped", "exited", "OFFLINE", "Alive ", "\u017ftopped")...),
		rowsOf(accepted, "signal", each(`{"host":"tortured","pid":0,"status":"dead","signal":"%s"}`, "SIGKILL", "SIGRTMIN+3")...),
		[]payloadRow{
			{"ends of a known one", `{"host":"tortured","pid":0,"status":"leaving","back_in_ms":9007199254740991,"exit_code":0}`, ""},
			{"a check", `{"host":"never-seen","pid":0,"check":true}`, checked},
			{"a check that asks", `{"host":"never-seen","pid":0,"check":true,"ack":true}`, checked},
		},
	)
}

func entryRows() []payloadRow {
	many := func(n int, value string) string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = fmt.Sprintf(`"k%d":%s`, i, value)
		}
		return strings.Join(entries, ",")
	}
	return slices.Concat(
		rowsOf(accepted, "entries", pidAnd(`"tags":{},"fields":{}`), pidAnd(`"tags":{`+many(32, `"x"`)+`},"fields":{`+many(32, "1")+`}`), pidAnd(`"tags":{"host":"evil","ip":"6.6.6.6","pid":"1","source":"evil","_id":"x","time":"x"}`),
			pidAnd(`"fields":{"host":"evil","alive":0,"time":1,"status":"down"}`), pidAnd(`"tags":{"a":"%n%s%!v(MISSING) ${x} \u00e9\ud83d\ude00"}`), pidAnd(`"fields":{"a":-0.0,"b":1e308,"c":5e-324,"d":12345678901234567890,"e":1E+2}`),
			pidAnd(`"tags":{"__proto__":"x"}`), pidAnd(fmt.Sprintf(`"tags":{"%s":"%s"}`, strings.Repeat("k", 64), strings.Repeat("v", 256))), pidAnd(`"tags":{"a":"x"},"fields":{"a":"x"}`)),
		rowsOf(wire.ReasonLimit, "entries", pidAnd(`"tags":{`+many(33, `"x"`)+`}`), pidAnd(`"fields":{`+many(33, "1")+`}`), pidAnd(`"x":{"a":[1]}`)),
		rowsOf(wire.ReasonType, "entries", pidAnd(`"tags":{"a":{}}`), pidAnd(`"fields":{"a":[]}`), pidAnd(`"tags":{"a":["x"]}`), pidAnd(`"fields":{"a":{"b":1}}`)),
		rowsOf(wire.ReasonValue, "keys of entries", each(`{"pid":0,"tags":{"%s":"x"}}`, "", " ", "a b", "a-b", "a.b", "a,b", "a=b", `a\"`, `a\\`, `a\n`, "\u00e9", strings.Repeat("k", 65))...),
		rowsOf(wire.ReasonValue, "keys of entries", each(`{"pid":0,"fields":{"%s":1}}`, "", " ", "a-b", "a=b", strings.Repeat("k", 65))...),
		rowsOf(wire.ReasonValue, "values of entries", each(`{"pid":0,"tags":{"a":"%s"}}`, "", `\"`, "'", "`", `\\`, `a\nb`, `a\tb`, `\u0000`, `\u001b[0m`, "\u200b", `\u202e`, "\u00a0", "\u2028", "\ufffd", "\x7f", "\ufeff",
			strings.Repeat("v", 257), strings.Repeat("\u00e9", 129))...),
		rowsOf(wire.ReasonValue, "values of entries", each(`{"pid":0,"fields":{"a":%s}}`, `""`, `"'"`, `"a\nb"`, "1e999", "-1e999", strings.Repeat("9", 400))...),
		rowsOf(wire.ReasonJSON, "values of entries", each(`{"pid":0,"fields":{"a":%s}}`, "01", "1.", "-")...),
	)
}

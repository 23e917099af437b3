package wire

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

// A beatVector is one entry of testdata/beats.json.
type beatVector struct {
	Name       string `json:"name"`
	Payload    string `json:"payload"`
	PayloadHex string `json:"payload_hex"` // instead of Payload if that is no text
	Accept     string `json:"accept"`      // the canonical form of an accepted beat
	Refuse     Reason `json:"refuse"`
	Says       string `json:"says"` // a word that the message has to hold
}

func (v *beatVector) bytes(t testing.TB) []byte {
	if v.PayloadHex == "" {
		return []byte(v.Payload)
	}
	payload, err := hex.DecodeString(v.PayloadHex)
	require.NoError(t, err)
	return payload
}

func loadVectors[T any](t testing.TB, file string) []T {
	text, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var vectors []T
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.NotEmpty(t, vectors)
	return vectors
}

func TestBeatVectors(t *testing.T) {
	for _, v := range loadVectors[beatVector](t, "beats.json") {
		t.Run(v.Name, func(t *testing.T) {
			b, err := Decode(v.bytes(t))
			if v.Refuse == "" {
				require.NoError(t, err)
				canonical, err := AppendBeat(nil, b)
				require.NoError(t, err)
				require.Equal(t, v.Accept, string(canonical))
				return
			}
			refusal := AsRefusal(err)
			require.NotNil(t, refusal, "accepted as %+v", b)
			require.Equal(t, v.Refuse, refusal.Reason, refusal.Text)
			require.False(t, refusal.Broken, "a bad payload must not cost the stream")
			require.Contains(t, refusal.Text, v.Says)
			require.Less(t, len(refusal.Text), 400, "foreign text has to be cut")
			require.NotContains(t, refusal.Text, "\n")
		})
	}
}

// A decoder is used for a whole stream. A beat that it keeps must not affect the next one.
func TestDecoderForgetsTheBeatBefore(t *testing.T) {
	var d Decoder
	var b Latest
	for _, v := range loadVectors[beatVector](t, "beats.json") {
		err := d.Decode(v.bytes(t), &b)
		require.Equal(t, v.Refuse == "", err == nil, v.Name)
		require.NoError(t, d.Decode([]byte(`{"pid":1}`), &b))
		require.Empty(t, cmp.Diff(Beat{PID: 1, Status: StatusAlive}, b.Beat, cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(Beat{}.IP)), v.Name)
		require.False(t, b.IP.IsValid(), v.Name)
	}
}

func TestRepeatedBeatAllocatesNothing(t *testing.T) {
	payload := []byte(`{"ip":"10.0.0.5","pid":4711,"status":"warm","host":"web-1","service":"nginx","run":"abc","seq":17,
		"boot":"b","interval_ms":10000,"ack":true,"tags":{"site":"a","rack":"7"},"fields":{"load":1.5,"text":"x","ok":true}}`)
	var d Decoder
	var b Latest
	allocs := testing.AllocsPerRun(100, func() {
		if err := d.Decode(payload, &b); err != nil {
			t.Fatal(err)
		}
	})
	require.Zero(t, allocs)
}

func TestRefusedBeatsAreNotWritten(t *testing.T) {
	for name, b := range map[string]Beat{
		"status":      {Status: "down"},
		"host":        {Host: "a b"},
		"service":     {Service: strings.Repeat("s", MaxService+1)},
		"seq":         {Seq: -1},
		"interval_ms": {IntervalMS: 1},
		"back_in_ms":  {BackInMS: MaxBackInMS + 1},
		"grace_ms":    {GraceMS: MaxGraceMS + 1},
		"to":          {To: "tcp://hb:7878"},
		"one dot":     {Host: "web-1.."},
		"exit_code":   {ExitCode: math.MaxUint32 + 1},
		"tags":        {Tags: []Label{{Key: "a", Value: "x\ny"}}},
		"twice":       {Tags: []Label{{Key: "a", Value: "x"}, {Key: "a", Value: "y"}}},
		"fields":      {Fields: []Field{{Key: "a", Value: math.NaN()}}},
		"integer":     {Fields: []Field{{Key: "a", Value: 1}}},
		"32":          {Fields: make([]Field, MaxEntries+1)},
	} {
		for i := range b.Fields {
			if b.Fields[i].Key == "" {
				b.Fields[i] = Field{Key: strings.Repeat("k", i+1), Value: true}
			}
		}
		out, err := AppendBeat([]byte("kept"), &b)
		require.Error(t, err, name)
		require.Equal(t, "kept", string(out), name)
		if name != "integer" && name != "twice" {
			require.ErrorContains(t, err, name)
		}
	}
}

func TestAnswersAreReadAsTheyWereWritten(t *testing.T) {
	for _, want := range []Answer{
		{Seq: 7, NowMS: 1790000000000, DeadAfterMS: 35000, Rule: "interval", ID: "web-1/nginx"},
		{Seq: 0, NowMS: 1, DeadAfterMS: 2000, Rule: "dead_after", ID: "10.0.0.5/4711"},
		{Error: `ip: "a\x00b" is "bad" \ worse`, NowMS: 5},
		{Error: "to: \"hb-2\" is another collector", NowMS: 5, Collector: "9f2c41d07be85a36"},
		{Seq: 1, NowMS: 1, Collector: "hb-1", Unknown: true},
		{Seq: 1, NowMS: 1, Unknown: true, Near: []string{"web-5"}},
		{Seq: 1, NowMS: 1, Unknown: true, Near: []string{"web-5", "web-6/nginx", "10.0.0.5/4711"}},
	} {
		payload := AppendAnswer(nil, &want)
		require.True(t, json.Valid(payload), string(payload))
		got, err := DecodeAnswer(payload)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, payload := range []string{
		"", "{}", "Welcome to the server!", `{"ack":"7"}`, `{"ack":-1}`, `{"now_ms":1}`,
		`{"ack":1,"collector":7}`, `{"ack":1,"collector":""}`, `{"ack":1,"collector":"a b"}`, `{"ack":1,"known":1}`, `{"ack":1,"known":"false"}`,
		`{"ack":1,"near":"web-5"}`, `{"ack":1,"near":[7]}`, `{"ack":1,"near":[["web-5"]]}`, `{"ack":1,"near":["a b"]}`, `{"ack":1,"near":["a","b","c","d"]}`,
		`{"ack":1,"collector":"` + strings.Repeat("c", MaxHost+1) + `"}`,
	} {
		_, err := DecodeAnswer([]byte(payload))
		require.Error(t, err, payload)
	}
}

// No answer is longer than MaxAnswer bytes, which is what a sender reads.
func TestAnswerNamesAsManyAsFit(t *testing.T) {
	longest := strings.Repeat("n", MaxHost+1+MaxService)
	for size := range MaxAnswer - 200 {
		a := Answer{
			Seq: MaxInteger, NowMS: MaxInteger, ID: strings.Repeat("i", size), Collector: "hb-1", Unknown: true,
			Near: []string{"web-5", longest, "web-6", "web-7"},
		}
		payload := AppendAnswer([]byte("before"), &a)[len("before"):]
		got, err := DecodeAnswer(payload)
		require.NoError(t, err)
		require.LessOrEqual(t, len(payload), MaxAnswer)
		require.Equal(t, a.Near[:len(got.Near)], append(make([]string, 0), got.Near...))
		switch {
		case size < 450:
			require.Len(t, got.Near, MaxNear)
		case 550 < size && size < 800:
			require.Len(t, got.Near, 1)
		}
	}
}

func TestAnswerHoldsNothingInvisible(t *testing.T) {
	payload := AppendAnswer(nil, &Answer{Error: "x509: \x1b[31m\n\u202e\x80 \"é\"", NowMS: 1})
	require.Equal(t, `{"error":"x509: \\x1b[31m\\n\\u202e\\x80 \"é\"","now_ms":1}`, string(payload)) //nolint:testifylint // its escapes count
	got, err := DecodeAnswer(payload)
	require.NoError(t, err)
	require.Equal(t, `x509: \x1b[31m\n\u202e\x80 "é"`, got.Error)
}

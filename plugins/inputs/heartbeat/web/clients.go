package web

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// push receives a request of a client of Uptime Kuma's push monitors.
func (s *Server) push(q *request) (*answer, *refusal) {
	check := s.Checks.find(strings.TrimPrefix(q.URL.EscapedPath(), "/api/push/"))
	if check == nil || check.Peer == "" {
		return nil, refuse(http.StatusNotFound, ReasonToken, "Monitor not found or not active.")
	}
	from, refusal := s.speaker(q, check)
	if refusal != nil {
		return nil, refusal
	}
	query := q.URL.Query()
	ping := &Ping{Beat: wire.Beat{Host: check.host, Service: check.service, Status: wire.StatusAlive, Watched: true}, From: *from}
	if status := query.Get("status"); status != "" && status != "up" {
		ping.Status = wire.StatusDead
	}
	if ms, err := strconv.ParseFloat(query.Get("ping"), 64); err == nil && !math.IsInf(ms, 0) && !math.IsNaN(ms) {
		ping.Fields = []wire.Field{{Key: "ping", Value: ms}}
	}
	if err := ping.schedule(check, query, 0, 0); err != nil {
		return nil, refuse(http.StatusBadRequest, wire.ReasonValue, "%v", err)
	}
	return s.record(ping, false)
}

// bearerSpeaker returns the speaker of a request, and the check of its bearer token. Without a
// token, the check is nil.
func (s *Server) bearerSpeaker(q *request) (check *check, from *Speaker, refusal *refusal) {
	if check, refusal = s.bearerCheck(q); refusal == nil {
		from, refusal = s.speaker(q, check)
	}
	return check, from, refusal
}

// beat receives a beat of the wire protocol.
func (s *Server) beat(q *request) (*answer, *refusal) {
	_, from, refusal := s.bearerSpeaker(q)
	if refusal != nil {
		return nil, refusal
	}
	payload, err := io.ReadAll(io.LimitReader(q.Body, int64(s.MaxBeat)+1))
	switch {
	case err != nil:
		return nil, refuse(http.StatusBadRequest, wire.ReasonTruncated, "the body is incomplete")
	case len(payload) > s.MaxBeat:
		return nil, refuse(http.StatusRequestEntityTooLarge, wire.ReasonOversize, "the body is longer than 'max_frame_size', %d bytes", s.MaxBeat)
	}
	result := s.ReceiveBeat(payload, from)
	if result.Refusal != nil {
		r := refuseResult(&result)
		r.answer = string(result.Answer)
		return nil, r
	}
	return &answer{status: http.StatusOK, text: string(result.Answer), deadAfter: result.DeadAfter, recorded: result.Recorded}, nil
}

const (
	// maxMessage is the largest message of Telegraf, in bytes, both compressed and not: it contains
	// logs, including logs that could not be sent before.
	maxMessage = 4 << 20
	// maxDepth is how deep its objects and arrays may be nested.
	maxDepth = 32
)

// A message has the used parts of schema 1 of Telegraf's outputs.heartbeat.
type message struct {
	id, hostname, status string
	schema               int64
	statistics           map[string]float64
}

// telegraf receives a message of Telegraf's outputs.heartbeat.
func (s *Server) telegraf(q *request) (*answer, *refusal) {
	check, from, refusal := s.bearerSpeaker(q)
	if refusal != nil {
		return nil, refusal
	}
	m, refusal := readMessage(q)
	if refusal != nil {
		return nil, refusal
	}
	ping := m.ping(q.URL.Query().Get("service"))
	ping.From = *from
	if err := ping.schedule(check, q.URL.Query(), 0, 0); err != nil {
		return nil, refuse(http.StatusBadRequest, wire.ReasonValue, "%v", err)
	}
	return s.record(ping, false)
}

// ping converts a message to a beat. The id of the message becomes the process, so that two ids
// with the same name are a conflict.
func (m *message) ping(service string) *Ping {
	p := &Ping{Beat: wire.Beat{Host: m.hostname, Service: service, Status: m.status, PID: processOf(m.id)}}
	if p.Host == "" {
		p.Host = m.id
	}
	if p.Service == "" {
		p.Service = "telegraf"
	}
	if p.Status == "" {
		p.Status = wire.StatusAlive
	}
	for _, key := range []string{"errors", "metrics", "warnings"} {
		if value, told := m.statistics[key]; told {
			p.Fields = append(p.Fields, wire.Field{Key: key, Value: value})
		}
	}
	return p
}

// processOf returns a number other than 0 for an id.
func processOf(id string) uint32 {
	hash := fnv.New32a()
	io.WriteString(hash, id) //nolint:errcheck // a hash never fails
	return max(hash.Sum32(), 1)
}

// readMessage decodes the body of a request.
func readMessage(q *request) (*message, *refusal) {
	body := io.Reader(&limited{reader: q.Body, left: maxMessage})
	switch encoding := strings.ToLower(q.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unpacked, err := gzip.NewReader(body)
		if err != nil {
			return nil, refuseBody(err)
		}
		body = &limited{reader: unpacked, left: maxMessage}
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, ReasonRequest, "Content-Encoding is %.16q: use gzip or none", encoding)
	}
	m := new(message)
	if err := m.decode(json.NewDecoder(body)); err != nil {
		return nil, refuseBody(err)
	}
	switch {
	case m.schema != 1:
		return nil, refuse(http.StatusBadRequest, wire.ReasonVersion, "schema: %d is not supported: use 1", m.schema)
	case m.id == "":
		return nil, refuse(http.StatusBadRequest, wire.ReasonMissing, "id: missing")
	}
	return m, nil
}

// refuseBody returns the refusal of a bad body.
func refuseBody(err error) *refusal {
	if errors.Is(err, errTooLong) {
		return refuse(http.StatusRequestEntityTooLarge, wire.ReasonOversize, "the message is longer than 4 MiB")
	}
	return refuse(http.StatusBadRequest, wire.ReasonJSON, "the body is not a message of outputs.heartbeat")
}

var (
	errTooLong = errors.New("too long")
	errShape   = errors.New("not the shape of a message")
)

// limited reads from reader, and returns errTooLong if it has more bytes than the limit; left is
// the rest of the limit.
type limited struct {
	reader io.Reader
	left   int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errTooLong
	}
	n, err := l.reader.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

// decode reads the members that are used, and skips all others token by token.
func (m *message) decode(d *json.Decoder) error {
	d.UseNumber()
	return members(d, func(key string) error {
		switch key {
		case "id":
			return d.Decode(&m.id)
		case "hostname":
			return d.Decode(&m.hostname)
		case "status":
			return d.Decode(&m.status)
		case "schema":
			return d.Decode(&m.schema)
		case "statistics":
			return m.decodeStatistics(d)
		}
		return skip(d)
	})
}

func (m *message) decodeStatistics(d *json.Decoder) error {
	m.statistics = make(map[string]float64)
	return members(d, func(key string) error {
		if !slices.Contains([]string{"errors", "metrics", "warnings"}, key) {
			return skip(d)
		}
		var value float64
		err := d.Decode(&value)
		m.statistics[key] = value
		return err
	})
}

// members calls read for each key of the object that begins here.
func members(d *json.Decoder, read func(key string) error) error {
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(errShape, err)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if err := read(key); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// skip reads one value of any kind.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		switch {
		case depth == 0:
			return nil
		case depth > maxDepth:
			return errShape
		}
	}
}

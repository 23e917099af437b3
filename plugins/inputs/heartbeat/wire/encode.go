package wire

import (
	"strconv"
)

// AppendBeat appends b as a payload to dst. For a beat that no collector would accept, it
// returns an error and an unchanged dst. A Decoder decodes the payload to the same beat, with
// hosts as Host returns them and an empty Status as alive.
func AppendBeat(dst []byte, b *Beat) ([]byte, error) {
	if err := b.Validate(); err != nil {
		return dst, err
	}
	w := objectWriter{dst: append(dst, '{')}
	if b.IP.IsValid() {
		w.key("ip")
		w.dst = append(b.IP.Unmap().WithZone("").AppendTo(append(w.dst, '"')), '"')
	}
	w.key("pid")
	w.dst = strconv.AppendUint(w.dst, uint64(b.PID), 10)
	w.text("status", orAlive(b.Status))
	w.text("host", b.Host)
	w.text("service", b.Service)
	w.text("run", b.Run)
	w.integer("seq", b.Seq)
	w.integer("sent_ms", b.SentMS)
	w.text("to", b.To)
	w.text("boot", b.Boot)
	w.integer("start_ms", b.StartMS)
	w.flag("watched", b.Watched)
	w.integer("interval_ms", b.IntervalMS)
	w.integer("back_in_ms", b.BackInMS)
	w.flag("cancel", b.Cancel)
	w.integer("grace_ms", b.GraceMS)
	if b.HasExitCode {
		w.key("exit_code")
		w.dst = strconv.AppendInt(w.dst, b.ExitCode, 10)
	}
	w.text("signal", b.Signal)
	w.integer("rtt_us", b.RTTMicros)
	w.flag("ack", b.Ack)
	w.flag("check", b.Check)
	w.labels(b.Tags)
	w.fields(b.Fields)
	return append(w.dst, '}'), nil
}

func orAlive(status string) string {
	if status == "" {
		return StatusAlive
	}
	return status
}

// An objectWriter appends members whose texts need no escaping. It leaves out zero values.
type objectWriter struct {
	dst []byte
}

// key begins a member. Inlining key and text would make the sender 16 kB larger.
//
//go:noinline
func (w *objectWriter) key(key string) {
	if w.dst[len(w.dst)-1] != '{' {
		w.dst = append(w.dst, ',')
	}
	w.dst = append(w.dst, '"')
	w.dst = append(w.dst, key...)
	w.dst = append(w.dst, '"', ':')
}

//go:noinline
func (w *objectWriter) text(key, value string) {
	if value != "" {
		w.key(key)
		w.quoted(value)
	}
}

func (w *objectWriter) quoted(value string) {
	w.dst = append(w.dst, '"')
	w.dst = append(w.dst, value...)
	w.dst = append(w.dst, '"')
}

func (w *objectWriter) integer(key string, value int64) {
	if value != 0 {
		w.key(key)
		w.dst = strconv.AppendInt(w.dst, value, 10)
	}
}

func (w *objectWriter) flag(key string, value bool) {
	if value {
		w.key(key)
		w.dst = append(w.dst, "true"...)
	}
}

func (w *objectWriter) labels(labels []Label) {
	if len(labels) == 0 {
		return
	}
	w.key("tags")
	w.dst = append(w.dst, '{')
	for _, label := range labels {
		w.text(label.Key, label.Value)
	}
	w.dst = append(w.dst, '}')
}

func (w *objectWriter) fields(fields []Field) {
	if len(fields) == 0 {
		return
	}
	w.key("fields")
	w.dst = append(w.dst, '{')
	for _, field := range fields {
		w.key(field.Key)
		switch value := field.Value.(type) {
		case string:
			w.quoted(value)
		case bool:
			w.dst = strconv.AppendBool(w.dst, value)
		case float64:
			w.dst = strconv.AppendFloat(w.dst, value, 'g', -1, 64)
		}
	}
	w.dst = append(w.dst, '}')
}

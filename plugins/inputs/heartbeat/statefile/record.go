package statefile

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

const (
	// maxSpan is twice the maximum value of an option, because other durations may be added to that
	// value. Lateness can be up to four times the longest interval, and maxLearnt is longer than that.
	longest   = 10 * 365 * 24 * time.Hour
	maxSpan   = 2 * longest
	maxLearnt = 5 * 365 * 24 * time.Hour

	// Times by the wall clock jump when the clock is set: a machine without a battery starts in 1970.
	// Times between firstYear and lastYear can be added and subtracted without an overflow.
	firstYear, lastYear = 1960, 2200
	maxJump             = 10 * longest

	maxSentMS = 1<<53 - 1 // the maximum in a beat
	maxStart  = 1<<63 - 1
)

// A savedPeer is a Record with JSON names. Records are converted to savedPeers, so the compiler
// reports an error if a field of Record is missing here. Otherwise that field would be lost in a
// restart. If a new field is a number that grows by addition, CheckRecord must limit it.
type savedPeer struct {
	ID     liveness.ID      `json:"id"`
	Addr   netip.Addr       `json:"addr,omitzero"`
	Labels []liveness.Label `json:"labels,omitzero"`

	State    liveness.State  `json:"state"`
	Reason   liveness.Reason `json:"reason"`
	Since    time.Time       `json:"since"`
	Health   liveness.Health `json:"health,omitzero"`
	Events   liveness.Trail  `json:"trail,omitzero"`
	Evidence liveness.Reason `json:"evidence,omitzero"`
	Expected bool            `json:"expected,omitzero"`
	Watched  bool            `json:"watched,omitzero"`
	Long     bool            `json:"long,omitzero"`
	Lone     bool            `json:"lone,omitzero"`
	Crowded  bool            `json:"crowded,omitzero"`

	Interval time.Duration `json:"interval_ns,omitzero"`
	Margin   time.Duration `json:"margin_ns,omitzero"`
	Heard    time.Time     `json:"heard"`
	Used     time.Duration `json:"used_ns,omitzero"`
	Dead     time.Duration `json:"dead_ns,omitzero"`
	Extended bool          `json:"extended,omitzero"`
	Fresh    bool          `json:"fresh,omitzero"`
	Guessed  bool          `json:"-"` // set by the reader
	Crashed  time.Duration `json:"-"` // likewise
	Bonus    time.Duration `json:"bonus_ns,omitzero"`
	Due      time.Time     `json:"due,omitzero"`
	Patience time.Duration `json:"patience_ns,omitzero"`

	Held       time.Duration `json:"held_ns,omitzero"`
	HeldPartly time.Duration `json:"held_partly_ns,omitzero"`
	Spared     time.Duration `json:"spared_ns,omitzero"`
	Window     time.Duration `json:"window_ns,omitzero"`
	Promise    time.Time     `json:"promise,omitzero"`
	WindowBy   string        `json:"window_by,omitzero"`
	Foreign    bool          `json:"foreign,omitzero"`
	HeardBy    string        `json:"heard_by,omitzero"`
	EndedBy    string        `json:"ended_by,omitzero"`
	Shared     bool          `json:"shared,omitzero"`
	Rule       string        `json:"rule,omitzero"`

	Phase    time.Duration `json:"phase_ns,omitzero"`
	Learnt   time.Duration `json:"learnt_ns,omitzero"`
	Lateness time.Duration `json:"lateness_ns,omitzero"`
	Taught   uint8         `json:"taught,omitzero"`

	Jobs      []liveness.Job      `json:"jobs,omitzero"`
	JobsEnded []liveness.EndedJob `json:"jobs_ended,omitzero"`

	Process  liveness.Process     `json:"process,omitzero"`
	Others   []liveness.Other     `json:"others,omitzero"`
	Replaced []liveness.Replaced  `json:"replaced,omitzero"`
	Runs     []liveness.Run       `json:"runs,omitzero"`
	Signed   []liveness.SignedRun `json:"signed,omitzero"`
	SentMS   int64                `json:"sent_ms,omitzero"`
	Owner    uint32               `json:"owner,omitzero"`
	Lag      int64                `json:"lag_ms,omitzero"`
	Carried  int64                `json:"carried_ms,omitzero"`
	Speaker  string               `json:"speaker,omitzero"`
	Speakers []liveness.Speaker   `json:"speakers,omitzero"`

	ExitCode          int64         `json:"exit_code,omitzero"`
	HasExitCode       bool          `json:"has_exit_code,omitzero"`
	DeadFor           time.Duration `json:"dead_for_ns,omitzero"`
	Flaps             []time.Time   `json:"flaps,omitzero"`
	liveness.Counters `json:"counters,omitzero"`
}

// A storedPeer is a savedPeer with the obsolete members that older files may have.
type storedPeer struct {
	savedPeer

	// Numbered is obsolete. It was used to number events by the count of beats before them, but
	// collectors count beats differently. It is read and ignored.
	Numbered json.RawMessage `json:"events,omitzero"`
}

// CheckRecord returns an error for a record that no tracker can have saved, because such a record
// could make the tracker fail. A correct checksum does not prove that this program wrote the file.
func CheckRecord(r *liveness.Record) error {
	switch {
	case r.ID.Source == "" || !r.ID.Nameless() && r.ID.PID != 0:
		return errors.New("id is invalid")
	case int(r.State) >= len(liveness.States):
		return fmt.Errorf("state %d is unknown", r.State)
	case !r.Reason.Valid():
		return fmt.Errorf("reason %d is unknown", r.Reason)
	case !r.Evidence.Valid():
		return fmt.Errorf("reason %d is unknown", r.Evidence)
	case r.Health > liveness.HealthOther:
		return fmt.Errorf("health %d is unknown", r.Health)
	case r.SentMS < 0 || r.SentMS > maxSentMS:
		return fmt.Errorf("sent_ms is out of range: %d", r.SentMS)
	case r.Carried < 0 || r.Carried > maxSentMS || r.Lag < -maxSentMS || r.Lag > maxSentMS:
		return fmt.Errorf("carried_ms or lag_ms is out of range: %d, %d", r.Carried, r.Lag)
	case maxCounter(&r.Counters) > 1<<62:
		return fmt.Errorf("a counter is out of range: %d", maxCounter(&r.Counters))
	}
	for _, run := range r.Runs {
		if run.High < 0 {
			return fmt.Errorf("the highest seq of a run is out of range: %d", run.High)
		}
	}
	for _, run := range r.Signed {
		if low, high := min(run.High, run.SentMS, run.HeardMS), max(run.High, run.SentMS, run.HeardMS); low < 0 || high > maxSentMS {
			return fmt.Errorf("a number of a signed run is out of range: %d", cmp.Or(min(low, 0), high))
		}
	}
	return cmp.Or(checkSpans(r), checkJobs(r), checkOthers(r), checkInstants(r))
}

// checkJobs checks the running jobs and the ended jobs of a record.
func checkJobs(r *liveness.Record) error {
	for i := range r.Jobs {
		err := cmp.Or(checkSpan("the limit of a job", r.Jobs[i].Limit, 0, maxSpan), checkSpan("the age of a job", r.Jobs[i].Ago, 0, maxJump))
		if err != nil {
			return err
		}
	}
	for i := range r.JobsEnded {
		if err := checkSpan("the age of an ended job", r.JobsEnded[i].Ago, 0, maxJump); err != nil {
			return err
		}
	}
	return nil
}

// checkOthers checks the processes of a peer other than its current one.
func checkOthers(r *liveness.Record) error {
	for i := range r.Others {
		o := &r.Others[i]
		if !o.Evidence.Valid() || !o.Ended.Valid() {
			return fmt.Errorf("reason %d of another process is unknown", max(o.Evidence, o.Ended))
		}
		for name, span := range map[string]time.Duration{"Interval": o.Interval, "Margin": o.Margin, "Used": o.Used, "Dead": o.Dead} {
			if err := checkSpan(name+" of another process", span, 0, maxSpan); err != nil {
				return err
			}
		}
		if err := checkSpan("Start of another process", o.Process.Start, 0, maxStart); err != nil {
			return err
		}
	}
	for _, before := range r.Replaced {
		err := cmp.Or(
			checkSpan("Used of a replaced process", before.Used, 0, maxSpan),
			checkSpan("Dead of a replaced process", before.Dead, 0, maxSpan))
		if err != nil {
			return err
		}
	}
	return nil
}

func maxCounter(c *liveness.Counters) uint64 {
	return max(c.Beats, c.Lost, c.Late, c.Duplicates, c.Limited, c.Restarts, c.Deaths, c.Mistakes, c.Conflicts)
}

func checkSpans(r *liveness.Record) error {
	const minInterval = 100 * time.Millisecond // the minimum of a beat: smaller values are clamped
	return cmp.Or(
		checkSpan("interval_ns", cmp.Or(r.Interval, minInterval), minInterval, maxSpan),
		checkSpan("margin_ns", r.Margin, 0, maxSpan),
		checkSpan("used_ns", r.Used, 0, maxSpan),
		checkSpan("dead_ns", r.Dead, 0, maxSpan),
		checkSpan("window_ns", r.Window, 0, maxSpan),
		checkSpan("bonus_ns", r.Bonus, 0, maxSpan),
		checkSpan("patience_ns", r.Patience, 0, maxSpan),
		checkSpan("time of a crash", r.Crashed, 0, maxSpan),
		checkSpan("held_ns", r.Held, 0, maxSpan),
		checkSpan("held_partly_ns", r.HeldPartly, 0, maxSpan),
		checkSpan("spared_ns", r.Spared, 0, maxSpan),
		checkSpan("phase_ns", r.Phase, -maxJump, maxJump), // negative after a late beat
		checkSpan("learnt_ns", r.Learnt, 0, maxLearnt),
		checkSpan("lateness_ns", r.Lateness, 0, maxLearnt),
		checkSpan("Start of process", r.Process.Start, 0, maxStart),
		checkSpan("dead_for_ns", r.DeadFor, 0, maxJump),
	)
}

func checkSpan(name string, span, least, most time.Duration) error {
	if span < least || span > most {
		return fmt.Errorf("%s is %d, the range is %d to %d", name, span, least, most)
	}
	return nil
}

func checkInstants(r *liveness.Record) error {
	for _, at := range r.Flaps {
		if err := checkInstant("flaps", at); err != nil {
			return err
		}
	}
	return cmp.Or(checkInstant("since", r.Since), checkInstant("heard", r.Heard),
		checkOptionalInstant("promise", r.Promise), checkOptionalInstant("due", r.Due))
}

// checkOptionalInstant is like checkInstant, but allows the zero time.
func checkOptionalInstant(name string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	return checkInstant(name, at)
}

func checkInstant(name string, at time.Time) error {
	if year := at.UTC().Year(); year < firstYear || year > lastYear {
		return fmt.Errorf("the year of %s is out of range: %d", name, year)
	}
	return nil
}

package web

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"
	"unicode"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/regular"
	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

const (
	// maxCheckFile is the size of the largest check file, in bytes: 100,000 checks.
	maxCheckFile = 16 << 20
	// checkFileWait is the timeout for reading a file.
	checkFileWait = time.Second
	// maxWrongLines is how many wrong lines of a file are logged.
	maxWrongLines = 10
)

// A checkFile is a file with one check on each line.
type checkFile struct {
	file   regular.Reader
	known  bool // it has been read
	lines  []*check
	warned string // the latest warnings about it
}

// read reads the file. If that fails, the previous content of the file applies.
func (f *checkFile) read(ctx context.Context, checks *Checks) {
	wrong := f.parse(ctx, checks)
	if text := fmt.Sprint(wrong); text != f.warned {
		f.warned = text
		for _, err := range wrong {
			checks.log.Warnf("%s", wire.Printable(err.Error()))
		}
	}
}

// parse reads the file and returns an error for each wrong line. No error contains a token.
func (f *checkFile) parse(ctx context.Context, checks *Checks) (wrong []error) {
	ctx, cancel := context.WithTimeout(ctx, checkFileWait)
	defer cancel()
	content, err := f.file.Read(ctx)
	if err == nil && content.Info.Mode().Perm()&0o007 != 0 && runtime.GOOS != "windows" {
		err = fmt.Errorf("other users can access it, its mode is %#o: make it 0600 or 0640", content.Info.Mode().Perm())
	}
	if err != nil {
		return []error{fmt.Errorf("cannot read %q of 'check_files': %w", f.file.Name, err)}
	}
	f.known, f.lines = true, nil
	number, bad := 0, 0
	for line := range strings.Lines(strings.TrimPrefix(string(content.Text), "\ufeff")) {
		number++
		entry, _, _ := strings.Cut(line, "#")
		words := wordsOf(entry)
		if len(words) == 0 {
			continue
		}
		check, err := parseCheck(words)
		if err == nil {
			check.digest = checks.digestOf(words[0])
			f.lines = append(f.lines, check)
		} else if bad++; bad <= maxWrongLines {
			wrong = append(wrong, fmt.Errorf("%s:%d: %w ('check_files')", f.file.Name, number, err))
		}
	}
	if bad > maxWrongLines {
		wrong = append(wrong, fmt.Errorf("%s: %d more lines are wrong ('check_files')", f.file.Name, bad-maxWrongLines))
	}
	return wrong
}

// wordsOf returns the words of a line. Blanks inside quotes do not end a word.
func wordsOf(line string) []string {
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		quoted = quoted != (r == '"')
		return unicode.IsSpace(r) && !quoted
	})
	for i, word := range words {
		words[i] = strings.ReplaceAll(word, `"`, "")
	}
	return words
}

// parseCheck parses the words of a line: TOKEN web-1/backup every=24h grace=1h, or with
// schedule="15 2 * * 1-5" timezone=Europe/Berlin. Its errors quote no word: a token may be in the
// wrong place.
func parseCheck(words []string) (*check, error) {
	if err := CheckToken(words[0]); err != nil {
		return nil, err
	}
	if len(words) < 2 {
		return nil, errors.New("the peer is missing: write TOKEN HOST/SERVICE every=24h grace=1h")
	}
	if looksLikeToken(words[1]) {
		return nil, errors.New("word 2 looks like a token: write HOST/host for a host of that name")
	}
	c := &Check{Peer: words[1]}
	if strings.ContainsAny(words[1], "*?[") {
		c.Peer, c.Peers = "", []string{words[1]}
	}
	for i, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		texts := map[string]*string{"schedule": &c.Schedule, "timezone": &c.Timezone}
		if text, known := texts[key]; known {
			*text = value
			continue
		}
		places := map[string]*time.Duration{"every": &c.Every, "grace": &c.Grace, "max_runtime": &c.MaxRuntime}
		place, known := places[key]
		if !known {
			return nil, fmt.Errorf("word %d is not one of every=, grace=, max_runtime=, schedule= and timezone=", i+3)
		}
		var err error
		if *place, err = parseDuration(value); err != nil {
			return nil, fmt.Errorf("%s= is not a duration: write one like 5m, 24h or 7d", key)
		}
	}
	check, err := c.compile()
	if err != nil {
		return nil, errors.New("word 2 is not a peer, a duration is too long, or schedule= is not like \"15 2 * * 1-5\": " +
			"write TOKEN HOST/SERVICE every=24h grace=1h")
	}
	return check, nil
}

package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A file of version 1 was rewritten completely at each save. Its first line identifies the format
// and has the time of writing. Each further line has a peer, except the last one: it has a checksum
// of all lines before it. This program can read version 1, but never writes it.

// sealPrefix is the beginning of the last line. No other line begins with it.
const sealPrefix = `{"peers":`

// lastLine returns the last line of a file with the given number of peers and the given checksum.
// The last line is compared as text, because a parser would not notice some damage.
func lastLine(peers int, sum uint32) string {
	return fmt.Sprintf(sealPrefix+`%d,"crc32c":"%08x"}`+"\n", peers, sum)
}

// readVersion1 reads the lines after the first one. It returns an error if the last line is missing
// or wrong. It skips the peers of invalid lines.
func readVersion1(first []byte, lines *lineReader) (*contents, error) {
	var header struct {
		Format  string    `json:"format"`
		Version int       `json:"version"`
		Saved   time.Time `json:"saved"`
	}
	if err := decodeStrictly(first, &header); err != nil {
		return nil, fmt.Errorf("line 1: %w", shortened(err))
	}
	if err := checkInstant("saved", header.Saved); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	c := newContents()
	c.outdated, c.last = true, header.Saved
	c.ended = true // each save was complete
	sum := crc32.Checksum(first, castagnoli)
	for count := 0; ; count++ {
		line, err := lines.next()
		switch {
		case err != nil:
			return nil, err
		case line == nil:
			return nil, errors.New("it is truncated: its last line is missing")
		case bytes.HasPrefix(line, []byte(sealPrefix)):
			return c, lines.checkSeal(line, lastLine(count, sum))
		}
		sum = crc32.Update(sum, castagnoli, line)
		c.addVersion1(line, lines.count)
	}
}

func (c *contents) addVersion1(text []byte, number int) {
	var peer savedPeer
	err := decodeStrictly(text, &peer)
	if err == nil {
		var w lineWriter
		if err = w.addPeer(line{}, (*liveness.Record)(&peer)); err == nil {
			c.setEntry(peer.ID, entry{text: w.out})
			return
		}
	}
	c.noteUnreadable(number, err)
}

func (r *lineReader) checkSeal(line []byte, want string) error {
	if string(line) != want {
		return errors.New("it is damaged: its checksum or its number of peers is wrong")
	}
	if more, err := r.next(); err != nil || more != nil {
		return errors.New("there is text after its end")
	}
	return nil
}

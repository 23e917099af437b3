package statefile

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/liveness"
)

// A file of version 1 was written as a whole, again and again. Its first line
// says what it is and when that was, each peer has one, and the last one seals
// all before it. It is read, never written.

// sealed begins the last line, which no other line can.
const sealed = `{"peers":`

// seal returns the last line of a file with so many lines of peers, and the
// CRC-32C of all lines. It is compared as text: what a parser would overlook
// in it is damage too.
func seal(peers int, sum uint32) string {
	return fmt.Sprintf(sealed+`%d,"crc32c":"%08x"}`+"\n", peers, sum)
}

// readVersion1 reads what follows the first line. Without its seal nothing of
// it is believed; a line that cannot be read costs its peer.
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
	c.ended = true // a saving is the last word of its collector
	sum := crc32.Checksum(first, castagnoli)
	for count := 0; ; count++ {
		line, err := lines.next()
		switch {
		case err != nil:
			return nil, err
		case line == nil:
			return nil, errors.New("it is truncated: its last line is missing")
		case bytes.HasPrefix(line, []byte(sealed)):
			return c, lines.checkSeal(line, seal(count, sum))
		}
		sum = crc32.Update(sum, castagnoli, line)
		c.takeVersion1(line, lines.count)
	}
}

func (c *contents) takeVersion1(text []byte, number int) {
	var peer savedPeer
	err := decodeStrictly(text, &peer)
	if err == nil {
		var w lineWriter
		if err = w.addPeer(line{}, (*liveness.Record)(&peer)); err == nil {
			c.put(peer.ID, entry{text: w.out})
			return
		}
	}
	c.spoil(number, err)
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

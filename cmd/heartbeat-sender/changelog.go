package main

import (
	"fmt"
	"sync"
	"time"
)

// changePause is the time between two lines about the changes of one target, on
// average: a service may crash in a loop, and who writes a pid file may name
// another process each time it is read.
const changePause = time.Minute

// changesAtOnce is how many changes in a row are logged at once.
const changesAtOnce = 3

// A changeLog logs how a target changes. Of changes that come too fast the last
// one is logged when its time has come, with how many there were before it.
type changeLog struct {
	say func(text string, dead bool)

	mu     sync.Mutex // guards what follows
	paid   time.Time  // until then each line has had its pause
	text   string     // of the last change
	dead   bool
	unsaid int // changes that are not logged yet
}

func (l *changeLog) add(text string, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.dead = text, dead
	l.unsaid++
	if l.unsaid > 1 {
		return // its time will come
	}
	if wait := time.Until(l.paid.Add(-(changesAtOnce - 1) * changePause)); wait > 0 {
		time.AfterFunc(wait, l.flush)
		return
	}
	l.write()
}

func (l *changeLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

func (l *changeLog) write() {
	text := l.text
	if skipped := l.unsaid - 1; skipped > 0 {
		text = fmt.Sprintf("%s (%d earlier changes were not logged)", text, skipped)
	}
	if now := time.Now(); l.paid.Before(now) {
		l.paid = now
	}
	l.paid = l.paid.Add(changePause)
	l.unsaid = 0
	l.say(text, l.dead)
}

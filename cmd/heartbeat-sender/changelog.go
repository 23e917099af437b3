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

// A changeLog logs how a target changes. Three changes in a row are logged at
// once. Of those that come too fast the last one is logged when its time has
// come, with how many there were before it.
type changeLog struct {
	say func(text string, dead bool)

	mu     sync.Mutex   // guards what follows
	times  [3]time.Time // of the last lines
	text   string       // of the last change
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
	if wait := time.Until(l.times[0].Add(time.Duration(len(l.times)) * changePause)); wait > 0 {
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
	l.times = [3]time.Time{l.times[1], l.times[2], time.Now()}
	l.unsaid = 0
	l.say(text, l.dead)
}

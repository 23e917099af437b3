package heartbeat

import (
	"sync"

	"github.com/telegraf-heartbeat/telegraf-heartbeat/plugins/inputs/heartbeat/wire"
)

// chunkSize is how much is read at once, in bytes.
const chunkSize = 4 << 10

// A workbench is what is needed while something is taken in, and not between:
// most connections are silent at any time.
type workbench struct {
	chunk   [chunkSize]byte
	decoder wire.Decoder
	beat    observation
}

// A crew takes in what connections have to read, while those wait. Each worker
// has a workbench and, more than that, a stack that has grown to what the work
// takes. Those of the connections stay as small as goroutines begin: of 15,000 each
// takes 5 KiB less, for 2 % more time (decision 0016).
type crew struct {
	idle chan *worker
	all  sync.WaitGroup
}

// maxIdle is how many workers wait for work. There are more while more are busy.
const maxIdle = 16

func newCrew() *crew { return &crew{idle: make(chan *worker, maxIdle)} }

// takeIn has a worker take in what c has to read, and returns what conn.takeIn
// does.
func (s *crew) takeIn(c *conn) error {
	var w *worker
	select {
	case w = <-s.idle:
	default:
		w = s.hire()
	}
	w.todo <- c
	err := <-w.done
	select {
	case s.idle <- w:
	default:
		close(w.todo)
	}
	return err
}

func (s *crew) hire() *worker {
	w := &worker{todo: make(chan *conn), done: make(chan error)}
	s.all.Go(w.work) // ends with todo
	return w
}

// dismiss ends all workers. Nothing may be taken in any more.
func (s *crew) dismiss() {
	close(s.idle)
	for w := range s.idle {
		close(w.todo)
	}
	s.all.Wait()
}

type worker struct {
	todo chan *conn
	done chan error
}

func (w *worker) work() {
	bench := new(workbench)
	for c := range w.todo {
		c.workbench = bench
		err := c.takeIn()
		c.workbench = nil
		bench.beat.clear() // it must not hold what may be forgotten
		w.done <- err
	}
}

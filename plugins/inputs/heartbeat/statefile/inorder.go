package statefile

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
)

// inOrder runs jobs concurrently on all processors, and yields their results in the order of the
// jobs. It starts a few jobs ahead, before the consumer needs their results. If a job or the
// iterator of jobs panics, inOrder panics, too.
func inOrder[T any](jobs iter.Seq[func() T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		all, stop := make(chan chan result[T], 2*runtime.GOMAXPROCS(0)), make(chan struct{})
		defer close(stop)
		go func() { // ends with the jobs, or with stop
			defer close(all)
			begun := catch(func() (none T) { startJobs(jobs, all, stop); return none })
			if begun.panic != nil {
				last := make(chan result[T], 1)
				last <- begun
				select {
				case all <- last:
				case <-stop:
				}
			}
		}()
		for one := range all {
			m := <-one
			if m.panic != nil {
				panic(m.panic)
			}
			if !yield(m.value) {
				return
			}
		}
	}
}

// startJobs starts each job, and sends the channel of its result to all.
func startJobs[T any](jobs iter.Seq[func() T], all chan<- chan result[T], stop <-chan struct{}) {
	for job := range jobs {
		one := make(chan result[T], 1)
		select {
		case all <- one:
			go func() { one <- catch(job) }() // ends with the job
		case <-stop:
			return
		}
	}
}

// A result is the value that a job has returned, or the panic that ended the job.
type result[T any] struct {
	value T
	panic error
}

func catch[T any](job func() T) (m result[T]) {
	defer func() {
		if cause := recover(); cause != nil {
			m.panic = fmt.Errorf("%v\n%s", cause, debug.Stack())
		}
	}()
	m.value = job()
	return m
}

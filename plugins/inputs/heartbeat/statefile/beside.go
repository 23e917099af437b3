package statefile

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
)

// beside runs jobs concurrently on all processors, and yields their results in the order of the
// jobs. It runs a few jobs ahead of the consumer. If a job, or the iterator of jobs, panics, so
// does beside.
func beside[T any](jobs iter.Seq[func() T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		all, enough := make(chan chan made[T], 2*runtime.GOMAXPROCS(0)), make(chan struct{})
		defer close(enough)
		go func() { // ends with the jobs, or with enough
			defer close(all)
			begun := contained(func() (none T) { begin(jobs, all, enough); return none })
			if begun.panic != nil {
				last := make(chan made[T], 1)
				last <- begun
				select {
				case all <- last:
				case <-enough:
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

// begin starts each job, and sends the channel of its result to all.
func begin[T any](jobs iter.Seq[func() T], all chan<- chan made[T], enough <-chan struct{}) {
	for job := range jobs {
		one := make(chan made[T], 1)
		select {
		case all <- one:
			go func() { one <- contained(job) }() // ends with the job
		case <-enough:
			return
		}
	}
}

// A made is the result of a job, or the panic that ended it.
type made[T any] struct {
	value T
	panic error
}

func contained[T any](job func() T) (m made[T]) {
	defer func() {
		if cause := recover(); cause != nil {
			m.panic = fmt.Errorf("%v\n%s", cause, debug.Stack())
		}
	}()
	m.value = job()
	return m
}

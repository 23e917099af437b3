package statefile

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
)

// beside does jobs beside each other, on all processors, and returns what they make in the
// order of the jobs. It is a little ahead of who takes that. If a job panics, or making one
// does, so does beside.
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

// begin begins each job, and says to all where it will be made.
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

// A made is what a job has made, or why it has not.
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

package statefile

import (
	"iter"
	"runtime"
)

// beside does jobs beside each other, on all processors, and returns what they make in the
// order of the jobs. It is a little ahead of who takes that.
func beside[T any](jobs iter.Seq[func() T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		made, enough := make(chan chan T, 2*runtime.GOMAXPROCS(0)), make(chan struct{})
		defer close(enough)
		go func() { // ends with the jobs, or with enough
			defer close(made)
			for job := range jobs {
				one := make(chan T, 1)
				select {
				case made <- one:
					go func() { one <- job() }() // ends with the job
				case <-enough:
					return
				}
			}
		}()
		for one := range made {
			if !yield(<-one) {
				return
			}
		}
	}
}

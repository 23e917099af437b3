// Package web takes heartbeats of other people's clients over HTTP. It knows requests, who
// may send them, and what their clients expect as an answer: each becomes an ordinary beat.
// It never knows who is alive.
package web

// Package docs tests the documents: what they show is run, or checked by the programs that it
// is for. It holds tests only; it knows our code as text and never imports it.
//
// Each fenced block of README.md and docs/*.md is of one of the kinds in the table kinds.
// Printed output is text: it is what the block before it prints or, where none was run, each
// line is one that our programs can print (go run ./internal/texts lists those). The excuses
// are in excuses_test.go.
package docs

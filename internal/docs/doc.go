// Package docs tests the documents. It runs the commands that they show, and checks other
// blocks with the programs that read them. It contains only tests. It knows our code as text
// and never imports it.
//
// Each fenced block of README.md and docs/*.md is checked according to its language (see the
// table kinds). Blocks in the language "text" are printed output. If the block before such a
// block was run, its output is compared; otherwise, each line must be one that our programs can
// print (go run ./internal/texts lists those). excuses_test.go describes the exceptions.
package docs

// Package docs tests the documents: what they show is run, or asked the
// programs that it is for. It holds tests only, and never knows our code.
//
// Each fenced block of README.md and docs/*.md is of one of the kinds in the
// table kinds, or "<!-- not run: REASON -->" stands above it. Printed output is
// text, and is left alone.
package docs

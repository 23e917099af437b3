package main

import "os"

// fileID returns what no JOURNAL_STREAM says.
func fileID(*os.File) string { return "" }

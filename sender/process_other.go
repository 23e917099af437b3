//go:build !linux

package sender

func bootID() string { return "" }

func startMS() int64 { return 0 }

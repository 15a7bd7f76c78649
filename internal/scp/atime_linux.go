package scp

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was read last.
func accessTime(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Atim.Unix())
	}
	return info.ModTime()
}

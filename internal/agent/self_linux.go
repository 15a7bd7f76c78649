package agent

import (
	"os"
	"strconv"
	"strings"
)

// residentSize is how much memory this process occupies, in bytes; 0 if /proc does not say (proc_pid_statm(5)).
func residentSize() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

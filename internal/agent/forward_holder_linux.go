package agent

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder says which process listens on a TCP port, as far as proc(5) shows:
// the sockets of all, but only the files of processes of our own user.
func portHolder(port uint32) (who string, ok bool) {
	sockets := make(map[string]bool)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(table, port, sockets)
	}
	if len(sockets) == 0 {
		return "", false
	}
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return "", false
	}
	for _, file := range files {
		if to, err := os.Readlink(file); err != nil || !sockets[to] { // many are not ours to read
			continue
		}
		pid := strings.Split(file, "/")[2]
		if pid == strconv.Itoa(os.Getpid()) {
			return "the cloudssh agent", true
		}
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil { // it has just ended
			continue
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid), true
	}
	return "", false
}

// listening adds the sockets of a table that listen on a port, named as the links
// in /proc/PID/fd name them.
func listening(table string, port uint32, sockets map[string]bool) {
	f, err := os.Open(table)
	if err != nil { // no IPv6, or no /proc
		return
	}
	defer f.Close() //nolint:errcheck // it was only read
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		const local, state, inode, listen = 1, 3, 9, "0A"
		if len(fields) > inode && fields[state] == listen && strings.HasSuffix(fields[local], suffix) {
			sockets["socket:["+fields[inode]+"]"] = true
		}
	}
}

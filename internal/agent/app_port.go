//go:build linux || darwin

package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// appPortVariable tells, in the environment of an app that cloudssh-app started,
// the port it was given.
const appPortVariable = "CLOUDSSH_APP_PORT"

// dial connects with a target. Our own port means the app: it would have that
// port if we had not, the user knows it by that port, and there is nothing of
// ours behind it that one could want to reach from within.
func (s *server) dial(ctx context.Context, to target) (net.Conn, error) {
	if s.isOwnPort(to) {
		return dialApp(ctx, to, "/proc")
	}
	return to.dial(ctx)
}

// dialApp connects with the app instead of a target.
func dialApp(ctx context.Context, to target, proc string) (net.Conn, error) {
	ports := appPorts(proc)
	if len(ports) == 0 {
		return nil, errNoApp
	}
	var failed error
	for _, to.port = range ports {
		conn, err := to.dial(ctx)
		if err == nil {
			return conn, nil
		}
		if failed == nil {
			failed = err // of the app that was started last
		}
	}
	return nil, failed
}

var errNoApp = errors.New(AppCommand + " is not running")

// isOwnPort reports whether a target is where we listen, by an address that the
// app is known by.
func (s *server) isOwnPort(to target) bool {
	own := "8080" // the container contract's default
	if port, _ := getenv(s.env, "PORT"); port != "" {
		own = port
	}
	ip := net.ParseIP(to.host)
	local := strings.EqualFold(strings.TrimSuffix(to.host, "."), "localhost") || ip.IsLoopback()
	return to.network == "tcp" && local && strconv.Itoa(int(to.port)) == own
}

// appPorts are the ports of the apps that run, those started last first.
func appPorts(proc string) []uint32 {
	type app struct {
		port    uint32
		started uint64
	}
	var apps []app
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "environ")) // the pattern is well-formed
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil {
			continue // another user's, or gone
		}
		for kv := range bytes.SplitSeq(environ, []byte{0}) {
			text, ok := strings.CutPrefix(string(kv), appPortVariable+"=")
			if port, err := strconv.ParseUint(text, 10, 16); ok && err == nil && port != 0 {
				apps = append(apps, app{uint32(port), startTime(filepath.Dir(file))})
			}
		}
	}
	slices.SortStableFunc(apps, func(a, b app) int { return cmp.Compare(b.started, a.started) })
	var ports []uint32
	for _, a := range apps {
		if !slices.Contains(ports, a.port) {
			ports = append(ports, a.port)
		}
	}
	return ports
}

// startTime is when a process began, in the kernel's ticks; 0 if it is gone
// (proc_pid_stat(5), field 22; the command's name in parentheses is the second).
func startTime(dir string) uint64 {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0
	}
	return ticks
}

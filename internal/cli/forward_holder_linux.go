package cli

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder says who listens on a port of an address; the zero address means
// everywhere. It is empty when that is not known.
func portHolder(addr netip.AddrPort, port int) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		defer f.Close() //nolint:errcheck // only read
		for lines := bufio.NewScanner(f); lines.Scan(); {
			s, ok := parseSocket(lines.Text())
			if ok && s.listening && int(s.local.Port()) == port && overlap(s.local.Addr(), addr.Addr()) {
				return s.holder()
			}
		}
	}
	return ""
}

// overlap reports whether listening on one address keeps the other from it.
func overlap(a, b netip.Addr) bool {
	everywhere := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
	return everywhere(a) || everywhere(b) || a == b
}

// socket is a line of /proc/net/tcp or tcp6 (proc_net_tcp.txt in Linux's
// documentation).
type socket struct {
	local      netip.AddrPort
	listening  bool
	uid, inode string
}

func parseSocket(line string) (s socket, ok bool) {
	const listen = "0A" // TCP_LISTEN
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return s, false
	}
	host, port, ok := strings.Cut(fields[1], ":")
	if !ok {
		return s, false
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return s, false
	}
	// The address is printed as 32-bit words in the machine's byte order.
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return s, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return socket{
		local: netip.AddrPortFrom(ip.Unmap(), uint16(n)), listening: fields[3] == listen, uid: fields[7], inode: fields[9],
	}, ok
}

// holder names the process that has the socket, or only its user: other
// people's processes do not show what they have open. Of several it is the oldest:
// the others have it from that one, as workers do, and every new process until it
// runs its own program.
func (s socket) holder() string {
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is well-formed
	oldest, began := "", uint64(math.MaxUint64)
	for _, fd := range open {
		if to, err := os.Readlink(fd); err != nil || to != "socket:["+s.inode+"]" {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		if at := startOf(dir); at < began || oldest == "" {
			oldest, began = dir, at
		}
	}
	pid := filepath.Base(oldest)
	name, err := os.ReadFile(filepath.Join(oldest, "comm"))
	switch {
	case oldest == "":
		if u, err := user.LookupId(s.uid); err == nil {
			return "a process of " + u.Username
		}
		return ""
	case pid == strconv.Itoa(os.Getpid()):
		return "another forward of this command"
	case err != nil:
		return "pid " + pid
	}
	return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
}

// startOf is when a process began, in the kernel's ticks since the machine did
// (proc_pid_stat(5)); one that is gone already is the youngest.
func startOf(dir string) uint64 {
	const behindName = 22 - 3 // of the start among the fields that follow the name, from the third on
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return math.MaxUint64
	}
	fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
	if len(fields) <= behindName {
		return math.MaxUint64
	}
	ticks, err := strconv.ParseUint(fields[behindName], 10, 64)
	if err != nil {
		return math.MaxUint64
	}
	return ticks
}

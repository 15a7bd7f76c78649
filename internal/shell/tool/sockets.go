package tool

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A socket is a line of /proc/net/tcp, udp or unix.
type socket struct {
	network       string
	local, remote netip.AddrPort
	path          string // of a unix socket
	state         string
	inode         string
	uid           uint32
	waiting, sent int64 // bytes not yet read, and not yet acknowledged
}

// sockets reads those of one kind: tcp, tcp6, udp, udp6 or unix.
func sockets(network string) ([]socket, error) {
	text, err := os.ReadFile("/proc/net/" + network)
	if err != nil {
		return nil, err
	}
	var all []socket
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) == 0 {
			continue
		}
		if network == "unix" {
			if s, ok := unixSocket(f); ok {
				all = append(all, s)
			}
			continue
		}
		if s, ok := inetSocket(network, f); ok {
			all = append(all, s)
		}
	}
	return all, nil
}

func unixSocket(f []string) (socket, bool) {
	if len(f) < 7 {
		return socket{}, false
	}
	s := socket{network: "unix", inode: f[6], state: map[string]string{"01": "LISTEN", "03": "ESTAB"}[f[5]]}
	if flags, err := strconv.ParseUint(f[3], 16, 64); err == nil && flags&0x10000 != 0 {
		s.state = "LISTEN"
	} else if s.state == "LISTEN" {
		s.state = "UNCONN"
	}
	if len(f) > 7 {
		s.path = f[7]
	}
	return s, true
}

func inetSocket(network string, f []string) (socket, bool) {
	if len(f) < 10 {
		return socket{}, false
	}
	states := []string{
		"", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING",
	}
	local, ok := hexAddress(f[1])
	remote, rok := hexAddress(f[2])
	state, err := strconv.ParseUint(f[3], 16, 8)
	if !ok || !rok || err != nil || int(state) >= len(states) {
		return socket{}, false
	}
	s := socket{network: network, local: local, remote: remote, state: states[state], inode: f[9]}
	if uid, err := strconv.ParseUint(f[7], 10, 32); err == nil {
		s.uid = uint32(uid)
	}
	sent, waiting, _ := strings.Cut(f[4], ":")
	if n, err := strconv.ParseInt(sent, 16, 64); err == nil {
		s.sent = n
	}
	if n, err := strconv.ParseInt(waiting, 16, 64); err == nil {
		s.waiting = n
	}
	return s, true
}

// hexAddress reads 0100007F:1F90: words of the machine's byte order, which is
// the little end on all that matter.
func hexAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// showAddress is an address as ss writes it; port 0 is a star.
func showAddress(a netip.AddrPort) string {
	port := strconv.Itoa(int(a.Port()))
	if a.Port() == 0 {
		port = "*"
	}
	return net.JoinHostPort(a.Addr().String(), port)
}

// holders says which processes hold which sockets, by the sockets' inodes.
func holders() map[string][]process {
	found := map[string][]process{}
	all, err := processes()
	if err != nil {
		return found
	}
	for _, p := range all {
		for _, fd := range descriptors(p.pid) {
			if inode, ok := strings.CutPrefix(fd.target, "socket:["); ok {
				inode = strings.TrimSuffix(inode, "]")
				found[inode] = append(found[inode], p)
			}
		}
	}
	return found
}

// A descriptor is an open file of a process.
type descriptor struct{ number, target string }

func descriptors(pid int) []descriptor {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // another user's process, or it has ended
	}
	var all []descriptor
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			all = append(all, descriptor{e.Name(), target})
		}
	}
	slices.SortFunc(all, func(a, b descriptor) int {
		return len(a.number)*100 - len(b.number)*100 + strings.Compare(a.number, b.number)
	})
	return all
}

// ss is ss and netstat: it lists sockets, those that listen only with -l.
func ss(c *Context) int {
	o, ok := c.parse("tuxlanpeom46HWrs", "tcp=t", "udp=u", "unix=x", "listening=l", "all=a", "numeric=n", "processes=p", "program=p", "no-header=H")
	if !ok {
		return 2
	}
	var owners map[string][]process
	if o.has("p") {
		owners = holders()
	}
	head := []string{"Netid", "State", "Recv-Q", "Send-Q", "Local", "Peer", "Process"}
	rows := [][]string{head}
	found := false
	for _, network := range networks(o) {
		all, err := sockets(network)
		if err != nil {
			continue // a kernel without IPv6, or gVisor without that list
		}
		found = true
		for _, s := range all {
			listens := s.state == "LISTEN" || strings.HasPrefix(network, "udp") && s.state == "UNCONN"
			if o.has("a") || listens == o.has("l") {
				rows = append(rows, socketRow(s, owners))
			}
		}
	}
	if !found {
		return c.Errorf("this system does not list its sockets")
	}
	if o.has("H") {
		rows = rows[1:]
	}
	out := c.output()
	if len(rows) > 0 {
		aligned(out, rows, []bool{true, true, false, false, true, true, true})
	}
	return out.done(0)
}

// networks are those that ss's flags ask for.
func networks(o options) []string {
	var all []string
	for _, n := range []struct{ flag, name string }{{"t", "tcp"}, {"t", "tcp6"}, {"u", "udp"}, {"u", "udp6"}, {"x", "unix"}} {
		version := o.last("46")
		if (o.has(n.flag) || !o.has("tux")) && (version == 0 || strings.HasSuffix(n.name, "6") == (version == '6')) {
			all = append(all, n.name)
		}
	}
	return all
}

func socketRow(s socket, owners map[string][]process) []string {
	row := []string{strings.TrimSuffix(s.network, "6"), s.state, strconv.FormatInt(s.waiting, 10), strconv.FormatInt(s.sent, 10), "", "", ""}
	if s.network == "unix" {
		row[0], row[4], row[5] = "u_str", s.path, "*"
		if s.path == "" {
			row[4] = "*"
		}
	} else {
		row[4], row[5] = showAddress(s.local), showAddress(s.remote)
	}
	var names []string
	for _, p := range owners[s.inode] {
		names = append(names, p.name+"/"+strconv.Itoa(p.pid))
	}
	row[6] = strings.Join(slices.Compact(names), ",")
	return row
}

// aligned writes a table; columns are aligned at the right save those of left.
func aligned(out *output, rows [][]string, left []bool) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len(cell))
			if left[i] {
				line += cell + pad + " "
			} else {
				line += pad + cell + " "
			}
		}
		out.line(strings.TrimRight(line, " "))
	}
}

// lsof lists the files that processes have open.
func lsof(c *Context) int {
	o, ok := c.parse("p:c:u:i::nPta")
	if !ok {
		return 2
	}
	all, err := processes()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	known := socketsByInode()
	names := map[string]bool{}
	for _, name := range o.operands {
		if path, err := filepath.EvalSymlinks(c.Path(name)); err == nil {
			names[path] = true
		}
	}
	a := newAccounts()
	rows := [][]string{{"COMMAND", "PID", "USER", "FD", "NAME"}}
	for _, p := range all {
		if !lsofWants(o, p, a) {
			continue
		}
		for _, fd := range openFiles(p.pid) {
			name, network := fileName(fd.target, known)
			if len(names) > 0 && !names[fd.target] || o.has("i") && (!network || !hasPort(name, o.value('i'))) {
				continue
			}
			rows = append(rows, []string{p.name, strconv.Itoa(p.pid), a.user(p.uid), fd.number, name})
		}
	}
	out := c.output()
	switch {
	case len(rows) == 1:
		return 1
	case o.has("t"):
		before := ""
		for _, row := range rows[1:] {
			if row[1] != before {
				out.line(row[1])
			}
			before = row[1]
		}
	default:
		aligned(out, rows, []bool{true, false, true, false, true})
	}
	return out.done(0)
}

func lsofWants(o options, p process, a accounts) bool {
	return (!o.has("p") || slices.Contains(strings.Split(o.value('p'), ","), strconv.Itoa(p.pid))) &&
		(!o.has("c") || strings.HasPrefix(p.name, o.value('c'))) && (!o.has("u") || a.user(p.uid) == o.value('u'))
}

// socketsByInode are all sockets, as far as the system lists them.
func socketsByInode() map[string]socket {
	known := map[string]socket{}
	for _, network := range networks(options{}) {
		list, err := sockets(network)
		if err != nil {
			continue
		}
		for _, s := range list {
			known[s.inode] = s
		}
	}
	return known
}

// openFiles are the descriptors, the directory and the program of a process.
func openFiles(pid int) []descriptor {
	var all []descriptor
	for _, link := range []string{"cwd", "root", "exe"} {
		if to, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), link)); err == nil {
			all = append(all, descriptor{map[string]string{"cwd": "cwd", "root": "rtd", "exe": "txt"}[link], to})
		}
	}
	return append(all, descriptors(pid)...)
}

// fileName is what a descriptor leads to; network is set for one of TCP or UDP.
func fileName(target string, known map[string]socket) (name string, network bool) {
	inode, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return target, false
	}
	s, ok := known[strings.TrimSuffix(inode, "]")]
	switch {
	case !ok:
		return target, false
	case s.network == "unix":
		return strings.TrimSpace("unix " + s.path), false
	case s.remote.Port() != 0:
		return s.network + " " + showAddress(s.local) + "->" + showAddress(s.remote) + " (" + s.state + ")", true
	}
	return s.network + " " + showAddress(s.local) + " (" + s.state + ")", true
}

// hasPort is whether a socket has the port of lsof -i :PORT.
func hasPort(name, filter string) bool {
	_, port, ok := strings.Cut(filter, ":")
	return !ok || strings.Contains(name, ":"+port+" ") || strings.Contains(name, ":"+port+"->")
}

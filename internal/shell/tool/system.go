package tool

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func id(c *Context) int {
	o, ok := c.parse("ugGnr", "user=u", "group=g", "groups=G", "name=n")
	if !ok {
		return 2
	}
	a := newAccounts()
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	groups, err := os.Getgroups()
	if err != nil {
		groups = nil
	}
	if len(o.operands) > 0 {
		var found bool
		if uid, gid, groups, found = account(o.operands[0]); !found {
			return c.Errorf("%s: no such user", o.operands[0])
		}
	}
	if !slices.Contains(groups, int(gid)) {
		groups = append([]int{int(gid)}, groups...)
	}
	name := func(names map[uint32]string, id uint32) string {
		if o.has("n") {
			return nameOr(names, id)
		}
		return strconv.FormatUint(uint64(id), 10)
	}
	both := func(names map[uint32]string, id uint32) string {
		text := strconv.FormatUint(uint64(id), 10)
		if n := names[id]; n != "" {
			text += "(" + n + ")"
		}
		return text
	}
	out := c.output()
	switch o.last("ugG") {
	case 'u':
		out.line(name(a.users, uid))
	case 'g':
		out.line(name(a.groups, gid))
	case 'G':
		var all []string
		for _, g := range groups {
			all = append(all, name(a.groups, uint32(g)))
		}
		out.line(strings.Join(all, " "))
	default:
		var all []string
		for _, g := range groups {
			all = append(all, both(a.groups, uint32(g)))
		}
		out.line("uid=" + both(a.users, uid) + " gid=" + both(a.groups, gid) + " groups=" + strings.Join(all, ","))
	}
	return out.done(0)
}

// account finds a user in /etc/passwd and /etc/group, by name or number.
func account(name string) (uid, gid uint32, groups []int, found bool) {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return 0, 0, nil, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || f[0] != name && f[2] != name {
			continue
		}
		u, uerr := strconv.ParseUint(f[2], 10, 32)
		g, gerr := strconv.ParseUint(f[3], 10, 32)
		return uint32(u), uint32(g), memberships(f[0], int(g)), uerr == nil && gerr == nil
	}
	return 0, 0, nil, false
}

func memberships(user string, first int) []int {
	groups := []int{first}
	text, err := os.ReadFile("/etc/group")
	if err != nil {
		return groups
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || !slices.Contains(strings.Split(f[3], ","), user) {
			continue
		}
		if g, err := strconv.Atoi(f[2]); err == nil && g != first {
			groups = append(groups, g)
		}
	}
	return groups
}

func whoami(c *Context) int {
	out := c.output()
	out.line(newAccounts().user(uint32(os.Geteuid())))
	return out.done(0)
}

func groups(c *Context) int {
	n := *c
	n.Args = append([]string{c.Args[0], "-Gn"}, c.Args[1:]...)
	return id(&n)
}

func hostname(c *Context) int {
	o, ok := c.parse("sfidI", "short=s", "fqdn=f")
	if !ok {
		return 2
	}
	if len(o.operands) > 0 {
		return c.Errorf("the name of a container cannot be set")
	}
	name, err := os.Hostname()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	if o.has("s") {
		name, _, _ = strings.Cut(name, ".")
	}
	out := c.output()
	out.line(name)
	return out.done(0)
}

func uname(c *Context) int {
	o, ok := c.parse("asnrvmpio", "all=a", "kernel-name=s", "nodename=n", "kernel-release=r", "kernel-version=v", "machine=m", "operating-system=o")
	if !ok {
		return 2
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return c.Errorf("%s", reason(err))
	}
	system := "GNU/Linux"
	if runtime.GOOS != "linux" {
		system = unix.ByteSliceToString(u.Sysname[:])
	}
	var parts []string
	for _, p := range []struct{ flag, text string }{
		{"s", unix.ByteSliceToString(u.Sysname[:])},
		{"n", unix.ByteSliceToString(u.Nodename[:])},
		{"r", unix.ByteSliceToString(u.Release[:])},
		{"v", unix.ByteSliceToString(u.Version[:])},
		{"m", unix.ByteSliceToString(u.Machine[:])},
		{"o", system},
	} {
		if o.has(p.flag+"a") || p.flag == "s" && len(o.given) == 0 {
			parts = append(parts, p.text)
		}
	}
	if o.has("pi") && !o.has("a") {
		parts = append(parts, "unknown")
	}
	out := c.output()
	out.line(strings.Join(parts, " "))
	return out.done(0)
}

func nproc(c *Context) int {
	out := c.output()
	out.line(strconv.Itoa(runtime.NumCPU()))
	return out.done(0)
}

func tty(c *Context) int {
	out := c.output()
	if !c.StdinTTY {
		out.line("not a tty")
		return out.done(1)
	}
	p, ok := readProcess(os.Getpid())
	if !ok || p.tty == 0 {
		out.line("/dev/tty")
	} else {
		out.line("/dev/" + p.terminal())
	}
	return out.done(0)
}

func uptimeTool(c *Context) int {
	m := &monitor{c: c}
	line, _, _ := strings.Cut(m.summary(nil, newLister(c)), "\n")
	out := c.output()
	out.line(strings.TrimPrefix(line, "top -"))
	return out.done(0)
}

func which(c *Context) int {
	o, ok := c.parse("as")
	if !ok {
		return 2
	}
	out, status := c.output(), 0
	for _, name := range o.operands {
		path := ""
		if c.LookPath != nil {
			path = c.LookPath(name)
		}
		if path == "" {
			status = 1
			continue
		}
		if !o.has("s") {
			out.line(path)
		}
	}
	return out.done(status)
}

func free(c *Context) int {
	o, ok := c.parse("bkmgh", "bytes=b", "kibi=k", "mebi=m", "gibi=g", "human=h")
	if !ok {
		return 2
	}
	m, err := memory()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	show := func(n int64) string {
		if o.last("bkmgh") == 'h' {
			return human(n)
		}
		return strconv.FormatInt(n/map[byte]int64{'b': 1, 'm': 1 << 20, 'g': 1 << 30, 'k': 1 << 10, 0: 1 << 10}[o.last("bkmgh")], 10)
	}
	available, ok := m["MemAvailable"]
	if !ok { // gVisor may not say
		available = m["MemFree"] + m["Cached"]
	}
	out := c.output()
	out.printf("%15s %11s %11s %11s %11s %11s\n", "total", "used", "free", "shared", "buff/cache", "available")
	for _, row := range [][]int64{
		{m["MemTotal"], m["MemTotal"] - available, m["MemFree"], m["Shmem"], m["Buffers"] + m["Cached"] + m["SReclaimable"], available},
		{m["SwapTotal"], m["SwapTotal"] - m["SwapFree"], m["SwapFree"]},
	} {
		name := "Mem:"
		if len(row) == 3 {
			name = "Swap:"
		}
		out.printf("%-7s", name)
		for i, n := range row {
			if i == 0 {
				out.printf(" %7s", show(n))
				continue
			}
			out.printf(" %11s", show(n))
		}
		out.byte('\n')
	}
	return out.done(0)
}

// signals are the ones that kill knows by name.
func signals() map[string]unix.Signal {
	all := map[string]unix.Signal{}
	for n := unix.Signal(1); n < 32; n++ {
		if name := unix.SignalName(n); name != "" {
			all[strings.TrimPrefix(name, "SIG")] = n
		}
	}
	return all
}

func parseSignal(s string) (unix.Signal, error) {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < 65 {
		return unix.Signal(n), nil
	}
	if n, ok := signals()[strings.TrimPrefix(strings.ToUpper(s), "SIG")]; ok {
		return n, nil
	}
	return 0, errors.New("unknown signal " + s)
}

// signalFlag takes a signal such as -9 or -HUP off the arguments.
func signalFlag(c *Context) (args []string, signal unix.Signal, err error) {
	args, signal = c.Args[1:], unix.SIGTERM
	if len(args) == 0 {
		return args, signal, nil
	}
	switch first := args[0]; {
	case first == "-s" && len(args) > 1:
		signal, err = parseSignal(args[1])
		return args[2:], signal, err
	case first == "--":
		return args[1:], signal, nil
	case len(first) > 1 && first[0] == '-' && (first[1] >= '0' && first[1] <= '9' || first[1] >= 'A' && first[1] <= 'Z'):
		signal, err = parseSignal(first[1:])
		return args[1:], signal, err
	}
	return args, signal, nil
}

func kill(c *Context) int {
	if len(c.Args) > 1 && c.Args[1] == "-l" {
		return listSignals(c)
	}
	args, signal, err := signalFlag(c)
	if err != nil {
		return c.Usage("%s", err)
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return c.Usage("kill [-SIGNAL] PID...")
	}
	status := 0
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err == nil {
			err = unix.Kill(pid, signal)
		} else {
			err = errors.New("not the number of a process")
		}
		if err != nil {
			status = c.fail(arg, err)
		}
	}
	return status
}

func listSignals(c *Context) int {
	out := c.output()
	if len(c.Args) > 2 {
		n, err := strconv.Atoi(c.Args[2])
		if name := strings.TrimPrefix(unix.SignalName(unix.Signal(n&0x7f)), "SIG"); err == nil && name != "" {
			out.line(name)
			return out.done(0)
		}
		n2, err := parseSignal(c.Args[2])
		if err != nil {
			return c.Usage("%s", err)
		}
		out.line(strconv.Itoa(int(n2)))
		return out.done(0)
	}
	for n := unix.Signal(1); n < 32; n++ {
		if name := unix.SignalName(n); name != "" {
			out.line(strconv.Itoa(int(n)) + " " + strings.TrimPrefix(name, "SIG"))
		}
	}
	return out.done(0)
}

package tool

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticks is how many of the kernel's units of time are in a second: USER_HZ, the
// same on all architectures that matter, and in gVisor.
const ticks = 100

// A process is what /proc says of one.
type process struct {
	pid, ppid, pgid, sid int
	tty, threads, nice   int
	name, state          string
	cpu                  time.Duration // used up to now
	start                time.Duration // since boot
	size, resident       int64         // bytes of memory
	uid                  uint32
	args                 []string // empty for a process of the kernel, and for one that has ended
}

// processes are all that can be seen, by their numbers. Those that end meanwhile
// are left out.
func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b process) int { return cmp.Compare(a.pid, b.pid) })
	return all, nil
}

func readProcess(pid int) (process, bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return process{}, false
	}
	p, ok := parseStat(string(text))
	if !ok {
		return p, false
	}
	if n, err := stat(dir); err == nil {
		p.uid = n.uid
	}
	if line, err := os.ReadFile(filepath.Join(dir, "cmdline")); err == nil && len(line) > 0 {
		p.args = strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
	}
	return p, true
}

// parseStat reads /proc/PID/stat (proc_pid_stat(5)). The name is in parentheses,
// and may have some itself.
func parseStat(text string) (process, bool) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 22 {
		return process{}, false
	}
	number := func(i int) int64 { // field i of the manual page, from 3
		n, err := strconv.ParseInt(f[i-3], 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
	return process{
		pid: pid, name: text[open+1 : end], state: f[0],
		ppid: int(number(4)), pgid: int(number(5)), sid: int(number(6)), tty: int(number(7)),
		cpu:  time.Duration(number(14)+number(15)) * time.Second / ticks,
		nice: int(number(19)), threads: int(number(20)), start: time.Duration(number(22)) * time.Second / ticks,
		size: number(23), resident: number(24) * int64(os.Getpagesize()),
	}, err == nil
}

// command is the command line, or the name in brackets where there is none.
func (p process) command() string {
	if len(p.args) == 0 {
		return "[" + p.name + "]"
	}
	return strings.Join(p.args, " ")
}

// terminal is the device of the process's terminal, as far as ps names it.
func (p process) terminal() string {
	major, minor := p.tty>>8&0xfff, p.tty&0xff|p.tty>>12&0xfff00
	switch {
	case p.tty == 0:
		return "?"
	case major >= 136 && major <= 143:
		return "pts/" + strconv.Itoa((major-136)<<8+minor)
	case major == 4 && minor < 64:
		return "tty" + strconv.Itoa(minor)
	}
	return strconv.Itoa(major) + ":" + strconv.Itoa(minor)
}

// uptime is the time since the machine was booted, as processes' starts count it.
func uptime() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

// memory reads /proc/meminfo; the sizes are in bytes.
func memory() (map[string]int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	m := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				m[name] = n << 10
			}
		}
	}
	return m, nil
}

// clock writes a time of a process as ps does: [DD-]HH:MM:SS.
func clock(d time.Duration) string {
	s := int64(d / time.Second)
	text := twoDigits(s/3600%24) + ":" + twoDigits(s/60%60) + ":" + twoDigits(s%60)
	if days := s / 86400; days > 0 {
		text = strconv.FormatInt(days, 10) + "-" + text
	}
	return text
}

func twoDigits(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}

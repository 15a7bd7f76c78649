package tool

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A column is one that ps can show.
type column struct {
	title string
	right bool // numbers are aligned there
	value func(process) string
}

// A lister knows what the columns of ps need.
type lister struct {
	accounts accounts
	up       time.Duration
	memory   int64
	now      time.Time
}

func newLister(c *Context) lister {
	l := lister{accounts: newAccounts(), up: uptime(), now: time.Now().In(zone(c))}
	if m, err := memory(); err == nil {
		l.memory = m["MemTotal"]
	}
	return l
}

// column returns the one of that name.
func (l lister) column(name string) (column, bool) {
	number := func(title string, f func(process) int64) (column, bool) {
		return column{title, true, func(p process) string { return strconv.FormatInt(f(p), 10) }}, true
	}
	text := func(title string, f func(process) string) (column, bool) { return column{title, false, f}, true }
	switch name {
	case "pid", "tgid":
		return number("PID", func(p process) int64 { return int64(p.pid) })
	case "ppid":
		return number("PPID", func(p process) int64 { return int64(p.ppid) })
	case "pgid", "pgrp":
		return number("PGID", func(p process) int64 { return int64(p.pgid) })
	case "sid", "sess":
		return number("SID", func(p process) int64 { return int64(p.sid) })
	case "uid", "euid":
		return number("UID", func(p process) int64 { return int64(p.uid) })
	case "vsz", "vsize":
		return number("VSZ", func(p process) int64 { return p.size >> 10 })
	case "rss":
		return number("RSS", func(p process) int64 { return p.resident >> 10 })
	case "ni", "nice":
		return number("NI", func(p process) int64 { return int64(p.nice) })
	case "nlwp", "thcount":
		return number("NLWP", func(p process) int64 { return int64(p.threads) })
	case "user", "euser":
		return text("USER", func(p process) string { return l.accounts.user(p.uid) })
	case "tty", "tt", "tname":
		return text("TT", process.terminal)
	case "stat", "s", "state":
		return text(strings.ToUpper(name), func(p process) string { return p.state })
	case "args", "cmd", "command":
		return text(strings.ToUpper(strings.Replace(name, "args", "command", 1)), process.command)
	case "comm", "ucmd":
		return text("COMMAND", func(p process) string { return p.name })
	}
	return l.timeColumn(name)
}

// timeColumn returns one that is about time, or a share of something.
func (l lister) timeColumn(name string) (column, bool) {
	switch name {
	case "time", "cputime":
		return column{"TIME", true, func(p process) string { return clock(p.cpu) }}, true
	case "etime":
		return column{"ELAPSED", true, func(p process) string { return elapsed(l.up - p.start) }}, true
	case "etimes":
		return column{"ELAPSED", true, func(p process) string { return strconv.FormatInt(int64((l.up-p.start)/time.Second), 10) }}, true
	case "start", "stime", "start_time", "lstart":
		return column{"START", true, l.started}, true
	case "pcpu", "%cpu", "c":
		return column{"%CPU", true, func(p process) string {
			return percent(float64(p.cpu), float64(max(l.up-p.start, time.Second)))
		}}, true
	case "pmem", "%mem":
		return column{"%MEM", true, func(p process) string { return percent(float64(p.resident), float64(l.memory)) }}, true
	}
	return column{}, false
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "0.0"
	}
	return strconv.FormatFloat(part/whole*100, 'f', 1, 64)
}

// elapsed leaves out hours and days of which there are none.
func elapsed(d time.Duration) string {
	s := clock(max(d, 0))
	if d < time.Hour {
		return s[3:]
	}
	return s
}

func (l lister) started(p process) string {
	at := l.now.Add(p.start - l.up)
	if at.YearDay() != l.now.YearDay() || at.Year() != l.now.Year() {
		return at.Format("Jan02")
	}
	return at.Format("15:04")
}

func ps(c *Context) int {
	args := c.Args
	if len(args) > 1 && args[1] != "" && args[1][0] != '-' && strings.Trim(args[1], "auxwefljh") == "" { // ps aux: BSD's flags
		n := *c
		n.Args = append([]string{args[0], "-" + strings.ReplaceAll(args[1], "u", "1")}, args[2:]...)
		c = &n
	}
	o, ok := c.parse("aAdeflxwj1ho:O:p:u:U:t:C:T2H", "forest=2", "pid=p", "user=u", "format=o", "no-headers=h", "no-heading=h",
		"everyone=e")
	if !ok {
		return 2
	}
	columns := "pid,user,time,args"
	switch {
	case o.has("o"):
		columns = strings.Join(o.values('o'), ",")
	case o.has("1"):
		columns = "user,pid,%cpu,%mem,vsz,rss,tty,stat,start,time,command"
	case o.has("f"):
		columns = "user,pid,ppid,c,stime,tty,time,cmd"
	case o.has("l"):
		columns = "s,uid,pid,ppid,ni,vsz,rss,tty,time,args"
	case o.has("j"):
		columns = "pid,pgid,sid,tty,time,args"
	}
	shown, err := newLister(c).columns(columns)
	if err != nil {
		return c.Usage("%s", err)
	}
	all, err := processes()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	status := 0
	if all, err = choose(all, o); err != nil {
		return c.Usage("%s", err)
	}
	if o.has("pCuU") && len(all) == 0 {
		status = 1
	}
	width := 0
	if c.StdoutTTY && c.Terminal != nil && !o.has("w") {
		width, _ = c.Terminal.Size()
	}
	out := c.output()
	writeColumns(out, all, shown, !o.has("h"), width)
	return out.done(status)
}

// columns reads a list such as pid,user=NAME,args.
func (l lister) columns(list string) ([]column, error) {
	var all []column
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		name, title, renamed := strings.Cut(word, "=")
		col, ok := l.column(strings.TrimPrefix(name, "-"))
		if !ok {
			return nil, fmt.Errorf("unknown column %s", name)
		}
		if renamed {
			col.title = title
		}
		all = append(all, col)
	}
	return all, nil
}

// choose leaves those that -p, -u and -C ask for.
func choose(all []process, o options) ([]process, error) {
	list := func(flags string) []string {
		var words []string
		for _, f := range []byte(flags) {
			for _, v := range o.values(f) {
				words = append(words, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })...)
			}
		}
		return words
	}
	var pids []int
	for _, s := range append(list("p"), o.operands...) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, errors.New("not the number of a process: " + s)
		}
		pids = append(pids, n)
	}
	var uids []uint32
	accounts := newAccounts()
	for _, s := range list("uU") {
		n, ok := number(accounts.users, s)
		if !ok {
			return nil, errors.New("nobody of that name: " + s)
		}
		uids = append(uids, n)
	}
	names, terminals := list("C"), list("t")
	if len(pids)+len(uids)+len(names)+len(terminals) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(p process) bool {
		return !slices.Contains(pids, p.pid) && !slices.Contains(uids, p.uid) && !slices.Contains(names, p.name) &&
			!slices.Contains(terminals, p.terminal())
	}), nil
}

// writeColumns writes a table no wider than width, 0 for any.
func writeColumns(out *output, all []process, columns []column, titles bool, width int) {
	var rows [][]string
	row := make([]string, len(columns))
	for i, col := range columns {
		if row[i] = col.title; row[i] == "" {
			titles = titles && len(columns) > 1
		}
	}
	if titles {
		rows = append(rows, row)
	}
	for _, p := range all {
		row := make([]string, len(columns))
		for i, col := range columns {
			row[i] = col.value(p)
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len(cell))
			switch {
			case columns[i].right:
				line.WriteString(pad + cell)
			case i == len(columns)-1:
				line.WriteString(cell)
			default:
				line.WriteString(cell + pad)
			}
			if i < len(columns)-1 {
				line.WriteByte(' ')
			}
		}
		text := line.String()
		if width > 0 {
			text = clip(visible(text), width)
		}
		out.line(text)
	}
}

// clip shortens a text to so many characters.
func clip(s string, width int) string {
	n := 0
	for i := range s {
		if n == width {
			return s[:i]
		}
		n++
	}
	return s
}

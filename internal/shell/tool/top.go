package tool

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A monitor is one run of top.
type monitor struct {
	c      *Context
	every  time.Duration
	rounds int  // 0: until it is told to stop
	order  byte // P: by processor, M: by memory, N: by number
	before map[int]time.Duration
	at     time.Time
	pids   options
}

func top(c *Context) int {
	o, ok := c.parse("bn:d:p:u:o:")
	if !ok {
		return 2
	}
	m := &monitor{c: c, every: 2 * time.Second, order: 'P', before: map[int]time.Duration{}, pids: o}
	var err error
	if o.has("d") {
		if m.every, err = duration(o.value('d')); err != nil || m.every <= 0 {
			return c.Usage("not a time: %s", o.value('d'))
		}
	}
	if o.has("n") {
		if m.rounds, err = strconv.Atoi(o.value('n')); err != nil {
			return c.Usage("not a number: %s", o.value('n'))
		}
	}
	if strings.Contains(strings.ToLower(o.value('o')), "mem") {
		m.order = 'M'
	}
	if o.has("b") || !c.StdoutTTY || c.Terminal == nil {
		if !o.has("b") && m.rounds == 0 {
			m.rounds = 1
		}
		return m.batch()
	}
	return m.interactive()
}

// batch writes one list after the other.
func (m *monitor) batch() int {
	for i := 0; ; {
		out := m.c.output()
		text, err := m.screen(0, 0)
		if err != nil {
			return m.c.Errorf("%s", reason(err))
		}
		out.text(text)
		if out.flush(); out.failed() {
			return 1
		}
		if i++; i == m.rounds {
			return 0
		}
		ctx, cancel := context.WithTimeout(m.c, m.every)
		<-ctx.Done()
		cancel()
		if m.c.Err() != nil {
			return 0
		}
		out.byte('\n')
		out.flush()
	}
}

func (m *monitor) interactive() int {
	t := m.c.Terminal
	restore, err := t.Raw()
	if err != nil {
		return m.c.Errorf("%s", reason(err))
	}
	defer restore()
	out := newOutput(t)
	out.text("\x1b[?1049h\x1b[?25l")
	defer func() {
		out.text("\x1b[?25h\x1b[?1049l")
		out.flush()
	}()
	key := make([]byte, 16)
	for i := 0; m.rounds == 0 || i < m.rounds; i++ {
		cols, rows := t.Size()
		text, err := m.screen(cols, rows)
		if err != nil {
			return m.c.Errorf("%s", reason(err))
		}
		out.text("\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\r\n") + "\x1b[J")
		if out.flush(); out.failed() {
			return 1
		}
		ctx, cancel := context.WithTimeout(m.c, m.every)
		n, err := t.ReadTimely(ctx, key)
		cancel()
		if err != nil || n > 0 && (key[0] == 'q' || key[0] == 3) {
			return 0
		}
		if n > 0 && strings.IndexByte("PMN", key[0]&^0x20) >= 0 {
			m.order = key[0] &^ 0x20
		}
	}
	return 0
}

// screen is what top shows now; cols and rows are 0 where there is no limit.
func (m *monitor) screen(cols, rows int) (string, error) {
	all, err := processes()
	if err != nil {
		return "", err
	}
	if all, err = choose(all, m.pids); err != nil {
		return "", err
	}
	l := newLister(m.c)
	used := m.used(all, l.up)
	slices.SortStableFunc(all, func(a, b process) int {
		switch m.order {
		case 'M':
			return cmp.Compare(b.resident, a.resident)
		case 'N':
			return cmp.Compare(b.pid, a.pid)
		}
		return cmp.Compare(used[b.pid], used[a.pid])
	})
	columns, err := l.columns("pid,user,ni,vsz,rss,stat,%mem,time,command")
	if err != nil {
		return "", err
	}
	load := column{"%CPU", true, func(p process) string { return strconv.FormatFloat(used[p.pid], 'f', 1, 64) }}
	columns = slices.Insert(columns, 6, load)
	var b strings.Builder
	out := newOutput(&b)
	out.text(m.summary(all, l))
	if rows > 0 {
		all = all[:min(len(all), max(0, rows-6))]
	}
	writeColumns(out, all, columns, true, cols)
	out.flush()
	text := b.String()
	if rows > 0 {
		text = strings.TrimSuffix(text, "\n")
	}
	return text, nil
}

// used is how much of one processor each process has used since the last time,
// in percent; the first time, since it began.
func (m *monitor) used(all []process, up time.Duration) map[int]float64 {
	now, used := time.Now(), map[int]float64{}
	before := m.before
	m.before = map[int]time.Duration{}
	for _, p := range all {
		spent, span := p.cpu, max(up-p.start, time.Second)
		if old, ok := before[p.pid]; ok {
			spent, span = p.cpu-old, max(now.Sub(m.at), time.Millisecond)
		}
		used[p.pid] = float64(spent) / float64(span) * 100
		m.before[p.pid] = p.cpu
	}
	m.at = now
	return used
}

func (m *monitor) summary(all []process, l lister) string {
	running := 0
	for _, p := range all {
		if p.state == "R" {
			running++
		}
	}
	text := "top - " + l.now.Format("15:04:05") + " up " + upFor(l.up)
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(load)); len(f) >= 3 {
			text += ", load average: " + strings.Join(f[:3], ", ")
		}
	}
	text += "\nTasks: " + strconv.Itoa(len(all)) + " total, " + strconv.Itoa(running) + " running\n"
	if mem, err := memory(); err == nil {
		text += "Mem: " + human(mem["MemTotal"]) + " total, " + human(mem["MemAvailable"]) + " available, " + human(mem["MemFree"]) + " free\n"
	}
	return text + "\n"
}

// upFor is a span as uptime(1) writes it.
func upFor(d time.Duration) string {
	minutes := int64(d / time.Minute)
	text := strconv.FormatInt(minutes/60%24, 10) + ":" + twoDigits(minutes%60)
	if minutes < 60 {
		text = strconv.FormatInt(minutes, 10) + " min"
	}
	switch days := minutes / 60 / 24; {
	case days == 1:
		return "1 day, " + text
	case days > 1:
		return strconv.FormatInt(days, 10) + " days, " + text
	}
	return text
}

package tool

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
)

// A sedMachine runs a script over lines.
type sedMachine struct {
	c       *Context
	out     *output
	program []sedCommand
	silent  bool
	end     byte

	files   []string // that are still to be read
	r       *bufio.Reader
	closer  io.Closer
	ahead   *string // the line after this one; nil if there is none
	ended   bool    // the line ahead has a newline
	number  int
	pattern string
	newline bool // the pattern's line had one
	open    bool // the line that was written last has none yet
	hold    string

	holdNewline bool
	active      map[int]int // ranges that are open, by command: the line to end at, 0 for a pattern
	later       []func()    // what a and r write at the end of the cycle
	swapped     bool        // an s has replaced something: for t
	quit        bool
	status      int
	writers     map[string]*output
}

func (m *sedMachine) close() {
	for _, w := range m.writers {
		w.flush()
		if f, ok := w.file(); ok {
			closeRead(f)
		}
	}
}

// file is the one behind an output that was opened for w.
func (o *output) file() (io.Closer, bool) { return o.closer, o.closer != nil }

// run edits files, one behind the other.
func (m *sedMachine) run(files []string) int {
	if len(files) == 0 {
		files = []string{"-"}
	}
	m.files, m.r = files, nil
	if m.active == nil {
		m.active = map[int]int{}
	}
	failed := m.fetchAhead()
	restart := false
	for !m.quit && (restart || m.next()) && m.c.Err() == nil && !m.out.failed() {
		restart = m.cycle()
	}
	if m.closer != nil {
		closeRead(m.closer)
		m.closer = nil
	}
	return max(m.status, failed)
}

// fetchAhead reads the line after this one: $ needs to know whether there is one.
func (m *sedMachine) fetchAhead() int {
	m.ahead = nil
	for {
		for m.r == nil {
			if len(m.files) == 0 {
				return m.status
			}
			name := m.files[0]
			m.files = m.files[1:]
			r, err := m.c.open(name)
			if err != nil {
				m.c.fail(name, err)
				m.status = 2
				continue
			}
			m.r, m.closer = bufio.NewReaderSize(patient{r, m.out}, chunk), r
		}
		text, err := m.r.ReadString(m.end)
		if err != nil && !errors.Is(err, io.EOF) {
			m.status = m.c.Errorf("%s", reason(err)) + 1
		}
		if err != nil {
			closeRead(m.closer)
			m.r, m.closer = nil, nil
			if text == "" {
				continue
			}
		}
		line, ended := strings.CutSuffix(text, string(rune(m.end)))
		m.ahead, m.ended = &line, ended
		return m.status
	}
}

// next takes the next line into the pattern space.
func (m *sedMachine) next() bool {
	if m.ahead == nil {
		return false
	}
	m.pattern, m.newline = *m.ahead, m.ended
	m.number++
	m.fetchAhead()
	return true
}

// write writes a line. One that had no end in the input gets one only if something
// follows it.
func (m *sedMachine) write(text string) {
	m.endLine()
	m.out.text(text)
	if m.open = !m.newline; !m.open {
		m.out.byte(m.end)
	}
}

// endLine ends the line that was written last.
func (m *sedMachine) endLine() {
	if m.open {
		m.out.byte(m.end)
		m.open = false
	}
}

// full writes a line that is none of the input.
func (m *sedMachine) full(text string) {
	m.endLine()
	m.out.text(text)
	m.out.byte(m.end)
}

// cycle runs the script over the pattern space. It returns true if the next one
// begins without a new line: after D.
func (m *sedMachine) cycle() (restart bool) {
	m.swapped = false
	for pc := 0; pc < len(m.program); {
		cmd := &m.program[pc]
		chosen := m.selected(pc, cmd) != cmd.invert
		pc++
		if !chosen {
			if cmd.name == '{' {
				pc = cmd.jump
			}
			continue
		}
		switch cmd.name {
		case 'b':
			pc = cmd.jump
		case 't', 'T':
			if m.swapped == (cmd.name == 't') {
				pc = cmd.jump
			}
			m.swapped = false
		case 'd':
			m.finish(false)
			return false
		case 'D':
			_, rest, more := strings.Cut(m.pattern, "\n")
			m.finish(false)
			m.pattern = rest
			return more
		case 'c':
			if _, open := m.active[pc-1]; cmd.to == nil || !open || cmd.invert {
				m.full(cmd.text)
			}
			m.finish(false)
			return false
		case 'q', 'Q':
			m.quit = true
			m.status, _ = strconv.Atoi(cmd.text) // digits, or nothing for 0
			m.finish(cmd.name == 'q')
			return false
		case 'n', 'N':
			if !m.more(cmd.name == 'N') {
				return false
			}
		default:
			m.simple(cmd)
		}
	}
	m.finish(true)
	return false
}

// more is n and N. Without another line the script ends here.
func (m *sedMachine) more(add bool) bool {
	if m.ahead == nil {
		m.quit = true
		m.finish(true)
		return false
	}
	before := m.pattern
	if !add {
		m.finish(true)
	}
	m.next()
	if add {
		m.pattern = before + "\n" + m.pattern
	}
	return true
}

// finish ends a cycle.
func (m *sedMachine) finish(show bool) {
	if show && !m.silent {
		m.write(m.pattern)
	}
	for _, f := range m.later {
		f()
	}
	m.later = nil
}

// simple are the commands that leave the order as it is.
func (m *sedMachine) simple(cmd *sedCommand) {
	switch cmd.name {
	case 's':
		text, n := cmd.by.replace(cmd.re, m.pattern, cmd.nth, cmd.all)
		if n == 0 {
			return
		}
		m.pattern, m.swapped = text, true
		if cmd.print {
			m.write(m.pattern)
		}
		if cmd.file != "" {
			m.toFile(cmd.file)
		}
	case 'y':
		m.pattern = strings.Map(func(r rune) rune {
			if to, ok := cmd.translation[r]; ok {
				return to
			}
			return r
		}, m.pattern)
	case 'p':
		m.write(m.pattern)
	case 'P':
		first, _, more := strings.Cut(m.pattern, "\n")
		if more {
			m.full(first)
		} else {
			m.write(first)
		}
	case 'g':
		m.pattern, m.newline = m.hold, m.holdNewline
	case 'G':
		m.pattern, m.newline = m.pattern+"\n"+m.hold, m.holdNewline
	case 'h':
		m.hold, m.holdNewline = m.pattern, m.newline
	case 'H':
		m.hold, m.holdNewline = m.hold+"\n"+m.pattern, m.newline
	case 'x':
		m.pattern, m.hold, m.newline, m.holdNewline = m.hold, m.pattern, m.holdNewline, m.newline
	case '=':
		m.full(strconv.Itoa(m.number))
	case 'i':
		m.full(cmd.text)
	case 'a':
		m.later = append(m.later, func() { m.full(cmd.text) })
	case 'l':
		var b strings.Builder
		for _, ch := range []byte(m.pattern) {
			b.WriteString(strings.TrimSuffix(strings.TrimPrefix(strconv.QuoteToASCII(string(rune(ch))), `"`), `"`))
		}
		m.full(b.String() + "$")
	case 'r':
		m.later = append(m.later, func() {
			if text, err := m.c.readAll(cmd.file); err == nil { // one that is not there is nothing
				m.endLine()
				m.out.text(text)
			}
		})
	case 'w':
		m.toFile(cmd.file)
	}
}

func (m *sedMachine) toFile(name string) {
	if name == "/dev/stdout" {
		m.full(m.pattern)
		return
	}
	w := m.writers[name]
	if w == nil {
		f, err := os.Create(m.c.Path(name))
		if err != nil {
			m.status = m.c.fail(name, err)
			return
		}
		w = newOutput(f)
		w.closer = f
		m.writers[name] = w
	}
	w.line(m.pattern)
}

// selected is whether a command is for this line.
func (m *sedMachine) selected(i int, cmd *sedCommand) bool {
	if cmd.from == nil {
		return true
	}
	if cmd.to == nil {
		return m.at(cmd.from)
	}
	if end, open := m.active[i]; open {
		switch {
		case end > 0:
			if m.number >= end {
				delete(m.active, i)
			}
			return m.number <= end
		case m.at(cmd.to):
			delete(m.active, i)
		}
		return true
	}
	zero := cmd.from.line == 0 && cmd.from.re == nil && !cmd.from.last && cmd.from.step == 0
	if !m.at(cmd.from) && (!zero || m.number != 1) {
		return false
	}
	switch {
	case cmd.to.relative:
		if cmd.to.line > 0 {
			m.active[i] = m.number + cmd.to.line
		}
	case cmd.to.re != nil:
		if !zero || !m.at(cmd.to) {
			m.active[i] = 0
		}
	case cmd.to.last:
		if m.ahead != nil {
			m.active[i] = 0
		}
	case cmd.to.line > m.number:
		m.active[i] = cmd.to.line
	}
	return true
}

func (m *sedMachine) at(a *sedAddress) bool {
	switch {
	case a.re != nil:
		return a.re.MatchString(m.pattern)
	case a.last:
		return m.ahead == nil
	case a.step > 0:
		return m.number >= a.line && (m.number-a.line)%a.step == 0
	}
	return m.number == a.line
}

package tool

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxEdited bounds the files that vi reads: it has all of them in memory.
const maxEdited = 64 << 20

// A spot is a place in the text: a line, and a byte of it.
type spot struct{ y, x int }

// before is whether a comes before b.
func (s spot) before(b spot) bool { return s.y < b.y || s.y == b.y && s.x < b.x }

// An editor is one run of vi.
type editor struct {
	c    *Context
	out  *output
	keys *keyboard

	names []string
	file  int // of names
	name  string
	// The text. Lines have no ends; unended is set if the file's last line has none.
	lines   []string
	unended bool
	dirty   bool
	at      spot
	want    int // the column to be in on other lines

	top, cols, rows int
	insert          bool
	replace         bool // insert mode that overwrites
	command         string
	message         string
	numbers         bool

	undo, redo []snapshot
	touched    bool // this command has changed something already

	register []string // what was deleted or yanked last
	linewise bool
	search   *regexp.Regexp
	back     bool // it was looked for backwards
	lastFind [2]rune
	marks    map[rune]spot

	typed, again []rune // the keys of this command, and of the last one that changed something
	queue        []rune // keys to be taken before those that are typed
	replaying    bool
}

// A snapshot is the text at a time.
type snapshot struct {
	lines []string
	at    spot
}

func vi(c *Context) int {
	o, ok := c.parse("Rc:n", "readonly=R")
	if !ok {
		return 2
	}
	names := o.operands
	e := &editor{c: c, keys: &keyboard{c: c}, marks: map[rune]spot{}}
	if len(names) > 0 && strings.HasPrefix(names[0], "+") && len(names) > 1 {
		e.command, names = names[0][1:], names[1:]
		if e.command == "" {
			e.command = "$"
		}
	}
	if e.names = names; len(names) == 0 {
		e.names = []string{""}
	}
	if err := e.load(e.names[0]); err != nil {
		return c.fail(e.names[0], err)
	}
	if e.command != "" {
		if err := e.execute(e.command); err != nil {
			e.message = err.Error()
		}
		e.command = ""
	}
	return c.fullScreen(func(out *output) error {
		e.out = out
		return e.run()
	})
}

// load reads a file; one that is not there is a new one.
func (e *editor) load(name string) error {
	e.lines, e.unended, e.dirty, e.at, e.top, e.undo, e.redo = []string{""}, false, false, spot{}, 0, nil, nil
	e.name = name
	if name == "" {
		return nil
	}
	info, err := os.Stat(e.c.Path(name))
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.message = name + ": new file"
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("it is a directory")
	case info.Size() > maxEdited:
		return errors.New("it is too large to be edited")
	}
	text, err := os.ReadFile(e.c.Path(name))
	if err != nil {
		return err
	}
	if len(text) > 0 {
		whole, ended := strings.CutSuffix(string(text), "\n")
		e.lines, e.unended = strings.Split(whole, "\n"), !ended
	}
	e.message = e.summary()
	return nil
}

// run obeys keys until the editor is left.
func (e *editor) run() error {
	for {
		e.fit()
		if len(e.queue) == 0 {
			e.replaying = false
			e.draw()
		}
		e.typed, e.touched = e.typed[:0], false
		err := e.normal()
		switch {
		case errors.Is(err, errLeave):
			return nil
		case errors.Is(err, errAborted):
			e.queue = nil
		case err != nil && e.c.Err() == nil && !errors.Is(err, errStop):
			e.message, e.queue = err.Error(), nil
		case err != nil:
			return errStop
		}
		if e.touched && !e.replaying {
			e.again = slices.Clone(e.typed)
		}
	}
}

var (
	errLeave   = errors.New("leave")   // the editor is left
	errAborted = errors.New("aborted") // a command was given up
)

// key is the next one: of a command that is repeated, or typed.
func (e *editor) key() (rune, error) {
	if len(e.queue) > 0 {
		key := e.queue[0]
		e.queue = e.queue[1:]
		return key, nil
	}
	if e.replaying {
		return 0, errAborted
	}
	for {
		key, err := e.keys.next(nil)
		if err != nil {
			return 0, errStop
		}
		switch key {
		case keyResize:
			e.fit()
			e.draw()
			continue
		case keyNone:
			continue
		}
		e.typed = append(e.typed, key)
		return key, nil
	}
}

// touch is called before every change: it remembers the text for undo.
func (e *editor) touch() {
	e.dirty = true
	if e.touched {
		return
	}
	e.touched = true
	e.undo = append(e.undo, snapshot{slices.Clone(e.lines), e.at})
	if len(e.undo) > 200 {
		e.undo = e.undo[1:]
	}
	e.redo = nil
}

// swap goes to another state of the text: undo and redo.
func (e *editor) swap(from, to *[]snapshot) {
	if len(*from) == 0 {
		e.message = "no other state of the text is known"
		return
	}
	last := (*from)[len(*from)-1]
	*from = (*from)[:len(*from)-1]
	*to = append(*to, snapshot{e.lines, e.at})
	e.lines, e.at, e.dirty = last.lines, last.at, true
}

func (e *editor) line() string { return e.lines[e.at.y] }

// set replaces the line that the cursor is in.
func (e *editor) set(text string) {
	e.touch()
	e.lines[e.at.y] = text
}

// next and previous are the places of the characters beside one of a line.
func next(line string, x int) int {
	_, n := utf8.DecodeRuneInString(line[x:])
	return x + n
}

func previous(line string, x int) int {
	_, n := utf8.DecodeLastRuneInString(line[:x])
	return x - n
}

// cut takes out what is from one place to another, which it does not include.
func (e *editor) cut(from, to spot, whole bool) {
	e.yank(from, to, whole)
	e.touch()
	if whole {
		e.lines = slices.Delete(e.lines, from.y, to.y+1)
		if len(e.lines) == 0 {
			e.lines = []string{""}
		}
		e.at = spot{min(from.y, len(e.lines)-1), 0}
		e.at.x = indentOf(e.line())
		return
	}
	joined := e.lines[from.y][:from.x] + e.lines[to.y][to.x:]
	e.lines = slices.Replace(e.lines, from.y, to.y+1, joined)
	e.at = from
}

// yank remembers a part of the text.
func (e *editor) yank(from, to spot, whole bool) {
	e.register, e.linewise = slices.Clone(e.lines[from.y:to.y+1]), whole
	if !whole {
		last := len(e.register) - 1
		e.register[last] = e.register[last][:to.x]
		e.register[0] = e.register[0][from.x:]
	}
}

// paste puts in what was yanked, behind or before the cursor.
func (e *editor) paste(behind bool, n int) {
	if len(e.register) == 0 {
		e.message = "nothing was yanked or deleted yet"
		return
	}
	e.touch()
	if e.linewise {
		y := e.at.y
		if behind {
			y++
		}
		for range n {
			e.lines = slices.Insert(e.lines, y, e.register...)
		}
		e.at = spot{y, indentOf(e.lines[y])}
		return
	}
	if behind && e.line() != "" {
		e.at.x = next(e.line(), e.at.x)
	}
	e.put(strings.Repeat(strings.Join(e.register, "\n"), n))
	if e.at.x > 0 {
		e.at.x = previous(e.line(), e.at.x)
	}
}

// put writes a text at the cursor, which goes behind it.
func (e *editor) put(text string) {
	e.touch()
	line := e.line()
	parts := strings.Split(text, "\n")
	tail := line[e.at.x:]
	parts[0] = line[:e.at.x] + parts[0]
	last := len(parts) - 1
	end := len(parts[last])
	parts[last] += tail
	e.lines = slices.Replace(e.lines, e.at.y, e.at.y+1, parts...)
	e.at = spot{e.at.y + last, end}
}

// indentOf is the place of a line's first character that is no blank.
func indentOf(line string) int {
	return min(len(line)-len(strings.TrimLeft(line, " \t")), max(0, len(line)-1))
}

// fit keeps the cursor in the text, and the text on the screen.
func (e *editor) fit() {
	if e.c.Terminal != nil {
		e.cols, e.rows = e.c.Terminal.Size()
	}
	e.cols, e.rows = max(e.cols, 2), max(e.rows, 2)
	e.at.y = min(max(e.at.y, 0), len(e.lines)-1)
	line := e.line()
	e.at.x = min(max(e.at.x, 0), len(line))
	if !e.insert && e.at.x == len(line) && line != "" {
		e.at.x = previous(line, len(line))
	}
	e.top = min(e.top, e.at.y)
	used := 0
	for y := e.at.y; y >= e.top; y-- {
		if used += len(wrap(e.lines[y], e.width(), false)); used > e.rows-1 && y < e.at.y {
			e.top = y + 1
			break
		}
	}
}

package tool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
)

// inserting is insert mode, until Escape. What was typed is put in n times.
func (e *editor) inserting(n int) error {
	e.insert = true
	defer func() { e.insert, e.replace = false, false }()
	start := e.at
	for {
		if len(e.queue) == 0 {
			e.fit()
			e.draw()
		}
		key, err := e.key()
		if err != nil {
			return err
		}
		if key == keyEscape || key == ctrl('c') {
			break
		}
		if err := e.insertKey(key, start); err != nil {
			return err
		}
	}
	if n > 1 && start.before(e.at) {
		part := append([]string(nil), e.lines[start.y:e.at.y+1]...)
		part[len(part)-1] = part[len(part)-1][:e.at.x]
		part[0] = part[0][start.x:]
		e.put(strings.Repeat(strings.Join(part, "\n"), n-1))
	}
	if e.at.x > 0 {
		e.at.x = previous(e.line(), e.at.x)
	}
	e.want = columnOf(e.line(), e.at.x)
	return nil
}

// insertKey obeys one key of insert mode.
func (e *editor) insertKey(key rune, start spot) error {
	line := e.line()
	switch key {
	case keyEnter, '\n':
		e.put("\n")
	case keyBackspace:
		e.backspace()
	case keyDelete:
		if e.at.x < len(line) {
			e.set(line[:e.at.x] + line[next(line, e.at.x):])
		}
	case ctrl('w'):
		from := e.word(e.at, 'b')
		if from.y != e.at.y || from.before(start) && start.before(e.at) {
			from = spot{e.at.y, min(start.x, e.at.x)}
		}
		e.set(line[:from.x] + line[e.at.x:])
		e.at.x = from.x
	case ctrl('u'):
		e.set(line[e.at.x:])
		e.at.x = 0
	case keyUp, keyDown, keyLeft, keyRight, keyHome, keyEnd:
		if to, _, _, err := e.motion(key, 1, false); err == nil {
			e.at = to
			if key == keyEnd {
				e.at.x = len(e.line())
			}
		}
	case ctrl('v'):
		literal, err := e.key()
		if err != nil || literal < 0 {
			return err
		}
		e.put(string(literal))
	default:
		if key < ' ' && key != '\t' {
			return nil
		}
		if e.replace && e.at.x < len(line) {
			e.set(line[:e.at.x] + line[next(line, e.at.x):])
		}
		e.put(string(key))
	}
	return nil
}

func (e *editor) backspace() {
	line := e.line()
	switch {
	case e.at.x > 0:
		x := previous(line, e.at.x)
		e.set(line[:x] + line[e.at.x:])
		e.at.x = x
	case e.at.y > 0:
		e.touch()
		above := e.lines[e.at.y-1]
		e.lines = append(e.lines[:e.at.y-1], e.lines[e.at.y:]...)
		e.at = spot{e.at.y - 1, len(above)}
		e.lines[e.at.y] = above + line
	}
}

// prompt reads a line at the bottom of the screen.
func (e *editor) prompt(mark string) (string, error) {
	text := ""
	defer func() { e.command = "" }()
	for {
		e.command = mark + text
		if len(e.queue) == 0 {
			e.draw()
		}
		key, err := e.key()
		switch {
		case err != nil:
			return "", err
		case key == keyEnter, key == '\n':
			return text, nil
		case key == keyEscape, key == ctrl('c'), key == keyBackspace && text == "":
			return "", errAborted
		case key == keyBackspace:
			text = text[:previous(text, len(text))]
		case key == ctrl('u'):
			text = ""
		case key >= ' ' || key == '\t':
			text += string(key)
		}
	}
}

func (e *editor) summary() string {
	name := e.name
	if name == "" {
		name = "(no name)"
	}
	changed := ""
	if e.dirty {
		changed = " (changed)"
	}
	return fmt.Sprintf("%s%s: line %d of %d", name, changed, e.at.y+1, len(e.lines))
}

// save writes lines to a file. It is written in its place: links, owner and mode
// stay as they are.
func (e *editor) save(name string, from, to int) error {
	if name == "" {
		if name = e.name; name == "" {
			return errors.New("a name is needed: :w NAME")
		}
	}
	all := from == 0 && to == len(e.lines)-1
	text := strings.Join(e.lines[from:to+1], "\n") + "\n"
	if all && (e.unended || text == "\n" && len(e.lines) == 1) {
		text = strings.TrimSuffix(text, "\n")
	}
	path := e.c.Path(name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666) //nolint:gosec // less the umask
	if err != nil {
		return fmt.Errorf("%s: %s", name, reason(err))
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %s (the text is kept here)", name, reason(err))
	}
	if e.name == "" {
		e.name = name
	}
	if all && name == e.name {
		e.dirty = false
	}
	e.message = fmt.Sprintf("%s: %d lines, %d bytes written", name, to-from+1, len(text))
	return nil
}

// width is how many columns text has.
func (e *editor) width() int {
	if e.numbers {
		return max(1, e.cols-8)
	}
	return e.cols
}

func (e *editor) draw() {
	if e.out == nil {
		return
	}
	var b bytes.Buffer
	b.WriteString("\x1b[?25l\x1b[H")
	row, cursor := 0, spot{}
	for y := e.top; row < e.rows-1; y++ {
		if y >= len(e.lines) {
			b.WriteString("~\x1b[K\r\n")
			row++
			continue
		}
		line := e.lines[y]
		starts := wrap(line, e.width(), false)
		if y == e.at.y {
			cursor = e.cursor(line, starts, row)
		}
		if y > e.at.y && row+len(starts) > e.rows-1 {
			b.WriteString("@\x1b[K\r\n")
			row++
			continue
		}
		for i, start := range starts {
			if row >= e.rows-1 {
				break
			}
			end := len(line)
			if i+1 < len(starts) {
				end = starts[i+1]
			}
			switch {
			case e.numbers && i == 0:
				fmt.Fprintf(&b, "%7d ", y+1)
			case e.numbers:
				b.WriteString("        ")
			}
			render(&b, line[start:end], e.width(), false, nil)
			b.WriteString("\r\n")
			row++
		}
	}
	bottom := e.message
	switch {
	case e.command != "":
		bottom = e.command
		cursor = spot{e.rows - 1, columnOf(bottom, len(bottom))}
	case e.replace:
		bottom = "-- REPLACE --"
	case e.insert:
		bottom = "-- INSERT --"
	}
	b.WriteString(clip(visible(bottom), e.cols-1))
	fmt.Fprintf(&b, "\x1b[K\x1b[%d;%dH\x1b[?25h", cursor.y+1, min(cursor.x, e.cols-1)+1)
	_, _ = e.out.Write(b.Bytes())
	e.out.flush()
}

// cursor is where on the screen the cursor is, in a line that begins in a row.
func (e *editor) cursor(line string, starts []int, row int) spot {
	i := len(starts) - 1
	for i > 0 && starts[i] > e.at.x {
		i--
	}
	return spot{min(row+i, e.rows-2), columnOf(line[starts[i]:], e.at.x-starts[i]) + e.cols - e.width()}
}

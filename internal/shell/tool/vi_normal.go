package tool

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// count reads a number, and returns the key behind it.
func (e *editor) count() (n int, key rune, err error) {
	for {
		if key, err = e.key(); err != nil {
			return 0, 0, err
		}
		if (key < '1' || key > '9') && (key != '0' || n == 0) {
			return n, key, nil
		}
		n = min(n*10+int(key-'0'), 1e6)
	}
}

// normal obeys one command of normal mode.
func (e *editor) normal() error {
	n, key, err := e.count()
	if err != nil {
		return err
	}
	if !e.replaying {
		e.message = ""
	}
	counted := n > 0
	n = max(n, 1)
	to, kind, ok, err := e.motion(key, n, counted)
	if ok {
		if err == nil {
			e.at = to
			if kind != whole || key == 'G' || key == 'g' {
				e.want = columnOf(e.line(), to.x)
			}
			if key == '$' || key == keyEnd {
				e.want = 1 << 30
			}
		}
		return err
	}
	e.want = columnOf(e.line(), e.at.x)
	if ok, err := e.operator(key, n); ok {
		return err
	}
	if ok, err := e.small(key, n); ok {
		return err
	}
	return e.other(key, n)
}

// operator is d, c, y, < and >, with the motion behind it, and what is short for one.
func (e *editor) operator(key rune, n int) (bool, error) {
	short, ok := map[rune]string{'D': "d$", 'C': "c$", 'Y': "yy", 'S': "cc", 'x': "dl", 'X': "dh", 's': "cl", keyDelete: "dl"}[key]
	if ok {
		e.queue = append([]rune(short)[1:], e.queue...)
		key = rune(short[0])
	}
	if !strings.ContainsRune("dcy<>", key) {
		return false, nil
	}
	m, motion, err := e.count()
	if err != nil {
		return true, err
	}
	counted := m > 0 || n > 1
	n *= max(m, 1)
	from, to, kind := e.at, e.at, whole
	if motion == key {
		to = spot{min(e.at.y+n-1, len(e.lines)-1), 0}
	} else {
		if key == 'c' && (motion == 'w' || motion == 'W') && e.class(e.at, false) != 0 {
			motion += 'e' - 'w' // cw leaves the blanks behind the word
		}
		var known bool
		if to, kind, known, err = e.motion(motion, n, counted); err != nil || !known {
			if err == nil {
				err = errAborted
			}
			return true, err
		}
		if (motion == 'w' || motion == 'W') && to.y > from.y && key != 'y' {
			to = spot{from.y, len(e.lines[from.y])} // the last word of a line ends with it
		}
	}
	if to.before(from) {
		from, to = to, from
	}
	if kind == inclusive && to.x < len(e.lines[to.y]) {
		to.x = next(e.lines[to.y], to.x)
	}
	return true, e.operate(key, from, to, kind == whole)
}

// operate does what an operator does with a part of the text.
func (e *editor) operate(key rune, from, to spot, lines bool) error {
	switch key {
	case 'y':
		e.yank(from, to, lines)
		if e.at = from; lines {
			e.at.x = min(e.at.x, len(e.line()))
		}
	case 'd':
		if from != to || lines {
			e.cut(from, to, lines)
		}
	case 'c':
		if lines {
			e.yank(from, to, true)
			e.touch()
			indent := e.lines[from.y][:len(e.lines[from.y])-len(strings.TrimLeft(e.lines[from.y], " \t"))]
			e.lines = slices.Replace(e.lines, from.y, to.y+1, indent)
			e.at = spot{from.y, len(indent)}
		} else {
			e.cut(from, to, false)
		}
		return e.inserting(1)
	case '<', '>':
		e.touch()
		for y := from.y; y <= to.y; y++ {
			switch l := e.lines[y]; {
			case key == '>' && l != "":
				e.lines[y] = "\t" + l
			case strings.HasPrefix(l, "\t"):
				e.lines[y] = l[1:]
			case key == '<':
				e.lines[y] = l[min(8, len(l)-len(strings.TrimLeft(l, " "))):]
			}
		}
		e.at = spot{from.y, indentOf(e.lines[from.y])}
	}
	return nil
}

// small are the commands that change a little, or begin to insert.
func (e *editor) small(key rune, n int) (bool, error) {
	line := e.line()
	switch key {
	case 'i', keyInsert:
	case 'a':
		if line != "" {
			e.at.x = next(line, e.at.x)
		}
	case 'I':
		e.at.x = len(line) - len(strings.TrimLeft(line, " \t"))
	case 'A':
		e.at.x = len(line)
	case 'o', 'O':
		e.touch()
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if key == 'o' {
			e.at.y++
		}
		e.lines = slices.Insert(e.lines, e.at.y, indent)
		e.at.x = len(indent)
	case 'R':
		e.replace = true
	case 'p', 'P':
		e.paste(key == 'p', n)
		return true, nil
	case 'J':
		e.join(max(2, n))
		return true, nil
	case 'r':
		return true, e.replaceOne(n)
	case '~':
		e.touch()
		for ; n > 0 && e.at.x < len(e.line()); n-- {
			r, size := utf8.DecodeRuneInString(e.line()[e.at.x:])
			if unicode.IsUpper(r) {
				r = unicode.ToLower(r)
			} else {
				r = unicode.ToUpper(r)
			}
			text := string(r)
			if r == utf8.RuneError {
				text = e.line()[e.at.x : e.at.x+size]
			}
			e.set(e.line()[:e.at.x] + text + e.line()[e.at.x+size:])
			e.at.x += len(text)
		}
		return true, nil
	default:
		return false, nil
	}
	return true, e.inserting(n)
}

func (e *editor) join(n int) {
	e.touch()
	for ; n > 1 && e.at.y+1 < len(e.lines); n-- {
		first := strings.TrimRight(e.line(), " \t")
		second := strings.TrimLeft(e.lines[e.at.y+1], " \t")
		e.at.x = len(first)
		if second != "" && first != "" && second[0] != ')' {
			first += " "
		}
		e.lines = slices.Replace(e.lines, e.at.y, e.at.y+2, first+second)
	}
}

func (e *editor) replaceOne(n int) error {
	key, err := e.key()
	if err != nil || key == keyEscape || key < 0 {
		return errors.Join(err, errAborted)
	}
	end := e.at.x
	for range n {
		if end >= len(e.line()) {
			return errNoMotion
		}
		end = next(e.line(), end)
	}
	line := e.line()
	if key == keyEnter {
		e.set(line[:e.at.x] + line[end:])
		e.put("\n")
		return nil
	}
	e.set(line[:e.at.x] + strings.Repeat(string(key), n) + line[end:])
	e.at.x += len(string(key)) * (n - 1)
	return nil
}

// other are undo, scrolling, marks and the command line.
func (e *editor) other(key rune, n int) error {
	switch key {
	case 'u':
		e.swap(&e.undo, &e.redo)
	case ctrl('r'):
		e.swap(&e.redo, &e.undo)
	case '.':
		if len(e.again) > 0 {
			e.queue, e.replaying = slices.Clone(e.again), true
		}
	case ctrl('f'), keyPageDown:
		e.scroll(n * max(1, e.rows-3))
	case ctrl('b'), keyPageUp:
		e.scroll(-n * max(1, e.rows-3))
	case ctrl('d'):
		e.scroll((e.rows - 1) / 2)
	case ctrl('u'):
		e.scroll(-(e.rows - 1) / 2)
	case ctrl('e'):
		e.top = min(e.top+n, len(e.lines)-1)
		e.at.y = max(e.at.y, e.top)
	case ctrl('y'):
		e.top = max(0, e.top-n)
	case ctrl('g'):
		e.message = e.summary()
	case ctrl('l'), keyEscape, ctrl('c'):
	case 'm':
		mark, err := e.key()
		e.marks[mark] = e.at
		return err
	case 'z':
		return e.place()
	case 'Z':
		return e.leave()
	case ':':
		text, err := e.prompt(":")
		if err != nil {
			return err
		}
		return e.execute(text)
	default:
		if key > ' ' {
			return errors.New("unknown command " + string(key))
		}
	}
	return nil
}

// leave is ZZ and ZQ.
func (e *editor) leave() error {
	switch second, err := e.key(); {
	case err != nil:
		return err
	case second == 'Z':
		return e.execute("x")
	case second == 'Q':
		return errLeave
	}
	return errAborted
}

func (e *editor) scroll(n int) {
	e.top = min(max(e.top+n, 0), len(e.lines)-1)
	e.at.y = min(max(e.at.y+n, 0), len(e.lines)-1)
	e.at.x = indentOf(e.line())
}

// place is zt, zz and zb: where on the screen the line of the cursor is.
func (e *editor) place() error {
	key, err := e.key()
	switch key {
	case 't', keyEnter:
		e.top = e.at.y
	case 'z', '.':
		e.top = max(0, e.at.y-e.rows/2)
	case 'b', '-':
		e.top = max(0, e.at.y-e.rows+2)
	}
	return err
}

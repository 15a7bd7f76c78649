package tool

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a motion covers when an operator is before it.
const (
	exclusive = iota // up to the place
	inclusive        // up to and with the character there
	whole            // the lines
)

var errNoMotion = errors.New("there is no such place")

// motion is where a key leads to. ok is false if it is none; counted is whether
// the user has typed n.
func (e *editor) motion(key rune, n int, counted bool) (to spot, kind int, ok bool, err error) {
	to, kind, ok = e.at, exclusive, true
	line := e.line()
	switch key {
	case 'h', keyLeft, keyBackspace:
		for ; n > 0 && to.x > 0; n-- {
			to.x = previous(line, to.x)
		}
	case 'l', keyRight, ' ':
		for ; n > 0 && to.x < len(line); n-- {
			to.x = next(line, to.x)
		}
	case 'j', keyDown, ctrl('n'), 'k', keyUp, ctrl('p'), '+', '-', keyEnter:
		return e.vertical(key, n)
	case 'G', 'g', 'H', 'M', 'L':
		return e.jump(key, n, counted)
	case '0', keyHome:
		to.x = 0
	case '^':
		to.x = indentOf(line)
	case '$', keyEnd:
		to.y = min(to.y+n-1, len(e.lines)-1)
		to.x, kind = max(0, previous(e.lines[to.y], len(e.lines[to.y]))), inclusive
	case 'w', 'W', 'b', 'B', 'e', 'E':
		for ; n > 0; n-- {
			to = e.word(to, key)
		}
		if key == 'e' || key == 'E' {
			kind = inclusive
		}
	case 'f', 'F', 't', 'T', ';', ',':
		to.x, err = e.character(key, n)
		if key = e.lastFind[0]; key == 'f' || key == 't' {
			kind = inclusive
		}
	case '%':
		to, err = e.bracket()
		kind = inclusive
	case '{', '}':
		to = e.paragraph(key == '}', n)
	case '/', '?', 'n', 'N', '*', '#':
		to, err = e.look(key)
	case '\'', '`':
		to, err = e.marked()
		if key == '\'' {
			kind, to.x = whole, indentOf(e.lines[to.y])
		}
	default:
		ok = false
	}
	return to, kind, ok, err
}

// marked is the place of a mark.
func (e *editor) marked() (spot, error) {
	mark, err := e.key()
	if err != nil {
		return e.at, err
	}
	if to, ok := e.marks[mark]; ok && to.y < len(e.lines) {
		return to, nil
	}
	return e.at, errNoMotion
}

func (e *editor) vertical(key rune, n int) (spot, int, bool, error) {
	switch key {
	case 'k', keyUp, ctrl('p'), '-':
		n = -n
	}
	y := e.at.y + n
	if y < 0 || y >= len(e.lines) {
		if n == 1 || n == -1 {
			return e.at, whole, true, errNoMotion
		}
		y = min(max(y, 0), len(e.lines)-1)
	}
	to := spot{y, indentOf(e.lines[y])}
	if key != '+' && key != '-' && key != keyEnter {
		to.x = placeOf(e.lines[y], e.want)
	}
	return to, whole, true, nil
}

func (e *editor) jump(key rune, n int, counted bool) (spot, int, bool, error) {
	y := n - 1
	switch key {
	case 'G':
		if !counted {
			y = len(e.lines) - 1
		}
	case 'g':
		if second, err := e.key(); err != nil || second != 'g' {
			return e.at, whole, true, errAborted
		}
	case 'H':
		y = e.top + n - 1
	case 'M':
		y = e.top + (e.rows-1)/2
	case 'L':
		y = e.top + e.rows - 1 - n
	}
	y = min(max(y, 0), len(e.lines)-1)
	return spot{y, indentOf(e.lines[y])}, whole, true, nil
}

// columnOf is where on the screen a place of a line is, and placeOf the other way.
func columnOf(line string, x int) int {
	column := 0
	for i := 0; i < x && i < len(line); {
		c := cellAt(line[i:], column)
		column += c.width
		i += c.size
	}
	return column
}

func placeOf(line string, column int) int {
	at := 0
	for i := 0; i < len(line); {
		c := cellAt(line[i:], at)
		if at+c.width > column {
			return i
		}
		at += c.width
		i += c.size
	}
	return max(0, previous(line, len(line)))
}

// class is what sort of a word a character belongs to; 0 is none.
func (e *editor) class(s spot, big bool) int {
	line := e.lines[s.y]
	if s.x >= len(line) {
		return 0
	}
	r, _ := utf8.DecodeRuneInString(line[s.x:])
	switch {
	case unicode.IsSpace(r):
		return 0
	case big, r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
		return 1
	}
	return 2
}

// step goes one character on or back, over the ends of lines; false at the end
// of the text.
func (e *editor) step(s spot, forward bool) (spot, bool) {
	line := e.lines[s.y]
	switch {
	case forward && s.x < len(line):
		return spot{s.y, next(line, s.x)}, true
	case forward && s.y+1 < len(e.lines):
		return spot{s.y + 1, 0}, true
	case !forward && s.x > 0:
		return spot{s.y, previous(line, s.x)}, true
	case !forward && s.y > 0:
		return spot{s.y - 1, len(e.lines[s.y-1])}, true
	}
	return s, false
}

// word is where the next word begins or ends, or the one before begins.
func (e *editor) word(s spot, key rune) spot {
	big, forward := unicode.IsUpper(key), unicode.ToLower(key) != 'b'
	ok := true
	if unicode.ToLower(key) == 'w' {
		for class := e.class(s, big); ok && class != 0 && e.class(s, big) == class; {
			s, ok = e.step(s, true)
		}
		for ok && e.class(s, big) == 0 {
			if s, ok = e.step(s, true); ok && e.lines[s.y] == "" {
				break // an empty line is a word
			}
		}
		return s
	}
	s, ok = e.step(s, forward)
	for ok && e.class(s, big) == 0 {
		s, ok = e.step(s, forward)
	}
	for class := e.class(s, big); ok; {
		further, more := e.step(s, forward)
		if !more || e.class(further, big) != class || further.y != s.y {
			break
		}
		s = further
	}
	return s
}

// character finds a character in the line, as f, t, F, T, ; and , do.
func (e *editor) character(key rune, n int) (int, error) {
	line, x := e.line(), e.at.x
	how := e.lastFind
	switch key {
	case ';', ',':
		if key == ',' {
			how[0] ^= 0x20 // the other case is the other way
		}
	default:
		what, err := e.key()
		if err != nil || what == keyEscape {
			return x, errAborted
		}
		how = [2]rune{key, what}
		e.lastFind = how
	}
	till := unicode.ToLower(how[0]) == 't'
	for ; n > 0; n-- {
		if unicode.IsLower(how[0]) {
			start := next(line, x)
			if till && start < len(line) && key != ';' && n == 1 {
				start = max(start, x)
			}
			i := -1
			if start <= len(line) {
				i = strings.IndexRune(line[start:], how[1])
			}
			if i < 0 {
				return e.at.x, errNoMotion
			}
			x = start + i
		} else if x = strings.LastIndex(line[:x], string(how[1])); x < 0 {
			return e.at.x, errNoMotion
		}
	}
	switch how[0] {
	case 't':
		x = previous(line, x)
	case 'T':
		x = next(line, x)
	}
	return x, nil
}

// bracket is where the one that belongs to that at or behind the cursor is.
func (e *editor) bracket() (spot, error) {
	const pairs = "()[]{}"
	line, s := e.line(), e.at
	i := strings.IndexAny(line[s.x:], pairs)
	if i < 0 {
		return s, errNoMotion
	}
	s.x += i
	own := line[s.x]
	k := strings.IndexByte(pairs, own)
	other, forward := pairs[k^1], k%2 == 0
	for depth, ok := 0, true; ok; s, ok = e.step(s, forward) {
		if l := e.lines[s.y]; s.x < len(l) {
			switch l[s.x] {
			case own:
				depth++
			case other:
				depth--
			}
			if depth == 0 {
				return s, nil
			}
		}
	}
	return e.at, errNoMotion
}

func (e *editor) paragraph(forward bool, n int) spot {
	step, y := -1, e.at.y
	if forward {
		step = 1
	}
	for ; n > 0; n-- {
		for y += step; y > 0 && y < len(e.lines)-1 && (e.lines[y] != "" || e.lines[y-step] == ""); {
			y += step
		}
	}
	y = min(max(y, 0), len(e.lines)-1)
	if forward && y == len(e.lines)-1 && e.lines[y] != "" {
		return spot{y, len(e.lines[y])}
	}
	return spot{y, 0}
}

// look is / ? n N * and #.
func (e *editor) look(key rune) (spot, error) {
	back := e.back != (key == 'N')
	switch key {
	case '/', '?':
		text, err := e.prompt(string(key))
		if err != nil {
			return e.at, err
		}
		e.back = key == '?'
		back = e.back
		if text != "" {
			if e.search, err = compile(text, false, false); err != nil {
				return e.at, err
			}
		}
	case '*', '#':
		from, to := e.at, e.at
		for from.x > 0 && e.class(spot{from.y, previous(e.line(), from.x)}, false) == 1 {
			from.x = previous(e.line(), from.x)
		}
		for to.x < len(e.line()) && e.class(to, false) == 1 {
			to.x = next(e.line(), to.x)
		}
		if from == to {
			return e.at, errNoMotion
		}
		var err error
		if e.search, err = compile(`\b`+e.line()[from.x:to.x]+`\b`, true, false); err != nil {
			return e.at, err
		}
		e.back = key == '#'
		back = e.back
	}
	if e.search == nil {
		return e.at, errors.New("nothing was looked for yet")
	}
	return e.seek(back)
}

// seek is the next place of what was looked for; behind the end it begins anew.
func (e *editor) seek(back bool) (spot, error) {
	n := len(e.lines)
	for i := range n + 1 {
		y := (e.at.y + i) % n
		if back {
			y = (e.at.y - i + n) % n
		}
		all := e.search.FindAllStringIndex(e.lines[y], -1)
		for k := range all {
			m := all[k][0]
			if back {
				m = all[len(all)-1-k][0]
			}
			switch {
			case i == 0 && !back && m <= e.at.x, i == 0 && back && m >= e.at.x:
			default:
				return spot{y, m}, nil
			}
		}
	}
	return e.at, errors.New("not found")
}

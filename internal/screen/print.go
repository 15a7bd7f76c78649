package screen

import (
	"unicode"

	"github.com/mattn/go-runewidth"
)

// width is how many columns a character takes in xterm, where those of
// ambiguous width take one; 0 for those that combine with the one before.
func width(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r >= 0x2500 && r < 0x2600: // box drawing, the most common
		return 1
	case r >= 0x4e00 && r < 0xa000, r >= 0xac00 && r < 0xd7a4: // Han, Hangul
		return 2
	case r == unicode.ReplacementChar:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	return (&runewidth.Condition{StrictEmojiNeutral: true}).RuneWidth(r)
}

// graphics are the line drawing characters of charset 0, from ` on.
const graphics = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"

// translate applies the character set in use.
func (s *Screen) translate(r rune) rune {
	set := s.charsets[s.gl]
	if s.single != 0 {
		set, s.single = s.charsets[s.single], 0
	}
	switch {
	case set == '0' && r >= '`' && r <= '~':
		return []rune(graphics)[r-'`']
	case set == 'A' && r == '#':
		return '£'
	}
	return r
}

// plain says that ASCII can be put into cells as it is.
func (s *Screen) plain() bool {
	return s.single == 0 && s.charsets[s.gl] == 'B' && !s.modes.is(modeInsert)
}

func (s *Screen) printASCII(p []byte) {
	if !s.plain() {
		for _, c := range p {
			s.print(rune(c))
		}
		return
	}
	s.last = rune(p[len(p)-1])
	template := s.cellOf(0)
	for len(p) > 0 {
		s.wrapNow()
		end := s.lineEnd()
		n := min(len(p), end-s.x)
		l := &s.grid.lines[s.y]
		l.split(s.x)
		l.split(s.x + n)
		l.touch(s.x + n)
		cells := l.cells[s.x : s.x+n]
		for i := range cells {
			cells[i] = template
			cells[i].r = rune(p[i])
		}
		p = p[n:]
		s.advanceBy(n, end)
	}
}

// lineEnd is the column at which the cursor's line wraps.
func (s *Screen) lineEnd() int {
	if s.x < s.region.right {
		return s.region.right
	}
	return s.cols
}

// wrapNow goes to the next line if the last character was the line's last.
func (s *Screen) wrapNow() {
	if !s.wrap {
		return
	}
	s.grid.lines[s.y].wrapped = true
	s.x = 0
	if s.modes.is(modeMargins) {
		s.x = s.region.left
	}
	s.index()
}

// advanceBy moves the cursor behind what was printed.
func (s *Screen) advanceBy(n, end int) {
	s.x += n
	if s.x >= end {
		s.x = end - 1
		s.wrap = !s.modes.is(modeNoWrap)
	}
}

// cellOf is a cell with a character as the pen writes it.
func (s *Screen) cellOf(r rune) cell {
	c := cell{r: r, fg: s.pen.fg, bg: s.pen.bg, attr: s.pen.attr}
	if s.pen.link != "" || s.pen.line != 0 {
		c.extra = s.intern(extra{link: s.pen.link, line: s.pen.line})
	}
	return c
}

// print puts a character at the cursor.
func (s *Screen) print(r rune) {
	r = s.translate(r)
	w := width(r)
	if w == 0 {
		s.combine(r)
		return
	}
	s.last = r
	s.wrapNow()
	end := s.lineEnd()
	if s.x+w > end {
		switch {
		case end < 2 || s.modes.is(modeNoWrap):
			return // there is no room for it
		default:
			s.wrap = true
			s.wrapNow()
			end = s.lineEnd()
			if s.x+w > end {
				return
			}
		}
	}
	l := &s.grid.lines[s.y]
	if s.modes.is(modeInsert) {
		l.insert(s.x, end, w, s.blank())
	}
	l.split(s.x)
	l.split(s.x + w)
	l.touch(s.x + w)
	c := s.cellOf(r)
	if w == 2 {
		c.attr |= wide
		second := c
		second.r, second.attr = 0, c.attr&^wide|tail
		l.cells[s.x+1] = second
	}
	l.cells[s.x] = c
	s.advanceBy(w, end)
}

// combine adds a mark to the character before the cursor.
func (s *Screen) combine(r rune) {
	x := s.x - 1
	if s.wrap || s.modes.is(modeNoWrap) && s.x == s.lineEnd()-1 {
		x = s.x
	}
	if x < 0 {
		return
	}
	cells := s.grid.lines[s.y].cells
	if cells[x].attr&tail != 0 && x > 0 {
		x--
	}
	e := s.extras.at(cells[x].extra)
	if len(e.marks) >= maxMarks {
		return
	}
	e.marks += string(r)
	if i := s.intern(e); i != 0 {
		c := &cells[x]
		c.extra = i
		if c.r == 0 {
			c.r = ' '
		}
		s.grid.lines[s.y].touch(x + 1)
	}
}

// blank is what erasing leaves: the background colour of the pen.
func (s *Screen) blank() cell { return cell{bg: s.pen.bg} }

// index moves the cursor down, and scrolls at the end of the region.
func (s *Screen) index() {
	s.wrap = false
	switch {
	case s.y == s.region.bottom-1:
		if s.within() {
			s.scrollUp(1)
		}
	case s.y < s.rows-1:
		s.y++
	}
}

func (s *Screen) reverseIndex() {
	s.wrap = false
	switch {
	case s.y == s.region.top:
		if s.within() {
			s.grid.scroll(s.region, -1, s.blank())
		}
	case s.y > 0:
		s.y--
	}
}

// within says that the cursor is between the left and right margins.
func (s *Screen) within() bool { return s.x >= s.region.left && s.x < s.region.right }

// scrollUp scrolls the region, and remembers what leaves the main screen.
func (s *Screen) scrollUp(n int) {
	n = min(n, s.region.bottom-s.region.top)
	if s.grid == s.main && s.region.top == 0 && s.region.left == 0 && s.region.right == s.cols {
		s.remember(s.main.lines[:n])
	}
	s.grid.scroll(s.region, n, s.blank())
}

// execute does what a control character says.
func (s *Screen) execute(c byte) {
	switch c {
	case '\b':
		if s.x > 0 && s.x != s.region.left {
			s.x--
		}
		s.wrap = false
	case '\t':
		s.tab(1)
	case '\n', '\v', '\f':
		s.index()
		if s.modes.is(modeNewLine) {
			s.carriageReturn()
		}
	case '\r':
		s.carriageReturn()
	case 0x0e: // SO
		s.gl = 1
	case 0x0f: // SI
		s.gl = 0
	}
}

func (s *Screen) carriageReturn() {
	s.wrap = false
	if s.x >= s.region.left {
		s.x = s.region.left
	} else {
		s.x = 0
	}
}

// tab moves to the nth tab stop, or the margin, in the direction of n.
func (s *Screen) tab(n int) {
	// The pending wrap stays, as in xterm, if the cursor is at the end.
	for ; n > 0 && s.x < s.lineEnd()-1; n-- {
		for s.x++; s.x < s.lineEnd()-1 && !s.tabs[s.x]; s.x++ { // the work is in the loop's head
		}
	}
	left := s.offset().left
	for ; n < 0 && s.x > left; n++ {
		for s.x--; s.x > left && !s.tabs[s.x]; s.x-- { // as above
		}
		s.wrap = false
	}
}

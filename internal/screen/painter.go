package screen

import "unicode/utf8"

// A painter writes cells as the bytes that print them.
type painter struct {
	out        []byte
	extras     *extras
	cols, rows int
	pen        pen
	// resync says that the cursor is put where it belongs behind characters
	// of which terminals do not agree how wide they are.
	resync bool
	flow   bool // the line goes on in the next: print all of it
}

// line prints a line's cells before a column, and says where it ended.
func (p *painter) line(l *line, before int) int {
	end := min(l.blankFrom(), before)
	if p.flow {
		end = before
	}
	cells := l.cells[:before]
	moved := false
	for x := 0; x < end; x++ {
		c := &cells[x]
		if c.attr&tail != 0 && x > 0 {
			continue
		}
		if moved {
			p.at(len(l.cells), x, -1)
		}
		if n := p.run(cells[x:end]); n > 0 {
			x += n - 1
			moved = false
			continue
		}
		whole := x+1 < len(cells) || c.attr&wide == 0
		p.cell(c, whole)
		moved = p.resync && uncertain(c)
	}
	return end
}

// run prints the ASCII at the beginning of cells that looks like what was
// printed last, which is most of all there is, and says how much that was.
func (p *painter) run(cells []cell) int {
	if p.pen.line != 0 || p.pen.link != "" {
		return 0
	}
	look := cell{fg: p.pen.fg, bg: p.pen.bg, attr: p.pen.attr}
	for i := range cells {
		c := cells[i]
		r := c.r
		if c.r = 0; c != look || r >= 0x80 {
			return i
		}
		if r == 0 {
			r = ' '
		}
		p.out = append(p.out, byte(r))
	}
	return len(cells)
}

// uncertain says whether terminals disagree about the width of a character:
// emoji, and what has marks.
func uncertain(c *cell) bool {
	return c.r >= 0x1f000 || c.r >= 0x2300 && c.r < 0x2500 || c.r >= 0x2600 && c.r < 0x2c00 ||
		c.r >= 0x300 && c.r < 0x1e00 && c.attr&wide == 0 && c.r > 0x52f || c.extra != 0
}

// cell prints one cell. Half of a wide character is a space.
func (p *painter) cell(c *cell, whole bool) {
	e := p.extras.at(c.extra)
	p.setPen(pen{fg: c.fg, bg: c.bg, attr: c.attr & styled, line: e.line, link: e.link})
	if c.r == 0 || !whole {
		p.out = append(p.out, ' ')
		return
	}
	p.out = utf8.AppendRune(p.out, c.r)
	p.out = append(p.out, e.marks...)
}

func (p *painter) setPen(to pen) {
	to.attr &= styled
	if p.pen.link != to.link {
		link := to.link
		if link == "" {
			link = ";"
		}
		p.text("\x1b]8;", link, "\x1b\\")
	}
	p.out = appendSGR(p.out, p.pen, to)
	p.pen = to
}

// finish goes back to the pen of a reset terminal.
func (p *painter) finish() { p.setPen(pen{}) }

// at moves the cursor to a column and line, or with a negative line to the
// column only.
func (p *painter) at(cols, x, y int) {
	x = min(x, cols-1)
	if y < 0 {
		p.text("\x1b[", x+1, "G")
		return
	}
	p.text("\x1b[", y+1, ";", x+1, "H")
}

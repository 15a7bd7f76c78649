package screen

// A cell is one character's place. r is 0 where nothing was written.
type cell struct {
	r      rune
	fg, bg colour
	attr   attr
	extra  uint16 // index into extras; 0: none
}

// A line is a row of cells. wrapped says that its text goes on in the next one.
// Most of most lines is empty, and is not looked at: from used on, all cells
// are zero.
type line struct {
	cells   []cell
	used    int
	wrapped bool
}

// touch says that columns before end are written to.
func (l *line) touch(end int) { l.used = max(l.used, end) }

// blankFrom is the column from which on cells are as after a reset.
func (l *line) blankFrom() int {
	for l.used > 0 && l.cells[l.used-1] == (cell{}) {
		l.used--
	}
	return l.used
}

// A grid is a screen's lines, and the cursor that was saved on it.
type grid struct {
	lines []line
	saved cursor
}

func newGrid(cols, rows int) *grid {
	g := &grid{lines: make([]line, rows), saved: defaultCursor()}
	cells := make([]cell, cols*rows)
	for i := range g.lines {
		g.lines[i].cells = cells[i*cols : (i+1)*cols : (i+1)*cols]
	}
	return g
}

// resize keeps what is at the top left.
func (g *grid) resize(cols, rows int) {
	fresh := newGrid(cols, rows)
	for y := range min(rows, len(g.lines)) {
		to, from := fresh.lines[y].cells, g.lines[y].cells
		copy(to, from)
		fresh.lines[y].touch(min(g.lines[y].used, cols))
		if len(from) == len(to) {
			fresh.lines[y].wrapped = g.lines[y].wrapped
		}
		// A wide character of which only the first half is left.
		if last := &to[cols-1]; last.attr&wide != 0 {
			*last = cell{}
		}
	}
	g.lines = fresh.lines
}

// split blanks the other half of a wide character when one is overwritten at
// the column, or cut apart there.
func (l *line) split(x int) {
	if x > 0 && x < len(l.cells) && l.cells[x].attr&tail != 0 {
		for _, i := range [2]int{x - 1, x} {
			l.cells[i] = cell{bg: l.cells[i].bg}
		}
	}
}

// fill overwrites columns from x to end-1.
func (l *line) fill(x, end int, blank cell) {
	l.split(x)
	l.split(end)
	if end == len(l.cells) {
		l.wrapped = false
	}
	if blank == (cell{}) {
		end = min(end, l.used)
		if x < end {
			clear(l.cells[x:end])
		}
		return
	}
	cells := l.cells[x:end]
	for i := range cells {
		cells[i] = blank
	}
	l.touch(end)
}

// insert moves the cells from x to end-1 by n to the right.
func (l *line) insert(x, end, n int, blank cell) {
	n = min(n, end-x)
	l.split(x)
	l.split(end)
	l.split(end - n)
	l.touch(end)
	copy(l.cells[x+n:end], l.cells[x:end-n])
	cells := l.cells[x : x+n]
	for i := range cells {
		cells[i] = blank
	}
	l.wrapped = l.wrapped && end < len(l.cells)
}

// remove moves the cells from x+n to end-1 by n to the left.
func (l *line) remove(x, end, n int, blank cell) {
	n = min(n, end-x)
	l.split(x)
	l.split(x + n)
	l.split(end)
	l.touch(end)
	copy(l.cells[x:end-n], l.cells[x+n:end])
	cells := l.cells[end-n : end]
	for i := range cells {
		cells[i] = blank
	}
	l.wrapped = l.wrapped && end < len(l.cells)
}

// scroll moves the lines of a region up by n, or down when n is negative.
func (g *grid) scroll(r rect, n int, blank cell) {
	height := r.bottom - r.top
	up := n > 0
	if !up {
		n = -n
	}
	if n = min(n, height); n == 0 {
		return
	}
	if r.left > 0 || r.right < len(g.lines[0].cells) {
		g.scrollColumns(r, n, up, blank)
		return
	}
	lines := g.lines[r.top:r.bottom]
	if n == 1 {
		rotate(lines, up)
	} else {
		turn(lines, n, up)
	}
	fresh := lines[height-n:]
	if !up {
		fresh = lines[:n]
		lines[height-1].wrapped = false
	}
	for i := range fresh {
		fresh[i].fill(0, len(fresh[i].cells), blank)
	}
}

// rotate moves each line to the one before, or behind, and the first to the
// last, or the other way round.
func rotate(lines []line, up bool) {
	last := len(lines) - 1
	if up {
		first := lines[0]
		copy(lines, lines[1:])
		lines[last] = first
		return
	}
	end := lines[last]
	copy(lines[1:], lines)
	lines[0] = end
}

func turn(lines []line, n int, up bool) {
	if !up {
		n = len(lines) - n
	}
	turned := append(append(make([]line, 0, len(lines)), lines[n:]...), lines[:n]...)
	copy(lines, turned)
}

// scrollColumns is scroll within left and right margins, where lines cannot be
// moved whole.
func (g *grid) scrollColumns(r rect, n int, up bool, blank cell) {
	height := r.bottom - r.top
	for i := range height {
		y, from := r.top+i, r.top+i+n
		if !up {
			y, from = r.bottom-1-i, r.bottom-1-i-n
		}
		to := &g.lines[y]
		if i >= height-n {
			to.fill(r.left, r.right, blank)
			continue
		}
		source := &g.lines[from]
		for _, l := range []*line{to, source} {
			l.split(r.left)
			l.split(r.right)
		}
		to.touch(r.right)
		copy(to.cells[r.left:r.right], source.cells[r.left:r.right])
	}
}

package screen

// first and second are parameters, or what they mean when they are left out.
func first(params []param, missing int) int { return nth(params, 0, missing) }

func second(params []param, missing int) int { return nth(params, 1, missing) }

func nth(params []param, i, missing int) int {
	if i >= len(params) {
		return missing
	}
	return params[i].or(missing)
}

// count is a parameter of which 0 means 1.
func count(params []param) int { return max(first(params, 1), 1) }

// control handles a control sequence (CSI).
func (s *Screen) control(final byte) {
	p := &s.parser
	switch {
	case s.question(final):
	case p.private == 0 && p.intermediate == 0:
		s.plainControl(final, p.params)
	case p.private == '?' && p.intermediate == 0:
		s.privateControl(final, p.params)
	case p.intermediate == 0:
		switch {
		case final == 'u':
			s.keyFlags(p.private, p.params)
		case final == 'm' && p.private == '>' && first(p.params, 0) == 4:
			s.keys.modifyOther = second(p.params, 0)
		case final == 'n' && p.private == '>' && first(p.params, 0) == 4:
			s.keys.modifyOther = 0
		}
	case p.private == 0:
		s.intermediateControl(p.intermediate, final, p.params)
	}
}

func (s *Screen) privateControl(final byte, params []param) {
	switch final {
	case 'h', 'l':
		for _, p := range params {
			s.setMode(p.or(0), final == 'h')
		}
	case 's':
		s.saveModes(params)
	case 'r':
		s.restoreModes(params)
	case 'J', 'K': // selective erase, with nothing protected
		s.plainControl(final, params)
	case 'W':
		if first(params, 0) == 5 {
			s.resetTabs()
		}
	}
}

func (s *Screen) intermediateControl(intermediate, final byte, params []param) {
	switch {
	case intermediate == ' ' && final == 'q':
		s.shape = min(first(params, 0), 6)
	case intermediate == '!' && final == 'p':
		s.softReset()
	case intermediate == '$':
		s.rectangle(final, params)
	case intermediate == '\'' && (final == '}' || final == '~') && s.within():
		for y := s.region.top; y < s.region.bottom; y++ {
			l := &s.grid.lines[y]
			if final == '}' {
				l.insert(s.x, s.region.right, count(params), s.blank())
			} else {
				l.remove(s.x, s.region.right, count(params), s.blank())
			}
		}
	}
}

func (s *Screen) plainControl(final byte, params []param) {
	switch final {
	case 'A', 'F', 'k':
		s.moveUp(count(params))
	case 'B', 'E', 'e':
		s.moveDown(count(params))
	case 'C', 'a':
		s.moveTo(min(s.x+count(params), max(s.lineEnd()-1, s.x)), s.y)
	case 'D', 'j':
		s.moveBack(count(params))
	case 'G', '`':
		s.goTo(count(params)-1, s.y-s.offset().top)
	case 'd':
		s.goTo(s.x-s.offset().left, count(params)-1)
	case 'H', 'f':
		s.goTo(max(second(params, 1), 1)-1, count(params)-1)
	case 'I':
		s.tab(min(count(params), s.cols))
	case 'Z':
		s.tab(-min(count(params), s.cols))
	case 'g':
		s.clearTabs(first(params, 0))
	case 'b':
		s.repeat(count(params))
	case 'h', 'l':
		for _, p := range params {
			s.setMode(10000+p.or(0), final == 'h')
		}
	case 'm':
		s.pen.sgr(params)
	case 'r':
		s.setMargins(params)
	case 's':
		s.setSideMargins(params)
	case 'u':
		s.restore()
	case 't':
		s.windowOperation(params)
	default:
		s.edit(final, params)
	}
	if final == 'E' || final == 'F' {
		s.carriageReturn()
	}
}

// edit handles the sequences that change what is on the screen.
func (s *Screen) edit(final byte, params []param) {
	n := count(params)
	l := &s.grid.lines[s.y]
	switch final {
	case '@':
		if s.within() {
			l.insert(s.x, s.region.right, n, s.blank())
		}
	case 'P':
		if s.within() {
			l.remove(s.x, s.region.right, n, s.blank())
		}
	case 'X':
		l.fill(s.x, min(s.x+n, s.cols), s.blank())
	case 'J':
		s.eraseDisplay(first(params, 0))
		return
	case 'K':
		s.eraseLine(first(params, 0))
	case 'L', 'M':
		s.insertLines(n, final == 'M')
	case 'S':
		s.scrollUp(n)
		return
	case 'T':
		if len(params) <= 1 { // else highlight tracking
			s.grid.scroll(s.region, -n, s.blank())
		}
		return
	default:
		return
	}
	s.wrap = false
}

func (s *Screen) moveTo(x, y int) { s.x, s.y, s.wrap = x, y, false }

func (s *Screen) moveUp(n int) {
	top := 0
	if s.y >= s.region.top {
		top = s.region.top
	}
	s.moveTo(s.x, max(s.y-n, top))
}

func (s *Screen) moveDown(n int) {
	bottom := s.rows
	if s.y < s.region.bottom {
		bottom = s.region.bottom
	}
	s.moveTo(s.x, min(s.y+n, bottom-1))
}

func (s *Screen) moveBack(n int) {
	left := 0
	if s.x >= s.region.left {
		left = s.region.left
	}
	s.moveTo(max(s.x-n, left), s.y)
}

// offset is the rectangle that positions are relative to.
func (s *Screen) offset() rect {
	if s.origin {
		return s.region
	}
	return s.whole()
}

func (s *Screen) goTo(x, y int) {
	r := s.offset()
	s.moveTo(min(max(x, 0)+r.left, r.right-1), min(max(y, 0)+r.top, r.bottom-1))
}

func (s *Screen) home() { s.goTo(0, 0) }

func (s *Screen) clearTabs(which int) {
	switch which {
	case 0:
		s.tabs[s.x] = false
	case 3:
		clear(s.tabs)
	}
}

func (s *Screen) repeat(n int) {
	if s.last == 0 {
		return
	}
	// No screen shows more, and a few bytes must not cost seconds.
	for range min(n, s.cols*s.rows) {
		s.print(s.last)
	}
}

func (s *Screen) setMargins(params []param) {
	top, bottom := count(params)-1, second(params, 0)
	if bottom == 0 || bottom > s.rows {
		bottom = s.rows
	}
	if top+1 < bottom {
		s.region.top, s.region.bottom = top, bottom
		s.home()
	}
}

// setSideMargins is DECSLRM, or without DECLRMM the other way to save the
// cursor.
func (s *Screen) setSideMargins(params []param) {
	if !s.modes.is(modeMargins) {
		s.save()
		return
	}
	left, right := count(params)-1, second(params, 0)
	if right == 0 || right > s.cols {
		right = s.cols
	}
	if left+1 < right {
		s.region.left, s.region.right = left, right
		s.home()
	}
}

// erase blanks columns and lines.
func (s *Screen) erase(left, top, right, bottom int) {
	for y := top; y < bottom; y++ {
		s.grid.lines[y].fill(left, right, s.blank())
	}
}

func (s *Screen) eraseDisplay(which int) {
	switch which {
	case 0:
		s.eraseLine(0)
		s.erase(0, s.y+1, s.cols, s.rows)
	case 1:
		s.erase(0, 0, s.cols, s.y)
		s.eraseLine(1)
	case 2:
		s.erase(0, 0, s.cols, s.rows)
	case 3:
		s.history.clear()
		return
	}
	s.wrap = false
}

func (s *Screen) eraseLine(which int) {
	left, right := 0, s.cols
	switch which {
	case 0:
		left = s.x
	case 1:
		right = s.x + 1
	case 2:
	default:
		return
	}
	s.erase(left, s.y, right, s.y+1)
}

// insertLines moves the lines from the cursor to the end of the region.
func (s *Screen) insertLines(n int, up bool) {
	if s.y < s.region.top || s.y >= s.region.bottom || !s.within() {
		return
	}
	r := s.region
	r.top = s.y
	if !up {
		n = -n
	}
	s.grid.scroll(r, n, s.blank())
	s.carriageReturn()
}

// rectangle handles DECFRA and DECERA, with which tmux fills its panes.
func (s *Screen) rectangle(final byte, params []param) {
	if final != 'x' && final != 'z' {
		return
	}
	blank := s.blank()
	if final == 'x' {
		if len(params) == 0 {
			return
		}
		r := rune(first(params, ' '))
		if r < ' ' || r > 0xff || r > '~' && r < 0xa0 {
			return
		}
		blank = s.cellOf(s.translate(r))
		params = params[1:]
	}
	o := s.offset()
	top, left := min(count(params)-1+o.top, o.bottom), min(max(second(params, 1), 1)-1+o.left, o.right)
	bottom, right := nth(params, 2, 0)+o.top, nth(params, 3, 0)+o.left
	if bottom == o.top || bottom > o.bottom {
		bottom = o.bottom
	}
	if right == o.left || right > o.right {
		right = o.right
	}
	for y := top; y < bottom && left < right; y++ {
		s.grid.lines[y].fill(left, right, blank)
	}
}

// windowOperation handles the stack of titles; the rest of CSI t is about
// windows, or asks for something.
func (s *Screen) windowOperation(params []param) {
	what := second(params, 0) // 0 both, 1 icon, 2 title
	switch first(params, 0) {
	case 22:
		if len(s.titles) == maxTitleStack {
			s.titles = s.titles[1:]
		}
		s.titles = append(s.titles, [2]string{s.title, s.icon})
	case 23:
		if len(s.titles) == 0 {
			return
		}
		last := s.titles[len(s.titles)-1]
		s.titles = s.titles[:len(s.titles)-1]
		if what != 1 {
			s.title = last[0]
		}
		if what != 2 {
			s.icon = last[1]
		}
	}
}

package screen

// Line returns the bytes that paint a line, counted from 0, for who has put
// the cursor at its start, reset the looks of characters and erased it. They
// end with these looks.
func (s *Screen) Line(y int) []byte {
	p := s.overpainter()
	if y >= 0 && y < s.rows {
		p.line(&s.grid.lines[y], s.cols)
	}
	p.finish()
	return p.out
}

// RedrawLine is Redraw with Repaint for one line alone, counted from 0, where
// nothing but that line and the cursor were meddled with. A negative line
// stands for none.
func (s *Screen) RedrawLine(y int) []byte {
	p := s.overpainter()
	p.text("\x1b[?25l")
	p.neutral()
	if y >= 0 && y < s.rows {
		p.at(s.cols, 0, y)
		if end := p.line(&s.grid.lines[y], s.cols); end < s.cols {
			p.setPen(pen{})
			p.text("\x1b[K")
		}
		p.finish()
	}
	s.paintState(p, true)
	return p.out
}

func (s *Screen) overpainter() *painter {
	return &painter{extras: &s.extras, cols: s.cols, rows: s.rows, resync: true}
}

// Wrapping says whether the cursor is in the last column, and the next
// character goes to the next line.
func (s *Screen) Wrapping() bool { return s.wrap }

// KeepNothing makes the screen forget what scrolls off, which saves the half
// of its work.
func (s *Screen) KeepNothing() { s.history = history{none: true} }

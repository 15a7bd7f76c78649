package screen

import (
	"slices"
	"strconv"
	"strings"
)

// RedrawOptions say what Redraw is for.
type RedrawOptions struct {
	// Repaint is for a terminal that is in this state but for the text that
	// something else wrote over it: it is painted anew without being cleared,
	// so that nothing flickers. Without it the terminal's state is not known.
	Repaint bool
	// Scrollback adds what has scrolled off, so that it does so there. What
	// is on the terminal scrolls off, too, instead of being cleared.
	Scrollback bool
	// Whole is for a terminal that gets what TakeClean returns from then on,
	// in place of all that is written: it is left at the end of a sequence.
	Whole bool
	// Cols and Rows are the size of the other terminal. What does not fit is
	// left out. 0: it is of the same size.
	Cols, Rows int
}

// Redraw returns the bytes that bring another terminal into the screen's state.
// What is written to the screen from then on may be written to that terminal.
// None of these bytes asks it for anything.
func (s *Screen) Redraw(o RedrawOptions) []byte {
	if o.Cols <= 0 || o.Rows <= 0 {
		o.Cols, o.Rows = s.cols, s.rows
	}
	p := &painter{extras: &s.extras, cols: min(o.Cols, s.cols), rows: min(o.Rows, s.rows), resync: true}
	if !s.Whole() && !o.Whole {
		p.text("\x18") // the terminal may be within the same sequence
	}
	p.text("\x1b[?2026h\x1b[?25l")
	switch {
	case o.Repaint:
		p.neutral()
		s.paint(p, s.grid, true)
	default:
		p.neutral()
		s.resetModes(p)
		s.paintAll(p, o)
		s.paintStrings(p)
	}
	s.paintState(p, o.Repaint)
	p.text("\x1b[?2026l")
	if !o.Whole {
		p.out = append(p.out, s.unfinished()...)
	}
	return p.out
}

// neutral makes painting possible, whatever the modes are.
func (p *painter) neutral() {
	p.text("\x1b[?6l\x1b[?69l\x1b[r\x1b[4l\x1b[20l\x1b[?7h\x1b(B\x0f\x1b[m\x1b]8;;\x1b\\")
	p.pen = pen{}
}

// resetModes switches off whatever a program may have switched on before, and
// goes to the main screen.
func (s *Screen) resetModes(p *painter) {
	p.text("\x1b[?1049l\x1b[!p\x1b[?7h\x1b[?25l\x1b[?9;1000;1001;1002;1003l")
	for _, mode := range []int{1, 5, 45, 1004, 1005, 1006, 1015, 1016, 2004} {
		p.text("\x1b[?", mode, "l")
	}
	p.text("\x1b>\x1b(B\x0f\x1b[m\x1b[>4;0m\x1b[<", maxKeyStack, "u")
}

// paintAll paints the main screen, and the alternate one over it if it is
// shown.
func (s *Screen) paintAll(p *painter, o RedrawOptions) {
	if o.Scrollback {
		p.at(o.Cols, 0, o.Rows-1)
		p.text(strings.Repeat("\n", o.Rows), "\x1b[H")
		s.paintHistory(p)
		s.paintFlow(p)
	} else {
		p.text("\x1b[H\x1b[2J")
		s.paint(p, s.main, false)
	}
	if s.grid == s.main {
		return
	}
	s.paintKeys(p, 0)
	// Leaving the alternate screen goes back to this.
	s.paintSaved(p, s.main)
	p.text("\x1b[?1049h") // saves the same again
	p.neutral()
	p.text("\x1b[H\x1b[2J")
	s.paint(p, s.alt, false)
}

// paintHistory prints the lines that scrolled off.
func (s *Screen) paintHistory(p *painter) {
	h := &s.history
	flows := false
	for i, left := h.start, h.lines; left > 0; left-- {
		text, flags, n := h.at(i)
		if flows && flags&joins == 0 {
			p.text("\r\n")
		}
		p.out = append(p.out, text...)
		flows = flags&wraps != 0
		if !flows {
			p.text("\r\n")
		}
		i += n
	}
	// It would not be at its place if a line of another width flowed into it.
	if flows && (h.width != p.cols || !s.main.lines[0].joins()) {
		p.text("\r\n")
	}
}

// paintFlow prints the main screen's lines one after the other, as if they had
// been written: so that the terminal knows which of them belong together.
func (s *Screen) paintFlow(p *painter) {
	for y := range s.main.lines {
		l := &s.main.lines[y]
		wraps := l.wrapped && p.cols == s.cols && y+1 < len(s.main.lines) && s.main.lines[y+1].joins()
		p.flow = wraps
		p.line(l, p.cols)
		p.flow = false
		if y+1 < len(s.main.lines) && !wraps {
			p.finish()
			p.text("\r\n")
		}
	}
	p.finish()
}

// paint paints lines where they are. over says that there is something that
// has to go.
func (s *Screen) paint(p *painter, g *grid, over bool) {
	for y := range p.rows {
		l := &g.lines[y]
		if !over && l.blankFrom() == 0 {
			continue
		}
		p.at(s.cols, 0, y)
		end := p.line(l, p.cols)
		if over && end < p.cols {
			p.setPen(pen{})
			p.text("\x1b[K")
		}
	}
	p.finish()
}

// paintSaved makes the terminal, which has no margins yet, save a cursor.
func (s *Screen) paintSaved(p *painter, g *grid) {
	s.paintCursor(p, g, g.saved, s.whole())
	p.text("\x1b7")
}

// paintCursor puts the cursor where it is, with all that DECSC saves.
func (s *Screen) paintCursor(p *painter, g *grid, c cursor, region rect) {
	x, y := c.x, c.y
	if c.origin {
		p.text("\x1b[?6h")
		x, y = max(x-region.left, 0), max(y-region.top, 0)
	} else {
		p.text("\x1b[?6l")
	}
	if c.wrap && c.x < p.cols && c.y < p.rows {
		// Only printing the last character again makes the next one wrap.
		last := &g.lines[c.y].cells[c.x]
		if last.attr&tail != 0 && c.x > 0 {
			last, x = &g.lines[c.y].cells[c.x-1], x-1
		}
		p.at(s.cols, x, y)
		p.text("\x1b(B\x0f")
		p.cell(last, true)
	} else {
		p.at(s.cols, min(x, p.cols-1), min(y, p.rows-1))
	}
	for i, set := range c.charsets {
		if set != 0 && s.designated(i) {
			p.text("\x1b", string("()*+"[i]), string(rune(set)))
		}
	}
	p.text([]string{"\x0f", "\x0e", "\x1bn", "\x1bo"}[c.gl])
	p.setPen(c.pen)
}

// designated reports whether a program has put a charset other than ASCII into
// G0 to G3, or may have put it back. What none has touched is not sent: consoles
// that do not know a designation would show its last byte.
func (s *Screen) designated(i int) bool {
	return i == 0 || s.charsets[i] != 'B' || s.main.saved.charsets[i] != 'B' || s.alt != nil && s.alt.saved.charsets[i] != 'B'
}

// paintStrings sends the title, colours and tab stops.
func (s *Screen) paintStrings(p *painter) {
	titles := append(slices.Clone(s.titles), [2]string{s.title, s.icon})
	for i, t := range titles {
		if t != [2]string{} || len(titles) > 1 {
			p.text("\x1b]1;", t[1], "\x1b\\\x1b]2;", t[0], "\x1b\\")
		}
		if i+1 < len(titles) {
			p.text("\x1b[22;0t")
		}
	}
	if s.directory != "" {
		p.text("\x1b]7;", s.directory, "\x1b\\")
	}
	keys := make([]string, 0, len(s.colours))
	for key := range s.colours {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		p.text("\x1b]", key, ";", s.colours[key], "\x1b\\")
	}
	for x, set := range s.tabs {
		if set != (x > 0 && x%8 == 0) {
			s.paintTabs(p)
			break
		}
	}
}

func (s *Screen) paintTabs(p *painter) {
	p.text("\x1b[3g")
	for x, set := range s.tabs[:p.cols] {
		if set {
			p.at(s.cols, x, 0)
			p.text("\x1bH")
		}
	}
}

// paintKeys sends the keyboard's state, of the main screen or of the other.
func (s *Screen) paintKeys(p *painter, which int) {
	for _, flags := range s.keys.flags[which] {
		p.text("\x1b[>", flags, "u")
	}
}

// paintState sends modes, margins, and the cursor.
func (s *Screen) paintState(p *painter, repaint bool) {
	// First: with margins, not all of the positions that it has could be had.
	s.paintSaved(p, s.grid)
	r := s.region
	if r.top > 0 || r.bottom < s.rows {
		p.text("\x1b[", r.top+1, ";", min(r.bottom, p.rows), "r")
	}
	if s.modes.is(modeMargins) {
		p.text("\x1b[?69h\x1b[", r.left+1, ";", min(r.right, p.cols), "s")
	}
	s.paintCursor(p, s.grid, s.cursor, s.region)
	for _, mode := range s.modes.sorted() {
		switch {
		case mode == modeNoWrap:
			p.text("\x1b[?7l")
		case mode > 10000:
			p.text("\x1b[", mode-10000, "h")
		case repaint || mode == modeMargins:
		case mode == 66: // the older way is understood everywhere
			p.text("\x1b=")
		default:
			p.text("\x1b[?", mode, "h")
		}
	}
	if !repaint {
		s.paintLooks(p)
	}
	if s.visible {
		p.text("\x1b[?25h")
	}
	if s.single != 0 {
		p.text([]string{2: "\x1bN", 3: "\x1bO"}[s.single])
	}
}

// paintLooks sends the keyboard's state and the cursor's shape.
func (s *Screen) paintLooks(p *painter) {
	if s.keys.modifyOther != 0 {
		p.text("\x1b[>4;", s.keys.modifyOther, "m")
	}
	if s.grid == s.alt {
		s.paintKeys(p, 1)
	} else {
		s.paintKeys(p, 0)
	}
	p.text("\x1b[", s.shape, " q")
}

// text appends strings and numbers.
func (p *painter) text(parts ...any) {
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			p.out = append(p.out, part...)
		case int:
			p.out = strconv.AppendInt(p.out, int64(part), 10)
		}
	}
}

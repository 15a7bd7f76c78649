// Package screen keeps the state of a terminal from the bytes that programs
// write to it: what is on it, what has scrolled off, the cursor, the modes and
// the title. From that state it makes the bytes that bring another terminal
// into the same one.
//
// It follows xterm's control sequences
// (https://invisible-island.net/xterm/ctlseqs/ctlseqs.html). It is made to run
// beside every terminal session: fast enough to read along at the speed of a
// pseudo-terminal, and small whatever programs write.
package screen

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Limits on what programs can make a screen hold.
const (
	maxCols  = 1000
	maxCells = 128 << 10 // of one screen: 2 MiB
	// maxString bounds what is kept of one control sequence, titles and
	// hyperlinks included. Longer ones have no effect here; they reach the
	// attached terminal all the same.
	maxString     = 4 << 10
	maxTitle      = 1 << 10
	maxTitleStack = 16
	maxKeyStack   = 16
)

// A Screen is the state of a terminal. It is not safe for concurrent use.
type Screen struct {
	cols, rows int
	main, alt  *grid // alt is nil until it is used
	grid       *grid // the one of them that is shown

	cursor
	visible     bool
	shape       int // parameter of DECSCUSR
	region      rect
	last        rune // that REP repeats
	single      int  // charset of the next character only; 0: none
	tabs        []bool
	modes       modes
	savedModes  modes // XTSAVE
	keys        keyboard
	title, icon string
	titles      [][2]string // saved by CSI 22 t: title, icon
	directory   string      // OSC 7
	colours     map[string]string
	history     history
	extras      extras
	parser      parser
	reply       func([]byte)
	clean       []byte
	cleaning    bool
	asked       bool // the sequence just read asks for an answer
}

// A cursor is what DECSC saves.
type cursor struct {
	x, y     int
	wrap     bool // the next character goes to the next line
	pen      pen
	charsets [4]byte // final byte of the designation of G0 to G3
	gl       int     // which of them is used
	origin   bool
}

// A rect is the scrolling region: lines top to bottom-1, columns left to
// right-1.
type rect struct{ top, bottom, left, right int }

// New makes an empty screen. Sizes are bounded as in Resize.
func New(cols, rows int) *Screen {
	s := &Screen{}
	s.cols, s.rows = bound(cols, rows)
	s.reset()
	return s
}

// bound makes a size out of what a client asked for: at least one cell, and no
// more than memory is meant for.
func bound(cols, rows int) (int, int) {
	cols = min(max(cols, 1), maxCols)
	return cols, min(max(rows, 1), maxCells/cols)
}

// Size is the size of the screen in characters.
func (s *Screen) Size() (cols, rows int) { return s.cols, s.rows }

// Title is the window title that the program has set.
func (s *Screen) Title() string { return s.title }

// Whole says that what was written so far ends with a whole control sequence or
// character: something else can be written to the same terminal.
func (s *Screen) Whole() bool { return s.parser.state == ground }

// Reply sets who gets the answers to the questions that programs ask their
// terminal, such as where the cursor is. With nil, the default, questions are
// not answered: a real terminal is there that does.
func (s *Screen) Reply(f func([]byte)) { s.reply = f }

// Clean starts or stops keeping the bytes for TakeClean.
func (s *Screen) Clean(on bool) {
	s.cleaning = on
	if !on {
		s.clean = nil
	}
}

// TakeClean returns what was written since the last call, in whole control
// sequences and without those that ask the terminal for something: a second
// terminal that follows must not answer too. The slice is the caller's.
func (s *Screen) TakeClean() []byte {
	clean := s.clean
	s.clean = nil
	return clean
}

// reset is RIS: everything but the size, and who listens.
func (s *Screen) reset() {
	s.main, s.alt = newGrid(s.cols, s.rows), nil
	s.grid = s.main
	s.titles, s.directory, s.colours = nil, "", nil
	s.history.clear()
	s.extras = extras{}
	s.keys = keyboard{}
	s.savedModes = nil
	s.softReset()
	s.cursor = defaultCursor()
	s.shape = 0
	s.last = 0
	s.modes = modes{}
	s.resetTabs()
}

// softReset is DECSTR.
func (s *Screen) softReset() {
	s.pen = pen{}
	s.charsets, s.gl, s.single = defaultCursor().charsets, 0, 0
	s.origin, s.wrap = false, false
	s.visible = true
	s.region = s.whole()
	s.grid.saved = defaultCursor()
	for _, mode := range []int{modeInsert, modeNoWrap, modeMargins} {
		s.modes.set(mode, false)
	}
}

func defaultCursor() cursor { return cursor{charsets: [4]byte{'B', 'B', 'B', 'B'}} }

func (s *Screen) whole() rect { return rect{0, s.rows, 0, s.cols} }

func (s *Screen) resetTabs() {
	s.tabs = make([]bool, s.cols)
	for x := 8; x < s.cols; x += 8 {
		s.tabs[x] = true
	}
}

// Resize changes the size as xterm does: lines are cut or extended at the
// right, and what does not fit above the cursor's line scrolls off. Sizes
// without cells become one cell, sizes beyond any real terminal are cut.
func (s *Screen) Resize(cols, rows int) {
	cols, rows = bound(cols, rows)
	if cols == s.cols && rows == s.rows {
		return
	}
	if over := s.y - (rows - 1); over > 0 {
		if s.grid == s.main {
			s.remember(s.main.lines[:over])
		}
		s.grid.scroll(rect{0, s.rows, 0, s.cols}, over, cell{})
		s.y -= over
		s.grid.saved.y = max(s.grid.saved.y-over, 0)
	}
	if s.grid == s.alt {
		// The main screen's cursor, to which leaving the other returns.
		if over := s.main.saved.y - (rows - 1); over > 0 {
			s.remember(s.main.lines[:over])
			s.main.scroll(rect{0, s.rows, 0, s.cols}, over, cell{})
		}
	}
	oldCols := s.cols
	s.cols, s.rows = cols, rows
	for _, g := range []*grid{s.main, s.alt} {
		if g != nil {
			g.resize(cols, rows)
			g.saved.x, g.saved.y = min(g.saved.x, cols-1), min(g.saved.y, rows-1)
		}
	}
	s.x, s.y, s.wrap = min(s.x, cols-1), min(s.y, rows-1), false
	s.region = s.whole()
	s.modes.set(modeMargins, false)
	tabs := s.tabs
	s.resetTabs()
	copy(s.tabs, tabs[:min(oldCols, cols)])
}

// remember adds lines of the main screen to what has scrolled off.
func (s *Screen) remember(lines []line) {
	for i := range lines {
		s.history.push(&lines[i], &s.extras)
	}
}

// Text is what is on the screen, without looks and blanks at the ends of lines.
func (s *Screen) Text() string {
	var b strings.Builder
	for y := range s.grid.lines {
		var text []byte
		for _, c := range s.grid.lines[y].cells[:s.grid.lines[y].blankFrom()] {
			switch {
			case c.attr&tail != 0:
			case c.r == 0:
				text = append(text, ' ')
			default:
				text = utf8.AppendRune(text, c.r)
				text = append(text, s.extras.at(c.extra).marks...)
			}
		}
		b.Write(bytes.TrimRight(text, " "))
		b.WriteByte('\n')
	}
	return strings.TrimRight(b.String(), "\n")
}

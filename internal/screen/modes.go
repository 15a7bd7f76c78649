package screen

import (
	"maps"
	"slices"
)

// DEC private modes have their own numbers, ANSI's these, so that both fit one
// map. Those that are on by default are kept the other way round.
const (
	modeInsert  = 10004 // IRM
	modeNewLine = 10020 // LNM
	modeOrigin  = 6
	modeNoWrap  = 10007 // the reverse of 7
	modeMargins = 69    // DECLRMM
	modeCursor  = 25
)

// modes are the modes that are not as after a reset.
type modes map[int]bool

func (m modes) is(mode int) bool { return m[mode] }

func (m modes) set(mode int, on bool) {
	if on {
		m[mode] = true
	} else {
		delete(m, mode)
	}
}

// kept are the DEC modes whose only effect is on the terminal's input and
// looks: they are just switched on again. Some exclude each other.
func kept(mode int) bool {
	switch mode {
	case 1, 5, 9, 12, 45, 66, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016,
		1034, 1035, 1036, 1039, 1042, 1043, 2004, 2027, 2031, 2048:
		return true
	}
	return false
}

// trackings are the mouse modes; xterm has one of them at a time.
func trackings() []int { return []int{9, 1000, 1001, 1002, 1003} }

// setMode handles SM and RM, private or not.
func (s *Screen) setMode(mode int, on bool) {
	switch mode {
	case modeOrigin:
		s.origin = on
		s.home()
	case 7:
		s.modes.set(modeNoWrap, !on)
		s.wrap = s.wrap && on
	case modeCursor:
		s.visible = on
	case modeMargins:
		s.modes.set(mode, on)
		s.region.left, s.region.right = 0, s.cols
	case 47, 1047, 1049:
		s.switchTo(mode, on)
	case 1048:
		if on {
			s.save()
		} else {
			s.restore()
		}
	case modeInsert, modeNewLine:
		s.modes.set(mode, on)
	default:
		if slices.Contains(trackings(), mode) {
			for _, other := range trackings() {
				s.modes.set(other, false)
			}
		}
		if kept(mode) {
			s.modes.set(mode, on)
		}
	}
}

// modeState is the answer to DECRQM: 1 set, 2 reset, 0 not known.
func (s *Screen) modeState(mode int) int {
	on, known := s.modes.is(mode), kept(mode)
	switch mode {
	case modeOrigin:
		on, known = s.origin, true
	case 7:
		on, known = !s.modes.is(modeNoWrap), true
	case modeCursor:
		on, known = s.visible, true
	case 47, 1047, 1049:
		on, known = s.grid == s.alt, true
	case modeInsert, modeNewLine, modeMargins:
		known = true
	}
	switch {
	case !known:
		return 0
	case on:
		return 1
	}
	return 2
}

// switchTo shows the alternate screen or the main one.
func (s *Screen) switchTo(mode int, alt bool) {
	if alt == (s.alt != nil) {
		if !alt && mode == 1049 {
			s.restore()
		}
		return
	}
	if alt {
		if mode == 1049 {
			s.save()
		}
		s.alt = newGrid(s.cols, s.rows)
		s.grid = s.alt
		if s.pen.bg != 0 {
			s.erase(0, 0, s.cols, s.rows)
		}
	} else {
		// Terminals may keep it, but programs do not come back to it.
		s.grid, s.alt = s.main, nil
		s.keys.flags[1] = nil
		if mode == 1049 {
			s.restore()
		}
	}
	s.wrap = false
}

func (s *Screen) save() {
	s.grid.saved = s.cursor
	s.grid.saved.wrap = s.wrap && s.x == s.cols-1
}

func (s *Screen) restore() {
	s.cursor = s.grid.saved
	r := s.offset()
	s.x, s.y = min(max(s.x, r.left), r.right-1), min(max(s.y, r.top), r.bottom-1)
	s.wrap = s.wrap && s.x == s.lineEnd()-1
}

// A keyboard is how the terminal reports keys.
type keyboard struct {
	modifyOther int      // xterm's modifyOtherKeys
	flags       [2][]int // kitty's stacks: of the main and the other screen
}

// stack is the kitty stack of the screen that is shown.
func (s *Screen) stack() *[]int {
	if s.grid == s.alt {
		return &s.keys.flags[1]
	}
	return &s.keys.flags[0]
}

// keyFlags handles CSI u, kitty's keyboard protocol
// (https://sw.kovidgoyal.net/kitty/keyboard-protocol/).
func (s *Screen) keyFlags(private byte, params []param) {
	stack := s.stack()
	n := first(params, 0)
	switch private {
	case '>':
		if len(*stack) == maxKeyStack {
			*stack = (*stack)[1:]
		}
		*stack = append(*stack, n&31)
	case '<':
		*stack = (*stack)[:max(len(*stack)-max(n, 1), 0)]
	case '=':
		if len(*stack) == 0 {
			*stack = append(*stack, 0)
		}
		top := &(*stack)[len(*stack)-1]
		switch second(params, 1) {
		case 1:
			*top = n & 31
		case 2:
			*top |= n & 31
		case 3:
			*top &^= n
		}
	}
}

// saveModes and restoreModes are XTSAVE and XTRESTORE.
func (s *Screen) saveModes(params []param) {
	if s.savedModes == nil {
		s.savedModes = modes{}
	}
	for _, p := range params {
		if mode := p.or(0); s.modeState(mode) != 0 {
			s.savedModes[mode] = s.modeState(mode) == 1
		}
	}
}

func (s *Screen) restoreModes(params []param) {
	for _, p := range params {
		if on, ok := s.savedModes[p.or(0)]; ok {
			s.setMode(p.or(0), on)
		}
	}
}

// sorted are the modes that are on, in a fixed order.
func (m modes) sorted() []int { return slices.Sorted(maps.Keys(m)) }

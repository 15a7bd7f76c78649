package tty

import (
	"bytes"
	"strconv"
	"strings"
)

// scanner follows output just far enough to know where control sequences end
// and which modes they change.
type scanner struct {
	state   scanState
	unit    int          // bytes so far of the sequence being scanned
	kind    byte         // what introduced a string: ] P X ^ _
	params  []byte       // of a control sequence
	left    map[int]bool // modes that differ from their normal state
	keypad  bool         // application keypad
	alt     bool         // the alternate screen is shown
	saved   [2]bool      // the program has saved a cursor, on the main and on the alternate screen
	margins bool         // lines have margins
	home    bool         // the cursor has just been put into the first column of the first row
	cleared []int        // the screens that were blank at some point
}

type scanState int

const (
	ground scanState = iota
	escaped
	intermediate // after ESC and a byte from space to /
	csi          // after ESC [
	text         // a string: OSC, DCS, SOS, PM, APC
	textEscaped  // ESC in it
)

// The screens of a terminal.
const (
	mainScreen = iota
	altScreen
)

const (
	escape = 0x1b
	cancel = 0x18 // CAN, and SUB, end any sequence
	substi = 0x1a
	// maxParams bounds what is remembered of one sequence.
	maxParams = 64
)

// next scans p and returns which screens were blank at some point of it; valid
// until the next call.
func (s *scanner) next(p []byte) (cleared []int) {
	s.cleared = s.cleared[:0]
	for len(p) > 0 {
		if s.state != ground {
			s.step(p[0])
			p = p[1:]
			continue
		}
		i := bytes.IndexByte(p, escape)
		if i != 0 {
			s.home = false
		}
		if i < 0 {
			return s.cleared
		}
		s.state, s.unit = escaped, 1
		p = p[i+1:]
	}
	return s.cleared
}

// step takes one byte of a sequence.
func (s *scanner) step(c byte) {
	s.unit++
	switch {
	case c == cancel || c == substi:
		s.end()
		return
	case c == escape && s.state != text:
		s.state = escaped
		return
	}
	switch s.state {
	case escaped:
		s.inEscape(c)
	case intermediate:
		if c >= 0x30 {
			s.end()
			s.home = false
		}
	case csi:
		switch {
		case c >= 0x40 && c < 0x7f:
			s.end()
			s.control(c)
		case c >= 0x20 && len(s.params) < maxParams:
			s.params = append(s.params, c)
		}
	case text:
		switch {
		case c == escape:
			s.state = textEscaped
		case c == '\a' && s.kind == ']':
			s.end()
		}
	case textEscaped: // ST, or another sequence begins
		s.inEscape(c)
	}
}

// shown is the screen that is shown.
func (s *scanner) shown() int {
	if s.alt {
		return altScreen
	}
	return mainScreen
}

func (s *scanner) end() { s.state, s.unit = ground, 0 }

func (s *scanner) inEscape(c byte) {
	switch {
	case c == '[':
		s.state, s.params = csi, s.params[:0]
		return
	case strings.IndexByte("]PX^_", c) >= 0:
		s.state, s.kind = text, c
		return
	case c < 0x20: // executed, and the sequence goes on
		s.state = escaped
		return
	case c < 0x30:
		s.state = intermediate
		return
	}
	s.end()
	s.home = false
	switch c {
	case '=', '>':
		s.keypad = c == '='
	case '7':
		s.saved[s.shown()] = true
	case 'c': // full reset
		clear(s.left)
		s.keypad, s.alt, s.saved, s.margins = false, false, [2]bool{}, false
		s.cleared = append(s.cleared, mainScreen, altScreen)
	}
}

// control acts on a whole control sequence.
func (s *scanner) control(final byte) {
	params := string(s.params)
	home := s.home
	s.home = home && strings.IndexByte("mhl", final) >= 0
	switch {
	case strings.HasPrefix(params, "?"):
		if final == 'h' || final == 'l' {
			s.modes(params[1:], final == 'h')
		}
	case final == 'H' || final == 'f':
		s.home = strings.Trim(params, "01;") == "" && !strings.Contains(params, "10") && !strings.Contains(params, "11")
	case final == 'J':
		if params == "2" || home && (params == "" || params == "0") {
			s.cleared = append(s.cleared, s.shown())
		}
	case params == "" && final == 's':
		s.saved[s.shown()] = true
	}
}

// modes notes private modes that are switched.
func (s *scanner) modes(params string, on bool) {
	for p := range strings.SplitSeq(params, ";") {
		mode, err := strconv.Atoi(p)
		if err != nil {
			continue
		}
		switch mode {
		case 47, 1047, 1049:
			s.alt = on
			if mode == 1049 && on {
				s.saved[altScreen] = false
				s.cleared = append(s.cleared, altScreen)
			}
		case 1048:
			s.saved[s.shown()] = s.saved[s.shown()] || on
		case 69:
			s.margins = on
		}
		set, known := normal(mode)
		switch {
		case !known:
		case set == on:
			delete(s.left, mode)
		default:
			s.left[mode] = true
		}
	}
}

package screen

import "unicode/utf8"

// A state is one of https://vt100.net/emu/dec_ansi_parser, the ignoring ones
// left out: a sequence with too much in it is dispatched and not known.
type state uint8

const (
	ground    state = iota
	character       // within a UTF-8 character
	escape
	escapeIntermediate
	control // CSI
	osc
	text // DCS, SOS, PM, APC
)

// A param is a parameter of a control sequence.
type param struct {
	value  int  // -1: left out
	joined bool // a colon follows, and a sub-parameter
}

// or is the parameter's value, or what it means when it is left out.
func (p param) or(missing int) int {
	if p.value < 0 {
		return missing
	}
	return p.value
}

const (
	maxParams = 32
	maxParam  = 1 << 16
)

// A parser has what was read of a control sequence or character so far.
type parser struct {
	state    state
	seen     []byte // all of it
	overflow bool   // but for what was too long
	body     int    // where the string begins in seen
	kind     byte   // of string: P, X, ^ or _

	private      byte // <, =, > or ?
	intermediate byte
	params       []param
	ended        bool // an ESC came within a string: perhaps its end
}

// Write reads what a program wrote. It never fails.
func (s *Screen) Write(p []byte) (int, error) {
	start := 0 // of what was not yet copied for TakeClean
	for i := 0; i < len(p); {
		if s.parser.state == ground {
			i += s.ground(p[i:])
			if s.parser.state != ground && s.cleaning {
				s.clean = append(s.clean, p[start:i]...)
				start = i
			}
			continue
		}
		if s.parser.state == character {
			i += s.character(p[i:])
		} else {
			s.advance(p[i])
			i++
		}
		if s.parser.state == ground {
			if s.cleaning && !s.parser.overflow && !s.asked {
				s.clean = append(s.clean, s.parser.seen...)
			}
			start = i
			s.leave()
		}
	}
	if s.cleaning && s.parser.state == ground {
		s.clean = append(s.clean, p[start:]...)
	}
	return len(p), nil
}

// leave makes the parser ready for what comes next.
func (s *Screen) leave() {
	s.asked = false
	s.parser.overflow = false
	s.parser.ended = false
	if cap(s.parser.seen) > 256 {
		s.parser.seen = nil
	} else {
		s.parser.seen = s.parser.seen[:0]
	}
}

// ground reads text and control characters, up to what begins a sequence,
// which is left for the state it has set.
func (s *Screen) ground(p []byte) (n int) {
	for n < len(p) {
		c := p[n]
		switch {
		case c >= ' ' && c < 0x7f:
			end := n + 1
			for end < len(p) && p[end] >= ' ' && p[end] < 0x7f {
				end++
			}
			s.printASCII(p[n:end])
			n = end
		case c >= 0x80:
			r, size := utf8.DecodeRune(p[n:])
			if r == utf8.RuneError && size == 1 || r < 0xa0 {
				s.parser.state = character
				return n
			}
			s.print(r)
			n += size
		case c == 0x1b || c == 0x05:
			// ENQ asks for an answer, so it counts as a sequence.
			s.parser.state = escape
			return n
		default:
			s.last = 0
			s.execute(c)
			n++
		}
	}
	return n
}

// character goes on with a character of which ground has not seen the end.
func (s *Screen) character(p []byte) (n int) {
	for n < len(p) {
		s.parser.seen = append(s.parser.seen, p[n])
		n++
		if !utf8.FullRune(s.parser.seen) {
			continue
		}
		r, size := utf8.DecodeRune(s.parser.seen)
		over := len(s.parser.seen) - size
		if r >= 0x80 && r < 0xa0 { // C1, which is ESC and a letter
			s.parser.state = escape
			s.parser.begin()
			s.step(byte(r - 0x40))
			return n
		}
		// Bytes that are no character are one U+FFFD, and what ended them is
		// read again.
		if r == utf8.RuneError && size == 1 && len(s.parser.seen) > 1 {
			over = 1
		}
		s.parser.seen = s.parser.seen[:len(s.parser.seen)-over]
		s.print(r)
		s.parser.state = ground
		return n - over
	}
	return n
}

func (p *parser) begin() {
	p.private, p.intermediate, p.params, p.ended = 0, 0, p.params[:0], false
}

// advance reads a byte of a control sequence.
func (s *Screen) advance(c byte) {
	p := &s.parser
	if len(p.seen) < maxString {
		p.seen = append(p.seen, c)
	} else {
		p.overflow = true
	}
	s.step(c)
}

func (s *Screen) step(c byte) {
	p := &s.parser
	switch {
	case c == 0x18 || c == 0x1a: // CAN, SUB
		p.state = ground
	case p.state == osc || p.state == text:
		s.stepString(c)
	case c == 0x1b:
		p.state = escape
		p.begin()
	case c == 0x05:
		s.ask("")
		if len(p.seen) == 1 {
			p.state = ground
		}
	case c < ' ':
		s.last = 0
		s.execute(c)
	case c >= 0x7f: // DEL has no effect, and the rest no place here
		if c > 0x7f {
			p.state = ground
		}
	case p.state == control:
		s.stepControl(c)
	default:
		s.stepEscape(c)
	}
}

func (s *Screen) stepEscape(c byte) {
	p := &s.parser
	switch {
	case c < 0x30:
		p.intermediate = c
		p.state = escapeIntermediate
	case p.state == escapeIntermediate:
		p.state = ground
		s.last = 0
		s.escape(p.intermediate, c)
	case c == '[':
		p.state = control
	case c == ']':
		p.state, p.body = osc, len(p.seen)
	case c == 'P' || c == 'X' || c == '^' || c == '_':
		p.state, p.body, p.kind = text, len(p.seen), c
	default:
		p.state = ground
		s.last = 0
		s.escape(0, c)
	}
}

func (s *Screen) stepControl(c byte) {
	p := &s.parser
	switch {
	case c >= '0' && c <= '9':
		last := p.parameter()
		last.value = min(max(last.value, 0)*10+int(c-'0'), maxParam)
	case c == ';' || c == ':':
		last := p.parameter()
		last.joined = c == ':'
		if len(p.params) < maxParams {
			p.params = append(p.params, param{value: -1})
		}
	case c >= '<' && c <= '?':
		p.private = c
	case c < 0x30:
		p.intermediate = c
	default:
		p.state = ground
		if c != 'b' { // REP is for what was printed just before
			s.last = 0
		}
		s.control(c)
	}
}

// parameter is the one being read.
func (p *parser) parameter() *param {
	if len(p.params) == 0 {
		p.params = append(p.params, param{value: -1})
	}
	return &p.params[len(p.params)-1]
}

// stepString reads a byte of a string, which BEL (of OSC only) or ST ends.
func (s *Screen) stepString(c byte) {
	p := &s.parser
	switch {
	case p.ended && c == '\\', c == 0x07 && p.state == osc:
		s.endString()
	case p.ended:
		// Another sequence begins within the string, which ends it too.
		s.endString()
		p.state = escape
		p.begin()
		s.step(c)
	case c == 0x1b:
		p.ended = true
	}
}

func (s *Screen) endString() {
	p := &s.parser
	kind := p.state
	p.state = ground
	s.last = 0
	if p.overflow {
		return
	}
	end := len(p.seen) - 1
	if p.ended {
		end--
	}
	body := string(p.seen[min(p.body, end):end])
	if kind == osc {
		s.osc(body)
	} else {
		s.text(p.kind, body)
	}
}

// unfinished is what another terminal has to be sent to be where the parser
// is: in the midst of a sequence.
func (s *Screen) unfinished() []byte {
	switch {
	case !s.parser.overflow:
		return s.parser.seen
	case s.parser.state == osc:
		return []byte("\x1b]9999;") // means nothing, and ends as the true one
	case s.parser.state == text:
		return []byte("\x1b_")
	}
	return nil
}

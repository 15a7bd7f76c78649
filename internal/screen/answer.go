package screen

import "fmt"

// ask notes that the program waits for an answer of its terminal. This one
// gives it only while no other is there.
func (s *Screen) ask(answer string) {
	s.asked = true
	if s.reply != nil && answer != "" {
		s.reply([]byte(answer))
	}
}

// question handles the control sequences that ask, and says whether this is
// one.
func (s *Screen) question(final byte) bool {
	p := &s.parser
	n := first(p.params, 0)
	switch (key{p.private, p.intermediate, final}) {
	case key{0, 0, 'c'}:
		s.ask("\x1b[?62;22c") // a VT220 with colours
	case key{'>', 0, 'c'}:
		s.ask("\x1b[>1;10;0c")
	case key{'=', 0, 'c'}:
		s.ask("\x1bP!|00000000\x1b\\")
	case key{0, 0, 'n'}, key{'?', 0, 'n'}:
		s.ask(s.report(p.private, n))
	case key{0, '$', 'p'}:
		s.ask(fmt.Sprintf("\x1b[%d;%d$y", n, s.modeState(10000+n)))
	case key{'?', '$', 'p'}:
		s.ask(fmt.Sprintf("\x1b[?%d;%d$y", n, s.modeState(n)))
	case key{0, 0, 't'}:
		return s.windowQuestion(n)
	case key{0, 0, 'x'}:
		s.ask("")
	case key{'?', 0, 'u'}:
		flags := 0
		if stack := *s.stack(); len(stack) > 0 {
			flags = stack[len(stack)-1]
		}
		s.ask(fmt.Sprintf("\x1b[?%du", flags))
	case key{'>', 0, 'q'}, key{'?', 0, 'm'}, key{'?', 0, 'S'}, key{0, '*', 'y'}, key{0, '$', 'w'}, key{0, '&', 'u'}:
		s.ask("")
	default:
		return false
	}
	return true
}

// A key is what distinguishes control sequences.
type key struct{ private, intermediate, final byte }

// report is the answer to DSR, or "" if it is not known.
func (s *Screen) report(private byte, n int) string {
	x, y := s.x-s.offset().left+1, s.y-s.offset().top+1
	switch {
	case n == 5 && private == 0:
		return "\x1b[0n"
	case n == 6 && private == 0:
		return fmt.Sprintf("\x1b[%d;%dR", y, x)
	case n == 6:
		return fmt.Sprintf("\x1b[?%d;%d;1R", y, x)
	}
	return ""
}

func (s *Screen) windowQuestion(n int) bool {
	switch n {
	case 18, 19:
		s.ask(fmt.Sprintf("\x1b[%d;%d;%dt", n-10, s.rows, s.cols))
	case 11, 13, 14, 15, 16, 20, 21:
		s.ask("")
	default:
		return false
	}
	return true
}

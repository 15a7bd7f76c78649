package line

import (
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"
)

func (s *session) print(text string) {
	s.Write([]byte(text)) //nolint:errcheck // a terminal that is gone is noticed by the next Read
}

// A place is a position on the screen, from the prompt's first column.
type place struct{ row, col int }

// after is where the cursor stands after a character that stands at p.
func (s *session) after(p place, r rune) place {
	if r == '\n' {
		return place{p.row + 1, 0}
	}
	w := width(r)
	if p.col+w > s.cols { // a wide one that does not fit
		p = place{p.row + 1, 0}
	}
	if p.col += w; p.col >= s.cols {
		p = place{p.row + 1, 0}
	}
	return p
}

func width(r rune) int {
	if r < ' ' || r == 127 {
		return 2 // shown as ^X
	}
	return runewidth.RuneWidth(r)
}

// visible is a character as it is drawn.
func visible(r rune) string {
	switch {
	case r == '\n':
		return "\n"
	case r < ' ':
		return "^" + string(r+'@')
	case r == 127:
		return "^?"
	}
	return string(r)
}

// promptEnd is where the text begins. Escape sequences have no width.
func (s *session) promptEnd(prompt string) place {
	var p place
	for i := 0; i < len(prompt); {
		if n := escapeLen(prompt[i:]); n > 0 {
			i += n
			continue
		}
		r := []rune(prompt[i:])[0]
		p = s.after(p, r)
		i += len(string(r))
	}
	return p
}

// escapeLen is the length of the escape sequence at the start of text, if any.
func escapeLen(text string) int {
	if len(text) < 2 || text[0] != 27 {
		return 0
	}
	switch text[1] {
	case '[':
		for i := 2; i < len(text); i++ {
			if text[i] >= '@' && text[i] <= '~' {
				return i + 1
			}
		}
		return len(text)
	case ']': // up to BEL or ESC \
		if i := strings.IndexByte(text, 7); i >= 0 {
			return i + 1
		}
		if i := strings.Index(text[2:], "\x1b\\"); i >= 0 {
			return i + 4
		}
		return len(text)
	}
	return 2
}

// shown is what stands on the screen: the prompt, the text, the cursor in it.
func (s *session) shown() (prompt string, text []rune, pos int) {
	if s.search != nil {
		return s.search.shown(s)
	}
	return s.prompt, s.text, s.pos
}

// redraw draws the prompt and the line anew.
func (s *session) redraw() {
	prompt, text, pos := s.shown()
	var out strings.Builder
	if s.row > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", s.row)
	}
	out.WriteString("\r\x1b[J")
	out.WriteString(prompt)
	p := s.promptEnd(prompt)
	cursor := p
	for i, r := range text {
		if i == pos {
			cursor = p
		}
		out.WriteString(visible(r))
		p = s.after(p, r)
	}
	if pos >= len(text) {
		cursor = p
	}
	if p.col == 0 && p.row > 0 && (len(text) == 0 || text[len(text)-1] != '\n') {
		out.WriteString("\n") // the terminal waits at the margin
	}
	s.end = p.row
	s.moveTo(&out, p, cursor)
	s.print(out.String())
}

// moveTo moves the cursor from one place to another.
func (s *session) moveTo(out *strings.Builder, from, to place) {
	switch {
	case to.row < from.row:
		fmt.Fprintf(out, "\x1b[%dA", from.row-to.row)
	case to.row > from.row:
		fmt.Fprintf(out, "\x1b[%dB", to.row-from.row)
	}
	if from != to {
		out.WriteString("\r")
		if to.col > 0 {
			fmt.Fprintf(out, "\x1b[%dC", to.col)
		}
	}
	s.row = to.row
}

// place moves the cursor to where it belongs.
func (s *session) place() {
	p := s.promptEnd(s.prompt)
	for _, r := range s.text[:s.pos] {
		p = s.after(p, r)
	}
	var out strings.Builder
	s.moveTo(&out, place{s.row, -1}, p)
	s.print(out.String())
}

// appended writes the character that was just put at the end of the line, if
// nothing else changes on the screen.
func (s *session) appended() bool {
	p := s.promptEnd(s.prompt)
	for _, r := range s.text[:s.pos-1] {
		p = s.after(p, r)
	}
	r := s.text[s.pos-1]
	if next := s.after(p, r); next.row != p.row || width(r) == 0 {
		return false
	}
	s.print(string(r))
	return true
}

// resized draws the line on a terminal of another size. What it has made of the
// old lines is not known: the prompt stands below.
func (s *session) resized() {
	cols, rows := s.Size()
	if cols == s.cols && rows == s.rows {
		return
	}
	wide := cols >= s.cols
	s.cols, s.rows = cols, rows
	if !wide && s.end > 0 {
		s.print("\n")
		s.row = 0
	}
	s.row = min(s.row, s.end)
	s.redraw()
}

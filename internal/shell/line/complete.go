package line

import (
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"
)

// complete extends the word before the cursor as far as all candidates agree.
// The second Tab in a row lists them.
func (s *session) complete(again bool) error {
	if s.Complete == nil {
		return nil
	}
	before := string(s.text[:s.pos])
	start, candidates := s.Complete(string(s.text), len(before))
	if len(candidates) == 0 || start < 0 || start > len(before) {
		s.print("\a")
		return nil
	}
	common := candidates[0].Text
	for _, c := range candidates[1:] {
		common = commonPrefix(common, c.Text)
	}
	if len(candidates) == 1 && !candidates[0].More {
		common += " "
	}
	if len(common) > len(before)-start || len(candidates) == 1 {
		s.replaceWord(start, common)
		if len(candidates) > 1 {
			s.last = 't'
		}
		return nil
	}
	s.last = 't'
	if again {
		return s.list(candidates)
	}
	s.print("\a")
	return nil
}

// replaceWord replaces what stands between a byte of the line and the cursor.
func (s *session) replaceWord(start int, word string) {
	head := []rune(string(s.text[:s.pos])[:start])
	s.remember()
	text := append(head, []rune(word)...)
	pos := len(text)
	tail := s.text[s.pos:]
	if strings.HasSuffix(word, " ") && len(tail) > 0 && tail[0] == ' ' {
		tail = tail[1:]
	}
	s.text, s.pos = append(text, tail...), pos
	s.redraw()
}

func commonPrefix(a, b string) string {
	x, y := []rune(a), []rune(b)
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return string(x[:n])
}

// manyCandidates is when the user is asked before a list is shown.
const manyCandidates = 100

// list shows candidates in columns below the line, and the line again.
func (s *session) list(candidates []Candidate) error {
	pos := s.pos
	s.pos = len(s.text)
	s.place()
	s.print("\n")
	if len(candidates) > manyCandidates {
		s.print(fmt.Sprintf("Display all %d possibilities? (y or n)", len(candidates)))
		k, err := s.key()
		if err != nil {
			return err
		}
		s.print("\n")
		if k.r != 'y' && k.r != 'Y' && k.r != ' ' {
			candidates = nil
		}
	}
	s.print(columns(candidates, s.cols))
	s.row, s.end, s.pos = 0, 0, pos
	s.redraw()
	return nil
}

// columns arranges candidates as ls does, sorted downwards.
func columns(candidates []Candidate, cols int) string {
	widest := 0
	names := make([]string, 0, len(candidates))
	for _, c := range candidates {
		name := c.Shown
		if name == "" {
			name = c.Text
		}
		names = append(names, name)
		widest = max(widest, runewidth.StringWidth(name))
	}
	perRow := max(cols/(widest+2), 1)
	rows := (len(names) + perRow - 1) / perRow
	var out strings.Builder
	for row := range rows {
		for i := row; i < len(names); i += rows {
			out.WriteString(names[i])
			if i+rows < len(names) {
				out.WriteString(strings.Repeat(" ", widest+2-runewidth.StringWidth(names[i])))
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

package line

import (
	"slices"
	"strings"
	"unicode"
)

func isSpace(r rune) bool    { return unicode.IsSpace(r) }
func isNoLetter(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// remember makes the line one that undo comes back to.
func (s *session) remember() {
	s.undo = append(s.undo, snapshot{slices.Clone(s.text), s.pos})
}

func (s *session) undoOne() {
	if len(s.undo) == 0 {
		return
	}
	last := s.undo[len(s.undo)-1]
	s.undo = s.undo[:len(s.undo)-1]
	s.text, s.pos = last.text, last.pos
	s.redraw()
}

// put1 inserts one character. At the end of the line it is just written.
func (s *session) put1(r rune) {
	s.text = slices.Insert(s.text, s.pos, r)
	s.pos++
	if s.pos == len(s.text) && s.search == nil && r >= ' ' && s.appended() {
		return
	}
	s.redraw()
}

func (s *session) insert(text []rune) {
	if len(text) == 0 {
		return
	}
	s.remember()
	s.text = slices.Insert(s.text, s.pos, text...)
	s.pos += len(text)
	s.redraw()
}

func (s *session) delete(from, to int) {
	if from >= to {
		return
	}
	s.remember()
	s.text = slices.Delete(slices.Clone(s.text), from, to)
	s.pos = from
	s.redraw()
}

// kill deletes text that ^Y inserts again. Kills in a row make one text.
func (s *session) kill(from, to int, last byte) {
	s.last = 'k'
	if from >= to {
		return
	}
	text := slices.Clone(s.text[from:to])
	switch {
	case last != 'k':
		s.killed = text
	case from < s.pos:
		s.killed = append(text, s.killed...)
	default:
		s.killed = append(s.killed, text...)
	}
	s.delete(from, to)
}

// wordLeft is where the word before the cursor begins; between says what
// stands between words.
func (s *session) wordLeft(between func(rune) bool) int {
	i := s.pos
	for i > 0 && between(s.text[i-1]) {
		i--
	}
	for i > 0 && !between(s.text[i-1]) {
		i--
	}
	return i
}

// wordRight is where the word after the cursor ends.
func (s *session) wordRight() int {
	i := s.pos
	for i < len(s.text) && isNoLetter(s.text[i]) {
		i++
	}
	for i < len(s.text) && !isNoLetter(s.text[i]) {
		i++
	}
	return i
}

// transpose exchanges the two characters around the cursor.
func (s *session) transpose() {
	i := min(s.pos, len(s.text)-1)
	if i < 1 {
		return
	}
	s.remember()
	s.text = slices.Clone(s.text)
	s.text[i-1], s.text[i] = s.text[i], s.text[i-1]
	s.pos = i + 1
	s.redraw()
}

// lastArgument inserts the last word of the entry before; again, of the one
// before that.
func (s *session) lastArgument(again bool) {
	s.last = 'y'
	if !again {
		s.yanked, s.put = 0, 0
	}
	for s.yanked < len(s.History) {
		s.yanked++
		words := strings.Fields(s.History[len(s.History)-s.yanked])
		if len(words) == 0 {
			continue
		}
		word := []rune(words[len(words)-1])
		s.remember()
		s.text = slices.Delete(slices.Clone(s.text), s.pos-s.put, s.pos)
		s.pos -= s.put
		s.text = slices.Insert(s.text, s.pos, word...)
		s.pos += len(word)
		s.put = len(word)
		s.redraw()
		return
	}
}

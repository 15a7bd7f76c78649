// Package line edits one line of input on a terminal in raw mode: cursor keys,
// history and the search in it, completion, pasted text. It knows the keys that
// bash and every readline program have, and nothing of shells.
package line

import (
	"errors"
	"io"
	"strings"
)

// ErrInterrupted is what ReadLine returns for Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// ErrResized is what Editor.Read may return to have the line drawn anew.
var ErrResized = errors.New("the terminal has another size")

// An Editor reads lines. The terminal must be in raw mode while ReadLine runs,
// and process output (a newline also returns the carriage).
type Editor struct {
	// Read reads what was typed. It is asked for a byte at a time, so that what
	// was typed ahead is left for who reads next.
	Read  func(p []byte) (int, error)
	Write func(p []byte) (int, error)
	Size  func() (cols, rows int)

	// History is what was entered before, the oldest first.
	History []string

	// Complete returns where the word before the cursor begins, and what it could
	// be. It may be nil. pos is the cursor's byte in the line.
	Complete func(line string, pos int) (start int, candidates []Candidate)
}

// A Candidate is one completion of a word.
type Candidate struct {
	Text  string // what replaces the word, quoted as it must be
	Shown string // what the list shows, "" for Text
	More  bool   // the word goes on after it, as a directory's: no space follows
}

// errors of a key: the line is ready.
var errEntered = errors.New("entered")

// A session is the reading of one line.
type session struct {
	*Editor
	prompt string // its last line
	text   []rune
	pos    int // the cursor, in text

	cols, rows int
	row        int // the cursor's row on the screen, 0: the prompt's
	end        int // the last row that has something

	at     int    // the entry of History that is shown, len(History): none
	draft  []rune // what was typed before going through the history
	killed []rune
	undo   []snapshot
	last   byte // the kind of the last key: 'k' kills, 'i' inserts, 't' tab, 'y' last argument
	yanked int  // how far Alt-. has gone back, and how much it has put in
	put    int
	search *search
}

type snapshot struct {
	text []rune
	pos  int
}

// ReadLine shows a prompt and returns the line that was entered, without its
// newline. It returns io.EOF for Ctrl-D on an empty line, and ErrInterrupted.
// The cursor stands at the start of a line when it returns.
func (e *Editor) ReadLine(prompt string) (string, error) {
	s := &session{Editor: e, at: len(e.History)}
	s.cols, s.rows = e.Size()
	if i := strings.LastIndexByte(prompt, '\n'); i >= 0 {
		s.print(prompt[:i+1])
		prompt = prompt[i+1:]
	}
	s.prompt = prompt
	s.print("\x1b[?2004h")
	defer s.print("\x1b[?2004l")
	s.redraw()
	for {
		k, err := s.key()
		if err == nil {
			err = s.handle(k)
		}
		switch {
		case err == nil:
		case errors.Is(err, ErrResized):
			s.resized()
		default:
			return s.finish(err)
		}
	}
}

// finish leaves the line on the screen and goes below it.
func (s *session) finish(err error) (string, error) {
	s.search = nil
	s.pos = len(s.text)
	s.redraw()
	switch {
	case errors.Is(err, errEntered):
		s.print("\n")
		return string(s.text), nil
	case errors.Is(err, ErrInterrupted):
		s.print("^C\n")
	case errors.Is(err, io.EOF):
		s.print("\n")
	}
	return "", err
}

// handle does what a key asks for.
func (s *session) handle(k key) error {
	if s.search != nil && !s.searching(k) {
		return nil
	}
	last := s.last
	s.last = 0
	switch {
	case k.pasted != nil:
		s.insert(k.pasted)
	case k.r != 0:
		s.typed(k.r, last)
	case s.edit(k.name, last) || s.move(k.name):
	case k.name == "enter":
		return errEntered
	case k.name == "^C":
		return ErrInterrupted
	case k.name == "^D":
		if len(s.text) == 0 {
			return io.EOF
		}
		s.delete(s.pos, min(s.pos+1, len(s.text)))
	case k.name == "tab":
		return s.complete(last == 't')
	case k.name == "^R", k.name == "^S":
		s.startSearch(k.name == "^R")
	case k.name == "^L":
		s.print("\x1b[H\x1b[2J")
		s.row, s.end = 0, 0
		s.redraw()
	default:
		s.travel(k.name, last)
	}
	return nil
}

// typed inserts a character.
func (s *session) typed(r rune, last byte) {
	if last != 'i' {
		s.remember()
	}
	s.last = 'i'
	s.put1(r)
}

// edit does what the keys that change the line do.
func (s *session) edit(name string, last byte) bool {
	switch name {
	case "backspace":
		s.delete(max(s.pos-1, 0), s.pos)
	case "delete":
		s.delete(s.pos, min(s.pos+1, len(s.text)))
	case "^K":
		s.kill(s.pos, len(s.text), last)
	case "^U":
		s.kill(0, s.pos, last)
	case "^W":
		s.kill(s.wordLeft(isSpace), s.pos, last)
	case "alt-backspace":
		s.kill(s.wordLeft(isNoLetter), s.pos, last)
	case "alt-d":
		s.kill(s.pos, s.wordRight(), last)
	case "^Y":
		s.insert(s.killed)
	case "^T":
		s.transpose()
	case "^_", "^X^U":
		s.undoOne()
	case "alt-.", "alt-_":
		s.lastArgument(last == 'y')
	default:
		return false
	}
	return true
}

// move does what the keys that move the cursor do.
func (s *session) move(name string) bool {
	to := s.pos
	switch name {
	case "left", "^B":
		to--
	case "right", "^F":
		to++
	case "home", "^A":
		to = 0
	case "end", "^E":
		to = len(s.text)
	case "ctrl-left", "alt-b", "alt-left":
		to = s.wordLeft(isNoLetter)
	case "ctrl-right", "alt-f", "alt-right":
		to = s.wordRight()
	default:
		return false
	}
	s.pos = min(max(to, 0), len(s.text))
	s.place()
	return true
}

// travel goes through the history.
func (s *session) travel(name string, _ byte) {
	switch name {
	case "up", "^P":
		s.show(s.at - 1)
	case "down", "^N":
		s.show(s.at + 1)
	case "alt-<":
		s.show(0)
	case "alt->":
		s.show(len(s.History))
	case "pageup":
		s.showPrefix(-1)
	case "pagedown":
		s.showPrefix(1)
	}
}

// show puts an entry of the history into the line.
func (s *session) show(at int) {
	if at < 0 || at > len(s.History) || at == s.at {
		return
	}
	if s.at == len(s.History) {
		s.draft = s.text
	}
	s.remember()
	s.at = at
	if at == len(s.History) {
		s.text = s.draft
	} else {
		s.text = []rune(s.History[at])
	}
	s.pos = len(s.text)
	s.redraw()
}

// showPrefix finds the next entry that begins as the line does up to the cursor.
func (s *session) showPrefix(step int) {
	prefix := string(s.text[:s.pos])
	for at := s.at + step; at >= 0 && at < len(s.History); at += step {
		if strings.HasPrefix(s.History[at], prefix) {
			pos := s.pos
			s.show(at)
			s.pos = pos
			s.place()
			return
		}
	}
}

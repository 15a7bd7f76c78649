package line

import "strings"

// A search looks for a text in the history while it is typed.
type search struct {
	query    []rune
	back     bool
	at       int // the entry that was found, len(History): the line itself
	failed   bool
	original snapshot
}

func (s *session) startSearch(back bool) {
	s.search = &search{back: back, at: len(s.History), original: snapshot{s.text, s.pos}}
	s.redraw()
}

// shown is the screen during the search.
func (q *search) shown(s *session) (prompt string, text []rune, pos int) {
	label := "i-search"
	if q.back {
		label = "reverse-i-search"
	}
	if q.failed {
		label = "failed " + label
	}
	return "(" + label + ")`" + string(q.query) + "': ", s.text, s.pos
}

// searching handles a key. The search is over with a key that it does not know,
// which then is the line's.
func (s *session) searching(k key) (over bool) {
	q := s.search
	switch {
	case k.r != 0:
		q.query = append(q.query, k.r)
		s.find(q.at)
	case k.pasted != nil:
		q.query = append(q.query, k.pasted...)
		s.find(q.at)
	case k.name == "backspace":
		if len(q.query) > 0 {
			q.query = q.query[:len(q.query)-1]
			s.find(len(s.History))
		}
	case k.name == "^R", k.name == "^S":
		q.back = k.name == "^R"
		step := 1
		if q.back {
			step = -1
		}
		s.find(q.at + step)
	case k.name == "^G", k.name == "^C":
		s.text, s.pos = q.original.text, q.original.pos
		s.endSearch()
	default:
		s.endSearch()
		return true
	}
	return false
}

func (s *session) endSearch() {
	s.at = s.search.at
	s.search = nil
	s.redraw()
}

// find looks for the query from an entry on.
func (s *session) find(from int) {
	q := s.search
	query := string(q.query)
	step := 1
	if q.back {
		step = -1
	}
	q.failed = query != ""
	for at := min(from, len(s.History)-1); at >= 0 && at < len(s.History) && query != ""; at += step {
		if i := strings.LastIndex(s.History[at], query); i >= 0 {
			q.at, q.failed = at, false
			s.text = []rune(s.History[at])
			s.pos = len([]rune(s.History[at][:i]))
			break
		}
	}
	s.redraw()
}

package screen

// An extra is what few cells have: combining marks, a link, a colour for the
// underline.
type extra struct {
	marks string
	link  string
	line  colour
}

const (
	maxExtras     = 4096
	maxExtraBytes = 128 << 10 // of the strings in extras
	maxMarks      = 32        // bytes of combining marks on one character
)

// extras are the extras of all cells, each once. Index 0 stands for none.
type extras struct {
	list  []extra
	index map[extra]uint16
	bytes int
}

func (e *extras) at(i uint16) extra {
	if int(i) >= len(e.list) {
		return extra{}
	}
	return e.list[i]
}

func (e *extras) size(x extra) int { return len(x.marks) + len(x.link) }

// full says that no more fit.
func (e *extras) full(x extra) bool {
	return len(e.list) >= maxExtras || e.bytes+e.size(x) > maxExtraBytes
}

func (e *extras) add(x extra) uint16 {
	if e.index == nil {
		e.index = make(map[extra]uint16)
		e.list = append(e.list, extra{})
	}
	i := uint16(len(e.list)) // at most maxExtras
	e.list = append(e.list, x)
	e.index[x] = i
	e.bytes += e.size(x)
	return i
}

// intern is the index of an extra. When there are too many, those that no cell
// has are forgotten first; if all are in use, the new one is.
func (s *Screen) intern(x extra) uint16 {
	if x == (extra{}) {
		return 0
	}
	if i, ok := s.extras.index[x]; ok {
		return i
	}
	if s.extras.full(x) {
		s.sweep()
		if s.extras.full(x) {
			return 0
		}
	}
	return s.extras.add(x)
}

// sweep forgets the extras that no cell has.
func (s *Screen) sweep() {
	old := s.extras
	s.extras = extras{}
	moved := make(map[uint16]uint16)
	for _, g := range []*grid{s.main, s.alt} {
		if g == nil {
			continue
		}
		for _, l := range g.lines {
			for i := range l.cells {
				c := &l.cells[i]
				if c.extra == 0 {
					continue
				}
				to, ok := moved[c.extra]
				if !ok {
					to = s.extras.add(old.at(c.extra))
					moved[c.extra] = to
				}
				c.extra = to
			}
		}
	}
	// A table that is nearly full would be swept for every new extra.
	if len(s.extras.list) > maxExtras*3/4 || s.extras.bytes > maxExtraBytes*3/4 {
		s.dropExtras()
	}
}

func (s *Screen) dropExtras() {
	s.extras = extras{}
	for _, g := range []*grid{s.main, s.alt} {
		if g == nil {
			continue
		}
		for _, l := range g.lines {
			for i := range l.cells {
				l.cells[i].extra = 0
			}
		}
	}
}

package screen

import "encoding/binary"

const (
	maxHistoryLines = 2000
	maxHistoryBytes = 256 << 10
)

// A history has the lines that scrolled off, oldest first, as the bytes that
// print them: a tenth of what cells take. Each is preceded by its length in
// front of two bits, wraps and joins.
type history struct {
	buf   []byte
	start int // of the oldest
	lines int
	width int    // of the newest
	line  []byte // reused
	none  bool   // nothing is kept
}

func (h *history) clear() { *h = history{none: h.none} }

func (h *history) push(l *line, e *extras) {
	if h.none {
		return
	}
	p := painter{out: h.line[:0], extras: e}
	p.line(l, len(l.cells))
	p.finish()
	h.line = p.out
	if len(p.out) > maxHistoryBytes/4 {
		h.line = nil // a line of links; too dear
		return
	}
	for h.lines == maxHistoryLines || h.lines > 0 && len(h.buf)-h.start+len(p.out)+binary.MaxVarintLen32 > maxHistoryBytes {
		_, _, n := h.at(h.start)
		h.start += n
		h.lines--
	}
	if h.start > maxHistoryBytes/2 {
		h.buf = h.buf[:copy(h.buf, h.buf[h.start:])]
		h.start = 0
	}
	size := uint64(len(p.out)) << 2
	if l.joins() {
		size |= joins
	}
	h.width = len(l.cells)
	if l.wrapped && l.blankFrom() == len(l.cells) {
		size |= wraps
	}
	h.buf = binary.AppendUvarint(h.buf, size)
	h.buf = append(h.buf, p.out...)
	h.lines++
}

const (
	wraps = 1 // the line's text goes on in the next one
	joins = 2 // the line may be what goes on from the one before
)

// joins says whether a line can be printed where the one before has ended, so
// that the terminal wraps it. If that scrolls, the new line has the background
// of what is printed first; so it must have none.
func (l *line) joins() bool { return l.blankFrom() > 0 && l.cells[0].bg == 0 }

// at is the line at an index into the buffer, what is known of it, and how many
// bytes it takes.
func (h *history) at(i int) (text []byte, flags, n int) {
	size, head := binary.Uvarint(h.buf[i:])
	n = head + int(size>>2)
	return h.buf[i+head : i+n], int(size & 3), n
}

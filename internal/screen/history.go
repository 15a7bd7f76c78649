package screen

import "encoding/binary"

const (
	maxHistoryLines = 2000
	maxHistoryBytes = 256 << 10
)

// A history has the lines that scrolled off, oldest first, as the bytes that
// print them: a tenth of what cells take. Each is preceded by its length, of
// which the lowest bit says whether the line was wrapped.
type history struct {
	buf   []byte
	start int // of the oldest
	lines int
	width int    // of the newest
	line  []byte // reused
}

func (h *history) clear() { *h = history{} }

func (h *history) push(l line, e *extras) {
	p := painter{out: h.line[:0], extras: e}
	p.line(l.cells, 0, len(l.cells))
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
	size := uint64(len(p.out)) << 1
	h.width = len(l.cells)
	if l.wrapped && blankFrom(l.cells) == len(l.cells) {
		size |= 1
	}
	h.buf = binary.AppendUvarint(h.buf, size)
	h.buf = append(h.buf, p.out...)
	h.lines++
}

// at is the line at an index into the buffer, and how many bytes it takes.
func (h *history) at(i int) (text []byte, wrapped bool, n int) {
	size, head := binary.Uvarint(h.buf[i:])
	n = head + int(size>>1) //nolint:gosec // our own
	return h.buf[i+head : i+n], size&1 != 0, n
}

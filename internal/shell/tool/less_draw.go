package tool

import (
	"bytes"
	"strconv"
	"strings"
)

func (p *pager) draw() {
	var b bytes.Buffer
	b.WriteString("\x1b[?25l\x1b[H")
	count, all := p.src.count()
	line, row := p.line, p.row
	for range p.rows - 1 {
		if line >= count {
			b.WriteString("~\x1b[K\r\n")
			continue
		}
		starts, text := p.starts(line), p.src.line(line)
		if p.count && row == 0 {
			b.WriteString(strings.Repeat(" ", max(0, 7-len(strconv.Itoa(line+1)))) + strconv.Itoa(line+1) + " ")
		} else if p.count {
			b.WriteString("        ")
		}
		from, to := starts[min(row, len(starts)-1)], len(text)
		if row+1 < len(starts) {
			to = starts[row+1]
		}
		if p.chop {
			from = skip(text, p.left)
		}
		render(&b, text[from:to], p.width(), p.colours, p.marks(text, from))
		b.WriteString("\r\n")
		if row++; row >= len(starts) {
			line, row = line+1, 0
		}
	}
	status := p.message
	switch {
	case status != "":
	case line >= count && all:
		status = "\x1b[7m" + clip(visible(p.name), p.cols/2) + " (END)\x1b[27m"
	default:
		status = ":"
	}
	if !strings.Contains(status, "\x1b") {
		status = clip(visible(status), p.cols-1)
	}
	b.WriteString(status + "\x1b[K\x1b[?25h")
	_, _ = p.out.Write(b.Bytes())
	p.out.flush()
}

// marks are the places that were looked for, counted from a position on.
func (p *pager) marks(text string, from int) [][]int {
	if p.search == nil {
		return nil
	}
	all := p.search.FindAllStringIndex(text, -1)
	for _, m := range all {
		m[0], m[1] = m[0]-from, m[1]-from
	}
	return all
}

// skip is the position of the character at a column.
func skip(text string, columns int) int {
	column, i := 0, 0
	for i < len(text) && column < columns {
		c := cellAt(text[i:], column)
		column += c.width
		i += c.size
	}
	return i
}

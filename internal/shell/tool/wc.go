package tool

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// counts are what wc counts.
type counts struct{ lines, words, chars, bytes, longest int64 }

func wc(c *Context) int {
	o, ok := c.parse("lwcmL", "lines=l", "words=w", "bytes=c", "chars=m", "max-line-length=L")
	if !ok {
		return 2
	}
	if !o.has("lwcmL") {
		o.given = []option{{'l', ""}, {'w', ""}, {'c', ""}}
	}
	var all []counts
	var names []string
	var sum counts
	status := c.each(o.operands, func(name string, r io.Reader) error {
		n, err := count(r, o.has("wmL"))
		all, names = append(all, n), append(names, name)
		sum.lines, sum.words, sum.chars, sum.bytes = sum.lines+n.lines, sum.words+n.words, sum.chars+n.chars, sum.bytes+n.bytes
		sum.longest = max(sum.longest, n.longest)
		return err
	})
	if len(o.operands) > 1 {
		all, names = append(all, sum), append(names, "total")
	}
	out := c.output()
	width := len(strconv.FormatInt(sum.bytes, 10))
	if len(o.operands) == 0 {
		width = 7
	}
	for i, n := range all {
		cells := n.cells(o)
		if len(all) == 1 && len(cells) == 1 {
			width = 1
		}
		for k, cell := range cells {
			if k > 0 {
				out.byte(' ')
			}
			out.text(strings.Repeat(" ", max(0, width-len(cell))) + cell)
		}
		if len(o.operands) > 0 {
			out.text(" " + names[i])
		}
		out.byte('\n')
	}
	return out.done(status)
}

func (n counts) cells(o options) []string {
	var cells []string
	for _, f := range []struct {
		flag string
		n    int64
	}{{"l", n.lines}, {"w", n.words}, {"m", n.chars}, {"c", n.bytes}, {"L", n.longest}} {
		if o.has(f.flag) {
			cells = append(cells, strconv.FormatInt(f.n, 10))
		}
	}
	return cells
}

// count reads r to its end. Lines and bytes alone are counted faster than all.
func count(r io.Reader, all bool) (counts, error) {
	var n counts
	buf := make([]byte, chunk)
	var w wordCount
	for {
		k, err := r.Read(buf)
		b := buf[:k]
		n.bytes += int64(k)
		n.lines += int64(bytes.Count(b, []byte{'\n'}))
		if all {
			w.count(&n, b)
		}
		if err != nil {
			n.longest = max(n.longest, w.width)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
	}
}

// A wordCount is where in a text a count is.
type wordCount struct {
	inside bool // a word
	width  int64
}

func (w *wordCount) count(n *counts, b []byte) {
	for _, ch := range b {
		space := ch == ' ' || ch >= '\t' && ch <= '\r'
		if !space && !w.inside {
			n.words++
		}
		w.inside = !space
		if utf8.RuneStart(ch) {
			n.chars++
			w.width++
		}
		if ch == '\n' {
			n.longest, w.width = max(n.longest, w.width-1), 0
		}
	}
}

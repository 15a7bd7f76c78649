package tool

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

// A dump is one run of hexdump, xxd or od.
type dump struct {
	out    *output
	offset int64
	skip   int64 // bytes left out at the beginning
	limit  int64 // -1: none
	line   func(offset int64, b []byte)
	repeat bool // all lines are shown: none is replaced by a star
	before []byte
	star   bool
}

// copy dumps r in lines of so many bytes.
func (d *dump) copy(r io.Reader, width int) error {
	if _, err := io.CopyN(io.Discard, r, d.skip); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	d.offset = d.skip
	if d.limit >= 0 {
		r = io.LimitReader(r, d.limit)
	}
	b := make([]byte, width)
	for !d.out.failed() {
		n, err := io.ReadFull(r, b)
		if n > 0 {
			d.one(b[:n])
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errStop
}

func (d *dump) one(b []byte) {
	if !d.repeat && bytes.Equal(b, d.before) {
		if !d.star {
			d.out.line("*")
		}
		d.star = true
	} else {
		d.line(d.offset, b)
		d.star = false
	}
	d.before = append(d.before[:0], b...)
	d.offset += int64(len(b))
}

func printable(b []byte) string {
	shown := bytes.Clone(b)
	for i, ch := range shown {
		if ch < ' ' || ch > '~' {
			shown[i] = '.'
		}
	}
	return string(shown)
}

func hexdump(c *Context) int {
	o, ok := c.parse("Cvn:s:", "canonical=C", "no-squeezing=v", "length=n", "skip=s")
	if !ok {
		return 2
	}
	d, ok := newDump(c, o, 's', 'n')
	if !ok {
		return 2
	}
	d.repeat = o.has("v")
	d.line = func(offset int64, b []byte) {
		if o.has("C") || c.Args[0] == "hd" {
			d.out.printf("%08x  %-24s %-24s |%s|\n", offset, spaced(b[:min(8, len(b))]), spaced(b[min(8, len(b)):]), printable(b))
			return
		}
		d.out.printf("%07x", offset)
		for i := 0; i < len(b); i += 2 {
			word := uint(b[i])
			if i+1 < len(b) {
				word |= uint(b[i+1]) << 8
			}
			d.out.printf(" %04x", word)
		}
		if missing := (16 - len(b)) / 2; missing > 0 {
			d.out.text(strings.Repeat("     ", missing))
		}
		d.out.byte('\n')
	}
	status := c.eachDump(o, d, 16)
	if d.offset > d.skip {
		if o.has("C") || c.Args[0] == "hd" {
			d.out.printf("%08x\n", d.offset)
		} else {
			d.out.printf("%07x\n", d.offset)
		}
	}
	return d.out.done(status)
}

func spaced(b []byte) string {
	var s strings.Builder
	for _, ch := range b {
		s.WriteString(hex.EncodeToString([]byte{ch}) + " ")
	}
	return s.String()
}

func newDump(c *Context, o options, skip, limit byte) (*dump, bool) {
	d := &dump{out: c.output()}
	var err, lerr error
	d.skip, err = o.number(skip, 0)
	d.limit, lerr = o.number(limit, -1)
	if err != nil || lerr != nil {
		c.Usage("-%c and -%c need a number", skip, limit)
		return nil, false
	}
	return d, true
}

func (c *Context) eachDump(o options, d *dump, width int) int {
	if len(o.operands) < 2 {
		return c.each(o.operands, func(_ string, r io.Reader) error { return d.copy(r, width) })
	}
	var all []io.Reader
	status := 0
	for _, name := range o.operands {
		r, err := c.open(name)
		if err != nil {
			status = c.fail(name, err)
			continue
		}
		defer closeRead(r)
		all = append(all, r)
	}
	if err := d.copy(io.MultiReader(all...), width); err != nil && !errors.Is(err, errStop) {
		status = c.Errorf("%s", reason(err))
	}
	return status
}

func xxd(c *Context) int {
	o, ok := c.parse("prul:s:c:g:", "plain=p", "postscript=p", "revert=r", "len=l", "seek=s", "cols=c")
	if !ok {
		return 2
	}
	if o.has("r") {
		return unxxd(c, o)
	}
	d, ok := newDump(c, o, 's', 'l')
	if !ok {
		return 2
	}
	absent := int64(16)
	if o.has("p") {
		absent = 30
	}
	width, err := o.number('c', absent)
	group, gerr := o.number('g', 2)
	if err != nil || gerr != nil || width < 1 || width > 256 {
		return c.Usage("-c needs a number from 1 to 256, -g one")
	}
	if group == 0 {
		group = width
	}
	d.repeat = true
	d.line = func(offset int64, b []byte) {
		if o.has("p") {
			d.out.line(hex.EncodeToString(b))
			return
		}
		text := ""
		for i := range b {
			if i > 0 && int64(i)%group == 0 {
				text += " "
			}
			text += hex.EncodeToString(b[i : i+1])
		}
		full := int(width*2 + (width-1)/group)
		d.out.printf("%08x: %-*s  %s\n", offset, full, text, printable(b))
	}
	status := c.each(o.operands[:min(1, len(o.operands))], func(_ string, r io.Reader) error { return d.copy(r, int(width)) })
	return d.out.done(status)
}

// unxxd turns a dump back.
func unxxd(c *Context, o options) int {
	out := c.output()
	status := c.each(o.operands[:min(1, len(o.operands))], func(_ string, r io.Reader) error {
		var failed error
		err := lines(r, func(line []byte, _ bool) bool {
			text := string(line)
			if !o.has("p") {
				_, after, ok := strings.Cut(text, ": ")
				if !ok {
					return true
				}
				text, _, _ = strings.Cut(after, "  ")
			}
			b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
			failed = err
			_, _ = out.Write(b)
			return err == nil && !out.failed()
		})
		return errors.Join(err, failed)
	})
	return out.done(status)
}

// stringsTool shows the texts in files that are none.
func stringsTool(c *Context) int {
	o, ok := c.parse("n:at:f0123456789", "bytes=n", "radix=t", "all=a")
	if !ok {
		return 2
	}
	least, err := o.number('n', 4)
	if digits := o.digits(); digits != "" {
		least, err = size(digits)
	}
	if err != nil || least < 1 {
		return c.Usage("-n needs a number")
	}
	f := textFinder{out: c.output(), least: int(least), format: map[string]string{"d": "%7d ", "x": "%7x ", "o": "%7o "}[o.value('t')]}
	status := c.each(o.operands, func(name string, r io.Reader) error {
		f.at, f.text, f.prefix = 0, nil, ""
		if o.has("f") {
			f.prefix = name + ": "
		}
		_, err := io.Copy(&f, r)
		f.show()
		return err
	})
	return f.out.done(status)
}

// A textFinder shows the texts in what is written to it.
type textFinder struct {
	out            *output
	least          int // length of a text
	format, prefix string
	text           []byte
	at             int64
}

func (f *textFinder) Write(p []byte) (int, error) {
	for _, ch := range p {
		if ch >= ' ' && ch <= '~' || ch == '\t' {
			f.text = append(f.text, ch)
		} else {
			f.show()
		}
		f.at++
	}
	return len(p), f.out.err
}

func (f *textFinder) show() {
	if len(f.text) >= f.least {
		f.out.text(f.prefix)
		if f.format != "" {
			f.out.printf(f.format, f.at-int64(len(f.text)))
		}
		f.out.line(string(f.text))
	}
	f.text = f.text[:0]
}

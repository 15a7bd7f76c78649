package tool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// od shows bytes as numbers or characters.
func od(c *Context) int {
	const shorthands = "abcdilosx"
	o, ok := c.parse("A:t:N:j:vw::"+shorthands,
		"address-radix=A", "format=t", "read-bytes=N", "skip-bytes=j", "output-duplicates=v", "width=w")
	if !ok {
		return 2
	}
	d, ok := newDump(c, o, 'j', 'N')
	if !ok {
		return 2
	}
	d.repeat = o.has("v")
	forms, err := odForms(o)
	if err != nil {
		return c.Usage("%v", err)
	}
	width := int64(16)
	if o.has("w") && o.value('w') == "" {
		width = 32
	} else if width, err = o.number('w', 16); err != nil || width < 1 || width > 4096 {
		return c.Usage("-w needs a number from 1 to 4096")
	}
	for _, f := range forms {
		if width%int64(f.size) != 0 {
			return c.Usage("-w %d: no multiple of the size %d", width, f.size)
		}
	}
	address, known := map[string]string{"": "%07o", "o": "%07o", "d": "%07d", "x": "%06x", "n": ""}[o.value('A')]
	if !known {
		return c.Usage("-A is d, o, x or n")
	}
	columns := odColumns(forms, int(width))
	d.line = func(offset int64, b []byte) {
		label := odAddress(address, offset)
		for _, f := range forms {
			d.out.text(label)
			d.out.line(f.show(b, int(width), columns))
			label = strings.Repeat(" ", len(label))
		}
	}
	status := c.eachDump(o, d, int(width))
	if address != "" && (status == 0 || d.offset > 0) {
		d.out.line(odAddress(address, d.offset))
	}
	return d.out.done(status)
}

func odAddress(format string, offset int64) string {
	if format == "" {
		return ""
	}
	return fmt.Sprintf(format, offset)
}

// An odForm is one way to show a line of bytes.
type odForm struct {
	kind  byte // a c d o u x
	size  int  // bytes that make one
	field int  // columns of one
	text  bool // the characters are shown at the end
}

// odForms reads the flags. Those of one letter are short for a -t.
func odForms(o options) ([]odForm, error) {
	short := map[byte]string{
		'a': "a", 'b': "o1", 'c': "c", 'd': "u2", 'i': "dI", 'l': "dL", 'o': "o2", 's': "d2", 'x': "x2",
	}
	var forms []odForm
	for _, g := range o.given {
		text := short[g.flag]
		if g.flag == 't' {
			text = g.value
		}
		for text != "" {
			var f odForm
			var err error
			if f, text, err = odFormOf(text); err != nil {
				return nil, err
			}
			forms = append(forms, f)
		}
	}
	if len(forms) == 0 {
		forms = []odForm{{kind: 'o', size: 2, field: 6}}
	}
	return forms, nil
}

// odFormOf reads one form, such as x1, dL or cz.
func odFormOf(text string) (f odForm, rest string, err error) {
	f = odForm{kind: text[0], size: 1, field: 3}
	rest = text[1:]
	if strings.IndexByte("doux", f.kind) >= 0 {
		f.size, rest = odSize(rest)
		f.field = map[byte][9]int{
			'd': {1: 4, 2: 6, 4: 11, 8: 20}, 'o': {1: 3, 2: 6, 4: 11, 8: 22},
			'u': {1: 3, 2: 5, 4: 10, 8: 20}, 'x': {1: 2, 2: 4, 4: 8, 8: 16},
		}[f.kind][min(f.size, 8)]
		if f.field == 0 || f.size > 8 {
			return f, "", errors.New("-t " + text + ": sizes are 1, 2, 4 and 8")
		}
	} else if f.kind != 'a' && f.kind != 'c' {
		return f, "", errors.New("-t " + text + ": known are a, c, d, o, u and x")
	}
	rest, f.text = strings.CutPrefix(rest, "z")
	return f, rest, nil
}

// odSize reads the size of a number: in bytes, or that of a type of C.
func odSize(text string) (size int, rest string) {
	if text != "" {
		if size := map[byte]int{'C': 1, 'S': 2, 'I': 4, 'L': 8}[text[0]]; size > 0 {
			return size, text[1:]
		}
	}
	rest = strings.TrimLeft(text, "0123456789")
	if size, err := strconv.Atoi(text[:len(text)-len(rest)]); err == nil {
		return size, rest
	}
	return 4, rest
}

// odColumns is how wide a full line is in the widest of the forms.
func odColumns(forms []odForm, width int) (columns int) {
	for _, f := range forms {
		columns = max(columns, (f.field+1)*(width/f.size))
	}
	return columns
}

// show is a line of bytes, of which the fields stand below those of other forms.
func (f odForm) show(b []byte, width, columns int) string {
	var line strings.Builder
	fields := width / f.size
	left := columns - f.field*fields // blanks that are still to come
	for i := 0; i < len(b); i += f.size {
		next := (columns - f.field*fields) * (fields - i/f.size - 1) / fields
		fmt.Fprintf(&line, "%*s", f.field+left-next, f.one(b[i:min(len(b), i+f.size)]))
		left = next
	}
	if f.text {
		fmt.Fprintf(&line, "%*s  >%s<", columns-line.Len(), "", printable(b))
	}
	return line.String()
}

// one is one number or character. What is missing at the end is zero.
func (f odForm) one(b []byte) string {
	switch f.kind {
	case 'a':
		return odName(b[0] & 0x7f)
	case 'c':
		return odChar(b[0])
	}
	var all [8]byte
	copy(all[:], b)
	n := binary.NativeEndian.Uint64(all[:])
	if f.kind == 'd' {
		unused := 64 - 8*f.size
		return strconv.FormatInt(int64(n<<unused)>>unused, 10)
	}
	switch f.kind {
	case 'o':
		return fmt.Sprintf("%0*o", f.field, n)
	case 'x':
		return fmt.Sprintf("%0*x", f.field, n)
	}
	return strconv.FormatUint(n, 10)
}

// odChar is a character as C writes it, or its number.
func odChar(ch byte) string {
	if at := strings.IndexByte("\x00\a\b\f\n\r\t\v", ch); at >= 0 {
		return `\` + "0abfnrtv"[at:at+1]
	}
	if ch < ' ' || ch > '~' {
		return fmt.Sprintf("%03o", ch)
	}
	return string(rune(ch))
}

// odName is a character, or the name of one that is not seen.
func odName(ch byte) string {
	switch {
	case ch == 0x7f:
		return "del"
	case ch <= ' ':
		return strings.Fields(`nul soh stx etx eot enq ack bel bs ht nl vt ff cr so si
			dle dc1 dc2 dc3 dc4 nak syn etb can em sub esc fs gs rs us sp`)[ch]
	}
	return string(rune(ch))
}

package tool

import (
	"io"
	"os"
	"strings"
)

// cat copies files to Stdout.
func cat(c *Context) int {
	o, ok := c.parse("nbsAvetETu", "number=n", "number-nonblank=b", "squeeze-blank=s", "show-all=A", "show-nonprinting=v",
		"show-ends=E", "show-tabs=T")
	if !ok {
		return 2
	}
	if !o.has("nbsAvetET") {
		return c.each(o.operands, func(_ string, r io.Reader) error {
			_, err := io.Copy(c.Stdout, r)
			return err
		})
	}
	out := c.output()
	k := catLines{out: out, o: o}
	status := c.each(o.operands, func(_ string, r io.Reader) error {
		if err := lines(patient{r, out}, k.line); err != nil {
			return err
		}
		if out.failed() {
			return errStop
		}
		return nil
	})
	return out.done(status)
}

// A catLines is cat where it changes lines.
type catLines struct {
	out   *output
	o     options
	n     int
	blank bool // the line before was empty
	open  bool // the file before did not end its last line
}

func (k *catLines) line(line []byte, last bool) bool {
	empty := len(line) == 0 && !k.open
	if empty && k.blank && k.o.has("s") {
		return true
	}
	k.blank = empty
	if !k.open && (k.o.has("b") && !empty || k.o.has("n") && !k.o.has("b")) {
		k.n++
		k.out.printf("%6d\t", k.n)
	}
	if k.o.has("AvetT") {
		for _, b := range line {
			k.out.text(caret(b, k.o.has("Avet"), k.o.has("AtT")))
		}
	} else {
		k.out.text(string(line))
	}
	k.open = last
	if k.o.has("AeE") && !last {
		k.out.byte('$')
	}
	if !last {
		k.out.byte('\n')
	}
	return !k.out.failed()
}

// caret is a byte as cat -v shows it.
func caret(b byte, control, tab bool) string {
	prefix := ""
	if b == '\t' {
		if tab {
			return "^I"
		}
		return "\t"
	}
	if !control {
		return string([]byte{b})
	}
	if b >= 0x80 {
		prefix, b = "M-", b-0x80
	}
	switch {
	case b < ' ':
		return prefix + "^" + string(rune(b+'@'))
	case b == 0x7f:
		return prefix + "^?"
	}
	return prefix + string(rune(b))
}

// tee copies Stdin to Stdout and to files.
func tee(c *Context) int {
	o, ok := c.parse("aip", "append=a", "ignore-interrupts=i")
	if !ok {
		return 2
	}
	status := 0
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if o.has("a") {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	to := []io.Writer{c.Stdout}
	for _, name := range o.operands {
		f, err := os.OpenFile(c.Path(name), flags, 0o666) //nolint:gosec // as every shell makes files, less the umask
		if err != nil {
			status = c.fail(name, err)
			continue
		}
		defer f.Close() //nolint:errcheck // each write has been checked
		to = append(to, f)
	}
	if _, err := io.Copy(io.MultiWriter(to...), c.Stdin); err != nil && c.Err() == nil {
		return c.Errorf("%s", reason(err))
	}
	return status
}

// yes writes a line until nobody reads it.
func yes(c *Context) int {
	text := "y\n"
	if len(c.Args) > 1 {
		text = strings.Join(c.Args[1:], " ") + "\n"
	}
	block := []byte(strings.Repeat(text, max(1, chunk/len(text))))
	for c.Err() == nil {
		if _, err := c.Stdout.Write(block); err != nil {
			return 1
		}
	}
	return 1
}

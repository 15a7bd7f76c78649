package tool

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// Keys that are no characters.
const (
	keyNone rune = -iota - 1
	keyResize
	keyUp
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyPageUp
	keyPageDown
	keyInsert
	keyDelete
)

// Keys that are control characters.
const (
	keyEscape    = 0x1b
	keyEnter     = '\r'
	keyBackspace = 0x7f
)

// ctrl is the character that a key sends together with Ctrl.
func ctrl(letter rune) rune { return letter & 0x1f }

// A keyboard makes keys of what a terminal sends.
type keyboard struct {
	c   *Context
	buf []byte
}

// next waits for a key. more ends the waiting, too; the key is keyNone then.
func (k *keyboard) next(more <-chan struct{}) (rune, error) {
	if len(k.buf) == 0 {
		if key, err := k.fill(more); err != nil || key != 0 {
			return key, err
		}
	}
	if k.buf[0] != keyEscape {
		if !utf8.FullRune(k.buf) {
			if err := k.soon(); err != nil {
				return 0, err
			}
		}
		r, n := utf8.DecodeRune(k.buf)
		k.buf = k.buf[n:]
		if r == '\b' {
			r = keyBackspace
		}
		return r, nil
	}
	if len(k.buf) == 1 {
		if err := k.soon(); err != nil {
			return 0, err
		}
	}
	return k.escape(), nil
}

// fill waits for input; the key is 0 if there is some.
func (k *keyboard) fill(more <-chan struct{}) (rune, error) {
	ctx, cancel := context.WithCancel(k.c)
	defer cancel()
	var woken atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-k.c.Terminal.Resized():
			woken.Store(keyResize)
		case <-more:
			woken.Store(keyNone)
		case <-ctx.Done():
		}
		cancel()
	}()
	b := make([]byte, 256)
	n, err := k.c.Terminal.ReadTimely(ctx, b)
	cancel()
	<-done
	k.buf = append(k.buf, b[:n]...)
	switch {
	case err != nil:
		return 0, err
	case k.c.Err() != nil:
		return 0, k.c.Err()
	case n > 0:
		return 0, nil
	}
	if key := woken.Load(); key != 0 {
		return key, nil
	}
	return keyNone, nil
}

// soon reads what follows at once: the rest of a sequence.
func (k *keyboard) soon() error {
	ctx, cancel := context.WithTimeout(k.c, 100*time.Millisecond)
	defer cancel()
	b := make([]byte, 64)
	n, err := k.c.Terminal.ReadTimely(ctx, b)
	k.buf = append(k.buf, b[:n]...)
	return err
}

// escape reads a key that begins with Escape, or is it.
func (k *keyboard) escape() rune {
	if len(k.buf) < 3 || k.buf[1] != '[' && k.buf[1] != 'O' {
		k.buf = k.buf[1:]
		return keyEscape
	}
	end := 2
	for end < len(k.buf) && (k.buf[end] < 0x40 || k.buf[end] > 0x7e) {
		end++
	}
	if end == len(k.buf) {
		k.buf = nil
		return keyNone
	}
	sequence := string(k.buf[2 : end+1])
	k.buf = k.buf[end+1:]
	parameter, _, _ := strings.Cut(sequence[:len(sequence)-1], ";")
	switch final := sequence[len(sequence)-1]; final {
	case 'A', 'B', 'C', 'D', 'H', 'F':
		return map[byte]rune{'A': keyUp, 'B': keyDown, 'C': keyRight, 'D': keyLeft, 'H': keyHome, 'F': keyEnd}[final]
	case '~':
		if key, ok := map[string]rune{
			"1": keyHome, "2": keyInsert, "3": keyDelete, "4": keyEnd, "5": keyPageUp, "6": keyPageDown, "7": keyHome, "8": keyEnd,
		}[parameter]; ok {
			return key
		}
	}
	return keyNone
}

// fullScreen runs f with the terminal in raw mode and a screen of its own, and
// leaves what was seen before.
func (c *Context) fullScreen(f func(out *output) error) int {
	if c.Terminal == nil {
		return c.Errorf("this needs a terminal")
	}
	restore, err := c.Terminal.Raw()
	if err != nil {
		return c.Errorf("%s", reason(err))
	}
	out := newOutput(c.Terminal)
	out.text("\x1b[?1049h")
	err = f(out)
	out.text("\x1b[0m\x1b[?1049l\x1b[?25h")
	out.flush()
	restore()
	if err != nil && !errors.Is(err, errStop) {
		return c.Errorf("%s", reason(err))
	}
	return out.done(0)
}

// A cell is a character as it is shown: control characters as ^X, bytes that are
// no UTF-8 as \xNN.
type cell struct {
	text  string
	width int
	size  int // bytes of the line
	plain bool
}

// cellAt is the character at the beginning of a line, which is at that column.
func cellAt(line string, column int) cell {
	r, n := utf8.DecodeRuneInString(line)
	switch {
	case r == '\t':
		w := 8 - column%8
		return cell{strings.Repeat(" ", w), w, n, true}
	case r == utf8.RuneError && n <= 1:
		const hex = "0123456789abcdef"
		return cell{`\x` + string([]byte{hex[line[0]>>4], hex[line[0]&15]}), 4, 1, false}
	case r < ' ' || r == 0x7f:
		return cell{"^" + string(r^0x40), 2, n, false}
	case r >= 0x80 && r < 0xa0:
		return cell{"?", 1, n, false}
	}
	return cell{line[:n], runewidth.RuneWidth(r), n, true}
}

// sgr is the length of a colour sequence at the beginning of a line, or 0.
func sgr(line string) int {
	if !strings.HasPrefix(line, "\x1b[") {
		return 0
	}
	end := 2 + len(line[2:]) - len(strings.TrimLeft(line[2:], "0123456789;:"))
	if end < len(line) && line[end] == 'm' {
		return end + 1
	}
	return 0
}

// wrap splits a line into rows of a width, and returns where they begin.
func wrap(line string, width int, colours bool) []int {
	starts, column := []int{0}, 0
	for i := 0; i < len(line); {
		if colours {
			if n := sgr(line[i:]); n > 0 {
				i += n
				continue
			}
		}
		c := cellAt(line[i:], column)
		if column+c.width > width && column > 0 {
			starts, column = append(starts, i), 0
			c = cellAt(line[i:], 0)
		}
		column += c.width
		i += c.size
	}
	return starts
}

// render writes a row as it is shown; marked is what is highlighted in it, as
// pairs of positions in the row.
func render(b *bytes.Buffer, row string, width int, colours bool, marked [][]int) {
	column := 0
	for i := 0; i < len(row); {
		if colours {
			if n := sgr(row[i:]); n > 0 {
				b.WriteString(row[i : i+n])
				i += n
				continue
			}
		}
		c := cellAt(row[i:], column)
		if column+c.width > width {
			break
		}
		lit := false
		for _, m := range marked {
			lit = lit || m[0] <= i && i < m[1]
		}
		if lit || !c.plain {
			b.WriteString("\x1b[7m" + c.text + "\x1b[27m")
		} else {
			b.WriteString(c.text)
		}
		column += c.width
		i += c.size
	}
	if colours {
		b.WriteString("\x1b[m")
	}
	b.WriteString("\x1b[K")
}

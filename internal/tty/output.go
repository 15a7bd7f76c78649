package tty

import (
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Output passes on what a remote program writes to the terminal and notices
// the modes it switches on, so that a session that ends in the middle of an
// editor does not leave the local terminal on the alternate screen, without a
// cursor, or reporting every movement of the mouse.
type Output struct {
	w io.Writer

	mu     sync.Mutex
	parse  parseState
	params []byte       // of the sequence being parsed
	left   map[int]bool // modes that differ from their normal state
	keypad bool         // application keypad
}

type parseState int

const (
	ground parseState = iota
	escaped
	private // after ESC [ ?
	csi     // after ESC [
)

// maxParams bounds what is remembered of one sequence.
const maxParams = 64

// OutputOptions says what the terminal of an Output is like.
type OutputOptions struct {
	Size   Size // its present size; Follow reports later ones
	Locate bool // ask the terminal where its cursor is; Keyboard must see the answer
	Plain  bool // no reverse video: the person has set NO_COLOR
}

// NewOutput returns an Output that writes to w.
func NewOutput(w io.Writer, options OutputOptions) *Output {
	return &Output{w: w, left: make(map[int]bool)}
}

// Write writes p as it is.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range p[:n] {
		o.next(c)
	}
	return n, err
}

// normal gives the modes that Reset restores, and their normal state: DEC's
// private modes as listed in xterm's ctlseqs.
func normal(mode int) (set, known bool) {
	switch mode {
	case 7, 25: // wrap around, visible cursor
		return true, true
	case 1, 6, 9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004, 2026:
		return false, true
	}
	return false, false
}

// next follows the output just far enough to see modes change.
func (o *Output) next(c byte) {
	if c == 0x1b {
		o.parse = escaped
		return
	}
	switch o.parse {
	case ground:
	case escaped:
		o.parse = ground
		switch c {
		case '[':
			o.parse, o.params = csi, o.params[:0]
		case '=', '>':
			o.keypad = c == '='
		case 'c': // full reset
			clear(o.left)
			o.keypad = false
		}
	case csi:
		o.parse = ground
		if c == '?' {
			o.parse = private
		}
	case private:
		o.inPrivate(c)
	}
}

func (o *Output) inPrivate(c byte) {
	if c >= '0' && c <= '9' || c == ';' {
		if len(o.params) < maxParams {
			o.params = append(o.params, c)
		}
		return
	}
	o.parse = ground
	if c != 'h' && c != 'l' {
		return
	}
	for p := range strings.SplitSeq(string(o.params), ";") {
		mode, err := strconv.Atoi(p)
		if err != nil {
			continue
		}
		set, known := normal(mode)
		switch {
		case !known:
		case set == (c == 'h'):
			delete(o.left, mode)
		default:
			o.left[mode] = true
		}
	}
}

// Reset writes what brings the terminal back to its normal modes; nothing
// when the remote program cleaned up after itself.
func (o *Output) Reset() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.left) == 0 && !o.keypad {
		return nil
	}
	var b strings.Builder
	for _, mode := range slices.Sorted(maps.Keys(o.left)) {
		set, _ := normal(mode)
		b.WriteString("\x1b[?" + strconv.Itoa(mode))
		if set {
			b.WriteByte('h')
		} else {
			b.WriteByte('l')
		}
	}
	if o.keypad {
		b.WriteString("\x1b>")
	}
	b.WriteString("\x1b[0m\x1b(B\x0f") // colours and character set
	clear(o.left)
	o.keypad = false
	_, err := io.WriteString(o.w, b.String())
	return err
}

// Status shows a line of ours over the last row of the screen until Clear. The
// remote program's output does not notice it. What cannot be printed in ASCII
// is shown as a question mark, what is too long is cut.
func (o *Output) Status(text string) {}

// Clear takes the status line away and puts back what was under it. It
// returns whether that could not be done exactly, so that the screen has to be
// sent again.
func (o *Output) Clear() (redraw bool) { return false }

// Keyboard returns a reader of the terminal's keyboard that keeps the
// terminal's answers to our own questions to itself.
func (o *Output) Keyboard(r io.Reader) io.Reader { return r }

// Follow passes sizes of the terminal on and takes notice of them.
func (o *Output) Follow(sizes <-chan Size) <-chan Size { return sizes }

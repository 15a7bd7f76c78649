package tty

import (
	"fmt"
	"io"
	"strings"

	"github.com/cloudssh/cloudssh/internal/screen"
)

// The sequences around what we paint ourselves: the cursor may go anywhere,
// and the end of a line makes nothing scroll. ESC 7 saves the cursor with its
// looks, character sets and origin mode, and ESC 8 restores them; where a
// program has a cursor saved there already, the mirror puts both back; also
// behind the last column, where a line is about to wrap: tmux and others forget
// that.
const (
	saveCursor    = "\x1b7"
	restoreCursor = "\x1b8"
	paintMode     = "\x1b[?6l\x1b[?7l\x1b(B\x0f"
	wrapMode      = "\x1b[?7h"
	plain         = "\x1b[0m"
	reverse       = "\x1b[0;7m"
)

// Status shows a line of ours over the last row of the screen until Clear. The
// remote program's output does not notice it. What cannot be printed in ASCII
// is shown as a question mark, what is too long is cut.
func (o *Output) Status(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if text == o.status && o.shown != 0 {
		return
	}
	o.status = text
	// An error is met again by whoever writes the program's output.
	if text == "" {
		_ = o.hide()
		return
	}
	_ = o.draw()
}

// Clear takes the status line away and puts back what was under it. It
// returns whether that could not be done exactly, so that the screen has to be
// sent again.
func (o *Output) Clear() (redraw bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = ""
	_ = o.hide() // an error is met again by whoever writes the program's output
	redraw, o.worse = o.worse, false
	return redraw
}

// draw paints the status line, if there is one to show. Within a control
// sequence it waits for the end of it.
func (o *Output) draw() error {
	rows, cols := o.options.Size.Rows, o.options.Size.Cols
	if o.status == "" || rows < 2 || cols < 1 || !o.between() {
		return nil
	}
	look := reverse
	if o.options.Plain {
		look = plain
	}
	line := fmt.Sprintf("\x1b[%d;1H%s%s", rows, look, fit(o.status, cols))
	o.shown = rows
	return o.paint(line, -1)
}

// between says whether the terminal is between two sequences: one that is held
// back has not reached it.
func (o *Output) between() bool {
	return o.scan.state == ground || o.scan.unit <= maxHeld
}

// hide puts back what is under the status line.
func (o *Output) hide() error {
	if o.shown == 0 {
		return nil
	}
	row := o.shown
	o.shown = 0
	line := fmt.Sprintf("\x1b[%d;1H%s\x1b[2K", row, plain)
	if !o.exact() {
		o.worse = true
		return o.paint(line, -1)
	}
	return o.paint(line+string(o.mirror.Line(row-1)), row-1)
}

// exact says whether the mirror shows what the terminal would.
func (o *Output) exact() bool {
	return o.mirror != nil && o.sure[o.scan.shown()]
}

// paint writes something over the screen and leaves the cursor as it was. The
// terminal itself knows best where that is, but it remembers one place only.
// Where a program relies on that, the mirror has to say; it paints the given
// row, too, if that is not negative.
func (o *Output) paint(line string, row int) error {
	exact := o.exact()
	wrapping := exact && o.mirror.Wrapping()
	switch {
	case !o.scan.saved[o.scan.shown()] && !o.scan.margins && !wrapping:
		line = saveCursor + paintMode + line + plain + o.wrap() + restoreCursor
	case exact:
		line = "\x1b[?69l" + paintMode + line + plain + wrapMode + string(o.mirror.RedrawLine(row))
	default:
		o.worse = true
		line = saveCursor + paintMode + line + plain + o.wrap() + restoreCursor
	}
	_, err := io.WriteString(o.w, line)
	return err
}

func (o *Output) wrap() string {
	if o.scan.left[7] {
		return ""
	}
	return wrapMode
}

// fit makes text exactly as wide as the screen.
func fit(text string, cols int) string {
	b := make([]byte, 0, cols)
	for _, r := range text {
		if len(b) == cols {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b = append(b, byte(r))
	}
	return string(b) + strings.Repeat(" ", cols-len(b))
}

// resize notes a new size of the terminal. Terminals do not agree what then
// becomes of their lines, so the mirror is sure of nothing until the program
// paints the screen anew.
func (o *Output) resize(s Size) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.options.Size
	o.options.Size = s
	if s.Cols == old.Cols && s.Rows == old.Rows {
		return
	}
	o.sure = [2]bool{}
	o.moved = o.asked && !o.told
	if o.mirror != nil {
		o.mirror.Resize(s.Cols, s.Rows)
	}
	if o.shown != 0 { // it is somewhere now
		o.worse, o.shown = true, 0
		_ = o.draw() // an error is met again by whoever writes the program's output
	}
}

// locate asks the terminal where its cursor is, before anything is written.
func (o *Output) locate() error {
	if o.asked || !o.options.Locate {
		return nil
	}
	o.asked = true
	_, err := io.WriteString(o.w, "\x1b[6n")
	return err
}

// located takes the answer, and catches up.
func (o *Output) located(row, col int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = true
	s := o.options.Size
	if o.mirror != nil || row > s.Rows || col > s.Cols {
		return
	}
	o.newMirror()
	_, _ = fmt.Fprintf(o.mirror, "\x1b[%d;%dH", row, col) // does not fail
	_, _ = o.mirror.Write(o.early)
	// What stood in the cursor's row before is not known.
	o.sure[mainScreen] = o.sure[mainScreen] || !o.moved && (col == 1 || row < s.Rows)
	o.early = nil
}

// reflect keeps the mirror up to date.
func (o *Output) reflect(p []byte) {
	switch {
	case !o.asked:
	case o.mirror != nil:
		_, _ = o.mirror.Write(p) // does not fail
	case len(o.early)+len(p) <= maxEarly:
		o.early = append(o.early, p...)
	default: // no answer: the mirror knows where it is when the screen is cleared
		o.newMirror()
		_, _ = o.mirror.Write(o.early)
		_, _ = o.mirror.Write(p)
		o.early = nil
	}
}

func (o *Output) newMirror() {
	o.mirror = screen.New(o.options.Size.Cols, o.options.Size.Rows)
	o.mirror.KeepNothing()
}

// Keyboard returns a reader of the terminal's keyboard that keeps the
// terminal's answer to our own question to itself.
func (o *Output) Keyboard(r io.Reader) io.Reader {
	if !o.options.Locate {
		return r
	}
	return &keyboard{r: r, o: o}
}

type keyboard struct {
	r io.Reader
	o *Output
}

func (k *keyboard) Read(p []byte) (int, error) {
	for {
		n, err := k.r.Read(p)
		if n == 0 || !k.o.waits() {
			return n, err
		}
		start, end, row, col, ok := indexAnswer(p[:n])
		if !ok {
			return n, err
		}
		k.o.located(row, col)
		n = start + copy(p[start:], p[end:n])
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// waits says whether the terminal owes an answer.
func (o *Output) waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked && !o.told
}

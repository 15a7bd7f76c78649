package tty

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cloudssh/cloudssh/internal/screen"
)

// OutputOptions says what the terminal of an Output is like.
type OutputOptions struct {
	Size   Size // its present size; Follow reports later ones
	Locate bool // ask the terminal where its cursor is; Keyboard must see the answer
	Plain  bool // no reverse video: the person has set NO_COLOR
}

// Output passes on what a remote program writes to the terminal. It notices
// the modes that the program switches on, so that a session that ends in the
// middle of an editor does not leave the local terminal on the alternate
// screen, without a cursor, or reporting every movement of the mouse. And it
// can show a line of ours without the program's screen being the worse for it.
//
// Its methods may be called from several goroutines. All of them wait while
// the terminal takes no output.
type Output struct {
	w       io.Writer
	options OutputOptions

	mu     sync.Mutex
	scan   scanner
	held   []byte // the start of a control sequence or character, not written yet
	binary bool   // what comes is not UTF-8

	status string // what to show over the last row; empty: nothing
	shown  int    // the row, from 1, that the status line is on; 0: none
	worse  bool   // what was under it cannot be put back exactly

	asked, told bool           // for, and of, the cursor's place
	moved       bool           // it was lost in between: the size changed
	early       []byte         // what was written since asked
	mirror      *screen.Screen // what the terminal shows; nil: not known
	sure        [2]bool        // that it does, on the main and on the alternate screen
}

const (
	// maxHeld bounds what is held back of one sequence. Longer ones, images
	// mostly, pass in pieces.
	maxHeld = 4 << 10
	// maxEarly bounds what is remembered until the terminal says where its
	// cursor is; it does in milliseconds, or not at all.
	maxEarly = 64 << 10
)

// NewOutput returns an Output that writes to w.
func NewOutput(w io.Writer, options OutputOptions) *Output {
	return &Output{w: w, options: options, scan: scanner{left: make(map[int]bool)}}
}

// Write writes p as it is. The start of a control sequence or of a character
// waits for its rest, so that a status line never falls in between; terminals
// show nothing of it before either.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.locate(); err != nil {
		return 0, err
	}
	if err := o.hide(); err != nil { // in the modes that the terminal is in now
		return 0, err
	}
	before, data := len(o.held), p
	if before > 0 {
		data = append(o.held, p...)
	}
	for _, cleared := range o.scan.next(p) {
		o.sure[cleared] = true
	}
	whole := data[:len(data)-o.unfinished(data)]
	n, err := o.pass(whole)
	if err != nil {
		return max(0, n-before), err
	}
	o.held = append(o.held[:0], data[len(whole):]...)
	return len(p), nil
}

// Print writes something of ours between what the program writes: not within
// one of its control sequences or characters, unless that is a long one.
func (o *Output) Print(text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.locate(); err != nil {
		return err
	}
	if err := o.hide(); err != nil {
		return err
	}
	_, err := o.pass([]byte(text))
	return err
}

// unfinished is how many bytes at the end of data have to wait for more.
func (o *Output) unfinished(data []byte) int {
	if n := o.scan.unit; n > 0 {
		if n > maxHeld {
			return 0
		}
		return n
	}
	if len(o.held) > 0 && o.held[0] >= utf8.RuneSelf {
		if r, size := utf8.DecodeRune(data); r == utf8.RuneError && size == 1 && utf8.FullRune(data) {
			o.binary = true // or another character set: nobody knows where its characters end
		}
	}
	for i := 1; i < utf8.UTFMax && i <= len(data) && !o.binary; i++ {
		if tail := data[len(data)-i:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return i
		}
	}
	return 0
}

// pass writes output, under the status line if there is one.
func (o *Output) pass(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, o.draw()
	}
	n, err := o.w.Write(p)
	o.reflect(p[:n])
	if err != nil {
		return n, err
	}
	return n, o.draw()
}

// Reset writes what brings the terminal back to its normal modes; nothing
// when the remote program cleaned up after itself.
func (o *Output) Reset() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status = ""
	if err := o.hide(); err != nil {
		return err
	}
	if !o.between() {
		// Within a long sequence that will not end any more.
		if _, err := io.WriteString(o.w, "\x18"); err != nil {
			return err
		}
	}
	o.held, o.scan.state, o.scan.unit = nil, ground, 0
	left := o.scan.left
	if len(left) == 0 && !o.scan.keypad {
		return nil
	}
	var b strings.Builder
	for _, mode := range slices.Sorted(maps.Keys(left)) {
		set, _ := normal(mode)
		b.WriteString("\x1b[?" + strconv.Itoa(mode))
		if set {
			b.WriteByte('h')
		} else {
			b.WriteByte('l')
		}
	}
	if o.scan.keypad {
		b.WriteString("\x1b>")
	}
	b.WriteString("\x1b[0m\x1b(B\x0f") // colours and character set
	clear(left)
	o.scan.keypad = false
	_, err := io.WriteString(o.w, b.String())
	return err
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

// Follow passes sizes of the terminal on and takes notice of them. A reader
// that lags behind gets the newest only. It ends when sizes does.
func (o *Output) Follow(sizes <-chan Size) <-chan Size {
	passed := make(chan Size, 1)
	go func() {
		defer close(passed)
		for s := range sizes {
			o.resize(s)
			select { // this goroutine alone sends, so there is room after it
			case <-passed:
			default:
			}
			passed <- s
		}
	}()
	return passed
}

// indexAnswer finds a cursor position report, CSI row ; column R.
func indexAnswer(p []byte) (start, end, row, col int, ok bool) {
	for start = 0; ; start++ {
		i := bytes.Index(p[start:], []byte("\x1b["))
		if i < 0 {
			return 0, 0, 0, 0, false
		}
		start += i
		body, _, found := bytes.Cut(p[start+2:], []byte("R"))
		first, second, two := strings.Cut(string(body), ";")
		row, rowErr := strconv.Atoi(first)
		col, colErr := strconv.Atoi(second)
		if found && two && rowErr == nil && colErr == nil && row > 0 && col > 0 {
			return start, start + 2 + len(body) + 1, row, col, true
		}
	}
}

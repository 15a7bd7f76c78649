package tty

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

// DefaultEscape is the escape character that OpenSSH uses.
const DefaultEscape = '~'

// ErrDisconnect is what an escape reader ends with when the person typed `~.`.
var ErrDisconnect = errors.New("disconnected by the escape sequence")

// Bracketed paste, ECMA-48 sequences that terminals put around pasted text.
const (
	pasteStart = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// EscapeOptions says what an escape reader reacts to.
type EscapeOptions struct {
	Char   byte   // the escape character; 0 switches escapes off, not Interrupt
	Help   func() // called for `~?` from within Read; may be nil
	Detach func() // called for `~d`, as Help, once all before it was read; nil: `~d` is typed as it is

	// Interrupt is called for Ctrl-C, as Help; may be nil. True: the person
	// wants to leave, and Read returns ErrDisconnect.
	Interrupt func() bool
}

// NewEscapeReader returns a reader of r that acts on OpenSSH's escape
// sequences: the escape character at the start of a line, followed by `.` to
// disconnect (Read returns ErrDisconnect once everything before it was read),
// by `d` to detach, by `?` for help, or by itself for one escape character. It
// knows Ctrl-C, also as keyboards send it whose protocol a program has changed
// (modifyOtherKeys of xterm, the protocol of kitty). Every other byte
// passes as it is and at once; only an escape character at the start of a
// line waits for what follows. Pasted text passes untouched when the terminal
// brackets it.
func NewEscapeReader(r io.Reader, o EscapeOptions) io.Reader {
	if o.Char == 0 && o.Interrupt == nil {
		return r
	}
	return &escapeReader{r: r, o: o, lineStart: true, buf: make([]byte, 32<<10)}
}

type escapeReader struct {
	r   io.Reader
	o   EscapeOptions
	buf []byte

	in     []byte // read, not yet processed
	inErr  error  // what came after it
	out    []byte // processed, not yet delivered
	err    error  // delivered after out
	detach bool   // the person wants to, once out is delivered

	lineStart bool // nothing was typed on this line yet
	held      bool // an escape character waits for its command
	pasting   bool // between pasteStart and pasteEnd
	matched   int  // how many bytes of the next paste marker were seen

	key      []byte // of a control sequence that may be Ctrl-C
	before   bool   // lineStart before it
	answered bool   // it was not typed: the terminal answers the program
}

func (e *escapeReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(e.out) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		e.fill()
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

func (e *escapeReader) fill() {
	e.out = e.out[:0]
	if e.detach {
		e.detach = false
		e.o.Detach()
	}
	if len(e.in) == 0 && e.inErr == nil {
		var n int
		n, e.inErr = e.r.Read(e.buf)
		e.in = e.buf[:n]
	}
	for len(e.in) > 0 {
		c := e.in[0]
		e.in = e.in[1:]
		if e.next(c); e.err != nil || e.detach {
			return
		}
	}
	if e.inErr == nil {
		return
	}
	if e.held { // no command will follow: it was an ordinary character
		e.held = false
		e.out = append(e.out, e.o.Char)
	}
	e.err = e.inErr
}

// next takes one byte of input.
func (e *escapeReader) next(c byte) {
	if e.interrupt(c) && !e.pasting && e.o.Interrupt != nil && e.o.Interrupt() {
		e.err = ErrDisconnect
		return
	}
	if e.held {
		e.held = false
		switch c {
		case '.':
			e.err = ErrDisconnect
			return
		case '?':
			if e.o.Help != nil {
				e.o.Help()
			}
			return // still at the start of the line
		case 'd':
			if e.o.Detach != nil {
				e.detach = true
				return
			}
			e.pass(e.o.Char)
		case e.o.Char:
		default:
			e.pass(e.o.Char)
		}
		e.pass(c)
		return
	}
	if c == e.o.Char && c != 0 && e.lineStart && !e.pasting {
		e.held = true
		return
	}
	e.pass(c)
}

// pass hands one byte on and keeps track of lines and pastes.
func (e *escapeReader) pass(c byte) {
	e.out = append(e.out, c)
	e.lineStart = c == '\r' || c == '\n' || e.answered && e.before
	e.answered = false
	marker := pasteStart
	if e.pasting {
		marker = pasteEnd
	}
	switch c {
	case marker[e.matched]:
		e.matched++
	case marker[0]:
		e.matched = 1
	default:
		e.matched = 0
	}
	if e.matched == len(marker) {
		e.pasting, e.matched = !e.pasting, 0
	}
}

// interrupt follows the keys and says whether this byte completes a Ctrl-C.
func (e *escapeReader) interrupt(c byte) bool {
	const longest = 24
	switch {
	case c == 0x03:
		e.key = e.key[:0]
		return true
	case c == escape:
		e.key, e.before = append(e.key[:0], c), e.lineStart
	case len(e.key) == 0:
	case len(e.key) == 1 && c != '[', len(e.key) > longest:
		e.key = e.key[:0]
	case len(e.key) > 1 && c >= 0x40:
		params := strings.Split(string(e.key[2:]), ";")
		e.key = e.key[:0]
		// Reports of the cursor, attributes, status, size and modes: a shell
		// that asks where its prompt is does not begin a line for the person.
		e.answered = strings.IndexByte("Rcnty", c) >= 0
		return ctrlC(params, c)
	default:
		e.key = append(e.key, c)
	}
	return false
}

// ctrlC recognises CSI 99 ; modifiers u and CSI 27 ; modifiers ; 99 ~. 99 is
// c; what follows a colon are alternatives, and the kind of event.
func ctrlC(params []string, final byte) bool {
	const (
		control  = 4
		locks    = 64 | 128 // caps lock, num lock
		released = "3"
	)
	var code, modifiers string
	switch {
	case final == 'u' && len(params) >= 2:
		code, modifiers = params[0], params[1]
	case final == '~' && len(params) == 3 && params[0] == "27":
		code, modifiers = params[2], params[1]
	}
	code, _, _ = strings.Cut(code, ":")
	modifiers, kind, _ := strings.Cut(modifiers, ":")
	pressed, err := strconv.Atoi(modifiers)
	return err == nil && code == "99" && kind != released && (pressed-1)&^locks == control
}

package tty

import (
	"errors"
	"io"
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
	Detach func() // called for `~d`, as Help; nil: `~d` is typed as it is

	// Interrupt is called for Ctrl-C, as Help; may be nil. True: the person
	// wants to leave, and Read returns ErrDisconnect.
	Interrupt func() bool
}

// NewEscapeReader returns a reader of r that acts on OpenSSH's escape
// sequences: the escape character at the start of a line, followed by `.` to
// disconnect (Read returns ErrDisconnect once everything before it was read),
// by `?` for help, or by itself for one escape character. Every other byte
// passes as it is and at once; only an escape character at the start of a
// line waits for what follows. Pasted text passes untouched when the terminal
// brackets it.
func NewEscapeReader(r io.Reader, o EscapeOptions) io.Reader {
	if o.Char == 0 {
		return r
	}
	return &escapeReader{r: r, o: o, lineStart: true, buf: make([]byte, 32<<10)}
}

type escapeReader struct {
	r   io.Reader
	o   EscapeOptions
	buf []byte

	out []byte // processed, not yet delivered
	err error  // delivered after out

	lineStart bool // nothing was typed on this line yet
	held      bool // an escape character waits for its command
	pasting   bool // between pasteStart and pasteEnd
	matched   int  // how many bytes of the next paste marker were seen
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
	n, err := e.r.Read(e.buf)
	e.out = e.out[:0]
	for _, c := range e.buf[:n] {
		if e.next(c); e.err != nil {
			return
		}
	}
	if err == nil {
		return
	}
	if e.held { // no command will follow: it was an ordinary character
		e.held = false
		e.out = append(e.out, e.o.Char)
	}
	e.err = err
}

// next takes one byte of input.
func (e *escapeReader) next(c byte) {
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
		case e.o.Char:
		default:
			e.pass(e.o.Char)
		}
		e.pass(c)
		return
	}
	if c == e.o.Char && e.lineStart && !e.pasting {
		e.held = true
		return
	}
	e.pass(c)
}

// pass hands one byte on and keeps track of lines and pastes.
func (e *escapeReader) pass(c byte) {
	e.out = append(e.out, c)
	e.lineStart = c == '\r' || c == '\n'
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

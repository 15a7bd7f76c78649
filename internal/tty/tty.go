// Package tty is the local terminal: raw mode that is undone on every path,
// its size and how it changes, its modes in SSH's encoding, and the escape
// sequences (`~.`) a person types to get out of a session.
package tty

import (
	"context"
	"errors"
	"io"
	"os"
)

// DefaultEscape is the escape character OpenSSH uses.
const DefaultEscape = '~'

// ErrDisconnect is returned by an escape reader when the person typed `~.`.
var ErrDisconnect = errors.New("disconnected by the escape sequence")

// Size is the size of a terminal in characters and, where the terminal says
// so, in pixels (zero where it does not).
type Size struct {
	Cols, Rows    int
	Width, Height int
}

// Terminal is a terminal that is both read from and written to.
type Terminal struct {
	in, out *os.File
}

// Open returns the terminal behind in and out; false when either is none.
func Open(in, out *os.File) (*Terminal, bool) { panic("not built yet") }

// Raw runs f with the terminal in raw mode and restores it on return and on
// panic. A signal handler that ends the process calls Restore itself.
func (t *Terminal) Raw(f func() error) error { panic("not built yet") }

// Restore puts the terminal back into the modes it had before Raw. It may be
// called at any time, from any goroutine, any number of times.
func (t *Terminal) Restore() error { panic("not built yet") }

// Size returns the present size.
func (t *Terminal) Size() (Size, error) { panic("not built yet") }

// Sizes delivers the present size and then each change until ctx ends, when
// the channel is closed. A slow reader sees the newest size only.
func (t *Terminal) Sizes(ctx context.Context) <-chan Size { panic("not built yet") }

// Modes returns the terminal's modes by the opcodes of RFC 4254 section 8.
func (t *Terminal) Modes() map[uint8]uint32 { panic("not built yet") }

// Input reads the terminal's keyboard. Unlike a plain read of standard input,
// a pending Read ends with io.EOF as soon as the reader is closed, and what
// was typed but not read stays for the next program.
func (t *Terminal) Input() (io.ReadCloser, error) { panic("not built yet") }

// EscapeOptions says what an escape reader reacts to.
type EscapeOptions struct {
	Char byte   // the escape character; 0 switches escapes off
	Help func() // called for `~?`; may be nil
}

// NewEscapeReader returns a reader of r that acts on escape sequences.
func NewEscapeReader(r io.Reader, o EscapeOptions) io.Reader { panic("not built yet") }

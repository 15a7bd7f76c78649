// Package tty is the local terminal: raw mode that is undone on every path,
// its size and how it changes, its modes in SSH's encoding, and the escape
// sequences (`~.`) a person types to get out of a session.
package tty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Size is the size of a terminal in characters and, where the terminal says
// so, in pixels (zero where it does not).
type Size struct {
	Cols, Rows    int
	Width, Height int
}

// Terminal is a terminal that is both read from and written to.
type Terminal struct {
	in, out *os.File

	mu    sync.Mutex
	saved *state // modes from before Raw; nil when not raw
}

// Open returns the terminal behind in and out; false when either is none.
func Open(in, out *os.File) (*Terminal, bool) {
	if in == nil || out == nil || !isTerminal(in) || !isTerminal(out) {
		return nil, false
	}
	return &Terminal{in: in, out: out}, true
}

// Raw runs f with the terminal in raw mode and restores it on return and on
// panic of f. A signal handler that ends the process without waiting for f
// calls Restore itself. Raw must not be nested.
func (t *Terminal) Raw(f func() error) (err error) {
	if err := t.enter(); err != nil {
		return err
	}
	stop := t.onContinue(t.reenter)
	defer func() {
		stop()
		err = errors.Join(err, t.Restore())
	}()
	return f()
}

func (t *Terminal) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		return errors.New("the terminal is in raw mode already")
	}
	saved, err := readState(t.in, t.out)
	if err != nil {
		return fmt.Errorf("reading the terminal's modes: %w", err)
	}
	if err := makeRaw(t.in, t.out, saved); err != nil {
		return errors.Join(fmt.Errorf("setting the terminal to raw mode: %w", err),
			writeState(t.in, t.out, saved))
	}
	t.saved = saved
	return nil
}

// reenter sets raw mode again after the process was stopped and continued: a
// shell gives the terminal its own modes when a job stops.
func (t *Terminal) reenter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		_ = makeRaw(t.in, t.out, t.saved) // at worst the terminal stays cooked
	}
}

// Restore puts the terminal back into the modes it had before Raw. It may be
// called at any time, from any goroutine, any number of times.
func (t *Terminal) Restore() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved == nil {
		return nil
	}
	if err := writeState(t.in, t.out, t.saved); err != nil {
		return fmt.Errorf("restoring the terminal: %w", err)
	}
	t.saved = nil
	return nil
}

// Size returns the present size.
func (t *Terminal) Size() (Size, error) {
	s, err := readSize(t.out)
	if err != nil {
		return Size{}, fmt.Errorf("reading the terminal's size: %w", err)
	}
	return s, nil
}

// Sizes delivers the present size and then each change until ctx ends, when
// the channel is closed. A reader that lags behind gets the newest size only.
func (t *Terminal) Sizes(ctx context.Context) <-chan Size {
	sizes := make(chan Size, 1)
	changed, stop := resizes()
	go func() {
		defer close(sizes)
		defer stop()
		var last Size
		for {
			if s, err := t.Size(); err == nil && s != last {
				last = s
				select { // this goroutine alone sends, so there is room after it
				case <-sizes:
				default:
				}
				sizes <- s
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}()
	return sizes
}

// Modes returns the terminal's modes by the opcodes of RFC 4254 section 8, as
// they are without raw mode. It is empty where a terminal has no such modes.
func (t *Terminal) Modes() map[uint8]uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.saved
	if s == nil {
		var err error
		if s, err = readState(t.in, t.out); err != nil {
			return map[uint8]uint32{}
		}
	}
	return modes(s)
}

// Input reads the terminal's keyboard. Unlike a plain read of standard input,
// a pending Read ends with io.EOF as soon as the reader is closed, and what
// was typed but not read stays for the next program.
func (t *Terminal) Input() (io.ReadCloser, error) {
	in, err := newInput(t.in)
	if err != nil {
		return nil, fmt.Errorf("opening the terminal for reading: %w", err)
	}
	return in, nil
}

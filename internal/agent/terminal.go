//go:build linux || darwin

package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A terminal is the master side of a pseudo-terminal, and the other side until
// a program takes it.
type terminal struct {
	master *os.File
	ending atomic.Bool // the program has ended: read what is there, no more

	mu  sync.Mutex
	tty *os.File // nil once taken
}

func openTerminal() (*terminal, error) {
	master, tty, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("opening a pseudo-terminal: %w", err)
	}
	defer master.Close() //nolint:errcheck // replaced by the copy
	// The pty package leaves the master in blocking mode, in which neither
	// Close nor a deadline ends a read.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copying the terminal's descriptor: %w", err), tty.Close())
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("making the terminal non-blocking: %w", err), unix.Close(fd), tty.Close())
	}
	return &terminal{master: os.NewFile(uintptr(fd), master.Name()), tty: tty}, nil
}

// takeTTY hands over the program's side.
func (t *terminal) takeTTY() *os.File {
	t.mu.Lock()
	defer t.mu.Unlock()
	tty := t.tty
	t.tty = nil
	return tty
}

// close hangs up: the kernel sends SIGHUP to what still has the terminal.
func (t *terminal) close() {
	closeAll(t.takeTTY(), t.master)
}

// control calls f with the master's descriptor, without touching its mode as
// File.Fd may.
func (t *terminal) control(f func(fd int) error) error {
	conn, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = conn.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// resize sets the size in characters and in pixels.
func (t *terminal) resize(w window) error {
	short := func(n uint32) uint16 { return uint16(min(n, math.MaxUint16)) }
	size := &unix.Winsize{Col: short(w.Cols), Row: short(w.Rows), Xpixel: short(w.Width), Ypixel: short(w.Height)}
	return t.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
}

// apply sets the terminal's modes.
func (t *terminal) apply(modes map[uint8]uint32) error {
	return t.control(func(fd int) error {
		attr, err := unix.IoctlGetTermios(fd, getTermios)
		if err != nil {
			return fmt.Errorf("reading the terminal's modes: %w", err)
		}
		setModes(attr, modes)
		if err := unix.IoctlSetTermios(fd, setTermios, attr); err != nil {
			return fmt.Errorf("setting the terminal's modes: %w", err)
		}
		return nil
	})
}

// sendBreak is tcsendbreak(3). Pseudo-terminals have no break, so this says yes
// and does nothing, in the agent as in sshd.
func (t *terminal) sendBreak() error {
	return t.control(func(fd int) error { return unix.IoctlSetInt(fd, breakRequest, 0) })
}

// copyIn moves input to the program, or to whoever passes it on. It says
// whether the next character begins a line.
func (t *terminal) copyIn(to io.Writer, from io.Reader) (lineStart bool) {
	buf := make([]byte, inputSize)
	lineStart = true
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return lineStart
			}
			lineStart = bytes.ContainsAny(buf[n-1:n], "\r\n")
		}
		if err != nil {
			return lineStart
		}
	}
}

// inputSize is what people type or paste at once; more takes more turns.
const inputSize = 4 << 10

// typeEOF ends the input. That cannot close half a terminal, so it is typed, as
// a user would.
func (t *terminal) typeEOF(to io.Writer, lineStart bool) {
	if eof := t.eofCharacter(); eof != 0 {
		end := []byte{eof}
		if !lineStart { // the first one only ends the line
			end = append(end, eof)
		}
		to.Write(end) //nolint:errcheck // the program may be gone
	}
}

func (t *terminal) eofCharacter() (c byte) {
	t.control(func(fd int) error { //nolint:errcheck // no terminal, no character
		attr, err := unix.IoctlGetTermios(fd, getTermios)
		if err == nil {
			c = attr.Cc[unix.VEOF]
		}
		return err
	})
	return c
}

// copyOut moves output until the terminal is closed, or after drain until there
// is none left.
func (t *terminal) copyOut(write func([]byte) error) {
	buf := make([]byte, copySize)
	for {
		n, err := t.read(buf)
		if n > 0 && write(buf[:n]) != nil {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && t.ending.Load() {
			continue
		}
		if err != nil || n == 0 {
			return // EIO: no program has the terminal open
		}
	}
}

// read is master.Read, and while draining a read that does not wait: the
// kernel first hands over all that programs wrote, and then says EAGAIN.
func (t *terminal) read(buf []byte) (n int, err error) {
	if !t.ending.Load() {
		return t.master.Read(buf)
	}
	controlErr := t.control(func(fd int) error {
		for {
			n, err = syscall.Read(fd, buf)
			if err != syscall.EINTR {
				return nil
			}
		}
	})
	return max(n, 0), errors.Join(err, controlErr)
}

// drain makes copyOut end when it has what is there.
func (t *terminal) drain() {
	t.ending.Store(true)
	t.master.SetReadDeadline(time.Now()) //nolint:errcheck // wakes a read; fails when closed
}

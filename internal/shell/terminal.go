//go:build linux || darwin

package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudssh/cloudssh/internal/shell/tool"
)

// A terminal is the one that the shell was started on.
type terminal struct {
	file  *os.File
	fd    int
	group int // the shell's process group
	// control says whether it is the controlling terminal. Without that, it has no
	// foreground, and sends no signals.
	control bool
	turn    turn
}

// openTerminal returns the terminal of a shell, nil if it has none. The shell's
// input is taken, or else what its complaints go to, or else the process's own.
func openTerminal(candidates ...*os.File) *terminal {
	for _, f := range candidates {
		if isTerminal(f) {
			return newTerminal(f)
		}
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil || !isTerminal(f) {
		return nil
	}
	return newTerminal(f)
}

func newTerminal(f *os.File) *terminal {
	t := &terminal{file: f, fd: int(f.Fd()), group: unix.Getpgrp(), turn: make(turn, 1)}
	_, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	t.control = err == nil
	return t
}

// isTerminal says whether a stream is a terminal.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	_, err = unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// isTerminal says whether a tool's stream is a terminal.
func (s *Shell) isTerminal(stream any) bool {
	switch f := stream.(type) {
	case *os.File:
		return isTerminal(f)
	case *input:
		return isTerminal(f.file)
	case *output:
		return s.isTerminal(f.file)
	}
	return false
}

// state is the terminal's mode.
func (t *terminal) state() *unix.Termios {
	if t == nil {
		return nil
	}
	state, err := unix.IoctlGetTermios(t.fd, getTermios)
	if err != nil {
		return nil
	}
	return state
}

// set waits until what was written is out, which signals interrupt.
func (t *terminal) set(state *unix.Termios) error {
	return again(func() error { return unix.IoctlSetTermios(t.fd, setTermiosDrain, state) })
}

func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// restore sets the mode to what it was.
func (t *terminal) restore(state *unix.Termios) {
	if t != nil && state != nil {
		t.set(state) //nolint:errcheck // the terminal may be gone
	}
}

// take makes the shell the terminal's foreground again.
func (t *terminal) take() { t.give(t.ours()) }

func (t *terminal) ours() int {
	if t == nil {
		return 0
	}
	return t.group
}

// taken says whether the terminal is there, but another process group has it.
func (t *terminal) taken() bool {
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && group != t.group
}

// give makes a process group the terminal's foreground.
func (t *terminal) give(group int) {
	if t != nil {
		again(func() error { return setForeground(t.fd, group) }) //nolint:errcheck // it may not be our controlling terminal
	}
}

// mode turns echo and line editing off, for read, and returns what undoes it.
func (t *terminal) mode(echo, canonical bool) (undo func()) {
	before := t.state()
	if before == nil {
		return func() {}
	}
	state := *before
	if !echo {
		state.Lflag &^= unix.ECHO
	}
	if !canonical {
		state.Lflag &^= unix.ICANON
		state.Cc[unix.VMIN], state.Cc[unix.VTIME] = 1, 0
	}
	t.restore(&state)
	return func() { t.restore(before) }
}

// raw gives every key to the reader. Output is still processed, so that what
// others write in the meantime comes out right. The editor has Enter as a
// newline: what is typed ahead must be a line to the program that reads it.
func (t *terminal) raw(forEditor bool) (undo func(), err error) {
	before := t.state()
	if before == nil {
		return nil, errors.New("the terminal is gone")
	}
	state := *before
	state.Iflag &^= unix.IXON | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.BRKINT | unix.ISTRIP
	if forEditor {
		state.Iflag |= before.Iflag & unix.ICRNL
	}
	state.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	state.Cc[unix.VMIN], state.Cc[unix.VTIME] = 1, 0
	if err := t.set(&state); err != nil {
		return nil, err
	}
	return func() { t.restore(before) }, nil
}

func (t *terminal) size() (cols, rows int) {
	ws, err := unix.IoctlGetWinsize(t.fd, unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}

// A toolTerminal is the terminal for the time of one run of a tool.
type toolTerminal struct {
	*terminal
	ctx  context.Context
	once sync.Once
	size chan struct{}
}

// forTool returns nothing where there is no terminal, or another has it.
func (t *terminal) forTool(ctx context.Context, j *job) tool.Terminal {
	if t == nil || j.inBackground() {
		return nil
	}
	return &toolTerminal{terminal: t, ctx: ctx}
}

func (t *toolTerminal) Read(p []byte) (int, error) { return t.turn.readPolled(t.ctx, t.file, p) }

func (t *toolTerminal) Write(p []byte) (int, error) { return t.file.Write(p) }

func (t *toolTerminal) Size() (cols, rows int) { return t.terminal.size() }

func (t *toolTerminal) Raw() (restore func(), err error) {
	undo, err := t.raw(false)
	if err != nil {
		return func() {}, err
	}
	return sync.OnceFunc(undo), nil
}

func (t *toolTerminal) Resized() <-chan struct{} {
	t.once.Do(func() {
		t.size = make(chan struct{}, 1)
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGWINCH)
		go func() {
			defer signal.Stop(signals)
			for {
				select {
				case <-signals:
				case <-t.ctx.Done():
					return
				}
				select {
				case t.size <- struct{}{}:
				default:
				}
			}
		}()
	})
	return t.size
}

// ReadTimely is Read that gives up without an error when ctx does.
func (t *toolTerminal) ReadTimely(ctx context.Context, p []byte) (int, error) {
	both, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { cancel(io.EOF) })
	defer stop()
	n, err := t.turn.readPolled(both, t.file, p)
	if err != nil && t.ctx.Err() == nil && ctx.Err() != nil {
		return 0, nil
	}
	return n, err
}
